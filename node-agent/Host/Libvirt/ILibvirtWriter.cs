namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Changes domains. Every call returns an outcome; none throws because libvirt said no, and none is tried again. Deadlines run from the call.
/// </summary>
internal interface ILibvirtWriter
{
    /// <summary>Defines a persistent domain, or redefines the one with the same UUID and name (virDomainDefineXMLFlags).</summary>
    ValueTask<DomainOutcome> DefineAsync(string xml, TimeSpan deadline, CancellationToken stop);

    /// <summary>Takes the definition away, with its saved state, the metadata of its snapshots and checkpoints, and its NVRAM. Disks stay. A running domain runs on.</summary>
    ValueTask<DomainOutcome> UndefineAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Starts it. One that runs is refused.</summary>
    ValueTask<DomainOutcome> CreateAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Asks the guest to shut down, by ACPI or by its agent; done when it was asked, not when it has.</summary>
    ValueTask<DomainOutcome> ShutdownAsync(string uuid, bool byAgent, TimeSpan deadline, CancellationToken stop);

    /// <summary>Takes the power away. Graceful lets the hypervisor flush its caches and is refused where it does not end in time.</summary>
    ValueTask<DomainOutcome> DestroyAsync(string uuid, bool graceful, TimeSpan deadline, CancellationToken stop);

    /// <summary>Presses the reset button.</summary>
    ValueTask<DomainOutcome> ResetAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Asks the guest to restart; done when it was asked.</summary>
    ValueTask<DomainOutcome> RebootAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Stops its processors; memory is kept.</summary>
    ValueTask<DomainOutcome> SuspendAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Lets its processors go on.</summary>
    ValueTask<DomainOutcome> ResumeAsync(string uuid, TimeSpan deadline, CancellationToken stop);

    /// <summary>Whether libvirt starts it as the host boots.</summary>
    ValueTask<DomainOutcome> SetAutostartAsync(string uuid, bool autostart, TimeSpan deadline, CancellationToken stop);

    /// <summary>The memory the guest has (the balloon), in KiB, at most its maximum; now, at the next start, or both.</summary>
    ValueTask<DomainOutcome> SetMemoryAsync(string uuid, long kib, bool live, bool config, TimeSpan deadline, CancellationToken stop);

    /// <summary>The number of virtual processors, at most its maximum; now, at the next start, or both.</summary>
    ValueTask<DomainOutcome> SetVcpusAsync(string uuid, int vcpus, bool live, bool config, TimeSpan deadline, CancellationToken stop);

