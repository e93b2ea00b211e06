using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What a signature over a loss covers, and what not.</summary>
public sealed class LossTextTests
{
    [Theory]
    [InlineData("only here, at most 98 keys", "only here, at most 98 keys", true)]
    [InlineData("only here, at most 98 keys", "only here, at most 7 keys", true)]
    [InlineData("only here, at most 98 keys", "only here, no key", true)]
    [InlineData("only here, at most 1,100 keys", "only here, at most 1,000 keys", true)]
    [InlineData("only here, at most 98 keys", "only here, at most 99 keys", false)]
    [InlineData("only here, at most 980 keys", "only here, at most 1,000 keys", false)]
    [InlineData("only here, no key", "only here, at most 1 keys", false)]
    [InlineData("only here, at most 98 keys", "only there, at most 7 keys", false)] // Another loss.
    [InlineData("a: at most 98 keys; b: at most 5 keys", "a: at most 5 keys; b: at most 6 keys", false)]
    [InlineData("a: at most 98 keys", "a: at most 8 keys; b: at most 1 keys", false)]
    [InlineData("only here, at most 98 keys", "only here, an unknown number of keys", false)] // What cannot be compared is not signed.
    [InlineData("only here, an unknown number of keys", "only here, at most 1 keys", false)]
    [InlineData("only here, at most 99999999999999999999999999 keys", "only here, at most 1 keys", false)] // No number that fits.
    [InlineData("only here, at most 9,000,000,000,000,000,000 keys", "only here, at most 1 keys", false)]
    [InlineData("only here, at most 98 keys", "only here, at most -1 keys", false)]
    public void Outgrown_TwoTexts_StandsUpToEachFigure(string signed, string now, bool stands) => Assert.Equal(stands, LossText.Outgrown(signed, now) is null);

    [Theory]
    [InlineData(0, "no key")]
    [InlineData(98, "at most 98 keys")]
    [InlineData(-1, "an unknown number of keys")]
    [InlineData(long.MaxValue, "an unknown number of keys")]
    [InlineData(long.MinValue, "an unknown number of keys")]
    public void Keys_OfAnyServer_IsAFigureOrNone(long n, string text) => Assert.Equal(text, AtMost.Keys(n));

    [Theory]
    [InlineData("only here, at most 25 keys", "only here, at most 1,100 keys")]
    [InlineData("only here, at most 10,000 keys", "only here, at most 15,000 keys")]
    [InlineData("a: no key; b: at most 1,000 keys", "a: at most 1,000 keys; b: at most 2,000 keys")]
    [InlineData("all that is here", "all that is here")]
    [InlineData("only here, at most 900,000,000,000,000 keys", "only here, at most 900,000,000,000,000 keys")]
    public void WithRoom_GivesEachFigureMore_AndStaysAnUpperBound(string loss, string text)
    {
        Assert.Equal(text, LossText.WithRoom(loss));
        Assert.Null(LossText.Outgrown(LossText.WithRoom(loss), loss));
    }

    [Theory]
    [InlineData("only here, at most 1,100 keys", 1100L)]
    [InlineData("only here, no key", 0L)]
    [InlineData("only here, an unknown number of keys", null)]
    [InlineData("a: at most 1 keys; b: at most 2 keys", null)]
    public void Most_IsTheOneFigure(string text, long? most) => Assert.Equal(most, LossText.Most(text));

    /// <summary>What the other side holds is told beside the question and is no part of it, however it grows.</summary>
    [Fact]
    public void Follow_KeptSideGrows_AsksTheSame()
    {
        var before = Follow(Forked(own: 25, other: 30));
        var after = Follow(Forked(own: 25, other: 900_000));
        Assert.Equal((before.Args, before.Hash), (after.Args, after.Hash));
        Assert.Contains("900,000", after.Why, StringComparison.Ordinal);
        Assert.Contains("at most 1,100 keys", before.Text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1100, true)]
    [InlineData(1101, false)]
    public void Follow_GivenUpSideGrows_StandsUpToWhatWasShown(long own, bool stands)
    {
        var shown = Follow(Forked(own: 25, other: 30));
        var now = Follow(Forked(own, other: 30), shown);
        Assert.Equal(stands, shown.Hash == now.Hash);
        Assert.Equal(stands ? "" : "signed for at most 1,100 keys, now 1,200 would be lost", now.Outgrown);
    }

