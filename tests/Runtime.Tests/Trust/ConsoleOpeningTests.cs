using System.Security.Cryptography;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>Who may open a console: what is judged on the host, and what the operator's side judges of the answer.</summary>
public sealed class ConsoleOpeningTests : IDisposable
{
    private const string Resource = "Instance default/hello";
    private static readonly ConsoleScope s_scope = new(new string('a', 32), "uid-1", new string('1', 64));

    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _mallory = P256.Generate();
    private readonly ConsoleSessionKey _session = new();
    private readonly ConsoleSessionKey _host = new();

    public void Dispose()
    {
        _alice.Dispose();
        _mallory.Dispose();
        _session.Dispose();
        _host.Dispose();
    }

    [Fact]
    public void Verify_SignedByAnyOneApprover_NamesWho()
    {
        using var bob = P256.Generate();
        Assert.Equal("alice", Sign().Verify(s_scope, Set(threshold: 2, ("alice", _alice), ("bob", bob)), Fleet.Now).Value.Name);
    }

    [Fact]
    public void Verify_KeyOutsideTheSet_IsRefused()
    {
        Assert.Equal(TrustProblemCode.UnknownKey, Code(Sign(_mallory)));
        Assert.Equal(TrustProblemCode.BadSignature, Code(Sign(_mallory) with { KeyId = P256.KeyId(_alice) }));
    }

    [Fact]
    public void Verify_ForAnotherNodeOrResource_IsRefused()
    {
        Assert.Equal(TrustProblemCode.WrongScope, Code(Sign(scope: s_scope with { NodeUid = new string('b', 32) })));
        Assert.Equal(TrustProblemCode.WrongScope, Code(Sign(scope: s_scope with { ResourceUid = "uid-2" })));
    }

    [Fact]
    public void Verify_OfAnotherSession_IsRefused()
    {
        // A recorded opening meets another nonce, because each session has its own.
        Assert.Contains("one console once", Verify(Sign(scope: s_scope with { Nonce = new string('2', 64) })).Problem?.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, TrustProblemCode.Expired)]
    [InlineData(-1, TrustProblemCode.Expired)]
    [InlineData(61, TrustProblemCode.NotYetValid)]
    public void Verify_OverOrForTooLong_IsRefused(int seconds, TrustProblemCode code) => Assert.Equal(code, Code(Sign(life: seconds)));

    [Fact]
    public void Verify_SetThatEndedOrNone_IsRefused()
    {
        Assert.Equal(TrustProblemCode.Expired, Sign().Verify(s_scope, Set(1, ("alice", _alice)) with { NotAfterUnixMs = Fleet.Now.ToUnixTimeMilliseconds() }, Fleet.Now).Problem?.Code);
        Assert.Equal(TrustProblemCode.UnknownKey, Sign().Verify(s_scope, null, Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void Verify_AnythingChangedAfterSigning_IsRefused()
    {
        using var other = new ConsoleSessionKey();
        var signed = Sign();
        ConsoleOpening[] changed =
        [
            signed with { Force = true }, signed with { SessionKey = other.Spki }, signed with { ExpiresUnixMs = signed.ExpiresUnixMs + 1 },
        ];
        Assert.All(changed, c => Assert.Equal(TrustProblemCode.BadSignature, Code(c)));
        Assert.True(Verify(signed).IsTrusted);
    }

    [Fact]
    public void Verify_ApprovalsSignature_OpensNoConsole()
    {
        // The domain keeps what was signed for one purpose from serving another.
        var approval = SignedApproval.Sign(_alice, ApprovalDecision.Approve, [new string('1', 64)], "uid-1", s_scope.NodeUid, Fleet.Now.AddSeconds(30), "");
        Assert.Equal(TrustProblemCode.BadSignature, Code(Sign() with { Signature = approval.Signature }));
    }

    [Fact]
    public void Verify_SessionKeyThatIsNone_IsMalformed() => Assert.Equal(TrustProblemCode.Malformed, Code(Sign() with { SessionKey = [1, 2, 3] }));

    [Fact]
    public void Answer_OfTheAskedNode_IsTrustedAndNobodyElses()
    {
        using var fleet = new Fleet();
        using var key = P256.Generate();
        using var leaf = fleet.Node(key);
        var node = (PeerIdentity.Node)fleet.Verify(leaf, PeerRole.Node).Value;
        var opening = Sign(scope: s_scope with { NodeUid = node.Uid });
        var answer = ConsoleAnswer.Sign(key, opening, _host.Spki, Resource);
        Assert.True(answer.Verify(node, leaf, opening).IsTrusted);
        using var other = new ConsoleSessionKey();
        Assert.Equal(TrustProblemCode.BadSignature, (answer with { SessionKey = other.Spki }).Verify(node, leaf, opening).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, (answer with { ResourceKey = "Instance default/other" }).Verify(node, leaf, opening).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, answer.Verify(node, leaf, Sign(scope: s_scope with { NodeUid = node.Uid, Nonce = new string('2', 64) })).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, ConsoleAnswer.Sign(_mallory, opening, _host.Spki, Resource).Verify(node, leaf, opening).Problem?.Code);
        // Another node of the same fleet, which signs well with its own key.
        using var neighbour = P256.Generate();
        using var neighbourLeaf = fleet.Node(neighbour, "edge-2");
        var stranger = (PeerIdentity.Node)fleet.Verify(neighbourLeaf, PeerRole.Node).Value;
        Assert.Equal(TrustProblemCode.WrongScope, ConsoleAnswer.Sign(neighbour, opening, _host.Spki, Resource).Verify(stranger, neighbourLeaf, opening).Problem?.Code);
    }

    private ConsoleOpening Sign(ECDsa? key = null, ConsoleScope? scope = null, int life = 30) => ConsoleOpening.Sign(key ?? _alice, scope ?? s_scope, _session.Spki, force: false, Fleet.Now.AddSeconds(life));

    private Verdict<ApproverKey> Verify(ConsoleOpening opening) => opening.Verify(s_scope, Set(1, ("alice", _alice)), Fleet.Now);

    private TrustProblemCode? Code(ConsoleOpening opening) => Verify(opening).Problem?.Code;

    private static ApproverSet Set(int threshold, params (string Name, ECDsa Key)[] keys) => new()
    {
        Version = 1,
        NotAfterUnixMs = Fleet.Now.AddDays(1).ToUnixTimeMilliseconds(),
        Threshold = threshold,
        Keys = [.. keys.Select(k => new ApproverKey { Name = k.Name, Spki = k.Key.ExportSubjectPublicKeyInfo() })],
    };
}
