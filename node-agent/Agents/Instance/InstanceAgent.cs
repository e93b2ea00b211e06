using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The node half of Instance: one virtual machine on this host, through libvirt.</summary>
/// <param name="scope">The instance.</param>
/// <param name="actuator">Carries changes out; null where none is.</param>
internal sealed class InstanceAgent(InstanceScope scope, InstanceActuator? actuator = null) : Agent<InstanceGoal, InstanceState>
{
    private static readonly TimeSpan UntilAddress = TimeSpan.FromSeconds(2);

    public override string Name => "instance";

    public override ImmutableArray<Tool<InstanceGoal, InstanceState>> Tools { get; } =
    [
        new FetchImage(scope, actuator), new StartNetwork(scope, actuator), new ReserveAddress(scope, actuator), new ReleaseAddress(scope, actuator), new CreateDir(scope, actuator), new CreateDisk(scope, actuator), new CopyDisk(scope, actuator), new GrowDisk(scope, actuator), new WriteSeed(scope, actuator),
        new NoteHeld(scope, actuator), new Define(scope, actuator), new SetAutostart(scope, actuator), new ChangeLive(scope, actuator), new Start(scope, actuator), new Pause(scope, actuator), new Resume(scope, actuator),
        new ShutDown(scope, actuator), new SwitchOff(scope, actuator), new Restart(scope, actuator), new CreateSnapshot(scope, actuator), new DeleteSnapshot(scope, actuator), new RevertSnapshot(scope, actuator), new TryRestart(scope, actuator), new NoteRequest(scope, actuator), new RestartOnce(scope, actuator), new Reset(scope, actuator), new ExportOnce(scope, actuator), new NoteSettled(scope, actuator), new Undefine(scope, actuator), new RemoveData(scope, actuator), new RemoveFiles(scope, actuator),
        new HandOver(scope, actuator), new Release(scope, actuator), new Withdraw(scope, actuator), new RemoveLeftover(scope, actuator),
        new Receive(scope, actuator), new TakeOver(scope, actuator), new Drop(scope, actuator), new CloseReceipt(scope, actuator),
    ];

    public override ImmutableArray<Invariant<InstanceGoal, InstanceState>> Invariants { get; } =
    [
        // A definition that names a disk which is not there would start nothing, and one that runs without its definition could not be started again.
        new("disks-stay", Strength.Never, InstanceFacts.Data, static (goal, before, after) => goal is not null && before.Data == Stored.Some && after.Data == Stored.None && before.WayOut != Way.Settled ? "the disks of a wanted machine would go" : null),
        new("off-before-gone", Strength.Never, InstanceFacts.Domain, static (_, before, after) => before is { Domain: Owner.Ours, IsUp: true } && after.Domain == FactValue.Absent ? "a machine that runs would be forgotten" : null),
        new("one-host", Strength.Never, InstanceFacts.Power, InstanceMoves.TwoHosts),
        new("one-host", Strength.Never, InstanceFacts.Domain, InstanceMoves.TwoHosts),
    ];

    /// <summary>Which accelerator it runs on is the host's affair. What runs keeps the one it has: a host that was busy when it was probed is no reason to restart anything.</summary>
    public override InstanceGoal? Aim(InstanceGoal? spec, InstanceState state)
    {
        if (spec is not null && state.WayOut == Way.Offered && spec.MoveTo?.NodeUid == Way.NodeOf(state.Offer)) spec = spec with { IsOffered = true };
        if (spec?.Config is null) return spec;
        spec = InstancePins.Of(spec, state);
        var config = spec.Config!;
        var type = state.IsUp && state.Live.TryGetValue(Aspect.Type, out var running) ? running : state.Accelerator;
        var goal = type == FactValue.Absent ? spec : spec with { Config = config with { Type = type } };
        // What was tried and taken back is not wanted any more until the spec is another: the definition that is there is.
        return Trials.IsTakenBack(goal, state) && DomainXml.Parse(state.ConfigXml).Config is { } defined ? goal with { TakenBack = true, Config = defined, Addresses = AddressesOf(defined, goal) } : goal;
    }

    /// <summary>A guest that may send with one address only is lent that one.</summary>
    private static ImmutableSortedDictionary<string, string> AddressesOf(DomainConfig defined, InstanceGoal goal)
    {
        // libvirt lets a person give two cards one address.
        var cards = defined.Nics.Where(n => n.Kind == "network").DistinctBy(n => Card.Of(n.Source, n.Mac)).ToDictionary(n => Card.Of(n.Source, n.Mac), n => n.FixedAddress, StringComparer.Ordinal);
        return goal.Addresses.Where(a => !cards.TryGetValue(a.Key, out var may) || may.Length == 0).Concat(cards.Where(c => c.Value.Length > 0)).ToImmutableSortedDictionary(StringComparer.Ordinal);
    }

    public override IEnumerable<Difference> Differences(InstanceGoal? goal, InstanceState state) => InstanceDifferences.Of(goal, state);

    public override IEnumerable<Difference> Drift(InstanceGoal? goal, InstanceState state) => InstanceDrift.Of(goal, state);

    public override string Fact(InstanceState state, string key) => InstanceFacts.Value(state, key);

    public override IEnumerable<string> FactKeys(InstanceState state) => InstanceFacts.Keyed(state);

    public override string Summary(InstanceGoal? goal, InstanceState state)
    {
        if (goal is null) return state.Domain == Owner.Ours || state.Dir != FactValue.Absent ? "going away" : "gone";
        var download = state.Downloads.Values.FirstOrDefault(d => d.Failed.Length == 0);
        if (download is not null) return download.Total > 0 ? $"fetching its image, {100 * download.Done / download.Total}%" : $"fetching its image, {download.Done >> 20} MiB";
        if (state.OnItsWay.Length > 0) return state.OnItsWay;
        var byHand = InstanceDrift.Of(goal, state).Any() ? "; changed by hand" : "";
        if (state.Power != Power.Running) return state.Power + byHand;
        return "running" + (state.Addresses.IsEmpty ? "" : " at " + string.Join(" and ", state.Addresses.Take(3))) + (state.Accelerator == "qemu" ? " (emulated)" : "") + byHand;
    }

    /// <summary>Nothing signals that a guest got its address: it is looked for until it has one. And nothing signals that a snapshot is due.</summary>
    public override TimeSpan? ReviewAfter(InstanceGoal? goal, InstanceState state) =>
        goal is { Adopt: "" } && state.Power == Power.Running && state.Addresses.IsEmpty && !goal.Networks.IsEmpty ? UntilAddress : state.SlotLeft;
}
