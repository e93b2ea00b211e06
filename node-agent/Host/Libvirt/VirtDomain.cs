using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Domains, their devices and counters (libvirt-domain.h), and snapshots (libvirt-domain-snapshot.h).</summary>
internal static unsafe partial class Virt
{
    // virDomainModificationImpact
    internal const uint AffectLive = 1 << 0;
    internal const uint AffectConfig = 1 << 1;

    internal const uint XmlInactive = 1 << 1;
    internal const uint ShutdownAcpi = 1 << 0;
    internal const uint ShutdownAgent = 1 << 1;
    internal const uint DestroyGraceful = 1 << 0;
    internal const uint BlockResizeBytes = 1 << 0;
    internal const uint ConsoleForce = 1 << 0;
    internal const uint SnapshotRevertRunning = 1 << 0;
    internal const uint SnapshotListTopological = 1 << 10;

    // virDomainUndefineFlagsValues
    internal const uint UndefineManagedSave = 1 << 0;
    internal const uint UndefineSnapshotsMetadata = 1 << 1;
    internal const uint UndefineNvram = 1 << 2;
    internal const uint UndefineCheckpointsMetadata = 1 << 4;

    // virDomainStatsTypes
    internal const uint StatsState = 1 << 0;
    internal const uint StatsCpuTotal = 1 << 1;
    internal const uint StatsBalloon = 1 << 2;
    internal const uint StatsVcpu = 1 << 3;
    internal const uint StatsInterface = 1 << 4;
    internal const uint StatsBlock = 1 << 5;

    /// <summary>VIR_UUID_STRING_BUFLEN: 36 characters and the NUL.</summary>
    internal const int UuidSize = 37;

