using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class InitBundleTests
{
    private static readonly InitRequest s_request = new() { Fleet = "lab", Coordinator = Fleet.Names, OperatorName = "alice" };

    [Fact]
    public void Create_Bundle_WorksFromItsFilesAlone()
    {
        var bundle = InitBundle.Create(s_request, Fleet.Random, Fleet.Now).Value;
        string Home(string name) => Text(bundle.OperatorHome, name);
        string Coordinator(string name) => Text(bundle.Coordinator, name);

        var rootDer = InitBundle.ReadCertificate(Home(InitBundle.RootCertificate), "root.crt").Value;
        using var pinned = PinnedRoot.FromPin(bundle.RootSha256, rootDer).Value;
        using var root = RootAuthority.Load(Home(InitBundle.RootKey), null, rootDer).Value;
        var intermediateDer = InitBundle.ReadCertificate(Coordinator(InitBundle.IntermediateCertificate), "intermediate.crt").Value;
        using var authority = CoordinatorAuthority.Load(Coordinator(InitBundle.IntermediateKey), intermediateDer).Value;
        var names = InitBundle.ReadNames(Coordinator(InitBundle.NamesFile)).Value;
        using var serverKey = P256.Generate();
        using var server = Fleet.Certificate(authority.IssueServer(names, serverKey.ExportSubjectPublicKeyInfo(), Fleet.Now, TimeSpan.FromDays(7), Fleet.Random).Value);
        using var intermediate = Fleet.Certificate(intermediateDer);
        Assert.True(ChainVerifier.Verify(new ChainRequest { Leaf = server, Intermediates = [intermediate], Root = pinned, Now = Fleet.Now, Role = PeerRole.Coordinator }).IsTrusted);

        using var operatorKey = ECDsa.Create();
        operatorKey.ImportFromPem(Home(InitBundle.OperatorKey));
        using var person = Fleet.Certificate(InitBundle.ReadCertificate(Home(InitBundle.OperatorCertificate), "operator.crt").Value);
        var alice = ChainVerifier.Verify(new ChainRequest { Leaf = person, Root = pinned, Now = Fleet.Now, Role = PeerRole.Operator }).Value;
        var set = ApproverSet.Verify(bundle.Coordinator.Single(f => f.Path == InitBundle.ApproverSetFile).Bytes, pinned.Certificate, Fleet.Now, 0).Value;
        Assert.Equal("alice", set.Find(alice.KeyId)?.Name);
        Assert.Equal(alice.KeyId, P256.KeyId(operatorKey));
        Assert.Equal(32, Convert.FromBase64String(Coordinator(InitBundle.KeyEncryptionKey)).Length);
    }

    [Fact]
    public void Create_CoordinatorBundle_NeverHoldsTheRootOrOperatorKey()
    {
        var bundle = InitBundle.Create(s_request, Fleet.Random, Fleet.Now).Value;
        Assert.Equal(["approver-set.json", "intermediate.crt", "intermediate.key", "kek", "names", "root.crt"], bundle.Coordinator.Select(f => f.Path).Order(StringComparer.Ordinal));
        foreach (var secret in new[] { InitBundle.RootKey, InitBundle.OperatorKey })
        {
            var body = Text(bundle.OperatorHome, secret).Split('\n')[1];
            Assert.DoesNotContain(bundle.Coordinator, f => Encoding.ASCII.GetString(f.Bytes).Contains(body, StringComparison.Ordinal));
        }
        using var root = Fleet.Certificate(InitBundle.ReadCertificate(Text(bundle.OperatorHome, InitBundle.RootCertificate), "root.crt").Value);
        using var intermediateKey = ECDsa.Create();
        intermediateKey.ImportFromPem(Text(bundle.Coordinator, InitBundle.IntermediateKey));
        Assert.NotEqual(root.PublicKey.ExportSubjectPublicKeyInfo(), intermediateKey.ExportSubjectPublicKeyInfo());
    }

    [Fact]
    public void Create_Files_KeysAreForTheirOwnerOnly()
    {
        var bundle = InitBundle.Create(s_request, Fleet.Random, Fleet.Now).Value;
        foreach (var file in bundle.OperatorHome.Concat(bundle.Coordinator))
        {
            var secret = file.Path.EndsWith(".key", StringComparison.Ordinal) || file.Path == InitBundle.KeyEncryptionKey;
            Assert.Equal(secret ? 0x180 : 0x1a4, (int)file.Mode); // 0600, 0644
            Assert.DoesNotContain("PRIVATE", $"{file}", StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Create_WithPassphrase_RootKeyOpensOnlyWithIt()
    {
        var bundle = InitBundle.Create(s_request with { RootPassphrase = "correct horse" }, Fleet.Random, Fleet.Now).Value;
        var key = Text(bundle.OperatorHome, InitBundle.RootKey);
        var der = InitBundle.ReadCertificate(Text(bundle.OperatorHome, InitBundle.RootCertificate), "root.crt").Value;
        Assert.Contains("ENCRYPTED PRIVATE KEY", key, StringComparison.Ordinal);
        Assert.Equal(TrustProblemCode.WrongKey, RootAuthority.Load(key, null, der).Problem?.Code);
        Assert.Equal(TrustProblemCode.WrongKey, RootAuthority.Load(key, "wrong horse", der).Problem?.Code);
        RootAuthority.Load(key, "correct horse", der).Value.Dispose();
    }

    [Fact]
    public void Load_CertificateOfAnotherKey_IsWrongKey()
    {
        using var one = new Fleet();
        using var two = new Fleet();
        Assert.Equal(TrustProblemCode.WrongKey, RootAuthority.Load(one.Root.ExportKeyPem(null), null, two.Root.CertificateDer).Problem?.Code);
        Assert.Equal(TrustProblemCode.WrongKey, CoordinatorAuthority.Load(one.IntermediateKey.ExportPkcs8PrivateKeyPem(), two.IntermediateDer).Problem?.Code);
    }

    [Theory]
    [InlineData("Lab", "alice", "control.example", "fleet")]
    [InlineData("lab", "Alice!", "control.example", "operator name")]
    [InlineData("lab", "alice", "10.0.0.1", "dnsNames")]
    [InlineData("lab", "alice", "*.example", "dnsNames")]
    public void Create_BadName_NamesTheField(string fleet, string person, string dns, string field)
    {
        var request = s_request with { Fleet = fleet, OperatorName = person, Coordinator = Fleet.Names with { DnsNames = [dns] } };
        Assert.StartsWith(field, InitBundle.Create(request, Fleet.Random, Fleet.Now).Problem?.Message, StringComparison.Ordinal);
    }

    private static string Text(IReadOnlyList<BundleFile> files, string name) => Encoding.ASCII.GetString(files.Single(f => f.Path == name).Bytes);
}
