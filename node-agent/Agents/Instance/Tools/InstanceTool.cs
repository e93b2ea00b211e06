using System.Collections.Immutable;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <param name="Name">Of the Image resource, for people.</param>
/// <param name="Url">Where it is fetched.</param>
/// <param name="Sha256">What it must be.</param>
/// <param name="Format">What it is declared to be.</param>
internal sealed record FetchArgs(string Name, string Url, string Sha256, string Format);

/// <param name="Name">A name.</param>
internal sealed record NameArgs(string Name);

/// <param name="Card">As <see cref="Instance.Card"/> says.</param>
/// <param name="Address">IPv4.</param>
internal sealed record AddressArgs(string Card, string Address);

/// <param name="Name">Of the disk.</param>
/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Image">File that it begins with; empty = nothing.</param>
/// <param name="ImageFormat">qcow2 or raw.</param>
internal sealed record DiskArgs(string Name, string Path, string Format, long Size, string Image, string ImageFormat);

/// <param name="Name">Of the disk.</param>
/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Target">Name in the guest.</param>
/// <param name="Size">Bytes that it is to have.</param>
/// <param name="Live">While the machine runs.</param>
internal sealed record GrowArgs(string Name, string Path, string Format, string Target, long Size, bool Live);

/// <param name="Digest">Of what is in it; the content itself may hold secrets and is not an argument.</param>
/// <param name="Path">Its file.</param>
internal sealed record SeedArgs(string Digest, string Path);

/// <param name="Xml">The whole definition.</param>
/// <param name="Leaves">For people: disks that it puts out of use; empty = none.</param>
internal sealed record XmlArgs(string Xml, string Leaves = "");

/// <param name="Value">As the marker is to be; "-" = gone.</param>
internal sealed record HeldArgs(string Value);

/// <summary>A restart with what it brings. The definition is written while the machine is off between the two: no other start finds it before that.</summary>
/// <param name="Seconds">The guest has to shut down in order.</param>
/// <param name="Force">Switch it off when they are over.</param>
/// <param name="Xml">The whole definition; empty = as it is defined.</param>
/// <param name="Brings">For people: what is changed by it.</param>
/// <param name="Leaves">For people: disks that it puts out of use; empty = none.</param>
internal sealed record ChangeArgs(int Seconds, bool Force, string Xml, string Brings, string Leaves);

/// <param name="On">Whether.</param>
internal sealed record OnArgs(bool On);

/// <param name="Seconds">The guest has to shut down in order.</param>
/// <param name="Force">Switch it off when they are over.</param>
internal sealed record StopArgs(int Seconds, bool Force);

/// <param name="Action">What was asked for.</param>
/// <param name="Id">Which request it is.</param>
internal sealed record RequestArgs(string Action, string Id);

/// <param name="Id">Of the request.</param>
/// <param name="Seconds">The guest has to shut down in order.</param>
/// <param name="Force">Switch it off when they are over.</param>
/// <param name="Xml">The whole definition that it brings; empty = as it is defined.</param>
internal sealed record RestartArgs(string Id, int Seconds, bool Force, string Xml = "");

/// <param name="Value">As the marker is to be; "-" = gone.</param>
internal sealed record SettledArgs(string Value);

/// <param name="Node">Uid of the host that it goes to: what is signed is signed for that host.</param>
/// <param name="Name">Of that host, for people.</param>
/// <param name="Seconds">The guest has to shut down in order.</param>
/// <param name="Force">Switch it off when they are over.</param>
/// <param name="Snapshots">That do not go with it and are deleted, with commas between them; empty = none.</param>
internal sealed record HandOverArgs(string Node, string Name, int Seconds, bool Force, string Snapshots)
{
    /// <summary>Their names.</summary>
    public string[] SnapshotNames() => Snapshots.Split(',', StringSplitOptions.RemoveEmptyEntries);
}

/// <param name="Node">Uid of the other host.</param>
/// <param name="Name">Of that host, for people.</param>
internal sealed record PeerArgs(string Node, string Name);

/// <param name="Record">What the record says: "offered UID".</param>
internal sealed record WayArgs(string Record);

/// <param name="Domain">Its uuid.</param>
internal sealed record DomainArgs(string Domain);

/// <param name="Aspect">What is changed: memory, cpus, disk/vdb, nic/52:54:….</param>
/// <param name="Change">attach, detach, update or set.</param>
/// <param name="Value">The aspect as it is to be; empty = not there.</param>
/// <param name="Xml">The device; empty for numbers.</param>
internal sealed record LiveArgs(string Aspect, string Change, string Value, string Xml);

