using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>virDomainState of libvirt-domain.h, in the words of a person.</summary>
internal enum DomainPower
{
    /// <summary>It runs, or waits for a resource while it runs.</summary>
    Running,

    /// <summary>Its processors stand still; memory is kept.</summary>
    Paused,

    /// <summary>It is on its way to being shut off.</summary>
    ShuttingDown,

    /// <summary>It does not run.</summary>
    ShutOff,

    /// <summary>It crashed and was kept as it was.</summary>
    Crashed,

    /// <summary>The guest put itself to sleep.</summary>
    Suspended,

    /// <summary>libvirt does not know.</summary>
    Unknown,
}

/// <summary>A domain as libvirt sees it.</summary>
internal sealed record DomainState
{
    /// <summary>False where libvirt knows no such domain; all else is empty then.</summary>
    public required bool Exists { get; init; }

    /// <summary>Lower-case canonical text.</summary>
    public required string Uuid { get; init; }

    /// <summary>The domain's name.</summary>
    public required string Name { get; init; }

    /// <summary>Power, from virDomainGetState.</summary>
    public required DomainPower Power { get; init; }

    /// <summary>libvirt's word for how it came into that state: "booted", "destroyed", "shutdown", "crashed", "failed", "user", "ioerror", ... or "unknown".</summary>
    public required string Reason { get; init; }

    /// <summary>True when libvirt starts it as the host boots.</summary>
    public required bool Autostart { get; init; }

    /// <summary>True when it has a definition that outlives its run.</summary>
    public required bool Persistent { get; init; }

    /// <summary>What the next start would use, without secrets.</summary>
    public required string InactiveXml { get; init; }

    /// <summary>What runs now, without secrets; empty unless it is active.</summary>
    public required string ActiveXml { get; init; }

    /// <summary>The number of this run, which changes with every start; -1 when it does not run.</summary>
    public required long Id { get; init; }

    /// <summary>A domain that does not exist.</summary>
    internal static DomainState Absent(string uuid, string name) => new()
    {
        Exists = false,
        Uuid = uuid,
        Name = name,
        Power = DomainPower.Unknown,
        Reason = "",
        Autostart = false,
        Persistent = false,
        InactiveXml = "",
        ActiveXml = "",
        Id = -1,
    };
}

/// <summary>A domain in a list.</summary>
internal sealed record DomainBrief(string Uuid, string Name, DomainPower Power, bool Persistent);

/// <summary>Counters of one domain (virConnectGetAllDomainStats). What the hypervisor does not tell is 0.</summary>
internal sealed record DomainStats
{
    /// <summary>Lower-case canonical text.</summary>
    public required string Uuid { get; init; }

    /// <summary>Power when the counters were read.</summary>
    public required DomainPower Power { get; init; }

    /// <summary>Processor time since the start, in nanoseconds.</summary>
    public required long CpuTimeNs { get; init; }

    /// <summary>Memory that the guest has now, in KiB.</summary>
    public required long BalloonCurrentKiB { get; init; }

    /// <summary>Memory that the guest can have at most, in KiB.</summary>
    public required long BalloonMaximumKiB { get; init; }

    /// <summary>Resident memory of the hypervisor's process, in KiB.</summary>
    public required long RssKiB { get; init; }

    /// <summary>Virtual processors that are plugged in now.</summary>
    public required int Vcpus { get; init; }

    /// <summary>Disks, in libvirt's order.</summary>
    public required ImmutableArray<DiskStats> Disks { get; init; }

    /// <summary>Network interfaces, in libvirt's order; only of a running domain.</summary>
    public required ImmutableArray<NicStats> Nics { get; init; }
}

/// <summary>Counters of a disk since the start. Bytes; requests are counts.</summary>
/// <param name="Target">The device in the guest's XML, "vda".</param>
/// <param name="Allocation">Bytes in use on the host.</param>
/// <param name="Capacity">Bytes that the guest sees.</param>
internal sealed record DiskStats(string Target, long RdBytes, long WrBytes, long RdReqs, long WrReqs, long Allocation, long Capacity);

/// <summary>Counters of a network interface since the start, as the guest sees them.</summary>
/// <param name="Device">The device on the host, "vnet3".</param>
internal sealed record NicStats(string Device, long RxBytes, long TxBytes, long RxPackets, long TxPackets, long RxDrops, long TxDrops);

/// <summary>A virtual network of libvirt.</summary>
/// <param name="Bridge">The bridge on the host, or empty where the network has none.</param>
internal sealed record NetworkState(bool Exists, string Name, bool Active, bool Autostart, string Bridge);

/// <summary>What a virtual network lends, IPv4 only.</summary>
/// <param name="Subnets">Own address of the host in each, length of the network part, and whether addresses are lent in it.</param>
/// <param name="Reserved">By MAC, lower case: which address is kept for it.</param>
/// <param name="Lent">By MAC, lower case: which address it has now.</param>
internal sealed record NetworkLeases(bool Exists, IReadOnlyList<Subnet> Subnets, IReadOnlyList<(string Mac, string Address)> Reserved, IReadOnlyList<(string Mac, string Address)> Lent)
{
    public static NetworkLeases None { get; } = new(false, [], [], []);
}

/// <summary>A subnet of a virtual network, IPv4.</summary>
/// <param name="Address">The host's own in it.</param>
/// <param name="Prefix">Length of the network part.</param>
/// <param name="Lends">Whether addresses are lent in it.</param>
internal sealed record Subnet(string Address, int Prefix, bool Lends)
{
    /// <summary>Whether it can be a guest's: one of the subnet that is neither the host's own nor the network's or everybody's.</summary>
    public bool Holds(string address)
    {
        if (Prefix is < 1 or > 30 || Address == address || !IPAddress.TryParse(Address, out var host) || !IPAddress.TryParse(address, out var guest) || guest.AddressFamily != AddressFamily.InterNetwork) return false;
        var (number, mask) = (Number(guest), uint.MaxValue << (32 - Prefix));
        return (number & mask) == (Number(host) & mask) && (number & ~mask) != 0 && (number & ~mask) != ~mask;
    }

    private static uint Number(IPAddress address) => BinaryPrimitives.ReadUInt32BigEndian(address.GetAddressBytes());
}

/// <summary>One address of a domain.</summary>
/// <param name="Mac">Lower-case, with colons; empty where the source does not know it.</param>
/// <param name="Address">IPv4 or IPv6, as text.</param>
/// <param name="Prefix">Length of the network part; 0 where the source does not know it.</param>
/// <param name="Device">The host's device for leases and ARP ("vnet3"), the guest's for the agent ("eth0").</param>
internal sealed record DomainAddress(string Mac, string Address, int Prefix, string Device);

/// <summary>A snapshot of a domain.</summary>
internal sealed record SnapshotState(string Name, string Xml, bool Current);

/// <summary>Versions as libvirt's numbers in words, "9.0.0".</summary>
/// <param name="Library">The library in this process.</param>
/// <param name="Daemon">The daemon that answers.</param>
/// <param name="Hypervisor">The hypervisor behind it; empty where none is installed.</param>
/// <param name="Type">The kind of hypervisor, "QEMU".</param>
internal sealed record LibvirtVersions(string Library, string Daemon, string Hypervisor, string Type);
