using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What holds in every state: the conformance list, with unseen, lagging and hung members among the samples.</summary>
public sealed class RedisPropertyTests
{
    private const int Samples = 1500;

    /// <summary>Steps run in the model; what clears by itself clears between plans. Then nothing differs, or the plan says why.</summary>
    [Fact]
    public void Plan_RandomState_ReachesTheGoalOrSaysWhy()
    {
        var (reached, waited) = (0, 0);
        Cases.Sample(c =>
        {
            var (input, state) = c;
            for (var round = 0; round < 12; round++)
            {
                var plan = Plan(input, state);
                if (plan.Outcome == Outcome.Converged) { Interlocked.Increment(ref reached); return; }
                if (plan.Steps.IsEmpty && plan.Outcome is not Outcome.NeedsChoice)
                {
                    Assert.NotEmpty(plan.Blocked);
                    Assert.All(plan.Blocked, b => Assert.All(b.Reasons, r => Assert.False(string.IsNullOrWhiteSpace(r))));
                    Assert.All(plan.Blocked, b => Assert.All(b.Reasons, r => Assert.False(r.StartsWith("no tool resolves", StringComparison.Ordinal) && !b.Difference.StartsWith("adoption", StringComparison.Ordinal), r)));
                    if (Settle(state) is var settled && Same(state, settled)) { Interlocked.Increment(ref waited); return; }
                    state = settled;
                    continue;
                }
                state = Settle(plan.Final);
            }
            Assert.Fail("12 plans did not end: " + string.Join(", ", Plan(input, state).Steps.Select(s => s.Key)));
        }, iter: Samples);
        Assert.True(reached > Samples / 4 && waited > Samples / 50, $"{reached} reached, {waited} waited: the samples show nothing");
    }

    [Fact]
    public void Plan_SameInputs_SameHashWhateverTheOrderOfTools() => Cases.Sample(c =>
    {
        var plan = Plan(c.Input, c.State);
        Assert.Equal(plan.Hash, Plan(c.Input, c.State).Hash);
        Assert.Equal(plan.Hash, Plan(c.Input, c.State, new Shuffled(new RedisAgent(Scope(c.Input)))).Hash);
    }, iter: Samples / 3);

    [Fact]
    public void Step_PredictAndDuring_ChangeOnlyWhatIsWritten()
    {
        var seen = new System.Collections.Concurrent.ConcurrentDictionary<string, int>(StringComparer.Ordinal);
        foreach (var (input, state) in Named()) EachStep(input, state, Check);
        Cases.Sample(c => EachStep(c.Input, c.State, Check), iter: Samples);
        Assert.Equal(new RedisAgent(Scope(Input())).Tools.Select(t => t.Name).Order(), seen.Keys.Order()); // Every tool was met.

        void Check(RedisAgent agent, RedisState before, Proposal<RedisState> call, Step step)
        {
            seen.AddOrUpdate(step.Tool, 1, static (_, n) => n + 1);
            var writes = call.Touches(before).Writes;
            foreach (var after in (RedisState[])[call.Predict(before), call.During(before)])
                foreach (var key in agent.FactKeys(before).Concat(agent.FactKeys(after)).Except(writes))
                    Assert.True(agent.Fact(before, key) == agent.Fact(after, key), $"{step.Key} changes {key} from {agent.Fact(before, key)} to {agent.Fact(after, key)}");
        }
    }

    [Fact]
    public void Step_Inverse_RestoresWhatWasWritten()
    {
        var undone = 0;
        Cases.Sample(c => EachStep(c.Input, c.State, (agent, before, call, step) =>
        {
            if (call.Inverse(before) is not { Kind: UndoKind.Call, Call: { } undo }) return;
            Interlocked.Increment(ref undone);
            var back = agent.Tools.Single(t => t.Name == undo.Tool).Bind(undo.Args);
            foreach (var from in (RedisState[])[call.Predict(before), call.During(before)])
                foreach (var key in call.Touches(before).Writes)
                    Assert.True(agent.Fact(back.Predict(from), key) == agent.Fact(before, key), $"undo of {step.Key}: {key} is {agent.Fact(back.Predict(from), key)}, was {agent.Fact(before, key)}");
        }), iter: Samples);
        Assert.True(undone > Samples, $"only {undone} undos were met");
    }

