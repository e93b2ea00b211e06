using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Reads through the connection.</summary>
internal sealed class LibvirtReader(LibvirtLink link) : ILibvirtReader
{
    /// <summary>A domain that changes its power while it is read is read again, so often at most.</summary>
    private const int MaxLooks = 3;

    public ValueTask<Observed<LibvirtVersions>> VersionsAsync(CancellationToken stop) => ReadAsync("reading the versions", Versions, stop);

    public ValueTask<Observed<DomainState>> DomainAsync(string uuid, CancellationToken stop) =>
        DomainAsync(DomainState.Absent(uuid, ""), session => Virt.DomainLookupByUuid(session.Connection, uuid), uuid, stop);

    public ValueTask<Observed<DomainState>> DomainByNameAsync(string name, CancellationToken stop) =>
        DomainAsync(DomainState.Absent("", name), session => Virt.DomainLookupByName(session.Connection, name), name, stop);

    public ValueTask<Observed<IReadOnlyList<DomainBrief>>> DomainsAsync(CancellationToken stop) => ReadAsync("listing the domains", Domains, stop);

    public ValueTask<Observed<IReadOnlyList<DomainStats>>> StatsAsync(IReadOnlyCollection<string> uuids, CancellationToken stop) =>
        ReadAsync("reading counters", session => DomainCounters.Read(session, uuids), stop);

    public ValueTask<Observed<IReadOnlyList<DomainAddress>>> AddressesAsync(string uuid, AddressSource source, CancellationToken stop) =>
        ReadAsync("reading addresses", session => Addresses(session, uuid, source), stop);

    public ValueTask<Observed<NetworkState>> NetworkAsync(string name, CancellationToken stop) =>
        ReadAsync("reading a network", session => Network(session, name), stop, new NetworkState(false, name, false, false, ""));

    public ValueTask<Observed<NetworkLeases>> LeasesAsync(string network, CancellationToken stop) =>
        ReadAsync("reading what a network lends", session => Leases(session, network), stop, NetworkLeases.None);

    public ValueTask<Observed<IReadOnlyList<SnapshotState>>> SnapshotsAsync(string uuid, CancellationToken stop) =>
        ReadAsync("listing snapshots", session => Snapshots(session, uuid), stop);

    public ValueTask<Observed<string>> CapabilitiesAsync(CancellationToken stop) =>
        ReadAsync("reading capabilities", static session => Virt.TakeText(Require(Virt.ConnectGetCapabilities(session.Connection), "virConnectGetCapabilities")), stop);

    public async IAsyncEnumerable<DomainSignal> WatchAsync([EnumeratorCancellation] CancellationToken stop)
    {
        var box = new DomainBox();
        link.Add(box);
        try
        {
            while (await box.TakeAsync(stop).ConfigureAwait(false) is { } signals)
            {
                foreach (var signal in signals)
                    yield return signal;
            }
        }
        finally
        {
            link.Remove(box);
        }
    }

    private ValueTask<Observed<DomainState>> DomainAsync(DomainState absent, Func<LibvirtSession, VirDomain> find, string which, CancellationToken stop) =>
        ReadAsync(
            $"reading domain {which}",
            session =>
            {
                using var domain = Valid(find(session), "virDomainLookup");
                return Domain(domain);
            },
            stop,
            absent);

    private async ValueTask<Observed<T>> ReadAsync<T>(string what, Func<LibvirtSession, T> read, CancellationToken stop, T? absent = null)
        where T : class
    {
        try
        {
            return Observed<T>.Seen(await link.CallAsync(what, read, link.Options.CallDeadline, stop).ConfigureAwait(false));
        }
        catch (LibvirtException error) when (error.IsNotFound && absent is not null)
        {
            return Observed<T>.Seen(absent);
        }
        catch (LibvirtException error)
        {
            return Observed<T>.Unseen(error.Message);
        }
    }

