using System.Collections.Immutable;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Runtime.Planning;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Agents;

/// <summary>A machine that a person wants on another host, told step by step, and what keeps it where it is.</summary>
public sealed class PlacementMoveTests
{
    private const long Memory = 1L << 30;
    private static readonly PlacementAgent Agent = new(new NoWriter());
    private static readonly Planner<PlacementGoal, PlacementState> Planner = new(Agent);

    [Fact]
    public void Move_ToANamedHost_TellsBothKeepsRoomOnBothAndLetsTheSourceGoWhenBothSaidSo()
    {
        var state = Told(Placed());
        var (source, target) = (state.Members["n0/0"], state.Members["n1/0"]);
        Assert.Equal(("n1", 7444, null), (source.MoveTo!.Node, source.MoveTo.Port, source.MoveFrom));
        Assert.Equal(("n0", 7444, null), (target.MoveFrom!.Node, target.MoveFrom.Port, target.MoveTo));
        Assert.All(new[] { "n0", "n1" }, n => Assert.Equal(Memory, state.Hosts[n].Holds["r1/0"].MemoryBytes));
        Assert.Equal((source.Node, target.Node), (Assert.Single(source.Peers).Node, Assert.Single(target.Peers).Node));

        // One word is not enough.
        foreach (var one in new[] { Say(state, "n0/0", handedOver: "n1"), Say(state, "n1/0", received: "n0"), Say(Say(state, "n0/0", handedOver: "n2"), "n1/0", received: "n0") })
            Assert.Equal((Outcome.Waiting, 0), (Plan(one, Wanted("edge-1")).Outcome, Plan(one, Wanted("edge-1")).Steps.Length));
        var said = Say(Say(state, "n0/0", handedOver: "n1"), "n1/0", received: "n0");
        Assert.Equal("release", Assert.Single(Plan(said, Wanted("edge-1")).Steps).Tool);
        var released = Plan(said, Wanted("edge-1")).Final;
        Assert.NotNull(released.Members["n1/0"].MoveFrom); // Until nothing is left there.
        var gone = released with { Members = released.Members.SetItem("n0/0", released.Members["n0/0"] with { Acknowledged = true }) };
        var end = Plan(gone, Wanted("edge-1"));
        Assert.Equal(["forget", "update-assignment"], end.Steps.Select(s => s.Tool));
        Assert.Null(Assert.Single(end.Final.Members.Values).MoveFrom);
        Assert.Empty(end.Final.Hosts["n0"].Holds);
    }

    [Fact]
    public void Move_CalledOff_TellsTheSourceFirstAndTheTargetWhenTheSourceHasItAgain()
    {
        var told = Plan(Told(Placed()), Wanted("edge-0", 3));
        Assert.Equal("n0/0", Placement.KeyOf(Assert.Single(told.Steps).Expect[0].Key.Split('/')[1], 0));
        Assert.Null(told.Final.Members["n0/0"].MoveTo);
        Assert.False(told.Final.Members["n1/0"].Absent);
        Assert.Equal(Outcome.Waiting, Plan(told.Final, Wanted("edge-0", 3)).Outcome);
        var served = told.Final with { Members = told.Final.Members.SetItem("n0/0", told.Final.Members["n0/0"] with { Served = 3 }) };
        Assert.True(Plan(served, Wanted("edge-0", 3)).Final.Members["n1/0"].Absent);
    }

    [Fact]
    public void Move_CalledOffAfterTheSourceLetGo_GoesOnThere()
    {
        var late = Say(Told(Placed()), "n0/0", handedOver: "n1");
        Assert.Equal(MoveStage.Going, Plan(late, Wanted("edge-0", 3)).Goal!.Moves[0].Stage);
        Assert.False(Plan(late, Wanted("edge-0", 3)).Final.Members["n1/0"].Absent);
    }

    [Theory]
    [InlineData("edge-9", "no host is named edge-9")]
    [InlineData("edge-2", "edge-2: 512Mi free of 512Mi, wants 1Gi")]
    [InlineData("edge-3", "edge-3 runs a build that hands nothing over")]
    [InlineData("edge-4", "edge-4 is away")]
    public void Move_ToWhereItCannotBe_LeavesItAndSaysWhy(string node, string why)
    {
        var plan = Plan(Placed(), Wanted(node, 1));
        Assert.Empty(plan.Steps);
        Assert.Equal(why, plan.Goal!.Misplaced[0]);
    }

