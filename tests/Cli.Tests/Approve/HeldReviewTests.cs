using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Cli.Approve;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Xunit;

namespace AgentMetal.Cli.Tests.Approve;

public sealed class HeldReviewTests : IDisposable
{
    private static readonly CoordinatorNames s_names = new() { Name = "control", DnsNames = ["control.example"] };

    private readonly RootAuthority _root = RootAuthority.Create("lab", DateTimeOffset.UtcNow, RandomNumberGenerator.Fill);
    private readonly CoordinatorAuthority _authority;
    private readonly PinnedRoot _pinned;
    private readonly X509Certificate2 _intermediate;
    private readonly HoldingHost _host;

    public HeldReviewTests()
    {
        using var key = P256.Generate();
        var der = _root.IssueCoordinator(s_names, key.ExportSubjectPublicKeyInfo(), DateTimeOffset.UtcNow, RootAuthority.IntermediateLife, RandomNumberGenerator.Fill).Value;
        _authority = CoordinatorAuthority.Load(key.ExportPkcs8PrivateKeyPem(), der).Value;
        _pinned = PinnedRoot.FromTrustedBytes(_root.CertificateDer).Value;
        _intermediate = X509CertificateLoader.LoadCertificate(der);
        _host = new HoldingHost(_authority);
    }

    public void Dispose()
    {
        _host.Dispose();
        _intermediate.Dispose();
        _pinned.Dispose();
        _authority.Dispose();
        _root.Dispose();
    }

    private Verdict<ReviewedPlan> Review(Held held, DateTimeOffset? now = null) => new HeldReview(_pinned, [_intermediate], now ?? DateTimeOffset.UtcNow).Review(held);

    [Fact]
    public void Review_AsTheHostSignedIt_AsksForTheDangerousStepOnly()
    {
        var reviewed = Review(_host.Hold()).Value;
        Assert.Equal("edge-1", reviewed.Node.Name);
        Assert.Equal([reviewed.StepHashes[1]], reviewed.Asking);
    }

    public static TheoryData<string> HashedFields => [.. Changes.Keys];

    private static readonly Dictionary<string, Action<Step>> Changes = new()
    {
        ["node"] = s => s.NodeUid = "00112233445566778899aabbccddeeff",
        ["resource"] = s => s.ResourceUid = "other",
        ["generation"] = s => s.Generation++,
        ["nonce"] = s => s.Nonce = "nonce-2",
        ["tool"] = s => s.Tool = "stop",
        ["tool version"] = s => s.ToolVersion++,
        ["args"] = s => s.Args = """{"ordinal":1}""",
        ["basis key"] = s => s.Basis[0].Key = "unix",
        ["basis value"] = s => s.Basis[0].Value = "failed",
        ["basis count"] = s => s.Basis.Clear(),
        ["expect value"] = s => s.Expect[0].Value = "x",
        ["expect count"] = s => s.Expect.Add(new Fact { Key = "a", Value = "b" }),
        ["risk"] = s => s.Risk = "Safe",
        ["reasons"] = s => s.RiskReasons.RemoveAt(0),
        ["loses data"] = s => s.LosesData = false,
        ["undo kind"] = s => s.Undo.Kind = "Keep",
        ["undo tool"] = s => s.Undo.Tool = "restore",
        ["undo args"] = s => s.Undo.Args = "{}",
        ["hash"] = s => s.Hash = new string('0', 64),
    };

    [Theory]
    [MemberData(nameof(HashedFields))]
    public void Review_AnyHashedFieldChanged_IsRefused(string field)
    {
        var held = _host.Hold();
        Changes[field](held.Plan.Steps[1]);
        Assert.False(Review(held).IsTrusted);
    }

    [Theory]
    [MemberData(nameof(HashedFields))]
    public void Review_FieldChangedAndHashMadeToFit_IsRefusedByTheHostsSignature(string field)
    {
        var held = _host.Hold();
        Changes[field](held.Plan.Steps[1]);
        if (field != "hash") held.Plan.Steps[1].Hash = HeldReview.HashOf(held.Plan.Steps[1]) ?? "";
        Assert.False(Review(held).IsTrusted);
    }

    [Fact]
    public void Review_StepAddedRemovedOrMoved_IsRefused()
    {
        var added = _host.Hold();
        added.Plan.Steps.Add(added.Plan.Steps[1].Clone());
        var removed = _host.Hold();
        removed.Plan.Steps.RemoveAt(0);
        var moved = _host.Hold();
        (moved.Plan.Steps[0], moved.Plan.Steps[1]) = (moved.Plan.Steps[1], moved.Plan.Steps[0]);
        Assert.All([added, removed, moved], h => Assert.Equal(TrustProblemCode.BadSignature, Review(h).Problem?.Code));
    }

    [Fact]
    public void Review_OtherHostsCertificate_IsRefused()
    {
        using var other = new HoldingHost(_authority, "edge-2");
        var held = _host.Hold();
        held.NodeCertificate = other.Hold().NodeCertificate;
        Assert.Equal(TrustProblemCode.WrongScope, Review(held).Problem?.Code);
    }

    [Fact]
    public void Review_HostOfAnotherRoot_IsRefused()
    {
        using var root = RootAuthority.Create("other", DateTimeOffset.UtcNow, RandomNumberGenerator.Fill);
        using var key = P256.Generate();
        var der = root.IssueCoordinator(s_names, key.ExportSubjectPublicKeyInfo(), DateTimeOffset.UtcNow, RootAuthority.IntermediateLife, RandomNumberGenerator.Fill).Value;
        using var authority = CoordinatorAuthority.Load(key.ExportPkcs8PrivateKeyPem(), der).Value;
        using var stranger = new HoldingHost(authority);
        Assert.False(Review(stranger.Hold()).IsTrusted);
    }

    [Fact]
    public void Review_NoCertificateOrGarbage_IsRefused()
    {
        var held = _host.Hold();
        held.NodeCertificate = ByteString.Empty;
        Assert.Equal(TrustProblemCode.Malformed, Review(held).Problem?.Code);
        held.NodeCertificate = ByteString.CopyFromUtf8("garbage");
        Assert.Equal(TrustProblemCode.Malformed, Review(held).Problem?.Code);
    }

    [Fact]
    public void Review_Expired_IsRefused() => Assert.Equal(TrustProblemCode.Expired, Review(_host.Hold(), DateTimeOffset.UtcNow.AddHours(1)).Problem?.Code);

    [Fact]
    public void Review_CalledAnotherKindThanItIs_IsRefused()
    {
        var held = _host.Hold();
        held.ResourceKey = held.Plan.ResourceKey = "Bucket default/sessions";
        Assert.Equal(TrustProblemCode.WrongScope, Review(held).Problem?.Code);
    }

    [Fact]
    public void Review_NoSteps_IsRefused() => Assert.Equal(TrustProblemCode.Malformed, Review(new Held { Plan = new PlanSummary() }).Problem?.Code);
}
