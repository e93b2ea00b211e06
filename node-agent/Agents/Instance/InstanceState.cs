using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Values of the power fact.</summary>
internal static class Power
{
    public const string Off = "off", Running = "running", Paused = "paused", Stopping = "stopping", Suspended = "suspended";
}

/// <summary>Whose the domain is.</summary>
internal static class Owner
{
    public const string Ours = "ours", Foreign = "foreign", Adopted = "adopted", Missing = "missing";
}

/// <summary>Values of yes-or-no facts.</summary>
internal static class Yes
{
    public const string It = "yes", No = "no";
}

/// <summary>Whether the host can run virtual machines.</summary>
internal static class Hypervisor
{
    public const string Ok = "ok";
}

/// <summary>Values of the directory's fact, beside present and absent. Its name follows from project and name, which another resource may have had.</summary>
internal static class DirIs
{
    /// <summary>Its own by all that is known, and it does not say so: of before directories said it.</summary>
    public const string Unmarked = "unmarked";

    /// <summary>It holds disks, and nothing says whose.</summary>
    public const string Unclaimed = "unclaimed";

    /// <summary>Of an instance with another uid, or in use by a domain that is not ours.</summary>
    public const string Others = "another's";
}

/// <summary>Values of a thing's fact that is there or not.</summary>
internal static class Present
{
    public const string It = "present", Active = "active", Inactive = "inactive";
}

/// <summary>A disk file as it is.</summary>
/// <param name="Format">qcow2 or raw, as the goal declares it.</param>
/// <param name="Size">Bytes that the guest sees.</param>
/// <param name="Backing">Path of the file that it shares what it has not changed with; empty = none.</param>
internal sealed record DiskState(string Format, long Size, string Backing)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Format} {Size}{(Backing.Length > 0 ? " on " + Backing : "")}");
}

/// <summary>How far a download is.</summary>
/// <param name="Done">Bytes.</param>
/// <param name="Total">Bytes; 0 = not known.</param>
/// <param name="Failed">Why it ended; empty while it runs.</param>
internal sealed record DownloadState(long Done, long Total, string Failed)
{
    /// <summary>"42% (120 of 286 MiB)".</summary>
    public override string ToString() => Total > 0 ? string.Create(CultureInfo.InvariantCulture, $"{100 * Done / Total}% ({Done >> 20} of {Total >> 20} MiB)") : string.Create(CultureInfo.InvariantCulture, $"{Done >> 20} MiB");
}

/// <summary>The planning facts of one virtual machine. What only a running one has (its live configuration) is absent while it is off.</summary>
internal sealed record InstanceState
{
    /// <summary>ok, or what is missing.</summary>
    public required string Hypervisor { get; init; }

    /// <summary>kvm or qemu; "-" when neither can run a guest.</summary>
    public required string Accelerator { get; init; }

    public required string Domain { get; init; }
    public required string Power { get; init; }
    public string Autostart { get; init; } = FactValue.Absent;

    /// <summary>The persistent configuration, by aspect; empty where there is no domain.</summary>
    public ImmutableSortedDictionary<string, string> Config { get; init; } = Aspect.None;

    /// <summary>The configuration that runs, by aspect; empty while it is off.</summary>
    public ImmutableSortedDictionary<string, string> Live { get; init; } = Aspect.None;

    /// <summary>By name; null = there is none. Text of one that cannot be understood.</summary>
    public ImmutableSortedDictionary<string, string> Disks { get; init; } = Aspect.None;

    /// <summary>present or absent.</summary>
    public string Seed { get; init; } = FactValue.Absent;

    /// <summary>By digest: present or absent.</summary>
    public ImmutableSortedDictionary<string, string> Images { get; init; } = Aspect.None;

    /// <summary>By name: active, inactive or absent.</summary>
    public ImmutableSortedDictionary<string, string> Networks { get; init; } = Aspect.None;

    /// <summary>By card (<see cref="Card"/>): the address that its network keeps for it, or absent; of cards that are wanted to have one, and of those for which this instance had one kept.</summary>
    public ImmutableSortedDictionary<string, string> Addressed { get; init; } = Aspect.None;

    /// <summary>By name: present or absent.</summary>
    public ImmutableSortedDictionary<string, string> Bridges { get; init; } = Aspect.None;

    /// <summary>Whether there is a disk with data: some or none.</summary>
    public string Data { get; init; } = Stored.None;

    /// <summary>Power of the instance whose disks its own begin as copies of; "-" when it is not on this host, or there is none.</summary>
    public string Source { get; init; } = FactValue.Absent;

    /// <summary>Whether the instance's directory is there.</summary>
    public string Dir { get; init; } = FactValue.Absent;

    /// <summary>Id of the last request that was carried out; absent where there was none.</summary>
    public string Request { get; init; } = FactValue.Absent;

    /// <summary>Snapshots by name; empty where the goal needs none of them, because each costs libvirt a call. Of a machine that is to go, those that are in disks which stay.</summary>
    public ImmutableSortedDictionary<string, SnapshotInfo> Snapshots { get; init; } = ImmutableSortedDictionary.Create<string, SnapshotInfo>(StringComparer.Ordinal);

