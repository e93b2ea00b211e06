using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Xml;
using System.Xml.Linq;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>For whom a snapshot was made. One that a Snapshot resource wants has its uid; one that somebody made without us has nothing.</summary>
internal static class SnapshotOwner
{
    public const string Schedule = "schedule", Change = "change", Nobody = "nobody";

    /// <summary>Of a change that was begun so long ago that what was written since would be lost with it.</summary>
    public const string Stale = "stale";

    /// <summary>The host made it by itself, and will make others; a person wanted each of the others.</summary>
    public static bool IsPolicy(string owner) => owner is Schedule or Change or Stale;
}

/// <summary>One snapshot of a machine, with what a return to it brings back.</summary>
/// <param name="Owner">See <see cref="SnapshotOwner"/>.</param>
/// <param name="Power">running, paused or off when it was made.</param>
/// <param name="Config">The definition, by aspect.</param>
/// <param name="Live">What ran, by aspect; empty when it was off.</param>
/// <param name="Sizes">Bytes of each disk, by name.</param>
internal sealed record SnapshotInfo(string Owner, string Power, ImmutableSortedDictionary<string, string> Config, ImmutableSortedDictionary<string, string> Live, ImmutableSortedDictionary<string, long> Sizes)
{
    /// <summary>No sizes are known.</summary>
    public static readonly ImmutableSortedDictionary<string, long> NoSizes = ImmutableSortedDictionary.Create<string, long>(StringComparer.Ordinal);

    /// <summary>The definition as XML.</summary>
    public string ConfigXml { get; init; } = "";

    /// <summary>When it was made, by the host's clock; Unix time.</summary>
    public long Made { get; init; }

    /// <summary>The fact: two that say the same bring back the same.</summary>
    public string Fact => $"{Owner} {Power} {InstanceFacts.Digest(Config)} {(Live.IsEmpty ? FactValue.Absent : InstanceFacts.Digest(Live))} {Text(Sizes)}";

    /// <summary>"root=4294967296,data=1048576"; names of disks are labels.</summary>
    public static string Text(ImmutableSortedDictionary<string, long> sizes) => sizes.IsEmpty ? "-" : string.Join(',', sizes.Select(s => string.Create(CultureInfo.InvariantCulture, $"{s.Key}={s.Value}")));

    /// <summary>The sizes of a text; what cannot be understood is left out.</summary>
    public static ImmutableSortedDictionary<string, long> ParseSizes(string text)
    {
        var sizes = NoSizes.ToBuilder();
        foreach (var part in text.Split(','))
            if (part.Split('=') is [{ Length: > 0 } name, var number] && long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var size)) sizes[name] = size;
        return sizes.ToImmutable();
    }
}

/// <summary>Snapshots as libvirt's XML (libvirt.org/formatsnapshot.html), there and back.</summary>
internal static class SnapshotXml
{
    private const string Mark = "agentmetal/v1";

    /// <summary>Its description says whose it is and how large the disks were; libvirt knows neither.</summary>
    public static string Render(string name, string owner, string sizes)
    {
        var text = new StringBuilder(256);
        using (var xml = XmlWriter.Create(text, new() { OmitXmlDeclaration = true }))
        {
            xml.WriteStartElement("domainsnapshot");
            xml.WriteElementString("name", name);
            xml.WriteElementString("description", $"{Mark} {owner} {sizes}");
            xml.WriteEndElement();
        }
        return text.ToString();
    }

    /// <summary>What is known of a snapshot; one that cannot be understood is somebody else's, and nothing is returned to it.</summary>
    public static SnapshotInfo Read(SnapshotState snapshot)
    {
        var (root, _) = LibvirtXml.Load(snapshot.Xml, "snapshot");
        if (root?.Element("domain") is not { } domain) return new(SnapshotOwner.Nobody, Power.Off, Aspect.None, Aspect.None, SnapshotInfo.NoSizes);
        var power = root.Element("state")?.Value switch { "running" => Power.Running, "paused" => Power.Paused, _ => Power.Off };
        var defined = root.Element("inactiveDomain") ?? domain;
        var mark = (root.Element("description")?.Value ?? "").Split(' ');
        var (owner, sizes) = mark is [Mark, { Length: > 0 } by, var of] ? (by, of) : (SnapshotOwner.Nobody, "");
        try
        {
            return new(owner, power, DomainXml.Of(defined).Aspects(), power == Power.Off ? Aspect.None : DomainXml.Of(domain).Aspects(), SnapshotInfo.ParseSizes(sizes))
            {
                ConfigXml = new XElement("domain", defined.Attributes(), defined.Nodes()).ToString(),
                Made = long.TryParse(root.Element("creationTime")?.Value, NumberStyles.None, CultureInfo.InvariantCulture, out var made) ? made : 0,
            };
        }
        catch (Exception e) when (e is FormatException or OverflowException or InvalidOperationException)
        {
            return new(SnapshotOwner.Nobody, power, Aspect.None, Aspect.None, SnapshotInfo.NoSizes);
        }
    }
}

/// <summary>When scheduled snapshots are due. Time comes in as the name of the slot that it is in: planning has no clock.</summary>
internal static class SnapshotSchedule
{
    private const string Prefix = "auto-";