/// <param name="Path">Of a directory.</param>
/// <param name="Note">For people: what is in it, or why; empty = nothing to say.</param>
internal sealed record PathArgs(string Path, string Note = "");

/// <param name="Name">Of the snapshot.</param>
/// <param name="Owner">For whom; see <see cref="SnapshotOwner"/>.</param>
/// <param name="Sizes">Of the disks, as text.</param>
internal sealed record SnapshotArgs(string Name, string Owner, string Sizes);

/// <param name="Name">Of the snapshot.</param>
/// <param name="Why">retention, or that its change is over.</param>
internal sealed record DropArgs(string Name, string Why);

/// <param name="Name">Of the snapshot.</param>
/// <param name="TakesBack">Digest of the change that it takes back; empty = none.</param>
/// <param name="Request">Id of the request that asked for it; empty = none did.</param>
/// <param name="Volumes">Names of volumes that go back too, for people; empty = none.</param>
internal sealed record RevertArgs(string Name, string TakesBack, string Request, string Volumes);

/// <param name="Digest">Of the change.</param>
/// <param name="Snapshot">That it goes back to.</param>
/// <param name="StopSeconds">The guest has to shut down in order.</param>
/// <param name="Force">Switch it off when they are over.</param>
/// <param name="Seconds">The probe has to pass.</param>
/// <param name="ConsoleText">What the guest has to say; empty = nothing.</param>
/// <param name="TcpPort">Where it has to answer; 0 = nowhere.</param>
/// <param name="GuestAgent">Whether its agent has to answer.</param>
/// <param name="Xml">The whole definition that is tried; empty = as it is defined.</param>
/// <param name="Brings">For people: what is changed by it.</param>
/// <param name="Leaves">For people: disks that it puts out of use; empty = none.</param>
internal sealed record TryArgs(string Digest, string Snapshot, int StopSeconds, bool Force, int Seconds, string ConsoleText, int TcpPort, bool GuestAgent,
    string Xml = "", string Brings = "", string Leaves = "");

[JsonSerializable(typeof(SnapshotArgs)), JsonSerializable(typeof(DropArgs)), JsonSerializable(typeof(RevertArgs)), JsonSerializable(typeof(TryArgs)), JsonSerializable(typeof(TrialFile)), JsonSerializable(typeof(RevertedFile))]
[JsonSerializable(typeof(AddressArgs)), JsonSerializable(typeof(FetchArgs)), JsonSerializable(typeof(NameArgs)), JsonSerializable(typeof(DiskArgs)), JsonSerializable(typeof(GrowArgs)), JsonSerializable(typeof(SeedArgs)),
 JsonSerializable(typeof(XmlArgs)), JsonSerializable(typeof(OnArgs)), JsonSerializable(typeof(StopArgs)), JsonSerializable(typeof(DomainArgs)), JsonSerializable(typeof(LiveArgs)), JsonSerializable(typeof(PathArgs)),
 JsonSerializable(typeof(HandOverArgs)), JsonSerializable(typeof(PeerArgs)), JsonSerializable(typeof(WayArgs)), JsonSerializable(typeof(RequestArgs)), JsonSerializable(typeof(RestartArgs)), JsonSerializable(typeof(SettledArgs)),
 JsonSerializable(typeof(ChangeArgs)), JsonSerializable(typeof(HeldArgs))]
internal sealed partial class InstanceJson : JsonSerializerContext;

