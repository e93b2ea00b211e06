using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <param name="Target">Name in the guest: vda.</param>
/// <param name="Path">File on the host.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="ReadOnly">The seed.</param>
internal sealed record DomainDisk(string Target, string Path, string Format, bool ReadOnly = false)
{
    private const int LongestSerial = 20; // virtio-blk: VIRTIO_BLK_ID_BYTES

    /// <summary>What a guest finds it by, wherever it stands; empty = nothing. Not compared: machines of before have none, and nobody restarts one for it.</summary>
    public string Serial { get; init; } = "";

    /// <summary>What cloud-init reads. There is one, and another one takes its place.</summary>
    public bool IsSeed => ReadOnly && Path[(Path.LastIndexOf('/') + 1)..] is var name && name.StartsWith("seed-", StringComparison.Ordinal) && name.EndsWith(".iso", StringComparison.Ordinal);

    /// <summary>The serial of a disk of this name: the name, or as much of it as a disk can have with a digest of all of it.</summary>
    public static string SerialOf(string name) => name.Length <= LongestSerial ? name
        : name[..11] + "-" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name)))[..8];
}

/// <param name="Mac">Lower case.</param>
/// <param name="Kind">network or bridge.</param>
/// <param name="Source">Its name.</param>
/// <param name="Filter">Of libvirt, for what the guest sends and gets; behind an @ its address, or how that is learned; empty = none.</param>
internal sealed record DomainNic(string Mac, string Kind, string Source, string Filter)
{
    /// <summary>Its cable is out: the guest sees no carrier.</summary>
    public bool IsUnplugged { get; init; }

    /// <summary>The one address that it may be used with; empty = one that is learned, or any.</summary>
    public string FixedAddress => FixedAddressOf(Filter);

    /// <summary>The same of a filter, or of an aspect, which ends with it.</summary>
    public static string FixedAddressOf(string text) => text.IndexOf('@', StringComparison.Ordinal) is > 0 and var at && at + 1 < text.Length && char.IsAsciiDigit(text[at + 1])
        ? text[(at + 1)..].Split(' ')[0] : "";
}

/// <summary>What is managed of a libvirt domain: all of it that a person declares, and that nothing is there that nobody declared.</summary>
internal sealed record DomainConfig
{
    public required string Name { get; init; }
    public required string Uuid { get; init; }

    /// <summary>kvm or qemu.</summary>
    public required string Type { get; init; }

    public required int Cpus { get; init; }
    public required int MaxCpus { get; init; }
    public required long MemoryKiB { get; init; }
    public required long MaxMemoryKiB { get; init; }

    /// <summary>Paths; empty = boot from the first disk.</summary>
    public string Kernel { get; init; } = "";
    public string Initrd { get; init; } = "";
    public string Cmdline { get; init; } = "";

    public ImmutableArray<DomainDisk> Disks { get; init; } = [];
    public ImmutableArray<DomainNic> Nics { get; init; } = [];
    public bool GuestAgent { get; init; }

    /// <summary>File that has all that the guest writes to its serial console.</summary>
    public string ConsoleLog { get; init; } = "";

    /// <summary>Devices that we never give a domain, by kind: "hostdev,filesystem"; empty = none.</summary>
    public string Others { get; init; } = "";

    /// <summary>Shown to people in virsh and virt-manager.</summary>
    public string Title { get; init; } = "";

    /// <summary>Every managed property as text, by aspect: what is compared, and what people read.</summary>
    public ImmutableSortedDictionary<string, string> Aspects()
    {
        var all = Aspect.None.ToBuilder();
        all[Aspect.Type] = Type;
        all[Aspect.Cpus] = string.Create(CultureInfo.InvariantCulture, $"{Cpus} of {MaxCpus}");
        all[Aspect.Memory] = string.Create(CultureInfo.InvariantCulture, $"{MemoryKiB} of {MaxMemoryKiB} KiB");
        all[Aspect.Boot] = Kernel.Length == 0 ? "disk" : $"kernel {Kernel} initrd {Initrd} cmdline {Cmdline}";
        all[Aspect.Agent] = GuestAgent ? "yes" : "no";
        all[Aspect.Console] = ConsoleLog;
        foreach (var disk in Disks)
            if (disk.IsSeed) all[Aspect.Seed] = disk.Path;
            else all[Aspect.KeyOf(disk)] = Aspect.TextOf(disk);
        foreach (var nic in Nics) all[Aspect.Nic + nic.Mac] = Aspect.TextOf(nic);
        if (Others.Length > 0) all[Aspect.Others] = Others;
        return all.ToImmutable();
    }
}

