using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Makes a snapshot: disks, and the memory of a machine that runs, which stands still meanwhile.</summary>
internal sealed class CreateSnapshot(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<SnapshotArgs>("create-snapshot", InstanceJson.Default.SnapshotArgs, scope, actuator, Kind.Snapshot, Kind.Before)
{
    public override IEnumerable<Move<SnapshotArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        var change = difference.Kind == Kind.Before;
        if (Snapshottable.WhyNot(state) is { } why) yield return Move.Wait<SnapshotArgs>(why, state.Power is Power.Stopping or Power.Suspended ? InstanceDifferences.Soon : null);
        else if (change && NotReady(goal, state, toStart: false, goal.Config) is { } first) yield return Move.Wait<SnapshotArgs>(first);
        else if (state.Snapshots.ContainsKey(difference.Subject)) yield return Move.Wait<SnapshotArgs>($"snapshot {difference.Subject} is another's or an earlier one's, and goes first");
        else yield return Move.Do(new SnapshotArgs(difference.Subject, change ? SnapshotOwner.Change : SnapshotOwner.Schedule, SizesOf(state)), 7, difference.Text);
    }

    public override Footprint Touches(InstanceState state, SnapshotArgs args) =>
        new([InstanceFacts.Domain, InstanceFacts.Power, InstanceFacts.Config, InstanceFacts.Live, .. state.Disks.Keys.Select(InstanceFacts.Disk)], [InstanceFacts.Snapshot(args.Name)]);

    public override InstanceState Predict(InstanceState state, SnapshotArgs args) => state with { Snapshots = state.Snapshots.SetItem(args.Name, Of(state, args)) };
    public override InstanceState During(InstanceState state, SnapshotArgs args) => state;
    public override Assessment Assess(InstanceState state, SnapshotArgs args) => Moderate("snapshot");
    public override Undo Inverse(InstanceState before, SnapshotArgs args) => Undo.By(new("delete-snapshot", System.Text.Json.JsonSerializer.Serialize(new DropArgs(args.Name, DeleteSnapshot.Over), InstanceJson.Default.DropArgs)));
    public override Timing Timing(SnapshotArgs args) => Within(TimeSpan.FromMinutes(30));
    public override string Describe(SnapshotArgs args) => $"make snapshot {args.Name} (disks, and memory if it runs; the guest stands still meanwhile)";
    public override ValueTask ApplyAsync(SnapshotArgs args, ToolContext context) => Actuator.CreateSnapshotAsync(args, context.Stop);

    private static SnapshotInfo Of(InstanceState s, SnapshotArgs args) => new(args.Owner, s.Power, s.Config, s.Live, SnapshotInfo.ParseSizes(args.Sizes)) { ConfigXml = s.ConfigXml };

    private static string SizesOf(InstanceState s)
    {
        var sizes = SnapshotInfo.NoSizes;
        foreach (var (name, disk) in s.DiskStates) sizes = sizes.SetItem(name, disk.Size);
        return SnapshotInfo.Text(sizes);
    }
}

/// <summary>Deletes a snapshot that the agent made for itself: an old one of the schedule, or one whose change is over. Others are not its to delete.</summary>
internal sealed class DeleteSnapshot(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DropArgs>("delete-snapshot", InstanceJson.Default.DropArgs, scope, actuator, Kind.Retention, Kind.After)
{
    public const string Retention = "retention", Over = "change-over", Stale = "stale", Gone = "instance-deleted";

    public override IEnumerable<Move<DropArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (!state.Snapshots.TryGetValue(difference.Subject, out var snapshot)) yield break;
        if (goal is null && state.Power != Power.Off) yield return Move.Wait<DropArgs>("it is stopped first");
        else if (goal is null) yield return Move.Do(new DropArgs(difference.Subject, Gone), 15, difference.Text);
        else if (state.Power is Power.Stopping or Power.Suspended) yield return Move.Wait<DropArgs>($"it is {state.Power}", InstanceDifferences.Soon);
        else yield return Move.Do(new DropArgs(difference.Subject, difference.Kind == Kind.Retention ? Retention : snapshot.Owner == SnapshotOwner.Stale || IsToCome(goal, state) ? Stale : Over), 6, difference.Text);
    }

    /// <summary>Whether what runs still is what it was before the change: then a snapshot of it is one of an earlier try.</summary>
    private static bool IsToCome(InstanceGoal goal, InstanceState s) => s.IsUp && goal.Config is { } config && Aspect.Between(s.Live, config.Aspects()).Any();

    /// <summary>A change is over when what runs is what it brought: the snapshot before one that waits for a signature waits with it.</summary>
    public override Footprint Touches(InstanceState state, DropArgs args) => new(args.Why == Over ? [InstanceFacts.Domain, InstanceFacts.Live] : [InstanceFacts.Domain], [InstanceFacts.Snapshot(args.Name)]);
    public override InstanceState Predict(InstanceState state, DropArgs args) => state with { Snapshots = state.Snapshots.Remove(args.Name) };
    public override InstanceState During(InstanceState state, DropArgs args) => state;

    /// <summary>The spec said how many are kept, so one less is what was asked for. Only what the agent made for itself is ever less than Dangerous.</summary>
    public override Assessment Assess(InstanceState state, DropArgs args) =>
        state.Snapshots.TryGetValue(args.Name, out var snapshot) && SnapshotOwner.IsPolicy(snapshot.Owner) ? Moderate(args.Why) : new(RiskLevel.Dangerous, ["data-loss"], LosesData: true);

    public override Undo Inverse(InstanceState before, DropArgs args) => Undo.Keep("what it held is in the disks, or was to go");
    public override Timing Timing(DropArgs args) => Within(TimeSpan.FromMinutes(10));
    public override string Describe(DropArgs args) => $"delete snapshot {args.Name} ({args.Why})";
    public override ValueTask ApplyAsync(DropArgs args, ToolContext context) => Actuator.DeleteSnapshotAsync(args.Name, context.Stop);
}

