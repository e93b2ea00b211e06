using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// The thread that runs libvirt's event loop while any connection is open (libvirt-event.h). The loop is the library's only one, so all
/// connections of the process share it. It sleeps until a connection has something or an eventfd of ours tells it to end; no timer wakes it.
/// </summary>
internal static unsafe class LibvirtEvents
{
    private const int Readable = 1;

    /// <summary>
    /// After the last connection is closed the loop runs on for this long: the library releases sockets and memory of what was removed in
    /// the loop's idle time only.
    /// </summary>
    private const int DrainMilliseconds = 20;

    private static readonly TimeSpan JoinLimit = TimeSpan.FromSeconds(2);
    private static readonly Lock Gate = new();
    private static WakeUp? s_wakeUp;
    private static Thread? s_thread;
    private static int s_users;
    private static volatile bool s_stopping;
    private static volatile bool s_done;

    /// <summary>Takes part in the loop; the first one starts it.</summary>
    internal static void Acquire()
    {
        lock (Gate)
        {
            if (s_users++ > 0)
                return;

            if (s_wakeUp is null)
            {
                s_wakeUp = new WakeUp();
                if (Virt.EventAddHandle(s_wakeUp.Fd, Readable, &OnWake, null, null) < 0)
                    throw LibvirtException.Last("virEventAddHandle");
            }

            s_stopping = s_done = false;
            s_thread = new Thread(Run) { Name = "libvirt-events", IsBackground = true };
            s_thread.Start();
        }
    }

    /// <summary>Leaves the loop; the last one ends it. Never on the loop's own thread.</summary>
    internal static void Release()
    {
        lock (Gate)
        {
            if (--s_users > 0)
                return;

            s_stopping = true;
            s_wakeUp!.Signal();
            s_thread!.Join(JoinLimit);
            s_thread = null;
        }
    }

    private static void Run()
    {
        while (!s_done)
        {
            // It fails only where no loop is registered, and then it would fail for ever.
            if (Virt.EventRunDefault() < 0)
                return;
        }
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnWake(int watch, int fd, int events, void* opaque)
    {
        s_wakeUp!.Clear();
        if (s_stopping && Virt.EventAddTimeout(DrainMilliseconds, &OnDrained, null, null) < 0)
            s_done = true;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnDrained(int timer, void* opaque)
    {
        _ = Virt.EventRemoveTimeout(timer);
        s_done = true;
    }
}