/// <summary>Names of aspects.</summary>
internal static class Aspect
{
    public const string Type = "type", Cpus = "cpus", Memory = "memory", Boot = "boot", Agent = "guest-agent", Console = "console", Others = "other-devices", Seed = "seed", Disk = "disk/", Nic = "nic/";

    private const string As = " as ", ReadOnly = " read-only", Filter = " filter ", Unplugged = " unplugged";

    public static readonly ImmutableSortedDictionary<string, string> None = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Aspects in which two differ, in ordinal order.</summary>
    public static IEnumerable<string> Between(ImmutableSortedDictionary<string, string> a, ImmutableSortedDictionary<string, string> b) =>
        a.Keys.Union(b.Keys, StringComparer.Ordinal).Where(k => a.GetValueOrDefault(k) != b.GetValueOrDefault(k)).Order(StringComparer.Ordinal);

    /// <summary>A disk is its file, wherever it stands in a list.</summary>
    public static string KeyOf(DomainDisk disk) => Disk + (disk.Path.Length > 0 ? disk.Path : "empty " + disk.Target);

    /// <summary>"qcow2 as vdb".</summary>
    public static string TextOf(DomainDisk disk) => disk.Format + As + disk.Target + (disk.ReadOnly ? ReadOnly : "");

    /// <summary>"network default filter clean-traffic".</summary>
    public static string TextOf(DomainNic nic) => $"{nic.Kind} {nic.Source}{(nic.Filter.Length > 0 ? Filter + nic.Filter : "")}{(nic.IsUnplugged ? Unplugged : "")}";

    /// <summary>The disk that an aspect says.</summary>
    public static DomainDisk DiskOf(string aspect, string text)
    {
        var readOnly = text.EndsWith(ReadOnly, StringComparison.Ordinal);
        if (readOnly) text = text[..^ReadOnly.Length];
        var at = text.LastIndexOf(As, StringComparison.Ordinal);
        return new(at < 0 ? "" : text[(at + As.Length)..], aspect[Disk.Length..], at < 0 ? text : text[..at], readOnly);
    }

    /// <summary>The card that an aspect says.</summary>
    public static DomainNic NicOf(string aspect, string text)
    {
        var unplugged = text.EndsWith(Unplugged, StringComparison.Ordinal);
        if (unplugged) text = text[..^Unplugged.Length];
        var (at, space) = (text.LastIndexOf(Filter, StringComparison.Ordinal), text.IndexOf(' ', StringComparison.Ordinal));
        var (device, filter) = at < 0 ? (text, "") : (text[..at], text[(at + Filter.Length)..]);
        return new(aspect[Nic.Length..], space < 0 ? device : device[..space], space < 0 ? "" : device[(space + 1)..], filter) { IsUnplugged = unplugged };
    }

    /// <summary>All disks among aspects but the seed, as they stand: by the name that the guest's kernel gives them.</summary>
    public static IEnumerable<DomainDisk> DisksOf(ImmutableSortedDictionary<string, string> aspects) => aspects.Where(a => a.Key.StartsWith(Disk, StringComparison.Ordinal))
        .Select(a => DiskOf(a.Key, a.Value)).OrderBy(d => d.Target.Length).ThenBy(d => d.Target, StringComparer.Ordinal);

    /// <summary>All cards among aspects.</summary>
    public static IEnumerable<DomainNic> NicsOf(ImmutableSortedDictionary<string, string> aspects) =>
        aspects.Where(a => a.Key.StartsWith(Nic, StringComparison.Ordinal)).Select(a => NicOf(a.Key, a.Value));

    /// <summary>"1 of 2" as its two numbers.</summary>
    public static (long Now, long Max) Pair(string text)
    {
        var words = text.Split(' ');
        return (long.Parse(words[0], CultureInfo.InvariantCulture), long.Parse(words[2], CultureInfo.InvariantCulture));
    }
}
