using System.Collections.Immutable;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>How far a member is on its way.</summary>
internal enum MoveStage
{
    /// <summary>It goes, or is about to.</summary>
    Going,

    /// <summary>Both hosts have said so: it is where it belongs, and its source has nothing of it.</summary>
    Finished,

    /// <summary>It belongs elsewhere by now, and its source still has it.</summary>
    CalledOff,
}

/// <summary>A member on its way.</summary>
/// <param name="From">Node uid.</param>
/// <param name="To">Node uid.</param>
/// <param name="Stage">How far.</param>
internal sealed record Moving(string From, string To, MoveStage Stage)
{
    public string Belongs => Stage == MoveStage.CalledOff ? From : To;
}

/// <summary>
/// Members that a person wants on another host. While one moves there are two assignments of it, of which at most one may run it, and that is the hosts'
/// own affair: the source lets go, the target learns that from the source. Nothing here decides it, so nothing here can make two of it.
/// </summary>
internal static class PlacementMove
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(30);

    /// <summary>Whether this member moves, or why it stays although it belongs elsewhere. Pure.</summary>
    public static (Moving? Move, string? Stays) Of(PlacementGoal goal, PlacementState state, int ordinal, ImmutableSortedDictionary<string, HostView> room)
    {
        List<MemberView> all = [.. state.Members.Values.Where(m => m.Ordinal == ordinal)];
        List<MemberView> present = [.. all.Where(m => !m.Absent)];
        if (present.Find(t => t.MoveFrom is { } from && present.Exists(s => s.Node == from.Node && s != t)) is { } target) return (UnderWay(goal, state, present.Find(s => s.Node == target.MoveFrom!.Node)!, target), null);
        if (goal.Shape.Node.Length == 0 || present is not [var member] || state.Hosts.GetValueOrDefault(member.Node) is not { } source || source.Name == goal.Shape.Node) return (null, null);
        if (!goal.Shape.CanMove) return (null, $"a {goal.Kind} is not handed over from host to host");
        if (goal.Shape.WhyItStays.Length > 0) return (null, goal.Shape.WhyItStays);
        if (goal.Beside.FirstOrDefault(o => o.Bond is Bond.Stays or Bond.Follows) is { } bound) return (null, $"it belongs beside {bound.Key}, which does not go with it");
        // What the last move left behind goes first: one at a time.
        if (all.Count > 1) return (null, $"{PlacementAgent.NameOf(state, all.Find(m => m.Absent)!.Node)} has not yet given up what it had of it");
        if (room.Values.FirstOrDefault(h => h.Name == goal.Shape.Node) is not { } to) return (null, $"no host is named {goal.Shape.Node}");
        if (PlacementAim.Fits(goal, to) is { } unfit) return (null, $"{to.Name} {unfit}");
        if (goal.Shape.Hypervisor && to.NoHypervisor) return (null, $"{to.Name} says that nothing runs virtual machines there");
        if (source.Standing != Standing.Open) return (null, $"{source.Name}, which has it, is away");
        if (source.TransferPort == 0 || to.TransferPort == 0) return (null, $"{(to.TransferPort == 0 ? to : source).Name} runs a build that hands nothing over");
        if (PlacementRoom.WhyNone(goal, to) is { } full) return (null, full);
        return goal.Unresolved.IsEmpty ? (new(member.Node, to.Uid, MoveStage.Going), null) : (null, null);
    }

    /// <summary>What waits for the hosts.</summary>
    public static IEnumerable<Runtime.Planning.Difference> Differences(PlacementGoal? goal, PlacementState state)
    {
        foreach (var (ordinal, move) in goal?.Moves ?? ImmutableSortedDictionary<int, Moving>.Empty)
        {
            if (state.Members.GetValueOrDefault(Placement.KeyOf(move.From, ordinal)) is not { Absent: false } source) continue;
            if (move.Stage != MoveStage.Going || state.Members.GetValueOrDefault(Placement.KeyOf(move.To, ordinal)) is not { Absent: false }) continue;
            if (goal!.Unresolved.IsEmpty && PlacementAgent.Stale(goal, state, source) is { } stale) yield return stale;
            yield return new("moving", source.Key, $"member {ordinal} is on its way from {PlacementAgent.NameOf(state, move.From)} to {PlacementAgent.NameOf(state, move.To)}") { ClearsAfter = LookAgain };
        }
    }

    /// <summary>The source of a move that goes on: it is neither wanted where it is nor released.</summary>
    public static bool IsLeaving(PlacementGoal? goal, MemberView member) => goal?.Moves.GetValueOrDefault(member.Ordinal) is { Stage: MoveStage.Going } move && move.From == member.Node;

    /// <summary>Where this member is told that it comes from: for as long as anything of it is there.</summary>
    public static PeerView? From(PlacementGoal goal, PlacementState state, string node, int ordinal)
    {
        var from = goal.Moves.GetValueOrDefault(ordinal) is { } move && move.To == node ? move.From : state.Members.GetValueOrDefault(Placement.KeyOf(node, ordinal))?.MoveFrom?.Node;
        return from is not null && state.Members.ContainsKey(Placement.KeyOf(from, ordinal)) ? PeerAt(state, from, ordinal) : null;
    }

    /// <summary>Where this member is told that it goes.</summary>
    public static PeerView? To(PlacementGoal goal, PlacementState state, string node, int ordinal) =>
        goal.Moves.GetValueOrDefault(ordinal) is { Stage: not MoveStage.CalledOff } move && move.From == node ? PeerAt(state, move.To, ordinal) : null;

    private static PeerView PeerAt(PlacementState state, string node, int ordinal) => PlacementAgent.PeerAt(state, ordinal, node, state.Hosts.GetValueOrDefault(node)?.TransferPort ?? 0);

    private static Moving UnderWay(PlacementGoal goal, PlacementState state, MemberView source, MemberView target)
    {
        var letGo = source.HandedOver == target.Node;
        if (letGo && target.Received == source.Node) return new(source.Node, target.Node, MoveStage.Finished);
        // A mind that changes after the source let go changes too late: it arrives first, and then it is a move back.
        var wanted = letGo || goal.Shape.Node.Length == 0 || PlacementAgent.NameOf(state, target.Node) == goal.Shape.Node;
        return new(source.Node, target.Node, wanted ? MoveStage.Going : MoveStage.CalledOff);
    }
}
