using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// The part of libvirt (libvirt.so.0 of 9.0 or later; libvirt.org/html, headers libvirt/libvirt-*.h and libvirt/virterror.h) that this daemon
/// uses: library, errors, event loop and connection. Functions return a negative number or NULL on failure and leave the reason in the
/// calling thread. Nothing here may be called before <see cref="LibvirtLibrary.TryLoad"/> has said yes.
/// </summary>
internal static unsafe partial class Virt
{
    /// <summary>The name that <see cref="LibvirtLibrary"/> resolves to the file that was loaded.</summary>
    internal const string Library = "libvirt.so.0";

    // libvirt-host.h: virInitialize, virGetVersion
    [LibraryImport(Library, EntryPoint = "virInitialize")]
    internal static partial int Initialize();

    [LibraryImport(Library, EntryPoint = "virGetVersion")]
    internal static partial int GetVersion(out nuint library, byte* type, nuint* typeVersion);

    // virterror.h: the error belongs to the thread and lives until its next call
    [LibraryImport(Library, EntryPoint = "virGetLastError")]
    internal static partial ErrorView* GetLastError();

    [LibraryImport(Library, EntryPoint = "virResetLastError")]
    internal static partial void ResetLastError();

    [LibraryImport(Library, EntryPoint = "virSetErrorFunc")]
    internal static partial void SetErrorFunction(void* userdata, delegate* unmanaged[Cdecl]<void*, void*, void> handler);

    // libvirt-event.h
    [LibraryImport(Library, EntryPoint = "virEventRegisterDefaultImpl")]
    internal static partial int EventRegisterDefault();

    [LibraryImport(Library, EntryPoint = "virEventRunDefaultImpl")]
    internal static partial int EventRunDefault();

    [LibraryImport(Library, EntryPoint = "virEventAddHandle")]
    internal static partial int EventAddHandle(int fd, int events, delegate* unmanaged[Cdecl]<int, int, int, void*, void> callback, void* opaque, void* free);

    [LibraryImport(Library, EntryPoint = "virEventAddTimeout")]
    internal static partial int EventAddTimeout(int milliseconds, delegate* unmanaged[Cdecl]<int, void*, void> callback, void* opaque, void* free);

    [LibraryImport(Library, EntryPoint = "virEventRemoveTimeout")]
    internal static partial int EventRemoveTimeout(int timer);