    private static unsafe LibvirtVersions Versions(LibvirtSession session)
    {
        Check(Virt.GetVersion(out var library, null, null), "virGetVersion");
        Check(Virt.ConnectGetLibVersion(session.Connection, out var daemon), "virConnectGetLibVersion");
        // A daemon without an emulator has no version to tell, and is a daemon all the same.
        var hypervisor = Virt.ConnectGetVersion(session.Connection, out var version) == 0 ? version : 0;
        return new LibvirtVersions(LibvirtWords.VersionOf(library), LibvirtWords.VersionOf(daemon), LibvirtWords.VersionOf(hypervisor), session.Type);
    }

    private static DomainState Domain(VirDomain domain)
    {
        var state = Look(domain);
        for (var look = 1; look < MaxLooks; look++)
        {
            Check(Virt.DomainGetState(domain.Raw, out var power, out var reason, 0), "virDomainGetState");
            if (LibvirtWords.PowerOf(power) == state.Power && LibvirtWords.ReasonOf(power, reason) == state.Reason)
                break;
            state = Look(domain);
        }

        return state;
    }

    private static DomainState Look(VirDomain domain)
    {
        Check(Virt.DomainGetState(domain.Raw, out var state, out var reason, 0), "virDomainGetState");
        var power = LibvirtWords.PowerOf(state);
        var id = (int)Virt.DomainGetId(domain);
        var isActive = power is not (DomainPower.ShutOff or DomainPower.Unknown) && id >= 0;
        var persistent = Virt.DomainIsPersistent(domain.Raw);
        Check(persistent, "virDomainIsPersistent");
        // A domain without a definition cannot start with the host, and some hypervisors refuse the question.
        var autostart = 0;
        if (persistent == 1)
            Check(Virt.DomainGetAutostart(domain, out autostart), "virDomainGetAutostart");
        return new DomainState
        {
            Exists = true,
            Uuid = Virt.UuidOf(domain.Raw),
            Name = Virt.Text(Virt.DomainGetName(domain.Raw)),
            Power = power,
            Reason = LibvirtWords.ReasonOf(state, reason),
            Autostart = autostart == 1,
            Persistent = persistent == 1,
            InactiveXml = Xml(domain, Virt.XmlInactive),
            ActiveXml = isActive ? Xml(domain, 0) : "",
            Id = isActive ? id : -1,
        };
    }

    private static string Xml(VirDomain domain, uint flags) => Virt.TakeText(Require(Virt.DomainGetXml(domain, flags), "virDomainGetXMLDesc"));

    private static unsafe IReadOnlyList<DomainBrief> Domains(LibvirtSession session)
    {
        var count = Virt.ConnectListAllDomains(session.Connection, out var list, 0);
        Check(count, "virConnectListAllDomains");
        var briefs = new List<DomainBrief>(count);
        try
        {
            for (var i = 0; i < count; i++)
            {
                var domain = list[i];
                var persistent = Virt.DomainIsPersistent(domain);
                // One that went while we counted is no longer in the list.
                if (persistent < 0 || Virt.DomainGetState(domain, out var state, out _, 0) < 0)
                    ThrowUnlessNotFound("virDomainGetState");
                else
                    briefs.Add(new DomainBrief(Virt.UuidOf(domain), Virt.Text(Virt.DomainGetName(domain)), LibvirtWords.PowerOf(state), persistent == 1));
            }
        }
        finally
        {
            for (var i = 0; i < count; i++)
                _ = Virt.DomainFree(list[i]);
            NativeMemory.Free(list);
        }

        return briefs;
    }

    private static unsafe IReadOnlyList<DomainAddress> Addresses(LibvirtSession session, string uuid, AddressSource source)
    {
        using var domain = Find(session, uuid);
        var count = Virt.DomainInterfaceAddresses(domain, out var interfaces, (uint)source, 0);
        Check(count, "virDomainInterfaceAddresses");
        var addresses = new List<DomainAddress>();
        for (var i = 0; i < count; i++)
        {
            var one = interfaces[i];
            for (var j = 0; j < one->AddressCount; j++)
            {
                var address = one->Addresses[j];
                addresses.Add(new DomainAddress(Virt.Text(one->Mac).ToLowerInvariant(), Virt.Text(address.Address), (int)address.Prefix, Virt.Text(one->Name)));
            }

            Virt.DomainInterfaceFree(one);
        }

        NativeMemory.Free(interfaces);
        return addresses;
    }

