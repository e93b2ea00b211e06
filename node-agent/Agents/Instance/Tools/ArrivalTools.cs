using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Begins to take a machine from the host where it is. It stays that one's until it has let go.</summary>
internal sealed class Receive(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PeerArgs>("receive", InstanceJson.Default.PeerArgs, scope, actuator, Kind.Receive)
{
    public override IEnumerable<Move<PeerArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.MoveFrom is not { } from) yield break;
        if (state.Hypervisor != Hypervisor.Ok) yield return Move.Wait<PeerArgs>(state.Hypervisor);
        else if (state.Offer != FactValue.Absent) yield return Move.Wait<PeerArgs>("it was handed over from here, and that is not over yet", InstanceDifferences.Soon);
        else if (state.Domain != FactValue.Absent || state.Data != Stored.None || state.Dir == DirIs.Others) yield return Move.Wait<PeerArgs>($"there is a machine or a disk of it here that did not come from {from.NodeName}: look at {Scope.Layout.Dir}");
        else yield return Move.DoThenLook(new PeerArgs(from.NodeUid, from.NodeName), 2, difference.Text);
    }

    public override Footprint Touches(InstanceState state, PeerArgs args) => new([InstanceFacts.Domain, InstanceFacts.Data, InstanceFacts.Dir, InstanceFacts.Offer], [InstanceFacts.Receipt]);
    public override InstanceState Predict(InstanceState state, PeerArgs args) => state with { Receipt = Way.Of(Way.Receiving, args.Node) };
    public override InstanceState During(InstanceState state, PeerArgs args) => state;
    public override Assessment Assess(InstanceState state, PeerArgs args) => Moderate("receive");
    public override Undo Inverse(InstanceState before, PeerArgs args) => Undo.Keep("what has come is removed when the move is called off");
    public override Timing Timing(PeerArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(PeerArgs args) => $"take the machine with its disks from {args.Name}";

    public override ValueTask ApplyAsync(PeerArgs args, ToolContext context)
    {
        if (Scope.Goal?.MoveFrom is not { } from || from.NodeUid != args.Node) throw new WorldException("it comes from another host by now: plan again");
        Actuator.Receive(from);
        return default;
    }
}

/// <summary>Notes that the machine is this host's, which its source has said over their own connection. Only then is it defined and started.</summary>
internal sealed class TakeOver(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PeerArgs>("take-over", InstanceJson.Default.PeerArgs, scope, actuator, Kind.Arrive)
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    public override IEnumerable<Move<PeerArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.WayIn == Way.Held && state.Peer == Way.Released) yield return Move.DoThenLook(new PeerArgs(Way.NodeOf(state.Receipt), goal.MoveFrom?.NodeName ?? ""), 2, difference.Text);
        else if (goal.MoveFrom?.NodeUid != Way.NodeOf(state.Receipt)) yield return Move.Wait<PeerArgs>("it has not come whole, and does not come any more: move it here again, or delete it", InstanceDifferences.Soon);
        else yield return Move.Wait<PeerArgs>(difference.Text, LookAgain);
    }

    public override Footprint Touches(InstanceState state, PeerArgs args) => new([InstanceFacts.Peer], [InstanceFacts.Receipt]);
    public override InstanceState Predict(InstanceState state, PeerArgs args) => state with { Receipt = Way.Of(Way.Owned, args.Node) };
    public override InstanceState During(InstanceState state, PeerArgs args) => state;
    public override Assessment Assess(InstanceState state, PeerArgs args) => Moderate("take-over");
    public override Undo Inverse(InstanceState before, PeerArgs args) => Undo.Keep("its source has let go: it is this host's");
    public override Timing Timing(PeerArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(PeerArgs args) => $"take the machine over: {(args.Name.Length > 0 ? args.Name : args.Node)} has let go of it";

    public override ValueTask ApplyAsync(PeerArgs args, ToolContext context)
    {
        Actuator.TakeOver();
        return default;
    }
}

/// <summary>
/// Ends the receiving of a machine that is not wanted here any more. As long as nothing was confirmed the source has all of it. After that only the source
/// knows whether it let go: unless it says that it did not, a person decides.
/// </summary>
internal sealed class Drop(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<WayArgs>("drop", InstanceJson.Default.WayArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<WayArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null && difference.Subject == Part.Receipt && state.WayIn is Way.Receiving or Way.Held) yield return Move.Do(new WayArgs(Way.Of(state.Peer == Way.Declined ? Way.Declined : state.WayIn, Way.NodeOf(state.Receipt))), 15, difference.Text);
    }

    public override Footprint Touches(InstanceState state, WayArgs args) => new([], [InstanceFacts.Receipt, InstanceFacts.Peer]);
    public override InstanceState Predict(InstanceState state, WayArgs args) => state with { Receipt = Way.Of(Way.Dropped, Way.NodeOf(args.Record)), Peer = FactValue.Absent };
    public override InstanceState During(InstanceState state, WayArgs args) => state;
    public override Assessment Assess(InstanceState state, WayArgs args) => Way.PhaseOf(args.Record) == Way.Held ? new(RiskLevel.Dangerous, ["data-loss", "source-may-have-let-go"], LosesData: true) : Moderate("remove");
    public override Undo Inverse(InstanceState before, WayArgs args) => Undo.Keep("it is where it was");
    public override Timing Timing(WayArgs args) => Within(TimeSpan.FromMinutes(3));
    public override string Describe(WayArgs args) => Way.PhaseOf(args.Record) == Way.Held ? "drop what came from another host, which may have let go of it" : "drop what has come from another host so far: it is still there";
    public override ValueTask ApplyAsync(WayArgs args, ToolContext context) => Actuator.DropAsync(Way.PhaseOf(args.Record) == Way.Receiving ? ReceiptPhase.Receiving : ReceiptPhase.Held, context.Stop);
}

/// <summary>Forgets where a machine came from.</summary>
internal sealed class CloseReceipt(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<WayArgs>("close-receipt", InstanceJson.Default.WayArgs, scope, actuator, Kind.Receipt, Kind.Present)
{
    public override IEnumerable<Move<WayArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (difference.Kind == Kind.Present && (goal is not null || difference.Subject != Part.Receipt)) yield break;
        if (state.WayIn is not (Way.Owned or Way.Dropped)) yield break;
        // Disks of which is remembered that they are only a copy go as that.
        if ((goal is null || state.WayIn == Way.Dropped) && state.Data != Stored.None) yield return Move.Wait<WayArgs>("its disks go first");
        else yield return Move.DoThenLook(new WayArgs(state.Receipt), 35, difference.Text);
    }

    public override Footprint Touches(InstanceState state, WayArgs args) => new([InstanceFacts.Data], [InstanceFacts.Receipt, InstanceFacts.Peer]);
    public override InstanceState Predict(InstanceState state, WayArgs args) => state with { Receipt = FactValue.Absent, Peer = FactValue.Absent };
    public override InstanceState During(InstanceState state, WayArgs args) => state;
    public override Assessment Assess(InstanceState state, WayArgs args) => Assessment.Safe;
    public override Undo Inverse(InstanceState before, WayArgs args) => Undo.Keep("nothing rests on it any more");
    public override Timing Timing(WayArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(WayArgs args) => "forget where it came from";

    public override ValueTask ApplyAsync(WayArgs args, ToolContext context)
    {
        Actuator.CloseReceipt();
        return default;
    }
}
