using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace AgentMetal.NodeAgent.Host;

/// <summary>poll(2) and eventfd(2): how a thread of ours sleeps until there is something to do.</summary>
internal static unsafe partial class Polling
{
    internal const short In = 0x001;
    internal const short Out = 0x004;
    internal const short Err = 0x008;
    internal const short Hup = 0x010;

    private const int Eintr = 4;

    /// <summary>struct pollfd of poll.h. A negative descriptor is ignored.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Entry
    {
        internal int Fd;
        internal short Events;
        internal short Returned;
    }

    /// <summary>Waits until a descriptor is ready or <paramref name="milliseconds"/> have passed; -1 waits without end.</summary>
    /// <returns>The number of ready descriptors; 0 after the time, or when a signal came first.</returns>
    internal static int Wait(Span<Entry> entries, int milliseconds)
    {
        fixed (Entry* first = entries)
        {
            var ready = Poll(first, (nuint)entries.Length, milliseconds);
            if (ready >= 0)
                return ready;

            var errno = Marshal.GetLastPInvokeError();
            return errno == Eintr ? 0 : throw new InvalidOperationException($"poll failed with errno {errno}");
        }
    }

    [LibraryImport("libc", EntryPoint = "poll", SetLastError = true)]
    private static partial int Poll(Entry* entries, nuint count, int milliseconds);
}

/// <summary>A counter that makes a poll return: eventfd(2), non-blocking and closed on exec.</summary>
internal sealed unsafe partial class WakeUp : IDisposable
{
    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;

    private readonly SafeFileHandle _handle;

    internal WakeUp()
    {
        var fd = EventFd(0, NonBlocking | CloseOnExec);
        if (fd < 0)
            throw new InvalidOperationException($"eventfd failed with errno {Marshal.GetLastPInvokeError()}");
        _handle = new SafeFileHandle(fd, ownsHandle: true);
    }

    /// <summary>The descriptor, readable once <see cref="Signal"/> was called.</summary>
    internal int Fd => (int)_handle.DangerousGetHandle();

    /// <summary>Makes the descriptor readable. It may be called from any thread, also after disposal.</summary>
    internal void Signal()
    {
        try
        {
            ulong one = 1;
            // The only possible failure is a full counter, and then the descriptor is readable already.
            _ = Write(_handle, &one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // Whoever waited has gone: there is nobody left to wake.
        }
    }

    /// <summary>Makes the descriptor unreadable again.</summary>
    internal void Clear()
    {
        ulong count;
        _ = Read(_handle, &count, sizeof(ulong));
    }

    public void Dispose() => _handle.Dispose();

    [LibraryImport("libc", EntryPoint = "eventfd", SetLastError = true)]
    private static partial int EventFd(uint initial, int flags);

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint Write(SafeFileHandle fd, void* data, nuint size);

    [LibraryImport("libc", EntryPoint = "read", SetLastError = true)]
    private static partial nint Read(SafeFileHandle fd, void* data, nuint size);
}
