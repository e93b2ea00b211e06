using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>
/// Shuts the machine down and lets one other host read it. This is the step that a person signs, for exactly that host: a coordinator that somebody took
/// over cannot have a guest's data sent to a host of its own. What comes after it needs nobody.
/// </summary>
internal sealed class HandOver(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<HandOverArgs>("hand-over", InstanceJson.Default.HandOverArgs, scope, actuator, Kind.HandOver)
{
    public override IEnumerable<Move<HandOverArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.MoveTo is not { } to) yield break;
        if (WhyNot(goal, state) is var (why, soon) && why is not null) yield return Move.Wait<HandOverArgs>(why, soon ? InstanceDifferences.Soon : null);
        else
        {
            var (seconds, force) = StopOf(goal, state);
            yield return Move.DoThenLook(new HandOverArgs(to.NodeUid, to.NodeName, seconds, force, string.Join(',', state.Snapshots.Keys)), 900, difference.Text);
        }
    }

    public override Footprint Touches(InstanceState state, HandOverArgs args) => new([InstanceFacts.Domain, InstanceFacts.Power, InstanceFacts.Autostart, InstanceFacts.Receipt, InstanceFacts.Settled],
        [InstanceFacts.Offer, .. state.IsUp ? new[] { InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Hung } : [], .. state.Autostart == Yes.It ? new[] { InstanceFacts.Autostart } : [], .. state.Settled != FactValue.Absent ? new[] { InstanceFacts.Settled } : [], .. args.SnapshotNames().Select(InstanceFacts.Snapshot)]);

    public override InstanceState Predict(InstanceState state, HandOverArgs args) =>
        During(state, args) with { Snapshots = state.Snapshots.RemoveRange(args.SnapshotNames()), Offer = Way.Of(Way.Offered, args.Node), Settled = FactValue.Absent, Autostart = state.Autostart == Yes.It ? Yes.No : state.Autostart };

    public override InstanceState During(InstanceState state, HandOverArgs args) => state.IsUp ? state.Off() : state;
    public override Status? Observe(InstanceState observed, HandOverArgs args) => Hangs(observed, args.Seconds, args.Force);

    public override Assessment Assess(InstanceState state, HandOverArgs args)
    {
        List<string> why = ["data-leaves-host"];
        if (args.Snapshots.Length > 0) why.Add("snapshots-stay-behind");
        if (args.Force && Scope.Goal?.Spec.ForceAllowed != true) why.Add("switches-off");
        return new(RiskLevel.Dangerous, [.. why], LosesData: args.Snapshots.Length > 0);
    }

    public override Undo Inverse(InstanceState before, HandOverArgs args) => Undo.Keep("when the move is called off before the other host has it, it is started here again");
    public override Timing Timing(HandOverArgs args) => Within(TimeSpan.FromSeconds(args.Seconds + 60));
    public override string Describe(HandOverArgs args) => $"shut the guest down within {args.Seconds} s{(args.Force ? ", else switch it off," : "")} and hand the machine with its disks over to {args.Name}{(args.Snapshots.Length > 0 ? $"; the snapshots that this host made by itself are deleted: {args.Snapshots.Replace(",", ", ", StringComparison.Ordinal)}" : "")}";
    public override ValueTask ApplyAsync(HandOverArgs args, ToolContext context) => Actuator.HandOverAsync(args, context.Stop);

    private (string? Why, bool Soon) WhyNot(InstanceGoal goal, InstanceState s)
    {
        if (s.Hypervisor != Hypervisor.Ok) return (s.Hypervisor, false);
        if (s.Domain is Owner.Foreign or Owner.Missing) return ("the domain is not this instance's", false);
        if (s.Dir == DirIs.Others) return ("its directory is another instance's", false);
        if (s.Receipt != FactValue.Absent) return ("how it came here is not over yet", true);
        if (s.Power == Power.Stopping) return ("it is shutting down", true);
        if (s.Power is not (Power.Off or Power.Running)) return ($"it is {s.Power}, and hears nothing: let it go on or stop it first", false);
        if (s.Trial != FactValue.Absent) return ("a change of it is on trial", true);
        // The other host defines it as it is declared: whoever signs that it goes there has not signed what it would become.
        if (!Trials.IsTakenBack(goal, s) && InForce.IsHeldBack(goal, s) && InForce.NeedsSignature(goal, s))
            return ($"a change of it waits for a signature ({InForce.Brings(InForce.Of(s), goal.Config!)}): sign that first, or take it back in the spec", false);
        // They are in its disks, and libvirt's knowledge of them is not. What the schedule made it makes anew where the machine goes; what a person wanted is theirs to give up.
        if (s.Snapshots.Where(p => !SnapshotOwner.IsPolicy(p.Value.Owner)).Select(p => p.Key).ToList() is { Count: > 0 } kept)
            return ($"it has {kept.Count} snapshot{(kept.Count > 1 ? "s" : "")} that somebody asked for ({string.Join(", ", kept.Take(3))}), which are not handed over: delete {(kept.Count > 1 ? "them" : "it")} first (agentmetal delete snapshot)", false);
        // What a disk rests on must be there where it goes, and only images that the spec names are.
        var images = goal.Images.Select(i => Scope.Layout.Image(i.Spec.Sha256, i.Spec.Format)).ToHashSet(StringComparer.Ordinal);
        foreach (var (name, disk) in s.DiskStates)
            if (disk.Backing.Length > 0 && !images.Contains(disk.Backing) && !disk.Backing.StartsWith(Scope.Layout.Dir + "/", StringComparison.Ordinal))
                return ($"disk {name} rests on {disk.Backing}, which the spec does not name any more: it would not be there", false);
        return (null, false);
    }
}

