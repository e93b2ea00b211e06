using System.Globalization;

namespace AgentMetal.NodeAgent.Host.Notify;

/// <summary>How long a process has been running, from proc_pid_stat(5).</summary>
internal static class ProcessAge
{
    /// <summary>This process.</summary>
    public const string OwnStat = "/proc/self/stat";

    // "starttime": field 22, which is the 20th after the name in brackets. In ticks of USER_HZ, which the kernel's interface fixes at 100.
    private const int StartField = 19;
    private const long TickNanoseconds = 10_000_000;

    /// <summary>A clock of that process's age; within half a tick, 5 ms, for the kernel tells its start in whole ticks.</summary>
    /// <exception cref="InvalidDataException">The file is not what the manual page says.</exception>
    public static Func<TimeSpan> Of(string statPath)
    {
        var start = StartOf(File.ReadAllText(statPath));
        var clock = new BootClock();
        return () => TimeSpan.FromMicroseconds((clock.GetTimestamp() - start) / 1000.0);
    }

    /// <summary>Nanoseconds after boot; the middle of the tick.</summary>
    internal static long StartOf(string stat)
    {
        // The name may hold anything, brackets and spaces included: what counts comes after the last bracket.
        var fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields.Length > StartField && long.TryParse(fields[StartField], NumberStyles.None, CultureInfo.InvariantCulture, out var ticks)
            ? (ticks * TickNanoseconds) + (TickNanoseconds / 2)
            : throw new InvalidDataException("a process's stat has no start time");
    }
}