    [Fact]
    public void Move_OfWhatStays_LeavesItAndSaysWhy()
    {
        foreach (var (goal, why) in new[]
        {
            (Shaped(Wanted("edge-1", 1), s => s with { WhyItStays = "it was taken over" }), "it was taken over"),
            (Shaped(Wanted("edge-1", 1), s => s with { CanMove = false }), "a Instance is not handed over from host to host"),
            (Wanted("edge-1", 1) with { Beside = [new("Volume default/data", Bond.Stays, "n0", "")] }, "it belongs beside Volume default/data, which does not go with it"),
        })
            Assert.Equal((0, why), (Plan(Placed(), goal).Steps.Length, Plan(Placed(), goal).Goal!.Misplaced[0]));
    }

    [Fact]
    public void Place_OnANamedHost_GoesThereAndNowhereElse()
    {
        Assert.Equal("n1", Assert.Single(Plan(Hosts(), Wanted("edge-1")).Final.Members.Values).Node);
        Assert.Equal("no host is named edge-9", Plan(Hosts(), Wanted("edge-9")).Goal!.NoRoom[0]);
    }

    private static Plan<PlacementGoal, PlacementState> Plan(PlacementState state, PlacementGoal goal) =>
        Planner.Plan(new(new("coordinator", "r1", goal.Generation), "goal"), goal, state with { Generation = goal.Generation }, Attempts.None(DateTimeOffset.UnixEpoch), [], []);

    private static PlacementState Placed()
    {
        var state = Plan(Hosts(), Wanted("", 1)).Final;
        return state with { Members = state.Members.SetItem("n0/0", state.Members["n0/0"] with { Served = 1 }) };
    }

    private static PlacementState Told(PlacementState placed)
    {
        var plan = Plan(placed, Wanted("edge-1"));
        Assert.Equal(["move", "update-assignment"], plan.Steps.Select(s => s.Tool));
        Assert.Equal("move from edge-0 to edge-1", plan.Steps[0].Text);
        return plan.Final;
    }

    private static PlacementState Say(PlacementState state, string member, string handedOver = "", string received = "") =>
        state with { Members = state.Members.SetItem(member, state.Members[member] with { HandedOver = handedOver, Received = received }) };

    private static PlacementGoal Shaped(PlacementGoal goal, Func<FleetShape, FleetShape> change) => goal with { Shape = change(goal.Shape) };

    private static PlacementGoal Wanted(string node, long generation = 2) => new()
    {
        Kind = "Instance",
        Generation = generation,
        SpecHash = "spec",
        Protect = false,
        Shape = new() { Members = 1, Port = 0, Primary = 0, Labels = ImmutableSortedDictionary<string, string>.Empty, SpreadOverHosts = false, MemoryBytes = Memory, Node = node, CanMove = true },
    };

    private static PlacementState Hosts() => new()
    {
        ResourceUid = "r1",
        ResourceKey = "Instance default/hello",
        Generation = 1,
        Exists = true,
        Hosts = Enumerable.Range(0, 5).Select(i => new HostView
        {
            Uid = $"n{i}",
            Name = $"edge-{i}",
            Address = $"10.0.0.{i + 1}",
            Standing = i == 4 ? Standing.Away : Standing.Open,
            Labels = ImmutableSortedDictionary<string, string>.Empty,
            Kinds = ["Instance"],
            Ports = ImmutableSortedDictionary<int, PortHolder>.Empty,
            TransferPort = i == 3 ? 0 : 7444,
            Allocatable = new(i == 0 ? 8L << 30 : i == 2 ? 512L << 20 : 4L << 30, 2000),
        }).ToImmutableSortedDictionary(h => h.Uid, h => h, StringComparer.Ordinal),
        Members = ImmutableSortedDictionary.Create<string, MemberView>(StringComparer.Ordinal),
    };

    private sealed class NoWriter : IAssignmentWriter
    {
        public ValueTask PutAsync(MemberArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DropAsync(DropArgs args, CancellationToken stop) => throw new NotSupportedException();
    }
}
