using System.Security.Cryptography;
using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class ApprovalTests : IDisposable
{
    private static readonly string s_node = new('1', 32);
    private static readonly string s_step = new('a', 64);
    private static readonly string s_otherStep = new('b', 64);
    private static readonly ApprovalScope s_scope = new(s_node, "r-1");

    private readonly ECDsa _alice = P256.Generate();
    private readonly ECDsa _bob = P256.Generate();
    private readonly ECDsa _mallory = P256.Generate();

    public void Dispose()
    {
        _alice.Dispose();
        _bob.Dispose();
        _mallory.Dispose();
    }

    [Fact]
    public void Judge_ApprovedByOneOfOne_IsApproved()
    {
        var outcome = Judge(Set(1), Sign(_alice));
        Assert.True(outcome.IsApproved);
        Assert.Single(outcome.Counted);
    }

    [Fact]
    public void Verify_ReplayedToAnotherNodeOrResource_IsWrongScope()
    {
        var approval = Sign(_alice);
        Assert.Equal(TrustProblemCode.WrongScope, approval.Verify(s_scope with { NodeUid = new string('2', 32) }, Set(1), Fleet.Now).Problem?.Code);
        Assert.Equal(TrustProblemCode.WrongScope, approval.Verify(s_scope with { ResourceUid = "r-2" }, Set(1), Fleet.Now).Problem?.Code);
        // And when the thief rewrites the scope to fit:
        var moved = new string('2', 32);
        Assert.Equal(TrustProblemCode.BadSignature, (approval with { NodeUid = moved }).Verify(s_scope with { NodeUid = moved }, Set(1), Fleet.Now).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, (approval with { ResourceUid = "r-2" }).Verify(s_scope with { ResourceUid = "r-2" }, Set(1), Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void Judge_ApprovalOfOtherSteps_DoesNotCount()
    {
        var outcome = ApprovalRule.Judge(s_otherStep, [Sign(_alice)], s_scope, Set(1), Fleet.Now);
        Assert.False(outcome.IsApproved);
        Assert.Equal(TrustProblemCode.WrongScope, Assert.Single(outcome.Ignored).Code);
    }

    [Fact]
    public void Verify_KeyOutsideTheSet_IsUnknownKey() =>
        Assert.Equal(TrustProblemCode.UnknownKey, Sign(_mallory).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);

    [Fact]
    public void Verify_KeyIdOfSomebodyElse_IsBadSignature() =>
        Assert.Equal(TrustProblemCode.BadSignature, (Sign(_mallory) with { KeyId = P256.KeyId(_alice) }).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);

    [Fact]
    public void Verify_AtItsExpiry_IsExpired()
    {
        var approval = Sign(_alice);
        Assert.True(approval.Verify(s_scope, Set(1), Fleet.Now.AddHours(1).AddMilliseconds(-1)).IsTrusted);
        Assert.Equal(TrustProblemCode.Expired, approval.Verify(s_scope, Set(1), Fleet.Now.AddHours(1)).Problem?.Code);
    }

    [Fact]
    public void Verify_WallClockFellBack_StaysExpiredByTrustedTime()
    {
        var approval = Sign(_alice);
        var persisted = Fleet.Now.AddHours(2);
        Assert.True(approval.Verify(s_scope, Set(1), Fleet.Now).IsTrusted);
        Assert.Equal(TrustProblemCode.Expired, approval.Verify(s_scope, Set(1), TrustedTime.Now(Fleet.Now, persisted)).Problem?.Code);
    }

    [Fact]
    public void Verify_ValidForTooLong_IsRefused() =>
        Assert.Equal(TrustProblemCode.NotYetValid, Sign(_alice, life: TimeSpan.FromDays(8)).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);

    [Fact]
    public void Verify_SetHasEnded_IsExpired() =>
        Assert.Equal(TrustProblemCode.Expired, Sign(_alice).Verify(s_scope, Set(1) with { NotAfterUnixMs = Fleet.Now.ToUnixTimeMilliseconds() }, Fleet.Now).Problem?.Code);

    [Fact]
    public void Verify_DerSignature_IsBadSignature()
    {
        var approval = Sign(_alice);
        var der = _alice.SignData([1, 2, 3], HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence);
        Assert.Equal(TrustProblemCode.BadSignature, (approval with { Signature = der }).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void Judge_ThresholdOfTwo_NeedsTwoDifferentApprovers()
    {
        Assert.Equal(TrustProblemCode.ThresholdNotMet, Judge(Set(2), Sign(_alice)).Problem?.Code);
        Assert.Equal(TrustProblemCode.ThresholdNotMet, Judge(Set(2), Sign(_alice), Sign(_alice), Sign(_alice, reason: "again")).Problem?.Code);
        Assert.Equal(TrustProblemCode.ThresholdNotMet, Judge(Set(2), Sign(_alice), Sign(_mallory)).Problem?.Code);
        Assert.True(Judge(Set(2), Sign(_alice), Sign(_bob)).IsApproved);
    }

    [Fact]
    public void Judge_OneDenial_OutweighsAnyNumberOfApprovals()
    {
        var outcome = Judge(Set(1), Sign(_alice), Sign(_bob, ApprovalDecision.Deny));
        Assert.False(outcome.IsApproved);
        Assert.Equal(TrustProblemCode.Denied, outcome.Problem?.Code);
        Assert.True(Judge(Set(1), Sign(_alice), Sign(_mallory, ApprovalDecision.Deny)).IsApproved);
    }

    [Fact]
    public void Judge_DenialTurnedIntoApproval_DoesNotCount() =>
        Assert.False(Judge(Set(1), Sign(_alice, ApprovalDecision.Deny) with { Decision = ApprovalDecision.Approve }).IsApproved);

    [Fact]
    public void Verify_AnyFieldChanged_IsRefused()
    {
        var approval = Sign(_alice, steps: [s_step, s_otherStep]);
        Assert.True(approval.Verify(s_scope, Set(1), Fleet.Now).IsTrusted);
        var set = Set(1);
        Gen.Select(Gen.Int[0, 6], Gen.Int[0, 63], Gen.Int[1, 255]).Sample((field, at, with) =>
        {
            var changed = Change(approval, field, at, (byte)with);
            var scope = new ApprovalScope(changed.NodeUid, changed.ResourceUid);
            return !changed.Verify(scope, set, Fleet.Now).IsTrusted;
        }, iter: 3000);
    }

    [Fact]
    public void Verify_HashesOutOfOrderOrTwice_IsMalformed()
    {
        var approval = Sign(_alice, steps: [s_step, s_otherStep]);
        Assert.Equal(TrustProblemCode.Malformed, (approval with { StepHashes = [s_otherStep, s_step] }).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);
        Assert.Equal(TrustProblemCode.Malformed, (approval with { StepHashes = [s_step, s_step] }).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);
        Assert.Equal(TrustProblemCode.Malformed, (approval with { StepHashes = [] }).Verify(s_scope, Set(1), Fleet.Now).Problem?.Code);
    }

    [Fact]
    public void Verify_HostileExpiry_IsAnAnswerNotAnException()
    {
        Assert.False((Sign(_alice) with { ExpiresUnixMs = long.MaxValue }).Verify(s_scope, Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { ExpiresUnixMs = long.MinValue }).Verify(s_scope, Set(1), Fleet.Now).IsTrusted);
        Assert.False((Sign(_alice) with { Reason = "\ud800" }).Verify(s_scope, Set(1), Fleet.Now).IsTrusted);
    }

    [Fact]
    public void HeldPlan_SignedByItsNode_IsTrustedAndNothingElseIs()
    {
        using var fleet = new Fleet();
        using var certificate = fleet.Node(_alice);
        var node = Assert.IsType<PeerIdentity.Node>(fleet.Verify(certificate, PeerRole.Node).Value);
        var claim = new HeldPlanClaim
        {
            NodeUid = node.Uid,
            Assignment = $"{node.Uid}/Redis/r-1/0",
            PlanHash = s_step,
            StepHashes = [s_step, s_otherStep],
            CreatedUnixMs = Fleet.Now.ToUnixTimeMilliseconds(),
            ExpiresUnixMs = Fleet.Now.AddMinutes(15).ToUnixTimeMilliseconds(),
        };
        var signature = claim.Sign(_alice);
        TrustProblemCode? Code(HeldPlanClaim c, byte[] s, DateTimeOffset now) => c.Verify(node, certificate, s, now).Problem?.Code;
        Assert.Null(Code(claim, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim with { StepHashes = [s_step] }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim with { PlanHash = s_otherStep }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim with { Assignment = "x" }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim with { CreatedUnixMs = 0 }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim with { ExpiresUnixMs = claim.ExpiresUnixMs + 1 }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.WrongScope, Code(claim with { NodeUid = s_node }, signature, Fleet.Now));
        Assert.Equal(TrustProblemCode.BadSignature, Code(claim, claim.Sign(_mallory), Fleet.Now));
        Assert.Equal(TrustProblemCode.Expired, Code(claim, signature, Fleet.Now.AddMinutes(15)));
    }

    private static SignedApproval Change(SignedApproval approval, int field, int at, byte with) => field switch
    {
        0 => approval with { StepHashes = [Flip(approval.StepHashes[0], at, with), approval.StepHashes[1]] },
        1 => approval with { StepHashes = [approval.StepHashes[at % 2]] },
        2 => approval with { ResourceUid = approval.ResourceUid + (char)('a' + (with % 26)) },
        3 => approval with { NodeUid = Flip(approval.NodeUid, at % 32, with) },
        4 => approval with { ExpiresUnixMs = approval.ExpiresUnixMs - with },
        5 => approval with { Reason = approval.Reason + (char)with },
        _ => approval with { Signature = [.. approval.Signature.Select((b, i) => i == at ? (byte)(b ^ with) : b)] },
    };

    private static string Flip(string hex, int at, byte with)
    {
        var chars = hex.ToCharArray();
        var next = "0123456789abcdef"[with % 16];
        chars[at] = next == chars[at] ? 'c' : next;
        return new string(chars);
    }

    private static ApprovalOutcome Judge(ApproverSet set, params SignedApproval[] approvals) => ApprovalRule.Judge(s_step, approvals, s_scope, set, Fleet.Now);

    private static SignedApproval Sign(ECDsa key, ApprovalDecision decision = ApprovalDecision.Approve, string reason = "known and wanted", TimeSpan? life = null, string[]? steps = null) =>
        SignedApproval.Sign(key, decision, steps ?? [s_step], "r-1", s_node, Fleet.Now + (life ?? TimeSpan.FromHours(1)), reason);

    private ApproverSet Set(int threshold) => new()
    {
        Version = 1,
        NotAfterUnixMs = Fleet.Now.AddDays(30).ToUnixTimeMilliseconds(),
        Threshold = threshold,
        Keys =
        [
            new ApproverKey { Name = "alice", Spki = _alice.ExportSubjectPublicKeyInfo() },
            new ApproverKey { Name = "bob", Spki = _bob.ExportSubjectPublicKeyInfo() },
        ],
    };
}