    internal static NetworkState Network(LibvirtSession session, string name)
    {
        using var network = Valid(Virt.NetworkLookupByName(session.Connection, name), "virNetworkLookupByName");
        var active = Virt.NetworkIsActive(network);
        Check(active, "virNetworkIsActive");
        Check(Virt.NetworkGetAutostart(network, out var autostart), "virNetworkGetAutostart");
        var bridge = Virt.TakeText(Virt.NetworkGetBridgeName(network));
        return new NetworkState(true, name, active == 1, autostart == 1, bridge);
    }

    internal static NetworkLeases Leases(LibvirtSession session, string name)
    {
        using var network = Valid(Virt.NetworkLookupByName(session.Connection, name), "virNetworkLookupByName");
        // What the definition says: of a network that is not active, and of one that is, as its changes go to both.
        var state = NetworkXml.Read(Virt.TakeText(Require(Virt.NetworkGetXml(network, 0), "virNetworkGetXMLDesc")));
        return Virt.NetworkIsActive(network) == 1 ? state with { Lent = Lent(network) } : state;
    }

    private static unsafe List<(string Mac, string Address)> Lent(VirNetwork network)
    {
        var count = Virt.NetworkGetLeases(network, 0, out var leases, 0);
        Check(count, "virNetworkGetDHCPLeases");
        var lent = new List<(string, string)>();
        for (var i = 0; i < count; i++)
        {
            lent.Add((Virt.Text(leases[i]->Mac).ToLowerInvariant(), Virt.Text(leases[i]->Address)));
            Virt.NetworkLeaseFree(leases[i]);
        }

        NativeMemory.Free(leases);
        return lent;
    }

    private static unsafe IReadOnlyList<SnapshotState> Snapshots(LibvirtSession session, string uuid)
    {
        using var domain = Find(session, uuid);
        var count = Virt.DomainListAllSnapshots(domain, out var list, Virt.SnapshotListTopological);
        Check(count, "virDomainListAllSnapshots");
        var handles = new VirSnapshot[count];
        for (var i = 0; i < count; i++)
            handles[i] = new VirSnapshot(list[i]);
        NativeMemory.Free(list);
        try
        {
            return [.. handles.Select(Snapshot)];
        }
        finally
        {
            foreach (var handle in handles)
                handle.Dispose();
        }
    }

    private static SnapshotState Snapshot(VirSnapshot snapshot)
    {
        var current = Virt.SnapshotIsCurrent(snapshot, 0);
        Check(current, "virDomainSnapshotIsCurrent");
        var xml = Virt.TakeText(Require(Virt.SnapshotGetXml(snapshot, 0), "virDomainSnapshotGetXMLDesc"));
        return new SnapshotState(Virt.Text(Virt.SnapshotGetName(snapshot)), xml, current == 1);
    }

    /// <summary>A domain by UUID, or an exception that says why not.</summary>
    internal static VirDomain Find(LibvirtSession session, string uuid) => Valid(Virt.DomainLookupByUuid(session.Connection, uuid), "virDomainLookupByUUIDString");

    /// <summary>Throws libvirt's reason for a negative result.</summary>
    internal static void Check(int result, string function)
    {
        if (result < 0)
            throw LibvirtException.Last(function);
    }

    /// <summary>Throws libvirt's reason for a handle that holds nothing.</summary>
    internal static T Valid<T>(T handle, string function)
        where T : SafeHandle => handle.IsInvalid ? throw LibvirtException.Last(function) : handle;

    private static nint Require(nint text, string function) => text == 0 ? throw LibvirtException.Last(function) : text;

    private static void ThrowUnlessNotFound(string function)
    {
        var error = LibvirtException.Last(function);
        if (!error.IsNotFound)
            throw error;
    }
}
