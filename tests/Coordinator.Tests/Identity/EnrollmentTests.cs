using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Identity;

[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class EnrollmentTests : IAsyncLifetime
{
    private static readonly Dictionary<string, string> s_none = [];

    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 23, 12, 0, 0, TimeSpan.Zero));
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-identity-").FullName;
    private readonly ECDsa _key = P256.Generate();
    private readonly ECDsa _other = P256.Generate();
    private readonly MemoryStore _store;
    private IdentityBundle _bundle = null!;
    private InitBundle _init = null!;
    private JoinTokens _tokens = null!;
    private Enrollment _enrollment = null!;
    private Gate _gate = null!;

    public EnrollmentTests() => _store = new MemoryStore("s1", _clock);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        var names = new CoordinatorNames { Name = "control", DnsNames = ["control.example"], Addresses = [IPAddress.Parse("10.7.0.1")] };
        _init = InitBundle.Create(new InitRequest { Fleet = "lab", Coordinator = names, OperatorName = "alice" }, RandomNumberGenerator.Fill, _clock.GetUtcNow()).Value;
        Write(_init.Coordinator);
        _bundle = IdentityBundle.Load(_folder, _clock.GetUtcNow()).Value;
        _tokens = new JoinTokens(_store, _bundle.Root.Sha256, RandomNumberGenerator.Fill, _clock);
        _enrollment = new Enrollment(_store, _bundle, RandomNumberGenerator.Fill, _clock, TimeSpan.FromDays(1));
        _gate = new Gate(_store, _bundle, _clock);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        _bundle.Dispose();
        _key.Dispose();
        _other.Dispose();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Join_WithAFreshToken_GivesACertificateThatTheGateTakes()
    {
        var enrolled = (await JoinAsync(await TokenAsync(), _key)).Value;
        using var certificate = Certificate(enrolled);
        Assert.True(_gate.MayConnect(certificate));
        var node = Assert.IsType<PeerIdentity.Node>((await _gate.NodeAsync(certificate, Cancel)).Value);
        Assert.Equal(("edge-1", NodeUid.From(_key.ExportSubjectPublicKeyInfo())), (node.Name, node.Uid));
        Assert.Equal(_init.RootSha256, _bundle.Root.Sha256);
    }

    [Fact]
    public async Task Join_AgainWithTheSameKey_GivesTheSameNode()
    {
        var token = await TokenAsync();
        var first = (await JoinAsync(token, _key)).Value;
        _clock.Advance(TimeSpan.FromMinutes(5));
        Assert.Equal(first.Node.Uid, (await JoinAsync(token, _key)).Value.Node.Uid);
        Assert.Single((await _store.ListAsync(IdentityKeys.Nodes, Cancel)).Entries);
    }

    [Fact]
    public async Task Join_UsedTokenWithAnotherKey_IsRefused()
    {
        var token = await TokenAsync();
        await JoinAsync(token, _key);
        Assert.Equal(TrustProblemCode.WrongScope, (await JoinAsync(token, _other, "edge-2")).Problem?.Code);
    }

    [Fact]
    public async Task Join_TwoHostsAtOnceWithOneToken_OnlyOneGetsIn()
    {
        var token = await TokenAsync();
        var racing = new RacingStore(_store);
        var enrollment = new Enrollment(racing, _bundle, RandomNumberGenerator.Fill, _clock, TimeSpan.FromDays(1));
        Verdict<Enrolled>? inner = null;
        // The second host joins between the first one's reading and writing.
        racing.BeforeTxn = async () => inner = await JoinAsync(token, _other, "edge-2");
        var outer = await enrollment.JoinAsync(Attempt(token, _key), Cancel);
        Assert.True(inner!.IsTrusted);
        Assert.Equal(TrustProblemCode.WrongScope, outer.Problem?.Code);
        Assert.Single((await _store.ListAsync(IdentityKeys.Nodes, Cancel)).Entries);
    }

    [Fact]
    public async Task Join_TokenForAnotherName_IsRefusedAndStaysUsable()
    {
        var token = await TokenAsync("edge-1");
        Assert.Equal(TrustProblemCode.WrongScope, (await JoinAsync(token, _key, "edge-2")).Problem?.Code);
        Assert.True((await JoinAsync(token, _key)).IsTrusted);
    }

    [Fact]
    public async Task Join_LabelsOfTheToken_WinAndCannotBeContradicted()
    {
        var token = await TokenAsync(labels: new() { ["site"] = "berlin" });
        var lying = Attempt(token, _key) with { Labels = new Dictionary<string, string> { ["site"] = "paris" } };
        Assert.Contains("labels[site]", (await _enrollment.JoinAsync(lying, Cancel)).Problem?.Message, StringComparison.Ordinal);
        var honest = Attempt(token, _key) with { Labels = new Dictionary<string, string> { ["disk"] = "nvme" } };
        Assert.Equal(["disk=nvme", "site=berlin"], (await _enrollment.JoinAsync(honest, Cancel)).Value.Node.Labels.Select(l => $"{l.Key}={l.Value}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Join_AtTheTokensEnd_IsRefused()
    {
        var token = await TokenAsync();
        _clock.Advance(TimeSpan.FromHours(1));
        Assert.Equal(TrustProblemCode.Expired, (await JoinAsync(token, _key)).Problem?.Code);
    }

    [Fact]
    public async Task Join_WrongSecretOrUnknownToken_GetTheSameAnswer()
    {
        var token = await TokenAsync();
        var other = JoinToken.Create(_bundle.Root.Sha256, RandomNumberGenerator.Fill);
        var wrong = await _enrollment.JoinAsync(Attempt(token, _key) with { TokenSecret = other.Secret }, Cancel);
        var unknown = await JoinAsync(other, _key);
        Assert.Equal(TrustProblemCode.UnknownKey, wrong.Problem?.Code);
        Assert.Equal(wrong.Problem, unknown.Problem);
        Assert.Equal(wrong.Problem, (await _enrollment.JoinAsync(Attempt(token, _key) with { TokenId = "../../x" }, Cancel)).Problem);
    }

    [Fact]
    public async Task Join_NameOfAnotherNode_IsRefusedUntilThatOneIsRevoked()
    {
        var first = (await JoinAsync(await TokenAsync(), _key)).Value;
        Assert.Contains(first.Node.Uid, (await JoinAsync(await TokenAsync(), _other)).Problem?.Message, StringComparison.Ordinal);
        await _enrollment.RevokeAsync(first.Node.Uid, "wiped", Cancel);
        Assert.True((await JoinAsync(await TokenAsync(), _other)).IsTrusted);
    }

    [Fact]
    public async Task Join_CsrWithABadSignature_IsRefused()
    {
        var csr = SigningRequest.Create(_key, "edge-1");
        _other.ExportSubjectPublicKeyInfo().CopyTo(csr.AsSpan(csr.AsSpan().IndexOf(_key.ExportSubjectPublicKeyInfo())));
        var attempt = Attempt(await TokenAsync(), _key) with { Csr = csr };
        Assert.Equal(TrustProblemCode.BadSignature, (await _enrollment.JoinAsync(attempt, Cancel)).Problem?.Code);
    }

    [Fact]
    public async Task Join_StoreAway_IsNeverAnUnknownToken()
    {
        var token = await TokenAsync();
        _store.GoAway("test");
        await Assert.ThrowsAsync<StoreAwayException>(() => JoinAsync(token, _key).AsTask());
    }

    [Fact]
    public async Task Store_AfterAToken_NeverHoldsItsSecret()
    {
        var token = await TokenAsync();
        foreach (var entry in (await _store.ListAsync("", Cancel)).Entries)
            Assert.DoesNotContain(token.Secret, System.Text.Encoding.UTF8.GetString(entry.Value.Span), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Renew_WithANewKey_KeepsTheUidAndEndsTheOldKeysRightToRenew()
    {
        using var third = P256.Generate();
        using var first = Certificate((await JoinAsync(await TokenAsync(), _key)).Value);
        _clock.Advance(TimeSpan.FromHours(17));
        var renewed = (await _enrollment.RenewAsync(first, SigningRequest.Create(_other, "edge-1"), Cancel)).Value;
        using var second = Certificate(renewed);
        Assert.Equal(NodeUid.From(_key.ExportSubjectPublicKeyInfo()), renewed.Node.Uid);
        Assert.True((await _gate.NodeAsync(second, Cancel)).IsTrusted);
        // Make before break: the old certificate serves until it ends, the same request may be repeated, another one not.
        Assert.True((await _gate.NodeAsync(first, Cancel)).IsTrusted);
        Assert.True((await _enrollment.RenewAsync(first, SigningRequest.Create(_other, "edge-1"), Cancel)).IsTrusted);
        Assert.Equal(TrustProblemCode.UnknownKey, (await _enrollment.RenewAsync(first, SigningRequest.Create(third, "edge-1"), Cancel)).Problem?.Code);
        Assert.True((await _enrollment.RenewAsync(second, SigningRequest.Create(third, "edge-1"), Cancel)).IsTrusted);
        Assert.Equal(TrustProblemCode.UnknownKey, (await _gate.NodeAsync(first, Cancel)).Problem?.Code);
    }

    [Fact]
    public async Task Renew_ExpiredCertificate_MayRenewFor90DaysAndNothingElse()
    {
        using var certificate = Certificate((await JoinAsync(await TokenAsync(), _key)).Value);
        _clock.Advance(TimeSpan.FromDays(90));
        Assert.True(_gate.MayConnect(certificate));
        Assert.Equal(TrustProblemCode.Expired, (await _gate.NodeAsync(certificate, Cancel)).Problem?.Code);
        Assert.True((await _enrollment.RenewAsync(certificate, SigningRequest.Create(_key, "edge-1"), Cancel)).IsTrusted);
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.False(_gate.MayConnect(certificate));
        Assert.Equal(TrustProblemCode.Expired, (await _enrollment.RenewAsync(certificate, SigningRequest.Create(_key, "edge-1"), Cancel)).Problem?.Code);
    }

    [Fact]
    public async Task Revoked_Node_CanNeitherAttachNorRenewNorJoinAgain()
    {
        var enrolled = (await JoinAsync(await TokenAsync(), _key)).Value;
        using var certificate = Certificate(enrolled);
        await _enrollment.RevokeAsync(enrolled.Node.Uid, "stolen", Cancel);
        Assert.Equal(TrustProblemCode.UnknownKey, (await _gate.NodeAsync(certificate, Cancel)).Problem?.Code);
        Assert.Equal(TrustProblemCode.UnknownKey, (await _enrollment.RenewAsync(certificate, SigningRequest.Create(_key, "edge-1"), Cancel)).Problem?.Code);
        Assert.Equal(TrustProblemCode.UnknownKey, (await JoinAsync(await TokenAsync(), _key)).Problem?.Code);
        Assert.Equal(TrustProblemCode.UnknownKey, (await _enrollment.RevokeAsync(new string('0', 32), "x", Cancel)).Problem?.Code);
    }

    [Fact]
    public async Task Gate_OperatorWhereANodeIsNeeded_IsRefusedAndTheOtherWayRound()
    {
        using var person = X509CertificateLoader.LoadCertificate(InitBundle.ReadCertificate(Text(_init.OperatorHome, InitBundle.OperatorCertificate), "operator.crt").Value);
        using var node = Certificate((await JoinAsync(await TokenAsync(), _key)).Value);
        Assert.True(_gate.MayConnect(person));
        Assert.Equal("alice", _gate.Operator(person).Value.Name);
        Assert.Equal(TrustProblemCode.WrongRole, (await _gate.NodeAsync(person, Cancel)).Problem?.Code);
        Assert.Equal(TrustProblemCode.WrongRole, _gate.Operator(node).Problem?.Code);
        Assert.Equal(TrustProblemCode.WrongRole, (await _enrollment.RenewAsync(person, SigningRequest.Create(_key, "edge-1"), Cancel)).Problem?.Code);
        Assert.False(_gate.Operator(null).IsTrusted);
    }

    [Theory]
    [InlineData(59)]
    [InlineData(86_401)]
    public async Task CreateToken_LifeOutOfRange_IsRefused(int seconds) =>
        Assert.Contains("ttl", (await _tokens.CreateAsync("edge-1", s_none, TimeSpan.FromSeconds(seconds), Cancel)).Problem?.Message, StringComparison.Ordinal);

    [Fact]
    public async Task Prune_AfterTheEnd_ForgetsOnlyEndedTokens()
    {
        await TokenAsync();
        _clock.Advance(TimeSpan.FromMinutes(59));
        var live = await TokenAsync();
        _clock.Advance(TimeSpan.FromMinutes(2));
        Assert.Equal(1, await _tokens.PruneAsync(Cancel));
        Assert.True((await JoinAsync(live, _key)).IsTrusted);
    }

    [Fact]
    public void ServerIdentity_AtTwoThirdsOfItsLife_RenewsItself()
    {
        var server = ServerIdentity.Create(_bundle, _clock.GetUtcNow(), RandomNumberGenerator.Fill).Value;
        var first = server.Certificate.Thumbprint;
        Assert.True(server.Certificate.HasPrivateKey);
        Assert.Equal("not due", server.RenewIfDue(_clock.GetUtcNow().AddDays(4)).Value);
        Assert.Equal("renewed", server.RenewIfDue(_clock.GetUtcNow().AddDays(5)).Value);
        Assert.NotEqual(first, server.Certificate.Thumbprint);
    }

    [Fact]
    public void ServerIdentity_NamesFileEditedBeyondTheConstraints_SaysSoAtStart()
    {
        File.AppendAllText(Path.Combine(_folder, InitBundle.NamesFile), "dns elsewhere.example\n");
        using var bundle = IdentityBundle.Load(_folder, _clock.GetUtcNow()).Value;
        var verdict = ServerIdentity.Create(bundle, _clock.GetUtcNow(), RandomNumberGenerator.Fill);
        Assert.Equal(TrustProblemCode.NameConstraint, verdict.Problem?.Code);
        Assert.Contains("agentmetal init", verdict.Problem?.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(InitBundle.IntermediateKey)]
    [InlineData(InitBundle.KeyEncryptionKey)]
    public void Bundle_SecretOpenToOthers_IsRefusedWithTheFix(string file)
    {
        File.SetUnixFileMode(Path.Combine(_folder, file), UnixFileMode.UserRead | UnixFileMode.GroupRead);
        Assert.Contains("chmod 600", IdentityBundle.Load(_folder, _clock.GetUtcNow()).Problem?.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(InitBundle.RootCertificate)]
    [InlineData(InitBundle.IntermediateCertificate)]
    [InlineData(InitBundle.IntermediateKey)]
    [InlineData(InitBundle.ApproverSetFile)]
    [InlineData(InitBundle.KeyEncryptionKey)]
    [InlineData(InitBundle.NamesFile)]
    public void Bundle_FileMissingOrGarbage_IsAProblemNotAnException(string file)
    {
        var path = Path.Combine(_folder, file);
        File.WriteAllText(path, "garbage");
        Assert.False(IdentityBundle.Load(_folder, _clock.GetUtcNow()).IsTrusted);
        File.Delete(path);
        Assert.Contains(file, IdentityBundle.Load(_folder, _clock.GetUtcNow()).Problem?.Message, StringComparison.Ordinal);
    }

    private async ValueTask<JoinToken> TokenAsync(string? name = null, Dictionary<string, string>? labels = null) =>
        (await _tokens.CreateAsync(name, labels ?? s_none, TimeSpan.FromHours(1), Cancel)).Value;

    private ValueTask<Verdict<Enrolled>> JoinAsync(JoinToken token, ECDsa key, string name = "edge-1") => _enrollment.JoinAsync(Attempt(token, key, name), Cancel);

    private static JoinAttempt Attempt(JoinToken token, ECDsa key, string name = "edge-1") =>
        new() { TokenId = token.Id, TokenSecret = token.Secret, Csr = SigningRequest.Create(key, name), Name = name };

    private static X509Certificate2 Certificate(Enrolled enrolled) => X509CertificateLoader.LoadCertificate(enrolled.Chain[0]);

    private void Write(IReadOnlyList<BundleFile> files)
    {
        foreach (var file in files)
        {
            File.WriteAllBytes(Path.Combine(_folder, file.Path), file.Bytes);
            File.SetUnixFileMode(Path.Combine(_folder, file.Path), file.Mode);
        }
    }

    private static string Text(IReadOnlyList<BundleFile> files, string name) => System.Text.Encoding.ASCII.GetString(files.Single(f => f.Path == name).Bytes);
}
