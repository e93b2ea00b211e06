using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Snapshots;
using AgentMetal.Runtime.Planning;
using CsCheck;

namespace AgentMetal.Conformance.Instance;

/// <summary>The node half of Snapshot. Its two tools read or write every fact that there is, so that no state is near another for them: the rule about those has nothing to judge.</summary>
public sealed class SnapshotConformance
{
    private readonly ISuite _suite = new Suite<SnapshotGoal, MomentState>(new SnapshotCases());

    [Fact]
    public void Steps_AnyState_KeepTheirFootprintAndResolveWhatTheyAnswer() => _suite.Plans();

    [Fact]
    public void Plans_AnyState_ReachTheGoalOrSayWhyNot() => _suite.Convergence();

    [Fact]
    public void Plans_ToolsInAnyOrder_AreOnePlan() => _suite.Determinism();

    [Fact]
    public void Steps_ThatLoseData_AreDangerousAndRefusedWhenProtected() => _suite.Danger();

    [Fact]
    public void Steps_AnyState_SurviveTheJournalAndShowNoSecret() => _suite.Texts();

    [Fact]
    public void Differences_EveryKind_IsDeclaredMetAndAnswered() => _suite.Kinds();

    [Fact]
    public void Differences_Changed_AFactChanged() => _suite.Facts();

    [Fact]
    public void Tools_Everyone_IsReachedBySomeSample() => _suite.Tools();

    [Fact]
    public void Timings_AnyStep_AreInOrderAndEnd() => _suite.Timings();

    [Fact]
    public void Journeys_KilledAtEveryBoundary_ReachTheirEndWithEffectsOnce() => _suite.Crashes();
}

internal sealed class SnapshotCases : Samples<SnapshotGoal, MomentState>
{
    private static readonly SnapshotScope s_scope = new() { Name = "monday", Machine = "Instance default/hello", Layout = InstanceLayout.Of("default", "hello", "", 0, new()), Owner = "0123456789abcdef" };
    private static readonly MomentState s_machine = new() { Machine = Moment.Present };
    private static readonly MomentState s_made = s_machine with { Snapshot = Moment.Ours, Made = Moment.Made };

    public override IReadOnlyCollection<string> Kinds { get; } = [MomentKind.Machine, MomentKind.Missing, MomentKind.Taken, MomentKind.Gone, MomentKind.Present];

    public override Gen<Case<SnapshotGoal, MomentState>> Any { get; } = Gen.Select(Often(Moment.Present, Moment.Foreign, FactValue.Absent), Often(Moment.Ok, "it is stopping", FactValue.Unseen("no answer")),
        Often(FactValue.Absent, Moment.Ours, Moment.Others), Often(FactValue.Absent, Moment.Made), Gen.Int[0, 9],
        (machine, can, snapshot, made, going) => Of("", going == 0, new() { Machine = machine, Can = machine == Moment.Present ? can : Moment.Ok, Snapshot = machine == Moment.Present ? snapshot : FactValue.Absent, Made = made }));

    public override IReadOnlyList<Case<SnapshotGoal, MomentState>> Journeys { get; } =
    [
        Of("make", false, s_machine),
        Of("note what was made", false, s_machine with { Snapshot = Moment.Ours }),
        Of("delete", true, s_made),
    ];

    public override bool HoldsData => true;

    public override bool Loses(MomentState before, MomentState after) => before.Snapshot == Moment.Ours && after.Snapshot != Moment.Ours;

    public override MomentState Settle(MomentState s) => s.Can == "it is stopping" ? s with { Can = Moment.Ok } : s;

    public override IEnumerable<MomentState> Between(MomentState a, MomentState b) => [a with { Machine = b.Machine }, a with { Can = b.Can }, a with { Snapshot = b.Snapshot }, a with { Made = b.Made }];

    private static Case<SnapshotGoal, MomentState> Of(string name, bool going, MomentState state)
    {
        return new(name, new SnapshotAgent(s_scope), going ? null : new(s_scope.Name, s_scope.Machine), state, new PlanRequest(new(new string('a', 32), "uid-2", 1), "goal") { Teardown = going });
    }

    private static Gen<string> Often(string usual, params string[] others) => Gen.OneOf([.. Enumerable.Repeat(usual, 5 * others.Length), .. others]);
}
