using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <param name="Target">Name in the guest: vda.</param>
/// <param name="Path">File on the host.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="ReadOnly">The seed.</param>
internal sealed record DomainDisk(string Target, string Path, string Format, bool ReadOnly = false);

/// <param name="Mac">Lower case.</param>
/// <param name="Kind">network or bridge.</param>
/// <param name="Source">Its name.</param>
/// <param name="Filter">Of libvirt, for what the guest sends and gets; behind an @ its address, or how that is learned; empty = none.</param>
internal sealed record DomainNic(string Mac, string Kind, string Source, string Filter)
{
    /// <summary>The one address that it may be used with; empty = one that is learned, or any.</summary>
    public string FixedAddress => FixedAddressOf(Filter);

    /// <summary>The same of a filter, or of an aspect, which ends with it.</summary>
    public static string FixedAddressOf(string text) => text.IndexOf('@', StringComparison.Ordinal) is > 0 and var at && at + 1 < text.Length && char.IsAsciiDigit(text[at + 1]) ? text[(at + 1)..] : "";
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
        foreach (var disk in Disks) all[Aspect.Disk + disk.Target] = $"{disk.Format} {disk.Path}{(disk.ReadOnly ? " read-only" : "")}";
        foreach (var nic in Nics) all[Aspect.Nic + nic.Mac] = $"{nic.Kind} {nic.Source}{(nic.Filter.Length > 0 ? " filter " + nic.Filter : "")}";
        if (Others.Length > 0) all[Aspect.Others] = Others;
        return all.ToImmutable();
    }
}

/// <summary>Names of aspects.</summary>
internal static class Aspect
{
    public const string Type = "type", Cpus = "cpus", Memory = "memory", Boot = "boot", Agent = "guest-agent", Console = "console", Others = "other-devices", Disk = "disk/", Nic = "nic/";

    public static readonly ImmutableSortedDictionary<string, string> None = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>Aspects in which two differ, in ordinal order.</summary>
    public static IEnumerable<string> Between(ImmutableSortedDictionary<string, string> a, ImmutableSortedDictionary<string, string> b) =>
        a.Keys.Union(b.Keys, StringComparer.Ordinal).Where(k => a.GetValueOrDefault(k) != b.GetValueOrDefault(k)).Order(StringComparer.Ordinal);

    /// <summary>"1 of 2" as its two numbers.</summary>
    public static (long Now, long Max) Pair(string text)
    {
        var words = text.Split(' ');
        return (long.Parse(words[0], CultureInfo.InvariantCulture), long.Parse(words[2], CultureInfo.InvariantCulture));
    }
}
