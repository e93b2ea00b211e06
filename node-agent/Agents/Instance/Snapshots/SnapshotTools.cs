using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Snapshots;

/// <param name="Name">Of the snapshot.</param>
/// <param name="Owner">Whose it is.</param>
internal sealed record MomentArgs(string Name, string Owner);

/// <param name="Bytes">That the disks grew by; 0 = not known.</param>
internal sealed record MomentFile(long Bytes);

[JsonSerializable(typeof(MomentArgs)), JsonSerializable(typeof(MomentFile))]
internal sealed partial class MomentJson : JsonSerializerContext;

/// <summary>Makes the snapshot, once.</summary>
internal sealed class MakeSnapshot(SnapshotScope scope, SnapshotActuator? actuator)
    : Tool<SnapshotGoal, MomentState, MomentArgs>("make-snapshot", 1, MomentJson.Default.MomentArgs, MomentKind.Missing, MomentKind.Machine, MomentKind.Taken, MomentKind.Gone)
{
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(5);

    public override IEnumerable<Move<MomentArgs>> Propose(SnapshotGoal? goal, MomentState state, Difference difference)
    {
        if (goal is null) yield break;
        // A machine that is not here yet may come; one that had the snapshot does not bring it back.
        if (difference.Kind != MomentKind.Missing) yield return Move.Wait<MomentArgs>(difference.Text, difference.Kind == MomentKind.Machine && state.Made != Moment.Made ? s_soon : null);
        else if (state.Can != Moment.Ok) yield return Move.Wait<MomentArgs>(state.Can, state.Can.StartsWith("it is ", StringComparison.Ordinal) ? s_soon : null);
        else yield return Move.Do(new MomentArgs(scope.Name, scope.Owner), 10, difference.Text);
    }

    public override Footprint Touches(MomentState state, MomentArgs args) => new(SnapshotAgent.Reads, SnapshotAgent.Writes);
    public override MomentState Predict(MomentState state, MomentArgs args) => state with { Snapshot = Moment.Ours, Made = Moment.Made };
    public override MomentState During(MomentState state, MomentArgs args) => state with { Snapshot = Moment.Ours };
    public override Assessment Assess(MomentState state, MomentArgs args) => Assessment.Moderate("snapshot");
    public override Undo Inverse(MomentState before, MomentArgs args) => Undo.Keep("a snapshot that was made is kept until its resource is deleted");
    public override Timing Timing(MomentArgs args) => new(TimeSpan.FromMinutes(30), TimeSpan.FromMinutes(30), TimeSpan.FromMilliseconds(500));
    public override string Describe(MomentArgs args) => $"make snapshot {args.Name} of {scope.Machine} (disks, and memory if it runs; the guest stands still meanwhile)";
    public override ValueTask ApplyAsync(MomentArgs args, ToolContext context) => Actuator.MakeAsync(args, context.Stop);

    private SnapshotActuator Actuator => actuator ?? throw new InvalidOperationException($"{Name} was made to plan, not to act.");
}

/// <summary>Deletes the snapshot; what the machine's disks hold now stays.</summary>
internal sealed class DropSnapshot(SnapshotScope scope, SnapshotActuator? actuator)
    : Tool<SnapshotGoal, MomentState, MomentArgs>("drop-snapshot", 1, MomentJson.Default.MomentArgs, MomentKind.Present)
{
    public override IEnumerable<Move<MomentArgs>> Propose(SnapshotGoal? goal, MomentState state, Difference difference)
    {
        if (goal is null && state.Snapshot == Moment.Ours) yield return Move.Do(new MomentArgs(scope.Name, scope.Owner), 10, difference.Text);
    }

    public override Footprint Touches(MomentState state, MomentArgs args) => new(SnapshotAgent.Reads[..1], SnapshotAgent.Writes);
    public override MomentState Predict(MomentState state, MomentArgs args) => state with { Snapshot = FactValue.Absent, Made = FactValue.Absent };
    public override MomentState During(MomentState state, MomentArgs args) => state with { Snapshot = FactValue.Absent };
    public override Assessment Assess(MomentState state, MomentArgs args) => new(RiskLevel.Dangerous, ["data-loss"], LosesData: true);
    public override Undo Inverse(MomentState before, MomentArgs args) => Undo.Impossible("the moment is gone");
    public override Timing Timing(MomentArgs args) => new(TimeSpan.FromMinutes(10), TimeSpan.FromMinutes(10), TimeSpan.FromMilliseconds(500));
    public override string Describe(MomentArgs args) => $"delete snapshot {args.Name} of {scope.Machine}: nobody can go back to it any more";
    public override ValueTask ApplyAsync(MomentArgs args, ToolContext context) => Actuator.DropAsync(args, context.Stop);

    private SnapshotActuator Actuator => actuator ?? throw new InvalidOperationException($"{Name} was made to plan, not to act.");
}
