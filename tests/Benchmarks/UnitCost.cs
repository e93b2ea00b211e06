using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>What the processes of a unit took over a window in which they had nothing to do.</summary>
/// <param name="CpuPercent">Of one core.</param>
/// <param name="WakeUps">Times a second that a thread of them stopped waiting (voluntary context switches, proc_pid_status(5)).</param>
/// <param name="RssMiB">Resident memory, pages shared with others included.</param>
/// <param name="PssMiB">Resident memory, shared pages divided among those that share them.</param>
internal sealed record UnitCost(double CpuPercent, double WakeUps, double RssMiB, double PssMiB)
{
    private const double TicksPerSecond = 100; // USER_HZ, proc_pid_stat(5)

    public static async Task<UnitCost> OverAsync(LabHost host, string unit, TimeSpan window, CancellationToken stop)
    {
        var before = await ReadAsync(host, unit, stop);
        var began = TimeProvider.System.GetTimestamp();
        await Task.Delay(window, stop);
        var after = await ReadAsync(host, unit, stop);
        var seconds = TimeProvider.System.GetElapsedTime(began).TotalSeconds;
        return new((after[0] - before[0]) / TicksPerSecond / seconds * 100, (after[1] - before[1]) / seconds, after[2] / 1024, after[3] / 1024);
    }

    public void Report(BenchmarkReport report, string section, string who, string what)
    {
        report.Add(section, who, what + ": CPU", "% of a core", CpuPercent);
        report.Add(section, who, what + ": wake-ups", "a second", WakeUps);
        report.Add(section, who, what + ": RSS", "MiB", RssMiB);
        report.Add(section, who, what + ": PSS", "MiB", PssMiB);
    }

    /// <summary>Ticks with those of children that were waited for, wake-ups, RSS and PSS in KiB; over all processes of the unit.</summary>
    private static async Task<double[]> ReadAsync(LabHost host, string unit, CancellationToken stop) =>
        [.. (await host.ShellAsync("""
            group=$(systemctl show -P ControlGroup "$1")
            for p in $(cat "/sys/fs/cgroup/systemd$group/cgroup.procs" 2>/dev/null || cat "/sys/fs/cgroup$group/cgroup.procs"); do
              sed 's/.*) //' "/proc/$p/stat" | awk '{ print "t", $12 + $13 + $14 + $15 }'
              awk '/^voluntary_ctxt_switches/ { print "w", $2 }' /proc/$p/task/*/status
              awk '/^Rss:/ { print "r", $2 } /^Pss:/ { print "p", $2 }' "/proc/$p/smaps_rollup"
            done | awk '{ s[$1] += $2 } END { print s["t"] + 0, s["w"] + 0, s["r"] + 0, s["p"] + 0 }'
            """, stop, unit)).Split(' ').Select(n => double.Parse(n, CultureInfo.InvariantCulture))];
}
