using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Edge.Identity;

public sealed class IdentityFolderTests : IDisposable
{
    private const UnixFileMode Secret = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private static readonly DateTimeOffset s_now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    private readonly string _parent = Directory.CreateTempSubdirectory("agentmetal-node-").FullName;
    private readonly RootAuthority _root = RootAuthority.Create("lab", s_now, RandomNumberGenerator.Fill);
    private readonly PinnedRoot _pinned;
    private readonly CoordinatorAuthority _authority;
    private readonly IdentityFolder _folder;

    public IdentityFolderTests()
    {
        _pinned = PinnedRoot.FromTrustedBytes(_root.CertificateDer).Value;
        _authority = Authority(_root);
        _folder = new IdentityFolder(Path.Combine(_parent, "identity"));
    }

    public void Dispose()
    {
        _root.Dispose();
        _pinned.Dispose();
        _authority.Dispose();
        Directory.Delete(_parent, recursive: true);
    }

    [Fact]
    public void Load_NothingThere_IsNotJoinedYet()
    {
        Assert.Null(_folder.Load());
        Assert.Null(_folder.Root());
        Assert.Null(_folder.ApproverSet());
    }

    [Fact]
    public void Save_ThenLoad_GivesTheSameNodeAndEveryFileIsPrivate()
    {
        var saved = Join(_folder.NextKey().Value).Value;
        using var loaded = _folder.Load()!.Value;
        Assert.Equal(saved.Peer, loaded.Peer);
        Assert.Null(loaded.Verify(s_now));
        Assert.True(loaded.TlsContext().TargetCertificate.HasPrivateKey);
        Assert.Equal(["node.pem", "root.crt"], Directory.GetFiles(Path.Combine(_parent, "identity")).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        foreach (var file in Directory.GetFiles(Path.Combine(_parent, "identity")))
            Assert.Equal(Secret, File.GetUnixFileMode(file));
    }

    [Fact]
    public void NextKey_AskedAgainAfterACrash_IsTheSameKey()
    {
        using var first = _folder.NextKey().Value;
        using var second = new IdentityFolder(Path.Combine(_parent, "identity")).NextKey().Value;
        Assert.Equal(P256.KeyId(first), P256.KeyId(second));
        Assert.Equal(Secret, File.GetUnixFileMode(Path.Combine(_parent, "identity", IdentityFolder.NextKeyFile)));
    }

    [Fact]
    public void Save_ChainThatDoesNotVerify_KeepsWhatWasThere()
    {
        var before = Join(_folder.NextKey().Value).Value.Peer;
        using var otherRoot = RootAuthority.Create("evil", s_now, RandomNumberGenerator.Fill);
        using var other = Authority(otherRoot);
        var key = _folder.NextKey().Value;
        Assert.Equal(TrustProblemCode.UntrustedRoot, _folder.Save(key, Chain(key, other), s_now).Problem?.Code);
        using var mine = _folder.NextKey().Value;
        using var somebodys = P256.Generate();
        Assert.False(_folder.Save(mine, Chain(somebodys, _authority), s_now).IsTrusted);
        using var loaded = _folder.Load()!.Value;
        Assert.Equal(before, loaded.Peer);
    }

    [Fact]
    public void Pin_AnotherRootLater_IsRefused()
    {
        using var otherRoot = RootAuthority.Create("evil", s_now, RandomNumberGenerator.Fill);
        using var other = PinnedRoot.FromTrustedBytes(otherRoot.CertificateDer).Value;
        Assert.Null(_folder.Pin(_pinned));
        Assert.Null(_folder.Pin(_pinned));
        Assert.Equal(TrustProblemCode.UntrustedRoot, _folder.Pin(other)?.Code);
        using var kept = _folder.Root()!.Value;
        Assert.Equal(_pinned.Sha256, kept.Sha256);
    }

    [Fact]
    public void Load_KeyOpenToOthers_IsRefusedWithTheFix()
    {
        Join(_folder.NextKey().Value);
        File.SetUnixFileMode(Path.Combine(_parent, "identity", IdentityFolder.NodeFile), Secret | UnixFileMode.GroupRead);
        Assert.Contains("chmod 600", _folder.Load()?.Problem?.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("garbage")]
    [InlineData("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
    public void Load_BrokenFile_IsAProblemNotAnException(string text)
    {
        Join(_folder.NextKey().Value);
        File.WriteAllText(Path.Combine(_parent, "identity", IdentityFolder.NodeFile), text);
        Assert.False(_folder.Load()!.IsTrusted);
    }

    [Fact]
    public void StateAt_OverACertificatesLife_IsGoodDueExpiredLost()
    {
        using var identity = Join(_folder.NextKey().Value).Value;
        Assert.Equal(CertificateState.Good, identity.StateAt(s_now.AddHours(15), 0));
        Assert.Equal(CertificateState.Due, identity.StateAt(s_now.AddHours(16), 0));
        Assert.Equal(CertificateState.Good, identity.StateAt(s_now.AddHours(16), 1));
        Assert.Equal(CertificateState.Expired, identity.StateAt(s_now.AddDays(1), 0));
        Assert.Equal(CertificateState.Expired, identity.StateAt(s_now.AddDays(90), 0));
        Assert.Equal(CertificateState.Lost, identity.StateAt(s_now.AddDays(91), 0));
    }

    [Fact]
    public void TakeApproverSet_OlderOrForeign_IsRefusedAlsoAfterTheSetHereHasEnded()
    {
        _folder.Pin(_pinned);
        using var otherRoot = RootAuthority.Create("evil", s_now, RandomNumberGenerator.Fill);
        Assert.Equal(2, _folder.TakeApproverSet(Set(_root, 2), s_now).Value.Version);
        Assert.Equal(TrustProblemCode.BadSignature, _folder.TakeApproverSet(Set(otherRoot, 9), s_now).Problem?.Code);
        Assert.Equal(TrustProblemCode.VersionTooLow, _folder.TakeApproverSet(Set(_root, 1), s_now).Problem?.Code);
        var late = s_now.AddDays(31);
        Assert.Equal(TrustProblemCode.VersionTooLow, _folder.TakeApproverSet(Set(_root, 1, days: 99), late).Problem?.Code);
        Assert.Equal(3, _folder.TakeApproverSet(Set(_root, 3, days: 99), late).Value.Version);
    }

    private Verdict<NodeIdentity> Join(ECDsa key)
    {
        Assert.Null(_folder.Pin(_pinned));
        return _folder.Save(key, Chain(key, _authority), s_now);
    }

    private static List<byte[]> Chain(ECDsa key, CoordinatorAuthority authority)
    {
        var request = SigningRequest.Parse(SigningRequest.Create(key, "edge-1")).Value;
        return [authority.IssueNode(request, NodeUid.From(request.Spki), "edge-1", s_now, TimeSpan.FromDays(1), RandomNumberGenerator.Fill).Value, authority.CertificateDer];
    }

    private static CoordinatorAuthority Authority(RootAuthority root)
    {
        using var key = P256.Generate();
        var der = root.IssueCoordinator(new CoordinatorNames { Name = "control" }, key.ExportSubjectPublicKeyInfo(), s_now, RootAuthority.IntermediateLife, RandomNumberGenerator.Fill).Value;
        return CoordinatorAuthority.Load(key.ExportPkcs8PrivateKeyPem(), der).Value;
    }

    private static byte[] Set(RootAuthority root, long version, int days = 30)
    {
        using var key = P256.Generate();
        return root.Sign(new ApproverSet
        {
            Version = version,
            NotAfterUnixMs = s_now.AddDays(days).ToUnixTimeMilliseconds(),
            Threshold = 1,
            Keys = [new ApproverKey { Name = "alice", Spki = key.ExportSubjectPublicKeyInfo() }],
        });
    }
}