    // libvirt-host.h: virConnectOpen and what is asked of a connection
    [LibraryImport(Library, EntryPoint = "virConnectOpen", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirConnect ConnectOpen(string uri);

    [LibraryImport(Library, EntryPoint = "virConnectClose")]
    internal static partial int ConnectClose(nint connection);

    [LibraryImport(Library, EntryPoint = "virConnectIsAlive")]
    internal static partial int ConnectIsAlive(VirConnect connection);

    [LibraryImport(Library, EntryPoint = "virConnectSetKeepAlive")]
    internal static partial int ConnectSetKeepAlive(VirConnect connection, int interval, uint count);

    [LibraryImport(Library, EntryPoint = "virConnectRegisterCloseCallback")]
    internal static partial int ConnectRegisterClose(VirConnect connection, delegate* unmanaged[Cdecl]<nint, int, void*, void> callback, void* opaque, void* free);

    [LibraryImport(Library, EntryPoint = "virConnectUnregisterCloseCallback")]
    internal static partial int ConnectUnregisterClose(VirConnect connection, delegate* unmanaged[Cdecl]<nint, int, void*, void> callback);

    [LibraryImport(Library, EntryPoint = "virConnectGetLibVersion")]
    internal static partial int ConnectGetLibVersion(VirConnect connection, out nuint version);

    [LibraryImport(Library, EntryPoint = "virConnectGetVersion")]
    internal static partial int ConnectGetVersion(VirConnect connection, out nuint version);

    /// <summary>The string belongs to the library.</summary>
    [LibraryImport(Library, EntryPoint = "virConnectGetType")]
    internal static partial nint ConnectGetType(VirConnect connection);

    /// <summary>The string is the caller's to free.</summary>
    [LibraryImport(Library, EntryPoint = "virConnectGetCapabilities")]
    internal static partial nint ConnectGetCapabilities(VirConnect connection);

    // libvirt-network.h
    [LibraryImport(Library, EntryPoint = "virNetworkLookupByName", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial VirNetwork NetworkLookupByName(VirConnect connection, string name);

    [LibraryImport(Library, EntryPoint = "virNetworkFree")]
    internal static partial int NetworkFree(nint network);

    [LibraryImport(Library, EntryPoint = "virNetworkIsActive")]
    internal static partial int NetworkIsActive(VirNetwork network);

    [LibraryImport(Library, EntryPoint = "virNetworkCreate")]
    internal static partial int NetworkCreate(VirNetwork network);

    [LibraryImport(Library, EntryPoint = "virNetworkGetAutostart")]
    internal static partial int NetworkGetAutostart(VirNetwork network, out int autostart);

    [LibraryImport(Library, EntryPoint = "virNetworkSetAutostart")]
    internal static partial int NetworkSetAutostart(VirNetwork network, int autostart);

    /// <summary>The string is the caller's to free; NULL with an error where the network has no bridge.</summary>
    [LibraryImport(Library, EntryPoint = "virNetworkGetBridgeName")]
    internal static partial nint NetworkGetBridgeName(VirNetwork network);

    internal const uint UpdateModify = 1, UpdateDelete = 2, UpdateAddLast = 3, SectionDhcpHost = 4, NetworkAffectLive = 1, NetworkAffectConfig = 2;

    /// <summary>The string is the caller's to free.</summary>
    [LibraryImport(Library, EntryPoint = "virNetworkGetXMLDesc")]
    internal static partial nint NetworkGetXml(VirNetwork network, uint flags);

    [LibraryImport(Library, EntryPoint = "virNetworkUpdate", StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int NetworkUpdate(VirNetwork network, uint command, uint section, int parentIndex, string xml, uint flags);

    /// <summary>The list and each lease are the caller's to free.</summary>
    [LibraryImport(Library, EntryPoint = "virNetworkGetDHCPLeases")]
    internal static partial int NetworkGetLeases(VirNetwork network, nint mac, out LeaseView** leases, uint flags);

    [LibraryImport(Library, EntryPoint = "virNetworkDHCPLeaseFree")]
    internal static partial void NetworkLeaseFree(LeaseView* lease);

    /// <summary>struct _virNetworkDHCPLease.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct LeaseView
    {
        internal nint Interface;
        internal long Expiry;
        internal int Type;
        internal nint Mac;
        internal nint Iaid;
        internal nint Address;
        internal uint Prefix;
        internal nint Hostname;
        internal nint ClientId;
    }

    // libvirt-stream.h
    internal const int WouldBlock = -2;

    [LibraryImport(Library, EntryPoint = "virStreamNew")]
    internal static partial VirStream StreamNew(VirConnect connection, uint flags);

    [LibraryImport(Library, EntryPoint = "virStreamFree")]
    internal static partial int StreamFree(nint stream);

    [LibraryImport(Library, EntryPoint = "virStreamAbort")]
    internal static partial int StreamAbort(VirStream stream);

    [LibraryImport(Library, EntryPoint = "virStreamRecv")]
    internal static partial int StreamReceive(VirStream stream, byte* data, nuint size);

    [LibraryImport(Library, EntryPoint = "virStreamSend")]
    internal static partial int StreamSend(VirStream stream, byte* data, nuint size);

    [LibraryImport(Library, EntryPoint = "virStreamEventAddCallback")]
    internal static partial int StreamAddCallback(VirStream stream, int events, delegate* unmanaged[Cdecl]<nint, int, void*, void> callback, void* opaque, void* free);

    [LibraryImport(Library, EntryPoint = "virStreamEventUpdateCallback")]
    internal static partial int StreamUpdateCallback(VirStream stream, int events);

    /// <summary>For the callback, which is given the stream as a pointer.</summary>
    [LibraryImport(Library, EntryPoint = "virStreamEventUpdateCallback")]
    internal static partial int StreamUpdateCallback(nint stream, int events);

    [LibraryImport(Library, EntryPoint = "virStreamEventRemoveCallback")]
    internal static partial int StreamRemoveCallback(VirStream stream);

    /// <summary>struct _virError of virterror.h, as far as it is read.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct ErrorView
    {
        internal int Code;
        internal int Domain;
        internal nint Message;
    }

    /// <summary>A string that belongs to somebody else; empty for NULL.</summary>
    internal static string Text(nint text) => Marshal.PtrToStringUTF8(text) ?? "";

    /// <summary>A string that is ours: read, then freed with free(3). Empty for NULL.</summary>
    internal static string TakeText(nint text)
    {
        var value = Text(text);
        NativeMemory.Free((void*)text);
        return value;
    }
}