/// <summary>Puts the machine back to a snapshot: disks, memory and definition as they were. What was written since is lost.</summary>
internal sealed class RevertSnapshot(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<RevertArgs>("revert-snapshot", InstanceJson.Default.RevertArgs, scope, actuator, Kind.Trial, Kind.Request)
{
    public override IEnumerable<Move<RevertArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        var asked = Requests.Asked(goal, InstanceRequest.Revert);
        if (difference.Kind == Kind.Request && asked is null) yield break;
        var name = difference.Kind == Kind.Trial ? "before-" + difference.Subject : asked!.Snapshot;
        if (WhyNot(state, name, difference) is { } why) yield return Move.Wait<RevertArgs>(why, Requests.Soon(state));
        // What comes after is another machine: it is looked at before anything is planned for it.
        else yield return Move.DoThenLook(difference.Kind == Kind.Trial ? new RevertArgs(name, difference.Subject, "", VolumesIn(goal, state, name)) : new RevertArgs(name, "", asked!.Id, VolumesIn(goal, state, name)), 8, difference.Text);
    }

    /// <summary>Volumes that have the snapshot too and go back with the machine: internal snapshots are of all disks or none.</summary>
    internal static string VolumesIn(InstanceGoal goal, InstanceState s, string name) =>
        string.Join(" and ", goal.Disks.Where(d => d.Volume.Length > 0 && s.Snapshots.TryGetValue(name, out var snapshot) && snapshot.Config.ContainsKey(Aspect.Disk + d.Path)).Select(d => d.Volume));

    private string? WhyNot(InstanceState s, string name, Difference difference)
    {
        if (s.Domain == FactValue.Absent) return "libvirt does not know the machine: it has no snapshots";
        if (s.Power is Power.Stopping or Power.Suspended) return $"it is {s.Power}";
        if (difference.Kind == Kind.Request && s.Trial != FactValue.Absent) return "a change is on trial";
        if (s.Snapshots.TryGetValue(name, out var snapshot))
            return snapshot.Owner != SnapshotOwner.Nobody ? null : $"snapshot {name} was not made by this agent, which does not know what it holds: virsh snapshot-revert, or name another in spec.request.snapshot";
        return difference.Kind == Kind.Trial ? $"{difference.Text}; its snapshot {name} is gone: when the machine is as it should be, remove {Scope.Layout.Trial} on its host"
            : $"it has no snapshot {name}; it has {(s.Snapshots.IsEmpty ? "none" : string.Join(", ", s.Snapshots.Keys.Take(8)))}: name another in spec.request.snapshot";
    }

    public override Footprint Touches(InstanceState state, RevertArgs args) => new([InstanceFacts.Domain, InstanceFacts.Snapshot(args.Name)],
        [InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Config, InstanceFacts.Trial, InstanceFacts.Hung, .. args.TakesBack.Length > 0 ? [InstanceFacts.Reverted] : Array.Empty<string>(), .. args.Request.Length > 0 ? [InstanceFacts.Request] : Array.Empty<string>(),
         .. state.Snapshots.TryGetValue(args.Name, out var s) ? s.Sizes.Keys.Where(state.Disks.ContainsKey).Select(InstanceFacts.Disk) : []]);

    public override InstanceState Predict(InstanceState state, RevertArgs args)
    {
        if (!state.Snapshots.TryGetValue(args.Name, out var to)) return state;
        var s = state with { Power = to.Power, Live = to.Live, Config = to.Config, ConfigXml = to.ConfigXml, Trial = FactValue.Absent, TrialOver = "", Detail = "", Addresses = [], Cause = "", Hung = FactValue.Absent };
        if (args.TakesBack.Length > 0) s = s with { Reverted = args.TakesBack };
        if (args.Request.Length > 0) s = s with { Request = args.Request };
        foreach (var (name, size) in to.Sizes)
            if (s.DiskStates.TryGetValue(name, out var disk) && disk with { Size = size } is var back) s = s with { DiskStates = s.DiskStates.SetItem(name, back), Disks = s.Disks.SetItem(name, back.ToString()) };
        return s;
    }

    public override InstanceState During(InstanceState state, RevertArgs args) => state.Off();
    public override Assessment Assess(InstanceState state, RevertArgs args) => new(RiskLevel.Dangerous, ["data-loss", "revert"], LosesData: true);
    public override Undo Inverse(InstanceState before, RevertArgs args) => Undo.Impossible("what was written since the snapshot is lost");
    public override Timing Timing(RevertArgs args) => Within(TimeSpan.FromMinutes(10));
    public override string Describe(RevertArgs args) => $"put the machine back to snapshot {args.Name}: what was written since is lost{(args.Volumes.Length > 0 ? ", also on volume " + args.Volumes : "")}";
    public override ValueTask ApplyAsync(RevertArgs args, ToolContext context) => Actuator.RevertSnapshotAsync(args, context.Stop);
}
