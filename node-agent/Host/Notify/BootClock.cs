using System.Runtime.InteropServices;

namespace AgentMetal.NodeAgent.Host.Notify;

/// <summary>
/// The clock that permits and terms are counted on: CLOCK_BOOTTIME (clock_gettime(2)) goes on while the host sleeps and
/// never jumps. Wall time and timers are the system's.
/// </summary>
internal sealed partial class BootClock : TimeProvider
{
    private const int BootTime = 7;

    /// <summary>Nanoseconds: the unit of <see cref="GetTimestamp"/>.</summary>
    public override long TimestampFrequency => 1_000_000_000;

    /// <summary>Nanoseconds since the host booted.</summary>
    public override long GetTimestamp()
    {
        if (ClockGetTime(BootTime, out var time) != 0)
            throw new InvalidOperationException($"clock_gettime failed with errno {Marshal.GetLastPInvokeError()}");
        return (time.Seconds * 1_000_000_000) + time.Nanoseconds;
    }

    /// <summary>struct timespec for 64-bit.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct TimeSpec
    {
        internal long Seconds;
        internal long Nanoseconds;
    }

    [LibraryImport("libc", EntryPoint = "clock_gettime", SetLastError = true)]
    private static partial int ClockGetTime(int clock, out TimeSpec time);
}
