namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Changes through the connection.</summary>
internal sealed class LibvirtWriter(LibvirtLink link) : ILibvirtWriter
{
    public ValueTask<DomainOutcome> DefineAsync(string xml, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        "defining a domain",
        session =>
        {
            using var domain = LibvirtReader.Valid(Virt.DomainDefine(session.Connection, Whole(xml), 0), "virDomainDefineXMLFlags");
        },
        deadline,
        stop);

    public ValueTask<DomainOutcome> UndefineAsync(string uuid, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        "undefining a domain",
        session =>
        {
            using var domain = LibvirtReader.Find(session, uuid);
            // Other hypervisors have neither NVRAM nor checkpoints and refuse the flags.
            var flags = Virt.UndefineManagedSave | Virt.UndefineSnapshotsMetadata | (session.IsQemu ? Virt.UndefineNvram | Virt.UndefineCheckpointsMetadata : 0);
            LibvirtReader.Check(Virt.DomainUndefine(domain, flags), "virDomainUndefineFlags");
        },
        deadline,
        stop);

    public ValueTask<DomainOutcome> CreateAsync(string uuid, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("starting a domain", uuid, static domain => Virt.DomainCreate(domain, 0), deadline, stop);

    public ValueTask<DomainOutcome> ShutdownAsync(string uuid, bool byAgent, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        "asking a domain to shut down",
        session =>
        {
            using var domain = LibvirtReader.Find(session, uuid);
            // The default way of other hypervisors is the only one they have.
            LibvirtReader.Check(Virt.DomainShutdown(domain, byAgent ? Virt.ShutdownAgent : session.IsQemu ? Virt.ShutdownAcpi : 0), "virDomainShutdownFlags");
        },
        deadline,
        stop);

    public ValueTask<DomainOutcome> DestroyAsync(string uuid, bool graceful, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("stopping a domain", uuid, domain => Virt.DomainDestroy(domain, graceful ? Virt.DestroyGraceful : 0), deadline, stop);

    public ValueTask<DomainOutcome> ResetAsync(string uuid, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("resetting a domain", uuid, static domain => Virt.DomainReset(domain, 0), deadline, stop);

    public ValueTask<DomainOutcome> RebootAsync(string uuid, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("asking a domain to restart", uuid, static domain => Virt.DomainReboot(domain, 0), deadline, stop);

    public ValueTask<DomainOutcome> SuspendAsync(string uuid, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("pausing a domain", uuid, static domain => Virt.DomainSuspend(domain), deadline, stop);

    public ValueTask<DomainOutcome> ResumeAsync(string uuid, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("resuming a domain", uuid, static domain => Virt.DomainResume(domain), deadline, stop);

    public ValueTask<DomainOutcome> SetAutostartAsync(string uuid, bool autostart, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("setting autostart", uuid, domain => Virt.DomainSetAutostart(domain, autostart ? 1 : 0), deadline, stop);

    public ValueTask<DomainOutcome> SetMemoryAsync(string uuid, long kib, bool live, bool config, TimeSpan deadline, CancellationToken stop)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(kib);
        return DomainAsync("setting memory", uuid, domain => Virt.DomainSetMemory(domain, (nuint)kib, Affect(live, config)), deadline, stop);
    }

    public ValueTask<DomainOutcome> SetVcpusAsync(string uuid, int vcpus, bool live, bool config, TimeSpan deadline, CancellationToken stop)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vcpus);
        return DomainAsync("setting processors", uuid, domain => Virt.DomainSetVcpus(domain, (uint)vcpus, Affect(live, config)), deadline, stop);
    }

    public ValueTask<DomainOutcome> AttachAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("attaching a device", uuid, domain => Virt.DomainAttachDevice(domain, Whole(xml), Affect(live, config)), deadline, stop);

    public ValueTask<DomainOutcome> DetachAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("detaching a device", uuid, domain => Virt.DomainDetachDevice(domain, Whole(xml), Affect(live, config)), deadline, stop);

    public ValueTask<DomainOutcome> UpdateDeviceAsync(string uuid, string xml, bool live, bool config, TimeSpan deadline, CancellationToken stop) =>
        DomainAsync("changing a device", uuid, domain => Virt.DomainUpdateDevice(domain, Whole(xml), Affect(live, config)), deadline, stop);

    public ValueTask<DomainOutcome> BlockResizeAsync(string uuid, string target, long bytes, TimeSpan deadline, CancellationToken stop)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(bytes);
        return DomainAsync("resizing a disk", uuid, domain => Virt.DomainBlockResize(domain, Whole(target), (ulong)bytes, Virt.BlockResizeBytes), deadline, stop);
    }

    public ValueTask<DomainOutcome> CreateSnapshotAsync(string uuid, string xml, SnapshotFlags flags, TimeSpan deadline, CancellationToken stop) => DomainAsync(
        "making a snapshot",
        uuid,
        domain =>
        {
            using var snapshot = LibvirtReader.Valid(Virt.SnapshotCreate(domain, Whole(xml), (uint)flags), "virDomainSnapshotCreateXML");
            return 0;
        },
        deadline,
        stop);

    public ValueTask<DomainOutcome> RevertSnapshotAsync(string uuid, string name, bool start, TimeSpan deadline, CancellationToken stop) =>
        SnapshotAsync("reverting to a snapshot", uuid, name, snapshot => Virt.SnapshotRevert(snapshot, start ? Virt.SnapshotRevertRunning : 0), deadline, stop);

    public ValueTask<DomainOutcome> DeleteSnapshotAsync(string uuid, string name, TimeSpan deadline, CancellationToken stop) =>
        SnapshotAsync("deleting a snapshot", uuid, name, static snapshot => Virt.SnapshotDelete(snapshot, 0), deadline, stop);

    public ValueTask<DomainOutcome> StartNetworkAsync(string name, TimeSpan deadline, CancellationToken stop) =>
        NetworkAsync("starting a network", name, static network => Virt.NetworkCreate(network), deadline, stop);

    public ValueTask<DomainOutcome> SetNetworkAutostartAsync(string name, bool autostart, TimeSpan deadline, CancellationToken stop) =>
        NetworkAsync("setting a network's autostart", name, network => Virt.NetworkSetAutostart(network, autostart ? 1 : 0), deadline, stop);

    public ValueTask<DomainOutcome> ReserveAsync(string network, string mac, string address, bool replace, TimeSpan deadline, CancellationToken stop) =>
        DhcpHostAsync("reserving an address", network, replace ? Virt.UpdateModify : Virt.UpdateAddLast, mac, address, deadline, stop);

    public ValueTask<DomainOutcome> UnreserveAsync(string network, string mac, string address, TimeSpan deadline, CancellationToken stop) =>
        DhcpHostAsync("giving up a reserved address", network, Virt.UpdateDelete, mac, address, deadline, stop);

    public ValueTask<DomainOutcome> EndLeasesAsync(string network, string mac, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        "giving back a lease",
        session =>
        {
            var leases = LibvirtReader.Leases(session, network);
            foreach (var (_, address) in leases.Lent.Where(l => l.Mac == mac))
                if (leases.Subnets.FirstOrDefault(s => s.Lends && s.Holds(address)) is { } subnet) DhcpRelease.Send(LibvirtReader.Network(session, network).Bridge, mac, address, subnet.Address);
        },
        deadline,
        stop);

    /// <summary>What runs and what is kept are changed together; of a network that is not active there is only the latter.</summary>
    private ValueTask<DomainOutcome> DhcpHostAsync(string what, string network, uint command, string mac, string address, TimeSpan deadline, CancellationToken stop)
    {
        var host = new System.Xml.Linq.XElement("host", new System.Xml.Linq.XAttribute("mac", mac), new System.Xml.Linq.XAttribute("ip", address)).ToString();
        return NetworkAsync(what, network, n => Virt.NetworkUpdate(n, command, Virt.SectionDhcpHost, -1, host, Virt.NetworkIsActive(n) == 1 ? Virt.NetworkAffectLive | Virt.NetworkAffectConfig : Virt.NetworkAffectConfig), deadline, stop);
    }

    // A reason belongs to its thread and lasts until the next call, also one that releases a handle: it is read inside every using.
    private ValueTask<DomainOutcome> DomainAsync(string what, string uuid, Func<VirDomain, int> change, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        what,
        session =>
        {
            using var domain = LibvirtReader.Find(session, uuid);
            LibvirtReader.Check(change(domain), what);
        },
        deadline,
        stop);

    private ValueTask<DomainOutcome> SnapshotAsync(string what, string uuid, string name, Func<VirSnapshot, int> change, TimeSpan deadline, CancellationToken stop) => DomainAsync(
        what,
        uuid,
        domain =>
        {
            using var snapshot = LibvirtReader.Valid(Virt.SnapshotLookupByName(domain, Whole(name), 0), "virDomainSnapshotLookupByName");
            LibvirtReader.Check(change(snapshot), what);
            return 0;
        },
        deadline,
        stop);

    private ValueTask<DomainOutcome> NetworkAsync(string what, string name, Func<VirNetwork, int> change, TimeSpan deadline, CancellationToken stop) => ChangeAsync(
        what,
        session =>
        {
            using var network = LibvirtReader.Valid(Virt.NetworkLookupByName(session.Connection, Whole(name)), "virNetworkLookupByName");
            LibvirtReader.Check(change(network), what);
        },
        deadline,
        stop);

    private async ValueTask<DomainOutcome> ChangeAsync(string what, Action<LibvirtSession> change, TimeSpan deadline, CancellationToken stop)
    {
        try
        {
            await link.CallAsync(what, session => Run(session, change), deadline, stop).ConfigureAwait(false);
            return DomainOutcome.Done;
        }
        catch (LibvirtException error)
        {
            return new DomainOutcome(error.Result, error.Message);
        }
    }

    private static bool Run(LibvirtSession session, Action<LibvirtSession> change)
    {
        change(session);
        return true;
    }

    private static uint Affect(bool live, bool config) => (live ? Virt.AffectLive : 0) | (config ? Virt.AffectConfig : 0);

    /// <summary>A C string ends at a NUL: what is behind it would be silently left out.</summary>
    private static string Whole(string text) =>
        text.Contains('\0') ? throw new LibvirtException(DomainResult.Refused, "the text holds a NUL character") : text;
}