    /// <summary>Name of the scheduled snapshot of the time that it is; absent without a schedule.</summary>
    public string Slot { get; init; } = FactValue.Absent;

    /// <summary>Digest of the change that is on trial; absent = none.</summary>
    public string Trial { get; init; } = FactValue.Absent;

    /// <summary>Digest of the change that was taken back last; absent = none.</summary>
    public string Reverted { get; init; } = FactValue.Absent;

    /// <summary>The goal's digest by which it was as wanted, and what a person did to its power since; absent where drift is not reported.</summary>
    public string Settled { get; init; } = FactValue.Absent;

    /// <summary>What somebody was asked to sign for a restart, and has not, as far as it was remembered; absent = nothing.</summary>
    public string Held { get; init; } = FactValue.Absent;

    /// <summary>Yes while the guest runs that did not shut down when it was asked to; else absent.</summary>
    public string Hung { get; init; } = FactValue.Absent;

    /// <summary>Of a machine that is to go: names of other domains of libvirt that use files in its directory; none.</summary>
    public string Users { get; init; } = Stored.None;

    /// <summary>Part of the power fact where drift is reported: unasked, or empty.</summary>
    public string Cause { get; init; } = "";

    /// <summary>Its way out of this host: "offered UID" or "released UID"; absent = it is not offered.</summary>
    public string Offer { get; init; } = FactValue.Absent;

    /// <summary>Its way into this host: "receiving UID", "owned UID" or "dropped UID"; absent = it does not come from anywhere.</summary>
    public string Receipt { get; init; } = FactValue.Absent;

    /// <summary>
    /// How far the other host is. Of an offer: holds, it has every file; settled, it knows that it is its own. Of a receipt: held, it may have been told that
    /// all of it is here; released, it has let go; declined, it never will. What the other host does changes this fact alone, so that no step waits for a fact that has moved on.
    /// </summary>
    public string Peer { get; init; } = FactValue.Absent;

    /// <summary>Offered, released or settled; empty = none.</summary>
    public string WayOut => Way.PhaseOf(Offer) is Way.Released && Peer == Way.Settled ? Way.Settled : Way.PhaseOf(Offer);

    /// <summary>Receiving, held, owned or dropped; empty = none.</summary>
    public string WayIn => Way.PhaseOf(Receipt) is Way.Receiving && Peer is Way.Held or Way.Released or Way.Declined ? Way.Held : Way.PhaseOf(Receipt);

    // Not facts: what an undo would write back, what people read, and how far a long step is.

    /// <summary>What was read of each disk.</summary>
    public ImmutableSortedDictionary<string, DiskState> DiskStates { get; init; } = ImmutableSortedDictionary<string, DiskState>.Empty;

    /// <summary>By path: disks that are there and that the goal does not name.</summary>
    public ImmutableSortedDictionary<string, DiskState> OtherDisks { get; init; } = ImmutableSortedDictionary.Create<string, DiskState>(StringComparer.Ordinal);

    /// <summary>Cards as they were last defined, by aspect; only while libvirt does not know the machine.</summary>
    public ImmutableSortedDictionary<string, string> Cards { get; init; } = Aspect.None;

    /// <summary>The export that is asked for, while it runs or when it failed.</summary>
    public Exports.ExportState? Export { get; init; }

    /// <summary>By name: path and state of the disk that each begins as a copy of; only of those that are there.</summary>
    public ImmutableSortedDictionary<string, (string Path, DiskState Disk)> SourceDisks { get; init; } = ImmutableSortedDictionary<string, (string, DiskState)>.Empty;

    /// <summary>By digest: bytes that a guest would see of the image; only of disk images that are there.</summary>
    public ImmutableSortedDictionary<string, long> ImageSizes { get; init; } = ImmutableSortedDictionary<string, long>.Empty;

    /// <summary>By digest: downloads that run, or that failed.</summary>
    public ImmutableSortedDictionary<string, DownloadState> Downloads { get; init; } = ImmutableSortedDictionary<string, DownloadState>.Empty;

    /// <summary>The persistent configuration as libvirt gave it.</summary>
    public string ConfigXml { get; init; } = "";

    /// <summary>By card: why the wanted address cannot be kept for it now.</summary>
    public ImmutableSortedDictionary<string, string> AddressProblems { get; init; } = Aspect.None;

    /// <summary>Addresses of the guest, for people.</summary>
    public ImmutableArray<string> Addresses { get; init; } = [];

    /// <summary>For people: why it is in that state.</summary>
    public string Detail { get; init; } = "";

    /// <summary>Why it stands still that was stopped by a disk which could not be written, while that is so; else empty.</summary>
    public string NoRoom { get; init; } = "";

    /// <summary>How long the slot of the schedule lasts; null without one.</summary>
    public TimeSpan? SlotLeft { get; init; }

    /// <summary>Why the trial will not pass any more; empty while it may.</summary>
    public string TrialOver { get; init; } = "";

