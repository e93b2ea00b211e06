using System.Security.Cryptography;
using AgentMetal.Runtime.Trust;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>The ordered record: what the decisions of several approvers together say, whatever way they came.</summary>
public sealed class ApprovalRuleTests : IDisposable
{
    private static readonly string s_node = new('1', 32);
    private static readonly string s_step = new('a', 64);
    private static readonly ApprovalScope s_scope = new(s_node, "r-1");
    private static readonly DateTimeOffset s_now = Fleet.Now;

    private readonly ECDsa[] _keys = [P256.Generate(), P256.Generate(), P256.Generate()];

    public void Dispose()
    {
        foreach (var key in _keys) key.Dispose();
    }

    [Fact]
    public void Judge_ApproveAfterDeny_RevivesIt() => Assert.True(Judge(1, Deny(0, 1), Yes(0, 2)).IsApproved);

    [Fact]
    public void Judge_DenyAfterApprove_TakesItBack() => Assert.Equal(TrustProblemCode.Denied, Judge(1, Yes(0, 1), Deny(0, 2)).Problem?.Code);

    [Fact]
    public void Judge_EqualPlaces_AreTheDenial() => Assert.Equal(TrustProblemCode.Denied, Judge(1, Yes(0, 1), Deny(0, 1)).Problem?.Code);

    [Fact]
    public void Judge_OlderApprovalReplayedAfterDenial_DoesNotWin() => Assert.False(Judge(1, Deny(0, 5), Yes(0, 4, minutes: 600)).IsApproved);

    [Fact]
    public void Judge_DenialThatRanOut_FreesNothingAndAsksAnew()
    {
        var outcome = ApprovalRule.Judge(s_step, [Deny(0, 1, minutes: 1), Yes(1, 2, minutes: 60)], s_scope, Set(1), s_now.AddMinutes(2));
        Assert.False(outcome.IsApproved);
        Assert.True(outcome.AskAnew);
        Assert.False(ApprovalRule.Judge(s_step, [Yes(0, 1, minutes: 60), Deny(0, 2, minutes: 1)], s_scope, Set(1), s_now.AddMinutes(2)).IsApproved);
    }

    [Fact]
    public void Judge_GivenWhileAnotherDenied_DoesNotComeIntoForceWhenThatIsTakenBack()
    {
        Assert.Equal(TrustProblemCode.ThresholdNotMet, Judge(2, Deny(0, 1), Yes(1, 2), Yes(0, 3)).Problem?.Code);
        Assert.True(Judge(2, Deny(0, 1), Yes(0, 3), Yes(1, 4)).IsApproved);
        Assert.True(Judge(2, Yes(1, 0 + 1), Deny(0, 2), Yes(0, 3)).IsApproved);
    }

    [Fact]
    public void Judge_FormWithoutOrder_CountsAsBeforeAndNeverBesideAnOrderedWord()
    {
        Assert.True(Judge(1, Yes(0, 0)).IsApproved);
        Assert.Equal(TrustProblemCode.Denied, Judge(1, Yes(0, 0), Deny(1, 0)).Problem?.Code);
        Assert.False(Judge(1, Yes(0, 0), Deny(0, 7, minutes: 1)).IsApproved);
        Assert.Equal(TrustProblemCode.ThresholdNotMet, Judge(2, Yes(1, 0), Deny(0, 7), Yes(0, 8)).Problem?.Code);
        // Nobody can say whether such a denial came before: it stands until it ends.
        Assert.Equal(TrustProblemCode.Denied, Judge(1, Deny(0, 0), Yes(0, 9)).Problem?.Code);
    }