    /// <summary>Both sides hold what the other has not: both ways are offered, with what each loses; and what is said of the other way is no part of what is signed.</summary>
    [Fact]
    public void Follow_BothHoldData_OffersTheOtherWayWithItsLoss()
    {
        var step = Follow(Forked(own: 25, other: 30));
        Assert.Contains("the other way, with spec.primary: 1, member 0 is asked to follow: lost then: what only member 0 holds, at most 30 keys", step.Why, StringComparison.Ordinal);
        Assert.DoesNotContain("spec.primary", step.Args, StringComparison.Ordinal);
        // It is there: with that spec this member waits, and the other one's host asks.
        var input = Input(1, primary: 1);
        var plan = Plan(input, Forked(own: 25, other: 30));
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("once a person has signed that there", StringComparison.Ordinal)));
    }

    /// <summary>One that nobody writes to is asked with what it holds.</summary>
    [Fact]
    public void Follow_GivenUpSideRests_AsksForWhatItHolds() => Assert.Contains("at most 25 keys", Follow(Forked(own: 25, other: 30, written: false)).Args, StringComparison.Ordinal);

    [Fact]
    public void Follow_CopyIsNoLongerPossible_IsAnotherQuestion()
    {
        var shown = Follow(Forked(own: 25, other: 30));
        var now = Follow(Forked(own: 25, other: 30) with { HasRoom = false }, shown);
        Assert.NotEqual(shown.Hash, now.Hash);
        Assert.Contains("no copy is kept first", now.Outgrown, StringComparison.Ordinal);
    }

    [Fact]
    public void Follow_ServerThatCannotHoldItsWritesBack_SaysWhatThatCosts()
    {
        var shown = Follow(Forked(own: 25, other: 30));
        var now = Follow(Forked(own: 25, other: 30) with { HoldsWrites = false }, shown);
        Assert.Contains("older than 6.2", now.Args, StringComparison.Ordinal);
        Assert.NotEqual(shown.Hash, now.Hash);
    }

    /// <summary>Nobody leads: what the member that becomes primary holds itself is not what is signed.</summary>
    [Fact]
    public void Promote_KeptSideGrows_AsksTheSame()
    {
        var input = Input(0);
        var (before, after) = (Step(10), Step(500_000));
        Assert.Equal(("promote", RiskLevel.Dangerous), (before.Tool, before.Risk.Level));
        Assert.Equal(before.Hash, after.Hash);
        Assert.Contains("the other way, with spec.primary: 1, member 1 is asked to become primary: lost then: what only this member holds, at most 500,000 keys", after.Why, StringComparison.Ordinal);

        Step Step(long keys)
        {
            var goal = Goal(input);
            var follows = RedisRole.Follows(goal.Members[1].Address);
            var state = Converged(input, goal) with { Role = follows, RoleFile = follows, Link = Link.Down, Own = Held(follows, keys: keys) };
            state = state with { Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value with { Role = RedisRole.Follows("10.9.9.9:1"), Link = Link.Down, Data = Held("x", 'b', keys: 30) }) };
            return Assert.Single(Plan(input, state).Steps, s => s.Tool == "promote");
        }
    }

    private static RedisState Forked(long own, long other, bool written = true)
    {
        var input = Input(1);
        NotedData Data(char history, long offset, long keys) => Held(RedisRole.Primary, history, offset, keys) with { Id2 = History('a'), Offset2 = 1001, Changed = written ? 1_700_000_000 : 1_600_000_000 };
        var state = Converged(input, Goal(input)) with { Role = RedisRole.Primary, Link = FactValue.Absent, Fork = "written", Own = Data('b', 1001 + own, own) };
        state = state with { Notes = state.Notes! with { Own = state.Own } };
        return state with { Peers = state.Peers.SetItem(0, state.Peers[0] with { Data = Held(RedisRole.Primary, offset: 1002 + other, keys: other) }) };
    }

    private static Step Follow(RedisState state, Step? shown = null)
    {
        var input = Input(1);
        var request = Request(input) with { Shown = shown is null ? [] : [new(shown.Tool, shown.Args, shown.Difference)] };
        var step = Assert.Single(new Planner<RedisGoal, RedisState>(new RedisAgent(Scope(input))).Plan(request, Goal(input), state, Attempts.None(Now), [], []).Steps, s => s.Tool == "follow");
        Assert.Equal(RiskLevel.Dangerous, step.Risk.Level);
        return step;
    }
}