    /// <summary>For people: when and why a change was taken back.</summary>
    public string RevertedText { get; init; } = "";

    /// <summary>For people: how many snapshots go with a machine that goes.</summary>
    public int SnapshotCount { get; init; }

    /// <summary>For people: how far it is on its way.</summary>
    public string OnItsWay { get; init; } = "";

    public bool HoldsAddress => Addressed.Values.Any(a => a != FactValue.Absent);

    public bool IsUp => Power is Instance.Power.Running or Instance.Power.Paused;

    /// <summary>The same defined by this; empty = as it is.</summary>
    public InstanceState As(string? xml) => xml is { Length: > 0 } && DomainXml.Parse(xml).Config is { } config ? this with { Config = config.Aspects(), ConfigXml = xml } : this;

    /// <summary>The same with the machine off.</summary>
    public InstanceState Off() => this with { Power = Instance.Power.Off, Live = Aspect.None, Addresses = [], Cause = "", Hung = FactValue.Absent };
}

/// <summary>Whether there is data that people would miss.</summary>
internal static class Stored
{
    public const string None = "none", Some = "some";
}

/// <summary>Fact keys of an instance, and their values.</summary>
internal static class InstanceFacts
{
    public const string Hypervisor = "hypervisor", Accelerator = "accelerator", Domain = "domain", Power = "power", Autostart = "autostart", Config = "config", Live = "live", Seed = "seed", Data = "data", Dir = "dir", Request = "request", Slot = "slot", Trial = "trial", Reverted = "reverted", Settled = "settled", Offer = "offer", Receipt = "receipt", Peer = "peer", Source = "source", Held = "held", Hung = "hung", Users = "users";

    private static readonly ImmutableArray<string> Fixed = [Hypervisor, Accelerator, Domain, Power, Autostart, Config, Live, Seed, Data, Dir, Request, Slot, Trial, Reverted, Settled, Offer, Receipt, Peer, Source, Held, Hung, Users];

    public static string Disk(string name) => "disk/" + name;
    public static string Image(string sha256) => "image/" + sha256;
    public static string Network(string name) => "network/" + name;
    public static string Bridge(string name) => "bridge/" + name;
    public static string Address(string card) => "address/" + card;
    public static string Snapshot(string name) => "snapshot/" + name;

    public static IEnumerable<string> Keyed(InstanceState s) =>
        [.. Fixed, .. s.Disks.Keys.Select(Disk), .. s.Images.Keys.Select(Image), .. s.Networks.Keys.Select(Network), .. s.Bridges.Keys.Select(Bridge), .. s.Addressed.Keys.Select(Address), .. s.Snapshots.Keys.Select(Snapshot)];

    public static string Value(InstanceState s, string key) => key switch
    {
        Hypervisor => s.Hypervisor,
        Accelerator => s.Accelerator,
        Domain => s.Domain,
        Power => s.Cause.Length > 0 && s.Power is Instance.Power.Off or Instance.Power.Paused ? $"{s.Power} ({s.Cause})" : s.Power,
        Autostart => s.Autostart,
        Config => FactValue.IsUnseen(s.Domain) ? s.Domain : s.Config.IsEmpty ? FactValue.Absent : Digest(s.Config),
        // One fact for all of it: a stop ends whatever runs, also what somebody attached a moment ago.
        Live => FactValue.IsUnseen(s.Power) ? s.Power : s.Live.IsEmpty ? FactValue.Absent : Digest(s.Live),
        Seed => s.Seed,
        Data => s.Data,
        Dir => s.Dir,
        Source => s.Source,
        Request => s.Request,
        Slot => s.Slot,
        Trial => s.Trial,
        Reverted => s.Reverted,
        Settled => s.Settled,
        Offer => s.Offer,
        Receipt => s.Receipt,
        Peer => s.Peer,
        Held => s.Held,
        Hung => s.Hung,
        Users => s.Users,
        _ => key.IndexOf('/', StringComparison.Ordinal) is > 0 and var slash ? Keyed(s, key[..slash], key[(slash + 1)..]) : throw NoFact(key),
    };

    private static string Keyed(InstanceState s, string group, string name) => group switch
    {
        "disk" => s.Disks.GetValueOrDefault(name, FactValue.Absent),
        "image" => s.Images.GetValueOrDefault(name, FactValue.Absent),
        "network" => s.Networks.GetValueOrDefault(name, FactValue.Absent),
        "bridge" => s.Bridges.GetValueOrDefault(name, FactValue.Absent),
        "address" => s.Addressed.GetValueOrDefault(name, FactValue.Absent),
        "snapshot" => s.Snapshots.TryGetValue(name, out var snapshot) ? snapshot.Fact : FactValue.Absent,
        _ => throw NoFact(group + "/" + name),
    };

    /// <summary>Of a whole configuration: one load of it is one fact.</summary>
    public static string Digest(ImmutableSortedDictionary<string, string> aspects) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', aspects.Select(a => a.Key + "=" + a.Value)))))[..16];

    private static ArgumentOutOfRangeException NoFact(string key) => new(nameof(key), key, "not a fact of an instance");
}