    [Fact]
    public void Effect_OfWhatDoesNothing_SaysWhyAndUntilWhen()
    {
        Assert.True(Effect(Yes(0, 1)).Counts);
        Assert.True(Effect(Deny(0, 2), Yes(0, 1)).Counts);
        Assert.True(Effect(Yes(0, 3), Deny(0, 2)).Counts);
        var denied = Effect(Yes(1, 3), Deny(0, 2));
        Assert.False(denied.Counts);
        Assert.Contains("k0 denied it until " + ApprovalRule.When(s_now.AddHours(1).ToUnixTimeMilliseconds(), s_now), denied.Why, StringComparison.Ordinal);
        Assert.False(Effect(Yes(0, 1), Deny(0, 2)).Counts);
        Assert.False(Effect(Deny(0, 1), Yes(0, 2)).Counts);
        Assert.Contains("expired", ApprovalRule.Effect(s_step, Yes(0, 1), [], s_scope, Set(1), s_now.AddHours(2)).Why, StringComparison.Ordinal);
    }

    [Fact]
    public void NextIssue_WithAClockThatWentBack_IsLaterThanAllThatIsKnown()
    {
        var ahead = Yes(0, 100);
        Assert.Equal(Ms(100) + 1, ApprovalRule.NextIssue(Ms(1), ahead.KeyId, [ahead, Yes(1, 200)]));
        Assert.Equal(Ms(300) + 1, ApprovalRule.NextIssue(Ms(1), ahead.KeyId, [ahead], Ms(300)));
        Assert.Equal(Ms(400), ApprovalRule.NextIssue(Ms(400), ahead.KeyId, [ahead], Ms(300)));
    }

    [Fact]
    public void Verify_PlaceChanged_IsRefused()
    {
        Assert.Equal(TrustProblemCode.BadSignature, (Yes(0, 5) with { IssuedUnixMs = Ms(6) }).Verify(s_scope, Set(1), s_now).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, (Yes(0, 5) with { IssuedUnixMs = 0 }).Verify(s_scope, Set(1), s_now).Problem?.Code);
        Assert.Equal(TrustProblemCode.BadSignature, (Yes(0, 0) with { IssuedUnixMs = Ms(6) }).Verify(s_scope, Set(1), s_now).Problem?.Code);
    }

    /// <summary>Any order, doubles and delays of the same signed records end the same, and what is denied by somebody's last word is never approved.</summary>
    [Fact]
    public void Judge_AnyOrderAndDoubles_GiveOneOutcome()
    {
        var (approved, denied) = (0, 0);
        var pool = Pool();
        Gen.Select(Gen.Int[0, pool.Length - 1].Array[1, 7], Gen.Int[0, 1 << 30], Gen.Int[1, 3], Gen.Int[0, 90]).Sample((picks, seed, threshold, minutes) =>
        {
            var records = picks.Select(i => pool[i]).ToArray();
            var at = s_now.AddMinutes(minutes);
            var first = ApprovalRule.Judge(s_step, records, s_scope, Set(threshold), at);
            var dice = new Random(seed);
            SignedApproval[] mixed = [.. records.Concat(records.Where(_ => dice.Next(2) == 0)).OrderBy(_ => dice.Next())];
            var second = ApprovalRule.Judge(s_step, mixed, s_scope, Set(threshold), at);
            if (first.IsApproved) Interlocked.Increment(ref approved);
            else if (first.DeniedUntil is not null) Interlocked.Increment(ref denied);
            return first.IsApproved == second.IsApproved && first.DeniedUntil == second.DeniedUntil && first.AskAnew == second.AskAnew && first.Problem?.Message == second.Problem?.Message
                && (!first.IsApproved || (Yesses(records, at) >= threshold && !Denied(records, at)));
        }, iter: 4000);
        Assert.True(approved > 100 && denied > 100, $"{approved} approved, {denied} denied");
    }

