using System.Collections.Immutable;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Runtime.Planning;
using CsCheck;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Agents;

public sealed class PlacementTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);
    private static readonly PlacementAgent Agent = new(new NoWriter());
    private static readonly Planner<PlacementGoal, PlacementState> Planner = new(Agent);

    private static Gen<T> Pick<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static readonly Gen<HostView> Host =
        from site in Pick("lab", "far")
        from standing in Pick(Standing.Open, Standing.Open, Standing.Open, Standing.Away, Standing.Quarantined)
        from taken in Gen.Bool
        from able in Pick(true, true, true, false)
        select new HostView
        {
            Uid = "",
            Name = "",
            Address = "10.0.0.1",
            Standing = standing,
            Labels = Map(("site", site)),
            Kinds = able ? ["Redis"] : [],
            Ports = taken ? ImmutableSortedDictionary<int, PortHolder>.Empty.Add(6379, new("other", 0, "Redis default/other")) : ImmutableSortedDictionary<int, PortHolder>.Empty,
        };

    private static readonly Gen<PlacementState> Empty =
        from hosts in Host.Array[0, 6]
        select State(hosts.Select((h, i) => h with { Uid = $"n{i}", Name = $"edge-{i}" }));

    private static readonly Gen<PlacementGoal> Goal =
        from replicas in Gen.Int[0, 3]
        from primary in Gen.Int[0, replicas]
        from site in Pick("", "lab")
        from generation in Gen.Int[2, 5]
        select Wanted(1 + replicas, primary, site.Length == 0 ? Map() : Map(("site", site)), generation);

    private static readonly Gen<(PlacementState State, PlacementGoal First, PlacementGoal? Second)> Case =
        from state in Empty
        from first in Goal
        from second in Goal
        from teardown in Pick(false, false, false, true)
        select (state, first, teardown ? null : second with { Generation = first.Generation + 1, SpecHash = "spec-2" });

    [Fact]
    public void Plan_FromAnyStateToAnyGoal_EndsWhereDeclaredOrSaysWhy() => Case.Sample(c =>
    {
        var reached = Run(c.State with { Generation = c.First.Generation }, c.First);
        Check(c.State, reached, c.First);
        var second = Run(reached with { Generation = c.First.Generation + 1 }, c.Second);
        if (c.Second is { } goal) Check(reached, second, goal);
        else Assert.True(second.Members.IsEmpty && !second.Exists);
    }, iter: 400);

    [Fact]
    public void Plan_NeverMovesAMemberThatIsPlaced() => Case.Sample(c =>
    {
        var reached = Run(c.State with { Generation = c.First.Generation }, c.First);
        if (c.Second is not { } goal) return;
        var second = Run(reached with { Generation = goal.Generation }, goal);
        foreach (var member in reached.Members.Values.Where(m => m.Ordinal < goal.Shape.Members))
            Assert.Contains(second.Members.Values, m => m.Ordinal == member.Ordinal && m.Node == member.Node && !m.Absent);
    }, iter: 300);

    [Fact]
    public void Plan_Converged_IsSilent() => Case.Sample(c =>
    {
        var reached = Run(c.State with { Generation = c.First.Generation }, c.First);
        var plan = Plan(reached, c.First);
        Assert.Empty(plan.Steps);
        if (plan.Goal!.NoRoom.IsEmpty && plan.Goal.Misplaced.IsEmpty) Assert.Equal(Outcome.Converged, plan.Outcome);
    }, iter: 200);

    [Fact]
    public void Plan_HostThatReportsBeforeAnybodyLooks_ConfirmsTheStep()
    {
        var state = State([Plain(0)]);
        var step = Assert.Single(Plan(state, Wanted(1, 0, Map(), 1)).Steps);
        var placed = Agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args).Predict(state);
        var reported = placed with { Members = placed.Members.ToImmutableSortedDictionary(m => m.Key, m => m.Value with { Served = 1 }, StringComparer.Ordinal) };
        Assert.All(step.Expect, f => Assert.Equal(f, new(f.Key, Agent.Fact(reported, f.Key))));
    }

    [Fact]
    public void Plan_LabelsThatMatchOneOfThree_SaysSo()
    {
        var state = State([.. Enumerable.Range(0, 3).Select(i => Plain(i) with { Labels = Map(("site", i == 0 ? "lab" : "far")) })]);
        var plan = Plan(state, Wanted(2, 0, Map(("site", "lab")), 1));
        var blocked = Assert.Single(plan.Blocked, b => b.Difference == "no-room:1");
        var why = plan.Goal!.NoRoom[1];
        Assert.Equal("labels site=lab match 1 of 3 hosts; edge-0: has a member already (spread: host)", why);
        Assert.Equal(TimeSpan.FromSeconds(30), blocked.RetryAfter);
        Assert.Equal(["place member 0 on edge-0, port 6379"], plan.Steps.Select(s => s.Text));
    }

    [Fact]
    public void Plan_PortTaken_NamesTheHolder()
    {
        var state = State([Plain(0) with { Ports = ImmutableSortedDictionary<int, PortHolder>.Empty.Add(6379, new("other", 0, "Redis default/cache")) }]);
        Assert.Equal("port 6379 on edge-0 is taken by Redis default/cache", Plan(state, Wanted(1, 0, Map(), 1)).Goal!.NoRoom[0]);
    }

    [Fact]
    public void Plan_HostAway_KeepsItsMemberAndGetsNothingNew()
    {
        var state = Run(State([Plain(0), Plain(1)]), Wanted(1, 0, Map(), 1));
        var at = Assert.Single(state.Members.Values).Node;
        state = state with { Hosts = state.Hosts.SetItem(at, state.Hosts[at] with { Standing = Standing.Away }), Generation = 2 };
        var next = Run(state, Wanted(2, 0, Map(), 2));
        Assert.Contains(next.Members.Values, m => m.Node == at && m is { Absent: false, Ordinal: 0, Generation: 2 });
        Assert.Contains(next.Members.Values, m => m.Node != at && m.Ordinal == 1);
    }

    [Fact]
    public void Plan_ScaleInBeforeTheNewPrimaryServes_ReleasesNothing()
    {
        var state = Run(State([Plain(0), Plain(1), Plain(2)]), Wanted(3, 2, Map(), 1)) with { Generation = 2 };
        var goal = Wanted(1, 0, Map(), 2);
        var plan = Plan(state, goal);
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "release");
        var told = World(plan.Final);
        var released = Plan(told, goal).Steps.Where(s => s.Tool == "release").ToList();
        Assert.Equal(["release member 2 from edge-2", "release member 1 from edge-1"], released.Select(s => s.Text));
    }

    private static void Check(PlacementState before, PlacementState after, PlacementGoal goal)
    {
        var aimed = PlacementAim.Solve(goal, after);
        var present = after.Members.Values.Where(m => !m.Absent).ToList();
        Assert.Equal(present.Count, present.Select(m => m.Node).Distinct().Count());
        Assert.Equal(present.Count, present.Select(m => m.Ordinal).Distinct().Count());
        foreach (var member in present.Where(m => !before.Members.Values.Any(b => b.Node == m.Node && b.Ordinal == m.Ordinal)))
        {
            var host = before.Hosts[member.Node];
            Assert.Equal(Standing.Open, host.Standing);
            Assert.Contains("Redis", host.Kinds);
            Assert.All(goal.Shape.Labels, l => Assert.Equal(l.Value, host.Labels[l.Key]));
            Assert.False(host.Ports.TryGetValue(6379, out var holder) && holder.Resource == "other");
        }
        for (var ordinal = 0; ordinal < goal.Shape.Members; ordinal++)
            Assert.True(present.Exists(m => m.Ordinal == ordinal) != aimed.NoRoom.ContainsKey(ordinal), $"member {ordinal} is neither placed nor explained");
        // Room that is there is used.
        if (!aimed.NoRoom.IsEmpty)
            Assert.DoesNotContain(after.Hosts.Values, h => h.Standing == Standing.Open && h.Kinds.Contains("Redis") && !h.Ports.ContainsKey(6379)
                && goal.Shape.Labels.All(l => h.Labels.TryGetValue(l.Key, out var v) && v == l.Value) && !after.Members.Values.Any(m => m.Node == h.Uid));
        Assert.All(present.Where(m => m.Ordinal < goal.Shape.Members), m => Assert.Equal(goal.Generation, m.Generation));
    }

    /// <summary>Plans, carries out, lets the hosts answer, until nothing more happens.</summary>
    private static PlacementState Run(PlacementState state, PlacementGoal? goal)
    {
        for (var round = 0; round < 30; round++)
        {
            var plan = Plan(state, goal);
            var next = World(plan.Final);
            if (plan.Steps.IsEmpty && next.Equals(state)) return state;
            if (plan.Steps.IsEmpty && Agent.FactKeys(next).All(k => Agent.Fact(next, k) == Agent.Fact(state, k))) return next;
            state = next;
        }
        throw new InvalidOperationException("placement does not come to rest");
    }

    /// <summary>What hosts do in time: they serve what they were told, and acknowledge what is to go. One that is away does so when it is back.</summary>
    private static PlacementState World(PlacementState state)
    {
        foreach (var member in state.Members.Values)
            state = state with { Members = state.Members.SetItem(member.Key, member with { Served = member.Absent ? member.Served : member.Generation, Acknowledged = member.Absent }) };
        return state;
    }

    private static Plan<PlacementGoal, PlacementState> Plan(PlacementState state, PlacementGoal? goal) =>
        Planner.Plan(new(new("coordinator", state.ResourceUid, state.Generation), "goal"), goal, state, Attempts.None(Now), [], []);

    private static PlacementState State(IEnumerable<HostView> hosts) => new()
    {
        ResourceUid = "r1",
        ResourceKey = "Redis default/sessions",
        Generation = 1,
        Exists = true,
        Hosts = hosts.ToImmutableSortedDictionary(h => h.Uid, h => h, StringComparer.Ordinal),
        Members = ImmutableSortedDictionary.Create<string, MemberView>(StringComparer.Ordinal),
    };

    private static HostView Plain(int i) => new()
    {
        Uid = $"n{i}",
        Name = $"edge-{i}",
        Address = $"10.0.0.{i + 1}",
        Standing = Standing.Open,
        Labels = Map(),
        Kinds = ["Redis"],
        Ports = ImmutableSortedDictionary<int, PortHolder>.Empty,
    };

    private static PlacementGoal Wanted(int members, int primary, ImmutableSortedDictionary<string, string> labels, long generation) => new()
    {
        Kind = "Redis",
        Generation = generation,
        SpecHash = "spec",
        Protect = false,
        Shape = new() { Members = members, Port = 6379, Primary = primary, Labels = labels, SpreadOverHosts = true },
    };

    private static ImmutableSortedDictionary<string, string> Map(params (string Key, string Value)[] entries) => entries.ToImmutableSortedDictionary(e => e.Key, e => e.Value, StringComparer.Ordinal);

    private sealed class NoWriter : IAssignmentWriter
    {
        public ValueTask PutAsync(MemberArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DropAsync(DropArgs args, CancellationToken stop) => throw new NotSupportedException();
    }
}