    /// <summary>Adds a device described by its XML; now, at the next start, or both.</summary>
    ValueTask<DomainOutcome> AttachAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop);

    /// <summary>Takes a device away. Live, the guest has to agree: done when it was asked, and "device-removed" tells when it has. <see cref="DomainResult.NotFound"/> where there is no such device.</summary>
    ValueTask<DomainOutcome> DetachAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop);

    /// <summary>Changes a device in place.</summary>
    ValueTask<DomainOutcome> UpdateDeviceAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop);

    /// <summary>Changes the size of a disk of a running domain. It never looks whether the disk shrinks: the caller must.</summary>
    /// <param name="target">The device in the XML, "vda".</param>
    ValueTask<DomainOutcome> BlockResizeAsync(string uuid, string target, long bytes, TimeSpan deadline, CancellationToken stop);

    /// <summary>Makes a snapshot from its XML.</summary>
    ValueTask<DomainOutcome> CreateSnapshotAsync(string uuid, string xml, SnapshotFlags flags, TimeSpan deadline, CancellationToken stop);

    /// <summary>Puts the domain back to a snapshot; <paramref name="start"/> runs it afterwards also where the snapshot was taken of one that did not run.</summary>
    ValueTask<DomainOutcome> RevertSnapshotAsync(string uuid, string name, bool start, TimeSpan deadline, CancellationToken stop);

    /// <summary>Deletes one snapshot; its children stay.</summary>
    ValueTask<DomainOutcome> DeleteSnapshotAsync(string uuid, string name, TimeSpan deadline, CancellationToken stop);

    /// <summary>Starts a virtual network. One that is active is refused.</summary>
    ValueTask<DomainOutcome> StartNetworkAsync(string name, TimeSpan deadline, CancellationToken stop);

    /// <summary>Whether libvirt starts the network as the host boots.</summary>
    ValueTask<DomainOutcome> SetNetworkAutostartAsync(string name, bool autostart, TimeSpan deadline, CancellationToken stop);

    /// <summary>Keeps an address of an active network for one MAC, now and when the network starts anew.</summary>
    /// <param name="network">Its name.</param>
    /// <param name="mac">Lower case, with colons.</param>
    /// <param name="address">IPv4, of the network.</param>
    /// <param name="replace">Whether another one is kept for it, which ends.</param>
    ValueTask<DomainOutcome> ReserveAsync(string network, string mac, string address, bool replace, TimeSpan deadline, CancellationToken stop);

    /// <summary>Keeps it no more.</summary>
    ValueTask<DomainOutcome> UnreserveAsync(string network, string mac, string address, TimeSpan deadline, CancellationToken stop);

    /// <summary>
    /// Gives back what the network lent to one MAC, as its guest would with DHCPRELEASE (RFC 2131, 4.4.6), so that the address is free before
    /// the lease runs out. The network's server answers to no release: leases that are read soon after may still have it.
    /// </summary>
    ValueTask<DomainOutcome> EndLeasesAsync(string network, string mac, TimeSpan deadline, CancellationToken stop);
}

/// <summary>How a snapshot is made: virDomainSnapshotCreateFlags of libvirt-domain-snapshot.h.</summary>
[Flags]
internal enum SnapshotFlags
{
    /// <summary>Disks, and memory of a running domain.</summary>
    None = 0,

    /// <summary>Metadata only, for a snapshot that exists already.</summary>
    Redefine = 1 << 0,

    /// <summary>With Redefine: make it the current one.</summary>
    Current = 1 << 1,

    /// <summary>Leave no metadata in libvirt.</summary>
    NoMetadata = 1 << 2,

    /// <summary>Stop the domain once the snapshot is made.</summary>
    Halt = 1 << 3,

    /// <summary>Disks without memory.</summary>
    DiskOnly = 1 << 4,

    /// <summary>Use external files that exist already.</summary>
    ReuseExternal = 1 << 5,

    /// <summary>Let the guest agent freeze the file systems meanwhile.</summary>
    Quiesce = 1 << 6,

    /// <summary>All disks or none.</summary>
    Atomic = 1 << 7,

    /// <summary>Take memory while the guest runs on.</summary>
    Live = 1 << 8,
}

/// <summary>How a change ended.</summary>
internal enum DomainResult
{
    /// <summary>libvirt carried it out.</summary>
    Done,

    /// <summary>There is no such domain, network, snapshot or device. Nothing was changed.</summary>
    NotFound,

    /// <summary>libvirt said no; <see cref="DomainOutcome.Detail"/> holds its words.</summary>
    Refused,

    /// <summary>The caller's deadline passed first. Unless the detail says that it was not begun it goes on: observe before doing anything else.</summary>
    DeadlinePassed,

    /// <summary>libvirt is not installed, away, or was lost meanwhile. Whether it happened is unknown: observe.</summary>
    Unreachable,
}

/// <summary>The outcome of a change, with words for a person.</summary>
/// <param name="Result">How it ended.</param>
/// <param name="Detail">One sentence: what libvirt said; empty when done.</param>
internal sealed record DomainOutcome(DomainResult Result, string Detail)
{
    /// <summary>libvirt carried it out.</summary>
    internal static DomainOutcome Done { get; } = new(DomainResult.Done, "");

    /// <summary>True when the change is known to have happened.</summary>
    public bool IsDone => Result == DomainResult.Done;
}