    /// <summary>A host takes what comes, in any order and at any time, and refuses what has no effect: what it refused never counts, nothing becomes approved by time alone, and it never
    /// approves what all the signed records together do not.</summary>
    [Fact]
    public void Judge_WhatWasRefused_NeverFiresLater()
    {
        var (approved, refusals) = (0, 0);
        var pool = Pool();
        Gen.Select(Gen.Select(Gen.Int[0, pool.Length - 1], Gen.Int[0, 20]).Array[1, 8], Gen.Int[1, 3]).Sample((steps, threshold) =>
        {
            var (set, at) = (Set(threshold), s_now);
            List<SignedApproval> all = [], taken = [];
            HashSet<SignedApproval> refused = [];
            foreach (var (pick, wait) in steps)
            {
                var before = ApprovalRule.Judge(s_step, taken, s_scope, set, at);
                at = at.AddMinutes(wait);
                var waited = ApprovalRule.Judge(s_step, taken, s_scope, set, at);
                if (!before.IsApproved && waited.IsApproved) return false;
                if (waited.AskAnew) return true; // The step's hash is another from here on.
                var one = pool[pick];
                all.Add(one);
                if (refused.Contains(one)) continue;
                if (ApprovalRule.Effect(s_step, one, taken, s_scope, set, at).Recorded) taken.Add(one);
                else if (!taken.Contains(one)) { refused.Add(one); Interlocked.Increment(ref refusals); }
                var now = ApprovalRule.Judge(s_step, taken, s_scope, set, at);
                if (now.IsApproved) Interlocked.Increment(ref approved);
                if (now.IsApproved && !ApprovalRule.Judge(s_step, all, s_scope, set, at).IsApproved) return false;
                if (now.Counted.Any(refused.Contains)) return false;
            }
            return true;
        }, iter: 4000);
        Assert.True(approved > 50 && refusals > 100, $"{approved} approved, {refusals} refused");
    }

    private SignedApproval[] Pool() => [.. from key in Enumerable.Range(0, 3) from place in Enumerable.Range(0, 6) from minutes in (int[])[10, 80]
                                           from decision in (ApprovalDecision[])[ApprovalDecision.Approve, ApprovalDecision.Approve, ApprovalDecision.Deny]
                                           select Sign(key, decision, place, minutes)];

    // What must hold of an approved step, said in another way than the rule does.
    private static int Yesses(SignedApproval[] records, DateTimeOffset at) => records.GroupBy(r => r.KeyId).Count(g =>
        g.Any(r => r.Decision == ApprovalDecision.Approve && !r.IsOver(at)) && g.OrderBy(r => r.IssuedUnixMs).ThenBy(r => r.Decision).Last().Decision == ApprovalDecision.Approve);

    private static bool Denied(SignedApproval[] records, DateTimeOffset at) =>
        records.GroupBy(r => r.KeyId).Any(g => g.OrderBy(r => r.IssuedUnixMs).ThenBy(r => r.Decision).Last() is var last && last.Decision == ApprovalDecision.Deny && !last.IsOver(at));

    private static long Ms(int place) => s_now.ToUnixTimeMilliseconds() + place;

    private SignedApproval Yes(int key, int place, int minutes = 60) => Sign(key, ApprovalDecision.Approve, place, minutes);

    private SignedApproval Deny(int key, int place, int minutes = 60) => Sign(key, ApprovalDecision.Deny, place, minutes);

    /// <param name="place">0 = the form without an order.</param>
    private SignedApproval Sign(int key, ApprovalDecision decision, int place, int minutes) =>
        SignedApproval.Sign(_keys[key], decision, [s_step], "r-1", s_node, place == 0 ? 0 : Ms(place), s_now.AddMinutes(minutes), "");

    private ApprovalOutcome Judge(int threshold, params SignedApproval[] given) => ApprovalRule.Judge(s_step, given, s_scope, Set(threshold), s_now);

    private DecisionEffect Effect(SignedApproval one, params SignedApproval[] recorded) => ApprovalRule.Effect(s_step, one, recorded, s_scope, Set(1), s_now);

    private ApproverSet Set(int threshold) => new()
    {
        Version = 1,
        NotAfterUnixMs = s_now.AddDays(30).ToUnixTimeMilliseconds(),
        Threshold = threshold,
        Keys = [.. _keys.Select((k, i) => new ApproverKey { Name = "k" + i, Spki = k.ExportSubjectPublicKeyInfo() })],
    };
}
