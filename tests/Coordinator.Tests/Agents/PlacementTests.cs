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
        from room in Pick<Capacity?>(null, new(1L << 30, 2000), new(4L << 30, 1000), new(3L << 30, 4000))
        from held in Pick(0L, 0L, 1L << 29)
        select new HostView
        {
            Uid = "",
            Name = "",
            Address = "10.0.0.1",
            Standing = standing,
            Labels = Map(("site", site)),
            Kinds = able ? ["Redis"] : [],
            Ports = taken ? ImmutableSortedDictionary<int, PortHolder>.Empty.Add(6379, new("other", 0, "Redis default/other")) : ImmutableSortedDictionary<int, PortHolder>.Empty,
            Allocatable = room,
            Holds = Held(("vm/0", held, 500)),
        };

    private static readonly Gen<PlacementState> Empty =
        from hosts in Host.Array[0, 6]
        select State(hosts.Select((h, i) => h with { Uid = $"n{i}", Name = $"edge-{i}" }));

    private static readonly Gen<PlacementGoal> Goal =
        from replicas in Gen.Int[0, 3]
        from primary in Gen.Int[0, replicas]
        from site in Pick("", "lab")
        from generation in Gen.Int[2, 5]
        from port in Pick(6379, 0)
        from spread in Gen.Bool
        from memory in Pick(0L, 256L << 20, 1L << 30)
        from cpu in Pick(0, 100, 1500)
        from unresolved in Pick(false, false, false, false, true)
        select Shaped(Wanted(1 + replicas, primary, site.Length == 0 ? Map() : Map(("site", site)), generation),
            s => s with { Port = port, SpreadOverHosts = spread, MemoryBytes = memory, CpuMillis = cpu }) with
        { Unresolved = unresolved ? ["spec.disks[0].image: Image default/a does not exist: apply it first"] : [] };

    private static readonly Gen<(PlacementState State, PlacementGoal First, PlacementGoal? Second)> Case =
        from state in Empty
        from first in Goal
        from second in Goal
        from teardown in Pick(false, false, false, true)
        select (state, first, teardown ? null : Shaped(second, s => s with { Port = first.Shape.Port }) with { Generation = first.Generation + 1, SpecHash = "spec-2" });

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
        if (plan.Goal!.NoRoom.IsEmpty && plan.Goal.Misplaced.IsEmpty && plan.Goal.Cramped.IsEmpty && plan.Goal.Unresolved.IsEmpty) Assert.Equal(Outcome.Converged, plan.Outcome);
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
    public void Plan_MemberWithoutAPort_SpeaksOfNoneAndTakesNone()
    {
        var goal = Machine(256L << 20);
        var plan = Plan(State([Roomy(0, 4L << 30)]), goal);
        Assert.Equal(["place on edge-0"], plan.Steps.Select(s => s.Text));
        Assert.Empty(plan.Final.Hosts["n0"].Ports);
        Assert.DoesNotContain(plan.Steps.SelectMany(s => s.Basis.Concat(s.Expect)), f => f.Key.StartsWith("port/", StringComparison.Ordinal) || f.Value.Contains("port=", StringComparison.Ordinal));
        // Another resource's fits beside it, and so does one with a port.
        var beside = plan.Final with { ResourceUid = "r2", Members = plan.Final.Members.Clear() };
        Assert.Equal(["place on edge-0"], Plan(beside, goal).Steps.Select(s => s.Text));
        Assert.Equal(["place member 0 on edge-0, port 6379"], Plan(beside, Wanted(1, 0, Map(), 1)).Steps.Select(s => s.Text));
    }

    [Fact]
    public void Plan_HostsWithoutRoom_SayHowMuchIsFreeOfWhat()
    {
        var state = State([Roomy(0, 4L << 30, held: 2920L << 20), Roomy(1, 1L << 30), Plain(2)]);
        Assert.Equal("edge-0: 1.1Gi free of 4Gi, wants 2Gi; edge-1: 1Gi free of 1Gi, wants 2Gi; edge-2: has not told its memory and cores", Plan(state, Machine(2L << 30)).Goal!.NoRoom[0]);
        Assert.Equal("edge-0: 2 free of 2 cores, wants 2.5", Plan(State([Roomy(0, 4L << 30)]), Machine(1L << 30, 2500)).Goal!.NoRoom[0]);
    }

    [Fact]
    public void Plan_MemberThatReserves_GoesWhereTheLargestShareIsFree()
    {
        var state = State([Roomy(0, 8L << 30, held: 6L << 30), Roomy(1, 2L << 30), Roomy(2, 4L << 30, held: 1L << 30)]);
        Assert.Equal("place on edge-1", Assert.Single(Plan(state, Machine(1L << 30)).Steps).Text);
    }

    [Fact]
    public void Plan_ReservationThatGrowsBeyondItsHost_LeavesTheMemberAsItIsAndSaysSo()
    {
        var state = Run(State([Roomy(0, 2L << 30, held: 1L << 30), Roomy(1, 64L << 30) with { Standing = Standing.Away }]), Machine(1L << 30)) with { Generation = 2 };
        var grown = Machine(2L << 30) with { Generation = 2, SpecHash = "spec-2" };
        var plan = Plan(state, grown);
        Assert.Empty(plan.Steps);
        Assert.Equal("edge-0: 0 free of 2Gi, wants 1Gi more", plan.Goal!.Cramped[0]);
        Assert.Equal(["no-room:0"], plan.Blocked.Select(b => b.Difference));
        // Less is always possible, and so is growing once there is room.
        Assert.Equal("update-assignment", Assert.Single(Plan(state, Machine(1L << 29) with { Generation = 2 }).Steps).Tool);
        var roomier = state with { Hosts = state.Hosts.SetItem("n0", state.Hosts["n0"] with { Holds = state.Hosts["n0"].Holds.Remove("vm/0") }) };
        Assert.Equal(2L << 30, Plan(roomier, grown).Final.Hosts["n0"].Held.MemoryBytes);
    }

    [Fact]
    public void Plan_MemberOnItsWayOut_KeepsItsRoomUntilItIsGone()
    {
        var placed = Run(State([Roomy(0, 4L << 30)]), Machine(1L << 30));
        var leaving = Plan(placed, null).Final;
        Assert.True(Assert.Single(leaving.Members.Values).Absent);
        Assert.Equal(1L << 30, leaving.Hosts["n0"].Held.MemoryBytes);
        var gone = Plan(World(leaving), null).Final;
        Assert.Empty(gone.Members);
        Assert.Equal(0, gone.Hosts["n0"].Held.MemoryBytes);
        Assert.Equal(0, gone.Hosts["n0"].Load);
    }

    [Fact]
    public void Plan_WhatItRefersToIsMissing_PlacesNothingAndTellsNothing()
    {
        const string missing = "spec.disks[0].image: Image default/a does not exist: apply it first";
        var plan = Plan(State([Roomy(0, 4L << 30)]), Machine(1L << 30) with { Unresolved = [missing] });
        Assert.Empty(plan.Steps);
        Assert.Equal([missing], plan.Differences.Select(d => d.Text));
        var placed = Run(State([Roomy(0, 4L << 30)]), Machine(1L << 30)) with { Generation = 2 };
        Assert.Empty(Plan(placed, Machine(2L << 30) with { Generation = 2, SpecHash = "spec-2", Unresolved = [missing] }).Steps);
    }

    [Fact]
    public void Plan_OnlySignaturesAreNew_TellsTheHostAgain()
    {
        var placed = Run(State([Roomy(0, 4L << 30)]), Machine(1L << 30));
        var plan = Plan(placed, Machine(1L << 30) with { Signed = "abc" });
        Assert.Equal("update-assignment", Assert.Single(plan.Steps).Tool);
        Assert.Equal("member 0 on edge-0 has not the newest signatures", Assert.Single(plan.Differences).Text);
    }

    /// <summary>A host without QEMU is given no machine while another one can run it, also when that one is full; where none can, the member says itself what to install.</summary>
    [Fact]
    public void Plan_HostWithoutHypervisor_IsGivenNoMachineWhileAnotherCan()
    {
        var goal = Shaped(Machine(1L << 30), s => s with { Hypervisor = true });
        HostView Bare(int i) => Roomy(i, 8L << 30) with { NoHypervisor = true };
        Assert.Equal("n1", Plan(State([Bare(0), Roomy(1, 2L << 30)]), goal).Goal!.Target[0].Node);
        Assert.Equal("edge-0: has no hypervisor (apt-get install libvirt-daemon-system qemu-system-x86 qemu-utils xorriso, then systemctl restart agentmetald); edge-1: 512Mi free of 512Mi, wants 1Gi",
            Plan(State([Bare(0), Roomy(1, 512L << 20)]), goal).Goal!.NoRoom[0]);
        Assert.Equal("n0", Plan(State([Bare(0)]), goal).Goal!.Target[0].Node);
        Assert.Equal("n0", Plan(State([Bare(0), Roomy(1, 2L << 30)]), Machine(1L << 30)).Goal!.Target[0].Node); // What needs none goes anywhere.
    }

    [Fact]
    public void Plan_BesideAnother_GoesWhereThatIsOrSaysWhyNot()
    {
        var state = State([Roomy(0, 8L << 30), Roomy(1, 2L << 30)]);
        var goal = Machine(1L << 30);
        Assert.Equal("place on edge-0", Assert.Single(Plan(state, goal).Steps).Text);
        foreach (var bond in (Bond[])[Bond.AtFirst, Bond.Stays, Bond.Follows])
        {
            Assert.Equal("place on edge-1", Assert.Single(Plan(state, goal with { Beside = [Near("n1", bond)] }).Steps).Text);
            Assert.Equal("it belongs beside Volume default/data, which has no host yet", Plan(state, goal with { Beside = [Near("", bond)] }).Goal!.NoRoom[0]);
            Assert.Equal("it belongs beside Volume default/data, which is on edge-1; edge-1: 2Gi free of 2Gi, wants 4Gi", Plan(state, Machine(4L << 30) with { Beside = [Near("n1", bond)] }).Goal!.NoRoom[0]);
            Assert.Equal("it belongs beside Volume default/data (on edge-1) and Volume default/data (on edge-0), and those are not on one host",
                Plan(state, goal with { Beside = [Near("n1", bond), Near("n0", bond)] }).Goal!.NoRoom[0]);
        }
    }

    [Fact]
    public void Plan_WhatItIsBesideMoved_OnlyAPartOfItFollows()
    {
        var placed = Run(State([Roomy(0, 4L << 30), Roomy(1, 2L << 30)]), Machine(1L << 30));
        Assert.Equal("n0", Assert.Single(placed.Members.Values).Node);
        Assert.Empty(Plan(placed, Machine(1L << 30) with { Beside = [Near("n1", Bond.AtFirst)] }).Differences);
        var stays = Plan(placed, Machine(1L << 30) with { Beside = [Near("n1", Bond.Stays)] });
        Assert.Empty(stays.Steps);
        Assert.Equal("Volume default/data is on edge-1", stays.Goal!.Misplaced[0]);
        var follows = Machine(1L << 30) with { Beside = [Near("n1", Bond.Follows)] };
        Assert.Equal(["assign", "update-assignment"], Plan(placed, follows).Steps.Select(s => s.Tool)); // Nothing goes before it serves there.
        Assert.Equal("n1", Assert.Single(Run(placed, follows).Members.Values).Node);
        // Not to where it cannot be, and not while nobody knows where.
        Assert.Empty(Plan(placed, follows with { Beside = [Near("", Bond.Follows)] }).Steps);
        var away = placed with { Hosts = placed.Hosts.SetItem("n1", placed.Hosts["n1"] with { Standing = Standing.Away }) };
        Assert.Empty(Plan(away, follows).Steps);
    }

    [Theory]
    [InlineData(1024, 768)] // A quarter at most.
    [InlineData(2048, 1536)]
    [InlineData(4096, 3584)] // 512 MiB.
    [InlineData(16384, 14746)] // A tenth.
    public void Allocatable_KeepsBackForTheHost(long mib, long expected) => Assert.Equal(expected, Capacity.Allocatable(mib << 20, 4).MemoryBytes + (1 << 20) - 1 >> 20);

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
        if (goal.Shape.Port > 0) Assert.Equal(present.Count, present.Select(m => m.Node).Distinct().Count());
        // Nobody is promised what another has; and what one was promised is still there for it.
        Assert.All(after.Hosts.Values.Where(h => h.Allocatable is not null), h => Assert.True(h is { Free: { MemoryBytes: >= 0, CpuMillis: >= 0 } }
            || before.Hosts[h.Uid] is { Free: { } free } && (free.MemoryBytes < 0 || free.CpuMillis < 0), $"{h.Name} promised {h.Held} of {h.Allocatable}"));
        Assert.Equal(present.Count, present.Select(m => m.Ordinal).Distinct().Count());
        foreach (var member in present.Where(m => !before.Members.Values.Any(b => b.Node == m.Node && b.Ordinal == m.Ordinal)))
        {
            var host = before.Hosts[member.Node];
            Assert.Equal(Standing.Open, host.Standing);
            Assert.Contains("Redis", host.Kinds);
            Assert.All(goal.Shape.Labels, l => Assert.Equal(l.Value, host.Labels[l.Key]));
            Assert.False(goal.Shape.Port > 0 && host.Ports.TryGetValue(6379, out var holder) && holder.Resource == "other");
            Assert.True(host.Allocatable is not null || (goal.Shape.MemoryBytes == 0 && goal.Shape.CpuMillis == 0));
            if (goal.Shape.SpreadOverHosts) Assert.DoesNotContain(present, m => m.Node == member.Node && m.Ordinal != member.Ordinal);
        }
        if (!goal.Unresolved.IsEmpty)
        {
            Assert.All(present, m => Assert.Contains(before.Members.Values, b => b.AsFact() == m.AsFact()));
            return;
        }
        for (var ordinal = 0; ordinal < goal.Shape.Members; ordinal++)
            Assert.True(present.Exists(m => m.Ordinal == ordinal) != aimed.NoRoom.ContainsKey(ordinal), $"member {ordinal} is neither placed nor explained");
        // Room that is there is used.
        if (!aimed.NoRoom.IsEmpty)
            Assert.DoesNotContain(after.Hosts.Values, h => h.Standing == Standing.Open && h.Kinds.Contains("Redis") && (goal.Shape.Port == 0 || !h.Ports.ContainsKey(6379))
                && PlacementRoom.WhyNone(goal, h) is null && goal.Shape.Labels.All(l => h.Labels.TryGetValue(l.Key, out var v) && v == l.Value) && !after.Members.Values.Any(m => m.Node == h.Uid));
        Assert.All(present.Where(m => m.Ordinal < goal.Shape.Members && !aimed.Cramped.ContainsKey(m.Ordinal)), m => Assert.Equal(goal.Generation, m.Generation));
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

    private static PlacementGoal Shaped(PlacementGoal goal, Func<FleetShape, FleetShape> change) => goal with { Shape = change(goal.Shape) };

    private static Neighbour Near(string node, Bond bond) => new("Volume default/data", bond, node, node.Length == 0 ? "has no host yet" : "");

    private static PlacementGoal Machine(long memory, int cpu = 100) => Shaped(Wanted(1, 0, Map(), 1), s => s with { Port = 0, SpreadOverHosts = false, MemoryBytes = memory, CpuMillis = cpu });

    private static HostView Roomy(int i, long memory, long held = 0) => Plain(i) with { Allocatable = new(memory, 2000), Holds = Held(("vm/0", held, 0)) };

    private static ImmutableSortedDictionary<string, Hold> Held(params (string Key, long Memory, int Cpu)[] holds) =>
        holds.Where(h => h.Memory > 0).ToImmutableSortedDictionary(h => h.Key, h => new Hold(h.Memory, h.Cpu, Listens: false), StringComparer.Ordinal);

    private static ImmutableSortedDictionary<string, string> Map(params (string Key, string Value)[] entries) => entries.ToImmutableSortedDictionary(e => e.Key, e => e.Value, StringComparer.Ordinal);

    private sealed class NoWriter : IAssignmentWriter
    {
        public ValueTask PutAsync(MemberArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DropAsync(DropArgs args, CancellationToken stop) => throw new NotSupportedException();
    }
}