/// <summary>A tool of an instance. The actuator is null where nothing is applied: in tests of planning.</summary>
internal abstract class InstanceTool<TArgs>(string name, JsonTypeInfo<TArgs> json, InstanceScope scope, InstanceActuator? actuator, params ImmutableArray<string> kinds)
    : Tool<InstanceGoal, InstanceState, TArgs>(name, 1, json, kinds)
    where TArgs : class
{
    protected static readonly TimeSpan Shortly = TimeSpan.FromMilliseconds(200);

    protected InstanceScope Scope => scope;

    protected InstanceActuator Actuator => actuator ?? throw new InvalidOperationException($"{Name} was made to plan, not to act.");

    protected static Timing Within(TimeSpan timeout) => new(timeout, timeout, Shortly);

    protected static Assessment Moderate(params ImmutableArray<string> why) => Assessment.Moderate(why);

    /// <summary>The guest is one that did not shut down when it was asked to: it is asked once more, briefly, and then switched off, which a person signs.</summary>
    protected static (int Seconds, bool Force) StopOf(InstanceGoal goal, InstanceState s) => goal.Spec.ForceAllowed || s.Hung != Yes.It ? (goal.Spec.ShutdownSeconds, goal.Spec.ForceAllowed)
        : (Math.Min(goal.Spec.ShutdownSeconds, OnceMore), true);

    /// <summary>Seconds.</summary>
    private const int OnceMore = 5;

    protected static string StopText(int seconds, bool force) => $"the guest has {seconds} s to shut down{(force ? ", else it is switched off" : "")}";

    /// <summary>An orderly stop that the guest did not follow is over: it is not asked three times within one step.</summary>
    protected static Status? Hangs(InstanceState observed, int seconds, bool force) =>
        !force && observed.Hung == Yes.It ? new(Phase.Failed, null, $"the guest did not shut down within {seconds} s") : null;

    /// <summary>What keeps the machine from being defined and started; null when nothing does.</summary>
    /// <param name="goal">What is wanted.</param>
    /// <param name="s">What is there.</param>
    /// <param name="toStart">Also what a start needs.</param>
    /// <param name="with">The definition that is brought by the step itself; null = the one that belongs there now.</param>
    protected static string? NotReady(InstanceGoal goal, InstanceState s, bool toStart, DomainConfig? with = null)
    {
        if (s.Hypervisor != Hypervisor.Ok) return s.Hypervisor;
        if (s.Accelerator == FactValue.Absent) return "no accelerator runs a guest here";
        if (s.Domain is Owner.Foreign or Owner.Missing) return "the domain is not this instance's";
        if (InstanceMoves.WhyNotHere(goal, s) is { } elsewhere) return elsewhere;
        if (goal.Unsigned is [var first, ..]) return first.Text;
        if (goal.Config is null) return null;
        if (s.Dir != Present.It) return "the directory comes first";
        var config = with ?? InForce.Definition(goal, s);
        if (WithoutFiles(goal, s, config) is { } file) return file;
        if (!toStart) return null;
        if (s.Domain != Owner.Ours || (with is null && !InstanceDrift.KeepsDefinition(goal, s) && Aspect.Between(s.Config, config.Aspects()).Any())) return "the definition comes first";
        return WithoutNetwork(goal, s, config);
    }

    /// <summary>Of what this definition names, and of nothing that only a later one does.</summary>
    private static string? WithoutFiles(InstanceGoal goal, InstanceState s, DomainConfig config)
    {
        var disks = goal.Disks.Where(d => config.Disks.Any(c => c.Path == d.Path)).ToList();
        foreach (var image in goal.Images.Where(i => s.Images.GetValueOrDefault(i.Spec.Sha256) != Present.It))
            if ((config.Kernel + config.Initrd).Contains(image.Spec.Sha256, StringComparison.Ordinal) || disks.Any(d => d.Image?.Spec.Sha256 == image.Spec.Sha256)) return $"image {image.Name} comes first";
        if (disks.FirstOrDefault(d => !s.DiskStates.ContainsKey(d.Name)) is { } disk)
            return disk.Volume.Length > 0 ? $"volume {disk.Volume} data is not there yet" : disk.Source.Length > 0 && CopyDisk.WhyNot(goal.Source!, s) is { } waits ? waits : $"disk {disk.Name} comes first";
        return goal.Seed is { } seed && s.Seed != Present.It && config.Disks.Any(d => d.Path == seed.Path) ? "the seed of cloud-init comes first" : null;
    }

    private static string? WithoutNetwork(InstanceGoal goal, InstanceState s, DomainConfig config)
    {
        if (goal.Networks.FirstOrDefault(n => s.Networks.GetValueOrDefault(n) != Present.Active && config.Nics.Any(c => c.Kind == "network" && c.Source == n)) is { } network) return $"network {network} is not active";
        foreach (var (card, address) in goal.Addresses)
            if (s.Addressed.GetValueOrDefault(card) != address && config.Nics.FirstOrDefault(n => n.Mac == Card.MacOf(card)) is { } nic && (nic.FixedAddress.Length == 0 || nic.FixedAddress == address))
                return s.AddressProblems.GetValueOrDefault(card, $"address {address} is kept for it first");
        return goal.Bridges.FirstOrDefault(b => s.Bridges.GetValueOrDefault(b) != Present.It && config.Nics.Any(c => c.Kind == "bridge" && c.Source == b)) is { } bridge ? $"bridge {bridge} is not there" : null;
    }
}
