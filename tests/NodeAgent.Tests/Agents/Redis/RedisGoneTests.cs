using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Members that do not come back: their host was struck off by signature, or they are away for longer than anybody waits.</summary>
public sealed class RedisGoneTests
{
    private const string Memory = """{"replicas":2,"persistence":{"appendonly":false,"save":[]}}""";

    private static RedisState Without(RedisState s, int ordinal, bool isLong = false, bool struck = false) => s with
    {
        Peers = s.Peers.SetItem(ordinal, new(s.Peers[ordinal].Address, struck ? RedisPeerState.StruckOff : Serving.Refused) { IsLong = isLong, IsStruck = struck }),
    };

    [Theory]
    [InlineData(false, false, null)] // It boots, perhaps.
    [InlineData(true, false, RiskLevel.Dangerous)]
    [InlineData(false, true, RiskLevel.Moderate)] // That it is gone, and its data with it, was signed.
    public void Promote_PrimaryAway_WaitsOrIsSignedOrWasSigned(bool isLong, bool struck, RiskLevel? risk)
    {
        var input = Input(1, members: 2);
        var plan = Plan(input, Without(Converged(input, Goal(input)) with { Link = Link.Down }, 0, isLong, struck));
        Assert.Equal(risk, plan.Steps.FirstOrDefault(s => s.Tool == "promote")?.Risk.Level);
    }