/// <summary>
/// Gives the machine away for good, once its target has said over their own connection that it holds every file. After that it is not run here again,
/// whatever anybody asks for. It needs no signature of its own: it is what the signed step was for.
/// </summary>
internal sealed class Release(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PeerArgs>("release", InstanceJson.Default.PeerArgs, scope, actuator, Kind.Release)
{
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(1);

    public override IEnumerable<Move<PeerArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.MoveTo is not { } to) yield break;
        if (state.Peer != Way.Holds) yield return Move.Wait<PeerArgs>(difference.Text, LookAgain);
        else if (state.Power != Power.Off) yield return Move.Wait<PeerArgs>("it is shut down first", LookAgain);
        else yield return Move.DoThenLook(new PeerArgs(to.NodeUid, to.NodeName), 20, difference.Text);
    }

    public override Footprint Touches(InstanceState state, PeerArgs args) => new([InstanceFacts.Peer, InstanceFacts.Power, InstanceFacts.Domain],
        [InstanceFacts.Offer, .. state.Domain == Owner.Ours ? new[] { InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Autostart } : []]);

    public override InstanceState Predict(InstanceState state, PeerArgs args) => During(state, args) with { Offer = Way.Of(Way.Released, args.Node) };

    public override InstanceState During(InstanceState state, PeerArgs args) =>
        state.Domain == Owner.Ours ? state with { Domain = FactValue.Absent, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent } : state;

    public override Assessment Assess(InstanceState state, PeerArgs args) => Moderate("release");
    public override Undo Inverse(InstanceState before, PeerArgs args) => Undo.Keep("whose it is has been decided; to have it back, move it back");
    public override Timing Timing(PeerArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(PeerArgs args) => $"let go of the machine: it is {args.Name}'s";
    public override ValueTask ApplyAsync(PeerArgs args, ToolContext context) => Actuator.ReleaseAsync(context.Stop);
}