    /// <summary>The slot of a moment, and how long it lasts from then on. Slots begin at multiples of the interval since the year 1, so every host has the same ones.</summary>
    public static (string Name, TimeSpan Left) Slot(TimeSpan every, DateTimeOffset now)
    {
        var begun = new DateTimeOffset(now.UtcTicks / every.Ticks * every.Ticks, TimeSpan.Zero);
        return (Prefix + begun.ToString("yyyyMMdd't'HHmmss'z'", CultureInfo.InvariantCulture), begun + every - now);
    }

    /// <summary>
    /// Scheduled ones that are to go, the first first: only ours, only as many as there are too many. Those that a clock which was wrong dated into the
    /// future are the first: else they would outlive all that come after them.
    /// </summary>
    public static IEnumerable<string> TooMany(InstanceState s, int keep)
    {
        if (s.Slot == FactValue.Absent) return [];
        var ours = s.Snapshots.Where(p => p.Value.Owner == SnapshotOwner.Schedule).Select(p => p.Key)
            .OrderBy(n => string.CompareOrdinal(n, s.Slot) > 0 ? 0 : 1).ThenBy(n => n, StringComparer.Ordinal).ToList();
        return ours.Take(Math.Max(0, ours.Count - keep));
    }
}

/// <summary>What keeps a machine from having snapshots.</summary>
internal static class Snapshottable
{
    /// <summary>The reason for people; null = it can.</summary>
    public static string? WhyNot(InstanceState s) => WhyNot(s.Config, s.Live, s.Power);

    /// <summary>Of a definition, what runs and the power.</summary>
    public static string? WhyNot(ImmutableSortedDictionary<string, string> config, ImmutableSortedDictionary<string, string> live, string power)
    {
        var disks = config.Concat(live).Where(a => a.Key.StartsWith(Aspect.Disk, StringComparison.Ordinal) && !a.Value.EndsWith(" read-only", StringComparison.Ordinal)).ToList();
        if (disks.FirstOrDefault(d => !d.Value.StartsWith("qcow2 ", StringComparison.Ordinal)) is { Key: { } raw } other)
            return $"{InForce.Named(raw)} is {other.Value.Split(' ')[0]}, which cannot hold snapshots: qcow2";
        return disks.Count == 0 ? "it has no disk that could be snapshotted" : power is Power.Running or Power.Paused or Power.Off ? null : $"it is {power}";
    }
}

/// <summary>Trials of changes: a snapshot, a restart, a probe, and back if it does not pass.</summary>
internal static class Trials
{
    private const string Prefix = "before-";

    /// <summary>The snapshot before a change to this goal.</summary>
    public static string Before(InstanceGoal goal) => Prefix + goal.ChangeDigest;

    /// <summary>Of all that a trial would try: the configuration (not what it runs on, which is the host's affair), and the probe.</summary>
    public static string Digest(DomainConfig config, string probe) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(probe + "\n" + string.Join('\n', Listed(config).Select(a => a.Key + "=" + a.Value)))))[..12];

    /// <summary>Disks by their place in the list, which is the spec's alone: where they stand on the bus is this machine's. Digests of before were made so, and are kept in files.</summary>
    private static ImmutableSortedDictionary<string, string> Listed(DomainConfig config)
    {
        var all = config.Aspects().Where(a => a.Key is not (Aspect.Type or Aspect.Seed) && !a.Key.StartsWith(Aspect.Disk, StringComparison.Ordinal)).ToImmutableSortedDictionary(StringComparer.Ordinal).ToBuilder();
        foreach (var (disk, i) in config.Disks.Where(d => !d.IsSeed).Select((d, i) => (d, i))) all[Aspect.Disk + "vd" + (char)('a' + i)] = $"{disk.Format} {disk.Path}{(disk.ReadOnly ? " read-only" : "")}";
        foreach (var seed in config.Disks.Where(d => d.IsSeed)) all[Aspect.Disk + seed.Target] = $"{seed.Format} {seed.Path} read-only";
        return all.ToImmutable();
    }

    /// <summary>Whether the goal is reached only through a trial. One that is open already is nobody's to begin again.</summary>
    public static bool IsNeeded(InstanceGoal goal, InstanceState s) =>
        goal is { Spec.AutoRevert.Enabled: true, Config: { } config } && !IsTakenBack(goal, s) && s.Trial == FactValue.Absent && s.Domain == Owner.Ours && s.Power == Power.Running && goal.Power == Power.Running
        && Aspect.Between(s.Live, config.Aspects()).Any(a => !InstanceDifferences.CanBeLive(goal, s, a));

    /// <summary>Whether the snapshot is there that it goes back to: of the machine as it runs, else it would come back held or off.</summary>
    public static bool HasBefore(InstanceGoal goal, InstanceState s) => s.Snapshots.TryGetValue(Before(goal), out var before) && before is { Owner: SnapshotOwner.Change, Power: Power.Running };

    /// <summary>Whether the spec still is what was taken back.</summary>
    public static bool IsTakenBack(InstanceGoal goal, InstanceState s) => goal.TakenBack || (goal.Spec.AutoRevert.Enabled && s.Reverted == goal.ChangeDigest);
}