    [Fact]
    public void Steps_RandomState_NeverMakeTwoPrimariesOrAnEmptyOneBesideData() => Cases.Sample(c => EachStep(c.Input, c.State, (_, before, call, step) =>
    {
        foreach (var after in (RedisState[])[call.Predict(before), call.During(before)])
        {
            Assert.False(Primaries(after) > Math.Max(1, Primaries(before)), step.Key + " makes two primaries");
            if (after.Leads && !before.Leads && after.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some) && step.Tool is "start" or "restart")
                Assert.True(before.Data != Stored.None && RedisSettings.Persists(before.FileSettings), step.Key + " would wipe a replica");
        }
    }), iter: Samples);

    [Fact]
    public void Steps_NoPeerSeen_NoRoleChanges() => Cases.Sample(c =>
    {
        var state = RedisPlanningTests.Isolated(c.State);
        if (state.Peers.IsEmpty || c.Input.Absent) return;
        EachStep(c.Input, state, (_, before, call, step) =>
        {
            Assert.DoesNotContain(step.Tool, (string[])["follow", "promote", "handover"]);
            if (step.Tool is "start" or "restart" && call.Predict(before).Role == RedisRole.Primary)
                Assert.True(before.RoleFile == RedisRole.Primary && RedisRoles.KeepsData(before), step.Key + " leads without having led");
        });
    }, iter: Samples);

    [Fact]
    public void Steps_ThatLoseData_AreDangerousAndRefusedWhenProtected() => Cases.Sample(c =>
    {
        EachStep(c.Input, c.State, (_, _, _, step) => Assert.True(!step.Risk.LosesData || step.Risk.Level == RiskLevel.Dangerous, step.Key));
        Assert.DoesNotContain(Plan(c.Input with { Protect = true }, c.State).Steps, s => s.Risk.LosesData);
    }, iter: Samples / 2);

    [Fact]
    public void Steps_OfARunningMember_TakeTheTurnOfTheResource() => Cases.Sample(c => EachStep(c.Input, c.State, (_, before, _, step) =>
    {
        if (step.Tool is "reconfigure" or "handover" || (step.Tool == "stop" && before.Answers)) Assert.Equal(["redis/uid-1/disruption"], step.Turns);
        if (step.Tool is "start" or "restart") Assert.Empty(step.Turns);
    }), iter: Samples / 2);

    [Fact]
    public void Differences_Changed_AFactChanged()
    {
        var changed = 0;
        Inputs.SelectMany(input => Gen.Select(State(input), State(input), (a, b) => (input, a, b))).Sample(c =>
        {
            // One group of fields at a time, so that most pairs are close.
            foreach (var near in Neighbours(c.a, c.b))
            {
                var agent = new RedisAgent(Scope(c.input));
                var goal = c.input.Absent ? null : Goal(c.input);
                if (Keys(agent, goal, c.a) == Keys(agent, goal, near)) continue;
                Interlocked.Increment(ref changed);
                Assert.Contains(agent.FactKeys(c.a), k => agent.Fact(c.a, k) != agent.Fact(near, k));
            }
        }, iter: Samples / 3);
        Assert.True(changed > Samples / 10, $"only {changed} pairs differed");

        static string Keys(RedisAgent agent, RedisGoal? goal, RedisState state) => string.Join('\n', agent.Differences(goal, state).Select(d => d.Key).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Facts_RandomState_HoldNoSecret() => Cases.Sample(c =>
    {
        var agent = new RedisAgent(Scope(c.Input));
        Assert.DoesNotContain(agent.FactKeys(c.State), k => agent.Fact(c.State, k).Contains(Password, StringComparison.Ordinal));
        Assert.DoesNotContain(Plan(c.Input, c.State).Steps, s => (s.Args + s.Text + s.Why + s.UndoText).Contains(Password, StringComparison.Ordinal));
    }, iter: Samples / 6);

    private static IEnumerable<RedisState> Neighbours(RedisState a, RedisState b) =>
    [
        a with { Package = b.Package }, a with { UnitFile = b.UnitFile, UnitText = b.UnitText }, a with { ConfigFile = b.ConfigFile, ConfigText = b.ConfigText },
        a with { UnitActive = b.UnitActive }, a with { UnitEnabled = b.UnitEnabled }, a with { Serving = b.Serving }, a with { Live = b.Live }, a with { Role = b.Role },
        a with { Peers = b.Peers }, a with { Keys = b.Keys }, a with { Link = b.Link }, a with { DropIns = b.DropIns }, a with { AuthLive = b.AuthLive }, a with { RoleFile = b.RoleFile },
    ];

    private static void EachStep(MemberInput input, RedisState state, Action<RedisAgent, RedisState, Proposal<RedisState>, Step> check)
    {
        var agent = new RedisAgent(Scope(input));
        foreach (var step in Plan(input, state, agent).Steps)
        {
            var call = agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args);
            check(agent, state, call, step);
            state = call.Predict(state);
        }
    }

    private static int Primaries(RedisState s) => (s.Leads ? 1 : 0) + s.Peers.Values.Count(p => p.Leads);

    private static bool Same(RedisState a, RedisState b)
    {
        var agent = new RedisAgent(Scope(Input()));
        return agent.FactKeys(a).All(k => agent.Fact(a, k) == agent.Fact(b, k));
    }

    /// <summary>What the world does by itself: a start ends, a link comes up, an activation is over.</summary>
    private static RedisState Settle(RedisState s)
    {
        if (s.Serving == Serving.Loading) s = s with { Serving = Serving.Hung };
        if (s is { Serving: Serving.Refused, UnitActive: "activating" }) s = s with { UnitActive = "failed" };
        if (s.Answers && s.PeerPrimary is { } p && s.Role == RedisRole.Follows(p.Value.Address)) s = s with { Link = Link.Up };
        return s;
    }

    private sealed class Shuffled(RedisAgent inner) : Agent<RedisGoal, RedisState>
    {
        public override string Name => inner.Name;
        public override ImmutableArray<Tool<RedisGoal, RedisState>> Tools { get; } = [.. inner.Tools.Reverse()];
        public override ImmutableArray<Invariant<RedisGoal, RedisState>> Invariants => inner.Invariants;
        public override IEnumerable<Difference> Differences(RedisGoal? goal, RedisState state) => inner.Differences(goal, state).Reverse();
        public override string Fact(RedisState state, string key) => inner.Fact(state, key);
        public override IEnumerable<string> FactKeys(RedisState state) => inner.FactKeys(state);
        public override string Summary(RedisGoal? goal, RedisState state) => inner.Summary(goal, state);
    }
}
