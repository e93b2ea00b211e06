namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Reads domains, networks and snapshots; never changes one. Every read ends within <see cref="LibvirtOptions.CallDeadline"/>. What could not
/// be read is unseen, with a sentence that says why; what does not exist is seen as not existing.
/// </summary>
internal interface ILibvirtReader
{
    /// <summary>Versions of library, daemon and hypervisor; unseen where libvirt is not installed or not reachable, with the next command.</summary>
    ValueTask<Observed<LibvirtVersions>> VersionsAsync(CancellationToken stop);

    /// <summary>One domain by its UUID; Exists is false where there is none.</summary>
    ValueTask<Observed<DomainState>> DomainAsync(string uuid, CancellationToken stop);

    /// <summary>One domain by its name; Exists is false where there is none.</summary>
    ValueTask<Observed<DomainState>> DomainByNameAsync(string name, CancellationToken stop);

    /// <summary>All domains, running or not, whoever made them.</summary>
    ValueTask<Observed<IReadOnlyList<DomainBrief>>> DomainsAsync(CancellationToken stop);

    /// <summary>
    /// Counters of these domains in one call to libvirt, however many they are; an empty list means all. A domain that does not exist is
    /// left out.
    /// </summary>
    ValueTask<Observed<IReadOnlyList<DomainStats>>> StatsAsync(IReadOnlyCollection<string> uuids, CancellationToken stop);

    /// <summary>The addresses of a running domain as one source knows them; empty where it knows none. A domain that does not exist or does not run is unseen.</summary>
    ValueTask<Observed<IReadOnlyList<DomainAddress>>> AddressesAsync(string uuid, AddressSource source, CancellationToken stop);

    /// <summary>One virtual network; Exists is false where there is none.</summary>
    ValueTask<Observed<NetworkState>> NetworkAsync(string name, CancellationToken stop);

    /// <summary>What one virtual network lends and keeps for whom; Exists is false where there is none.</summary>
    ValueTask<Observed<NetworkLeases>> LeasesAsync(string network, CancellationToken stop);

    /// <summary>The snapshots of a domain, parents before children. A domain that does not exist is unseen.</summary>
    ValueTask<Observed<IReadOnlyList<SnapshotState>>> SnapshotsAsync(string uuid, CancellationToken stop);

    /// <summary>What the host and its emulators can do, as libvirt's capabilities XML.</summary>
    ValueTask<Observed<string>> CapabilitiesAsync(CancellationToken stop);

    /// <summary>
    /// Signals about all domains until cancelled. The first element is Resync or Unseen, once the watch stands: what is read after a Resync
    /// misses no change. Signals that a slow reader has not taken are folded, at most <see cref="DomainBox.Capacity"/> of them; more become
    /// one Resync, so nothing is lost and nothing grows.
    /// </summary>
    IAsyncEnumerable<DomainSignal> WatchAsync(CancellationToken stop);
}

/// <summary>Where addresses of a domain are known from (virDomainInterfaceAddresses).</summary>
internal enum AddressSource
{
    /// <summary>The leases of libvirt's own DHCP server.</summary>
    Lease = 0,

    /// <summary>The guest agent; without a running agent the answer is unseen.</summary>
    Agent = 1,

    /// <summary>The host's ARP table.</summary>
    Arp = 2,
}

/// <summary>What kind of thing happened.</summary>
internal enum DomainSignalKind
{
    /// <summary>Something happened to one domain: read it again.</summary>
    Domain,

    /// <summary>The watch stands, for the first time, again after a lost connection, or after too many signals: read everything again.</summary>
    Resync,

    /// <summary>libvirt is away: what was read before may no longer be true, and nothing is known to be absent.</summary>
    Unseen,
}

/// <summary>One signal. A signal is a reason to look, never a fact.</summary>
/// <param name="Kind">What kind of thing happened.</param>
/// <param name="Uuid">The domain, lower-case canonical text; empty unless Kind is Domain.</param>
/// <param name="Name">The domain's name; empty unless Kind is Domain.</param>
/// <param name="Event">"started", "stopped", "shutdown", "defined", "undefined", "suspended", "resumed", "crashed", "agent", "device-removed", "device-kept" (a removal that the guest refused), "reboot"; empty unless Kind is Domain.</param>
/// <param name="Detail">libvirt's word for how ("booted", "destroyed", "failed", ...), the device's alias, or why libvirt is unseen.</param>
internal sealed record DomainSignal(DomainSignalKind Kind, string Uuid, string Name, string Event, string Detail);