    /// <summary>The note of a peer is as old as the last look: what it took since is in no figure, and the text says so.</summary>
    [Fact]
    public void Promote_PrimaryAway_SaysThatItsFigureIsAsOldAsTheNote()
    {
        var input = Input(1, members: 2);
        var state = Without(Converged(input, Goal(input)) with { Link = Link.Down }, 0, isLong: true);
        state = state with { Notes = state.Notes! with { Peers = state.Notes.Peers.SetItem(0, Held(RedisRole.Primary, keys: 0)) } };
        Assert.Contains("member 0 holds and this one does not: no key when that was noted, 2023-11-14 22:13 UTC, and what it took since", Assert.Single(Plan(input, state).Steps).Args, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Gate_PeerThatHeldMoreIsAway_HoldsUnlessItWasStruckOff(bool struck)
    {
        var input = Input(0, members: 2);
        var state = Converged(input, Goal(input)).Down();
        state = Without(state with { Notes = state.Notes! with { Peers = state.Notes.Peers.SetItem(1, Held("x", 'b', 2000)) } }, 1, struck: struck);
        Assert.Equal(struck ? Gate.Up : Gate.Hold, RedisCopies.Judge(state, RedisRole.Primary).Gate);
    }

    /// <summary>Its data is a copy of what is gone: it comes up, and is promoted then.</summary>
    [Fact]
    public void Start_ReplicaOfAStruckPrimary_IsUnsignedAlsoOnceItsNotesForgotIt()
    {
        var input = Input(1, members: 2);
        var state = Without(Converged(input, Goal(input)).Down(), 0, struck: true);
        var steps = Plan(input, state with { Notes = state.Notes! with { CopyOf = "" } }).Steps;
        Assert.Equal([("start", RiskLevel.Moderate), ("promote", RiskLevel.Moderate)], steps.Select(s => (s.Tool, s.Risk.Level)));
    }

    [Fact]
    public void Goal_StruckPeer_IsMarkedAndNoOtherGoal()
    {
        var input = Input();
        var struck = input with { Peers = [.. input.Peers.Select(p => p with { StruckOff = p.Ordinal == 1 })] };
        Assert.Equal([false, true, false], Goal(struck).Members.Select(m => m.Struck));
        Assert.Equal((Goal(input).ConfigText, Goal(input).UnitText), (Goal(struck).ConfigText, Goal(struck).UnitText));
    }

    [Fact]
    public void Notes_OfAMemberWhoseHostWasStruckOff_AreForgottenOnce()
    {
        var input = Input(1, members: 2);
        var notes = Converged(input, Goal(input)).Notes! with { Members = [new(0, "10.0.0.1", 6379), new(1, "10.0.0.2", 6379)] };
        ImmutableArray<StruckPeer> struck = [new(0, "gone", "edge-9"), new(1, "gone", "edge-9")];
        var after = RedisNotebook.Forgotten(notes, struck);
        Assert.Equal((false, "", notes.Own), (after.Peers.ContainsKey(0), after.CopyOf, after.Own));
        // What is noted of the one that was made anew stays.
        var anew = after with { Peers = after.Peers.SetItem(0, Held("x")), CopyOf = "10.0.0.1:6379" };
        Assert.Same(anew, RedisNotebook.Forgotten(anew, struck));
        Assert.True(RedisNotes.Parse(after.Render())!.Gone is ["gone"]);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, true)]
    public void Reconfigure_MemoryOnlyPrimaryWhoseReplicasAreAway_IsSignedAfterAMinute(bool isLong, bool asked)
    {
        var input = Input(spec: Memory.Replace("{\"replicas\"", "{\"databases\":32,\"replicas\"", StringComparison.Ordinal));
        var before = Input(spec: Memory);
        var plan = Plan(input, Without(Without(Converged(before, Goal(before)), 1, isLong), 2, isLong));
        Assert.Equal(asked ? ["reconfigure"] : [], plan.Steps.Select(s => s.Tool));
        if (!asked)
        {
            Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("asked to be signed when it is away for a minute", StringComparison.Ordinal)) && b.RetryAfter is not null);
            return;
        }
        Assert.Equal((RiskLevel.Dangerous, true), (plan.Steps[0].Risk.Level, plan.Steps[0].Risk.LosesData));
        Assert.Contains("all that is only in memory, at most 10 keys", plan.Steps[0].Args, StringComparison.Ordinal);
    }

    /// <summary>The directory went beneath a server that answers, was noted and made anew; then the server died: it came up empty as primary.</summary>
    [Theory]
    [InlineData("{}", Stored.Aof)]
    [InlineData("""{"persistence":{"appendonly":false}}""", Stored.Rdb)]
    public void Gate_FilesGoneBeneathAServerThatLived_AreMissedAlsoWhenItWasNotedWithoutThem(string spec, string data)
    {
        var input = Input(members: 1, spec: spec);
        var state = Converged(input, Goal(input)).Down();
        var notes = state.Notes! with { Files = state.Notes.Files.With(RedisDisk.Nothing) };
        var answer = RedisCopies.Judge(state with { Data = Stored.None, Disk = Disk(Stored.None), Notes = notes }, RedisRole.Primary);
        Assert.Equal((Gate.Hold, "data-missing"), (answer.Gate, answer.Code));
        Assert.Equal(NotedFiles.Of(Disk(data, 77)), notes.Files.With(Disk(data, 77))); // What is there again counts.
    }

    /// <summary>It is primary, another is to be, and that one is away: the restart waited for a hand-over that could not come.</summary>
    [Theory]
    [InlineData(false, false, false)]
    [InlineData(true, false, true)]
    [InlineData(false, true, true)]
    public void Reconfigure_WantedPrimaryIsAway_DoesNotWaitForTheHandoverForEver(bool isLong, bool struck, bool asked)
    {
        var input = Input(1, members: 2, spec: """{"databases":32,"replicas":1,"persistence":{"appendonly":false,"save":[]}}""");
        var before = Input(1, members: 2, spec: """{"replicas":1,"persistence":{"appendonly":false,"save":[]}}""");
        var state = Without(Converged(before, Goal(before), primary: 1), 0, isLong, struck);
        var plan = Plan(input, state);
        Assert.Equal(asked, plan.Steps.Any(s => s is { Tool: "reconfigure", Risk: { Level: RiskLevel.Dangerous, LosesData: true } }));
        if (asked) Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("spec.primary: 1", StringComparison.Ordinal)));
    }
}