/// <summary>Takes an offer back, or forgets one that is over. What was released and is not known to have arrived is nobody's then, which a person must want.</summary>
internal sealed class Withdraw(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<WayArgs>("withdraw", InstanceJson.Default.WayArgs, scope, actuator, Kind.Withdraw, Kind.Present)
{
    public override IEnumerable<Move<WayArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (difference.Kind == Kind.Withdraw && goal is not null) yield return Move.DoThenLook(new WayArgs(Way.Of(state.WayOut, Way.NodeOf(state.Offer))), 1, difference.Text);
        if (goal is not null || difference.Kind != Kind.Present || difference.Subject != Part.Offer) yield break;
        // As long as it is remembered whose the files are, they go as what they are: left over.
        if (state.WayOut == Way.Settled && state.Data != Stored.None) yield return Move.Wait<WayArgs>("what is left over goes first");
        else yield return Move.Do(new WayArgs(Way.Of(state.WayOut, Way.NodeOf(state.Offer))), 25, difference.Text);
    }

    public override Footprint Touches(InstanceState state, WayArgs args) => new([], [InstanceFacts.Offer, InstanceFacts.Peer]);
    public override InstanceState Predict(InstanceState state, WayArgs args) => state with { Offer = FactValue.Absent, Peer = FactValue.Absent };
    public override InstanceState During(InstanceState state, WayArgs args) => state;
    public override Assessment Assess(InstanceState state, WayArgs args) => Way.PhaseOf(args.Record) == Way.Released ? new(RiskLevel.Dangerous, ["arrival-unknown"], LosesData: true) : Moderate("withdraw");
    public override Undo Inverse(InstanceState before, WayArgs args) => Undo.Keep("an offer is not made again by an undo");
    public override Timing Timing(WayArgs args) => Within(TimeSpan.FromMinutes(1));

    public override string Describe(WayArgs args) => Way.PhaseOf(args.Record) switch
    {
        Way.Offered => "take back what another host was offered",
        Way.Settled => "forget where it was handed over to",
        _ => "forget that it was handed over, although the other host has not said that it knows",
    };

    public override ValueTask ApplyAsync(WayArgs args, ToolContext context)
    {
        Actuator.Withdraw(Way.PhaseOf(args.Record) switch { Way.Offered => OfferPhase.Offered, Way.Settled => OfferPhase.Settled, _ => OfferPhase.Released });
        return default;
    }
}

/// <summary>Removes the files of a machine that is another host's, which has said that it knows.</summary>
internal sealed class RemoveLeftover(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<PathArgs>("remove-leftover", InstanceJson.Default.PathArgs, scope, actuator, Kind.Leftover)
{
    public override IEnumerable<Move<PathArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.Domain == Owner.Ours) yield return Move.Wait<PathArgs>("libvirt has it again: undefine it (virsh undefine), it is another host's");
        // Which ones they are is in the directory.
        else if (state.HoldsAddress) yield return Move.Wait<PathArgs>("the addresses that are kept for it go first");
        else yield return Move.Do(new PathArgs(Scope.Layout.Dir), 30, difference.Text);
    }

    public override Footprint Touches(InstanceState state, PathArgs args) =>
        new([InstanceFacts.Offer, InstanceFacts.Peer, InstanceFacts.Domain], [InstanceFacts.Dir, InstanceFacts.Data, InstanceFacts.Seed, InstanceFacts.Request, InstanceFacts.Reverted, InstanceFacts.Settled, .. Names.Select(InstanceFacts.Disk)]);

    private IEnumerable<string> Names => Scope.Goal?.Disks.Select(d => d.Name) ?? [];

    public override InstanceState Predict(InstanceState state, PathArgs args) => state with
    {
        Dir = FactValue.Absent,
        Data = Stored.None,
        Seed = FactValue.Absent,
        Request = FactValue.Absent,
        Reverted = FactValue.Absent,
        Settled = FactValue.Absent,
        Disks = Names.Aggregate(state.Disks, static (d, k) => d.SetItem(k, FactValue.Absent)),
        DiskStates = state.DiskStates.Clear(),
    };

    public override Assessment Assess(InstanceState state, PathArgs args) => Moderate("remove");
    public override Undo Inverse(InstanceState before, PathArgs args) => Undo.Keep("they are where the machine is");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(5));
    public override string Describe(PathArgs args) => $"remove {args.Path}, which was handed over";
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.RemoveFilesAsync(context.Stop);
}