    [LibraryImport(Library, EntryPoint = "virDomainLookupByUUIDString", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirDomain DomainLookupByUuid(VirConnect connection, string uuid);

    [LibraryImport(Library, EntryPoint = "virDomainLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirDomain DomainLookupByName(VirConnect connection, string name);

    [LibraryImport(Library, EntryPoint = "virConnectListAllDomains")]
    internal static partial int ConnectListAllDomains(VirConnect connection, out nint* domains, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainFree")]
    internal static partial int DomainFree(nint domain);

    [LibraryImport(Library, EntryPoint = "virDomainGetUUIDString")]
    internal static partial int DomainGetUuid(nint domain, byte* buffer);

    /// <summary>The string belongs to the domain.</summary>
    [LibraryImport(Library, EntryPoint = "virDomainGetName")]
    internal static partial nint DomainGetName(nint domain);

    [LibraryImport(Library, EntryPoint = "virDomainGetID")]
    internal static partial uint DomainGetId(VirDomain domain);

    [LibraryImport(Library, EntryPoint = "virDomainGetState")]
    internal static partial int DomainGetState(nint domain, out int state, out int reason, uint flags);

    /// <summary>The string is the caller's to free.</summary>
    [LibraryImport(Library, EntryPoint = "virDomainGetXMLDesc")]
    internal static partial nint DomainGetXml(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainIsPersistent")]
    internal static partial int DomainIsPersistent(nint domain);

    [LibraryImport(Library, EntryPoint = "virDomainGetAutostart")]
    internal static partial int DomainGetAutostart(VirDomain domain, out int autostart);

    [LibraryImport(Library, EntryPoint = "virDomainSetAutostart")]
    internal static partial int DomainSetAutostart(VirDomain domain, int autostart);

    [LibraryImport(Library, EntryPoint = "virDomainDefineXMLFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirDomain DomainDefine(VirConnect connection, string xml, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainUndefineFlags")]
    internal static partial int DomainUndefine(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainCreateWithFlags")]
    internal static partial int DomainCreate(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainShutdownFlags")]
    internal static partial int DomainShutdown(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainDestroyFlags")]
    internal static partial int DomainDestroy(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainReset")]
    internal static partial int DomainReset(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainReboot")]
    internal static partial int DomainReboot(VirDomain domain, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSuspend")]
    internal static partial int DomainSuspend(VirDomain domain);

    [LibraryImport(Library, EntryPoint = "virDomainResume")]
    internal static partial int DomainResume(VirDomain domain);

    [LibraryImport(Library, EntryPoint = "virDomainSetMemoryFlags")]
    internal static partial int DomainSetMemory(VirDomain domain, nuint kib, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSetVcpusFlags")]
    internal static partial int DomainSetVcpus(VirDomain domain, uint vcpus, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainAttachDeviceFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int DomainAttachDevice(VirDomain domain, string xml, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainDetachDeviceFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int DomainDetachDevice(VirDomain domain, string xml, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainUpdateDeviceFlags", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int DomainUpdateDevice(VirDomain domain, string xml, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainBlockResize", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int DomainBlockResize(VirDomain domain, string disk, ulong size, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainOpenConsole")]
    internal static partial int DomainOpenConsole(VirDomain domain, byte* device, VirStream stream, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainInterfaceAddresses")]
    internal static partial int DomainInterfaceAddresses(VirDomain domain, out InterfaceView** interfaces, uint source, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainInterfaceFree")]
    internal static partial void DomainInterfaceFree(InterfaceView* view);

    [LibraryImport(Library, EntryPoint = "virConnectGetAllDomainStats")]
    internal static partial int ConnectGetAllDomainStats(VirConnect connection, uint stats, out StatsRecord** records, uint flags);

    /// <summary>The list ends with NULL.</summary>
    [LibraryImport(Library, EntryPoint = "virDomainListGetStats")]
    internal static partial int DomainListGetStats(nint* domains, uint stats, out StatsRecord** records, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainStatsRecordListFree")]
    internal static partial void StatsRecordListFree(StatsRecord** records);

    // Callbacks have a shape of their own for each event (libvirt-domain.h, virConnectDomainEvent...Callback), hence the untyped pointer.
    [LibraryImport(Library, EntryPoint = "virConnectDomainEventRegisterAny")]
    internal static partial int ConnectRegisterEvent(VirConnect connection, nint domain, int eventId, void* callback, void* opaque, void* free);

    [LibraryImport(Library, EntryPoint = "virConnectDomainEventDeregisterAny")]
    internal static partial int ConnectDeregisterEvent(VirConnect connection, int callbackId);

    // libvirt-domain-snapshot.h
    [LibraryImport(Library, EntryPoint = "virDomainListAllSnapshots")]
    internal static partial int DomainListAllSnapshots(VirDomain domain, out nint* snapshots, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSnapshotLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirSnapshot SnapshotLookupByName(VirDomain domain, string name, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSnapshotCreateXML", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirSnapshot SnapshotCreate(VirDomain domain, string xml, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainRevertToSnapshot")]
    internal static partial int SnapshotRevert(VirSnapshot snapshot, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSnapshotDelete")]
    internal static partial int SnapshotDelete(VirSnapshot snapshot, uint flags);

    /// <summary>The string belongs to the snapshot.</summary>
    [LibraryImport(Library, EntryPoint = "virDomainSnapshotGetName")]
    internal static partial nint SnapshotGetName(VirSnapshot snapshot);

    /// <summary>The string is the caller's to free.</summary>
    [LibraryImport(Library, EntryPoint = "virDomainSnapshotGetXMLDesc")]
    internal static partial nint SnapshotGetXml(VirSnapshot snapshot, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSnapshotIsCurrent")]
    internal static partial int SnapshotIsCurrent(VirSnapshot snapshot, uint flags);

    [LibraryImport(Library, EntryPoint = "virDomainSnapshotFree")]
    internal static partial int SnapshotFree(nint snapshot);

    /// <summary>struct _virDomainInterface.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct InterfaceView
    {
        internal nint Name;
        internal nint Mac;
        internal uint AddressCount;
        internal AddressView* Addresses;
    }

    /// <summary>struct _virDomainInterfaceIPAddress.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct AddressView
    {
        internal int Type;
        internal nint Address;
        internal uint Prefix;
    }

    /// <summary>struct _virDomainStatsRecord.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct StatsRecord
    {
        internal nint Domain;
        internal Parameter* Parameters;
        internal int Count;
    }

    /// <summary>struct _virTypedParameter of libvirt-common.h: 80 bytes of name, a type, and eight bytes of value at offset 88.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 96)]
    internal struct Parameter
    {
        [FieldOffset(0)]
        internal fixed byte Name[80];

        [FieldOffset(80)]
        internal int Type;

        [FieldOffset(88)]
        internal long Long;

        [FieldOffset(88)]
        internal int Int;

        [FieldOffset(88)]
        internal nint Text;
    }

    /// <summary>The UUID of a domain as lower-case canonical text; it is read from the handle, nobody is asked.</summary>
    internal static string UuidOf(nint domain)
    {
        byte* buffer = stackalloc byte[UuidSize];
        return DomainGetUuid(domain, buffer) == 0 ? Text((nint)buffer) : "";
    }
}
