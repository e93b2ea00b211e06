using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>One connection from open to close, with its events. Opened and closed on a thread for calls; callbacks come on libvirt's event thread.</summary>
internal sealed unsafe class LibvirtSession : IDisposable
{
    // virDomainEventID
    private const int Lifecycle = 0;
    private const int Reboot = 1;
    private const int DeviceRemoved = 15;
    private const int AgentLifecycle = 18;
    private const int DeviceRemovalFailed = 22;

    // Callbacks carry a number, not a pointer: one that comes late finds nobody, and does no harm.
    private static readonly ConcurrentDictionary<nint, LibvirtSession> Live = new();
    private static long s_lastId;

    private readonly List<int> _callbacks = [];
    private readonly nint _id = (nint)Interlocked.Increment(ref s_lastId);
    private readonly Action<DomainSignal>? _onSignal;
    private readonly Action<LibvirtSession, string>? _onLost;
    private bool _hearsClose;

    private LibvirtSession(VirConnect connection, Action<DomainSignal>? onSignal, Action<LibvirtSession, string>? onLost)
    {
        Connection = connection;
        _onSignal = onSignal;
        _onLost = onLost;
    }

    /// <summary>The connection, for calls.</summary>
    internal VirConnect Connection { get; }

    /// <summary>The kind of hypervisor behind it, "QEMU" or "TEST".</summary>
    internal string Type { get; private set; } = "";

    /// <summary>True for QEMU, which knows flags that the others refuse.</summary>
    internal bool IsQemu => Type == "QEMU";

    /// <summary>Why it was lost, or null while it is not known to be.</summary>
    internal string? LostWhy { get; private set; }

    /// <summary>True for a connection to a daemon through a socket; false for a driver inside this process.</summary>
    internal bool IsRemote { get; private set; }

    /// <summary>False when the library knows that the socket is closed; nobody is asked.</summary>
    internal bool IsAlive => Virt.ConnectIsAlive(Connection) != 0;

    /// <summary>Opens a connection.</summary>
    /// <param name="options">Where to.</param>
    /// <param name="onSignal">Told of every domain's events, on libvirt's event thread; null hears none.</param>
    /// <param name="onLost">Told when the connection is lost, on libvirt's event thread; null is not told.</param>
    /// <exception cref="LibvirtException">The library is missing, or the daemon cannot be reached.</exception>
    internal static LibvirtSession Open(LibvirtOptions options, Action<DomainSignal>? onSignal, Action<LibvirtSession, string>? onLost)
    {
        if (!LibvirtLibrary.TryLoad(options.Library, out var why))
            throw LibvirtException.Away(why);

        LibvirtEvents.Acquire();
        var connection = Virt.ConnectOpen(options.Uri);
        if (connection.IsInvalid)
        {
            var error = LibvirtException.Last("virConnectOpen");
            LibvirtEvents.Release();
            throw new LibvirtException(DomainResult.Unreachable, $"libvirt at {options.Uri} cannot be reached: {error.Message}; see: systemctl status libvirtd", error.Code, error.Domain);
        }

        var session = new LibvirtSession(connection, onSignal, onLost);
        try
        {
            session.Prepare(options);
            return session;
        }
        catch
        {
            session.Dispose();
            throw;
        }
    }

    /// <summary>Hears nothing more and closes the connection. Once, by the last who uses it, and on a thread that may block.</summary>
    public void Dispose()
    {
        Live.TryRemove(_id, out _);
        foreach (var callback in _callbacks)
            _ = Virt.ConnectDeregisterEvent(Connection, callback);
        _callbacks.Clear();
        if (_hearsClose)
            _ = Virt.ConnectUnregisterClose(Connection, &OnClose);
        _hearsClose = false;
        Connection.Dispose();
        LibvirtEvents.Release();
    }

    private void Prepare(LibvirtOptions options)
    {
        Live[_id] = this;
        Type = Virt.Text(Virt.ConnectGetType(Connection));
        // A driver inside this process has nobody to ask; every daemon answers this, with 1 where it is too old to be asked.
        IsRemote = Virt.ConnectSetKeepAlive(Connection, options.KeepAliveSeconds, (uint)options.KeepAliveCount) >= 0;
        _hearsClose = _onLost is not null && IsRemote && Virt.ConnectRegisterClose(Connection, &OnClose, (void*)_id, null) == 0;
        if (_onSignal is null)
            return;

        Hear(Lifecycle, (delegate* unmanaged[Cdecl]<nint, nint, int, int, void*, int>)&OnLifecycle, required: true);
        Hear(Reboot, (delegate* unmanaged[Cdecl]<nint, nint, void*, void>)&OnReboot);
        Hear(DeviceRemoved, (delegate* unmanaged[Cdecl]<nint, nint, nint, void*, void>)&OnDeviceRemoved);
        Hear(AgentLifecycle, (delegate* unmanaged[Cdecl]<nint, nint, int, int, void*, void>)&OnAgent);
        Hear(DeviceRemovalFailed, (delegate* unmanaged[Cdecl]<nint, nint, nint, void*, void>)&OnDeviceKept);
    }

    private void Hear(int eventId, void* callback, bool required = false)
    {
        var id = Virt.ConnectRegisterEvent(Connection, 0, eventId, callback, (void*)_id, null);
        if (id >= 0)
            _callbacks.Add(id);
        else if (required)
            throw LibvirtException.Last("virConnectDomainEventRegisterAny");
    }

    private static void Raise(void* opaque, nint domain, string name, string detail)
    {
        if (Live.TryGetValue((nint)opaque, out var session))
            session._onSignal?.Invoke(new DomainSignal(DomainSignalKind.Domain, Virt.UuidOf(domain), Virt.Text(Virt.DomainGetName(domain)), name, detail));
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnClose(nint connection, int reason, void* opaque)
    {
        if (!Live.TryGetValue((nint)opaque, out var session))
            return;

        // virConnectCloseReason
        session.LostWhy = reason switch
        {
            1 => "the daemon closed the connection",
            2 => "the daemon did not answer any more",
            3 => "the connection was closed here",
            _ => "the connection to the daemon broke",
        };
        session._onLost?.Invoke(session, session.LostWhy);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int OnLifecycle(nint connection, nint domain, int type, int detail, void* opaque)
    {
        var (name, how) = LibvirtWords.EventOf(type, detail);
        Raise(opaque, domain, name, how);
        return 0;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnReboot(nint connection, nint domain, void* opaque) => Raise(opaque, domain, "reboot", "");

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnDeviceRemoved(nint connection, nint domain, nint alias, void* opaque) => Raise(opaque, domain, "device-removed", Virt.Text(alias));

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnDeviceKept(nint connection, nint domain, nint alias, void* opaque) => Raise(opaque, domain, "device-kept", Virt.Text(alias));

    // virConnectDomainEventAgentLifecycleState
    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnAgent(nint connection, nint domain, int state, int reason, void* opaque) =>
        Raise(opaque, domain, "agent", state == 1 ? "connected" : "disconnected");
}
