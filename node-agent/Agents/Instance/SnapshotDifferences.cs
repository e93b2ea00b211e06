using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>What is not as wanted of a machine's snapshots, and of changes that are tried.</summary>
internal static class SnapshotDifferences
{
    public static IEnumerable<Difference> Of(InstanceGoal goal, InstanceState s) => goal.NeedsSnapshots && s.Domain == Owner.Ours ? [.. OfSchedule(goal, s), .. OfChange(goal, s)] : [];

    /// <summary>One that stands still changes nothing that the last snapshot would not have.</summary>
    private static IEnumerable<Difference> OfSchedule(InstanceGoal goal, InstanceState s)
    {
        if (!goal.Spec.Snapshots.Scheduled || s.Slot == FactValue.Absent) yield break;
        if (s.IsUp && !s.Snapshots.ContainsKey(s.Slot)) yield return new(Kind.Snapshot, s.Slot, "a snapshot is due");
        foreach (var name in SnapshotSchedule.TooMany(s, goal.Spec.Snapshots.Keep)) yield return new(Kind.Retention, name, $"{name} is older than the {goal.Spec.Snapshots.Keep} that are kept");
    }

    private static IEnumerable<Difference> OfChange(InstanceGoal goal, InstanceState s)
    {
        if (Trials.IsTakenBack(goal, s)) yield return new(Kind.Reverted, s.Reverted, $"the change was taken back{s.RevertedText}: change the spec, or raise spec.autoRevert.attempt to try it once more");
        if (s.Trial != FactValue.Absent)
        {
            yield return new(Kind.Trial, s.Trial, $"a change is on trial that nobody follows any more{(s.TrialOver.Length > 0 ? ": " + s.TrialOver : "")}");
            yield break;
        }
        var needed = Trials.IsNeeded(goal, s);
        if (needed && !Trials.HasBefore(goal, s)) yield return new(Kind.Before, Trials.Before(goal), "a change that needs a restart is tried: a snapshot comes first") { Group = InstanceDifferences.Change };
        foreach (var (name, snapshot) in s.Snapshots)
            if (snapshot.Owner == SnapshotOwner.Stale || (snapshot.Owner == SnapshotOwner.Change && !(needed && name == Trials.Before(goal) && Trials.HasBefore(goal, s))))
                yield return new(Kind.After, name, $"the change that {name} was made for is over");
    }
}
