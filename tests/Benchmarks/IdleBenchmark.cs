using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// Memory and CPU of programs that have nothing to do, over two windows: left alone, and asked for their metrics every 15 s as a Prometheus would.
/// agentmetald, node-exporter and etcd run on one host; monit watches as many Redis servers on the second.
/// </summary>
internal static class IdleBenchmark
{
    private const double TicksPerSecond = 100; // USER_HZ, proc_pid_stat(5)
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan ScrapeEvery = TimeSpan.FromSeconds(15);

    private sealed record Watched(string Name, LabHost Host, string Unit, string MetricsUrl, string MemoryAim, string CpuAim);

    public static async Task RunAsync(LabHost ours, LabHost theirs, bool hasMonit, BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        List<Watched> all = [new("agentmetald", ours, "agentmetald", "http://127.0.0.1:9465/metrics", "24", "0.2")];
        await AddAsync(all, new("node-exporter", ours, "prometheus-node-exporter", "http://127.0.0.1:9100/metrics", "", ""), report, stop);
        await AddAsync(all, new("etcd", ours, "etcd", "http://127.0.0.1:2379/metrics", "", ""), report, stop);
        if (hasMonit) all.Add(new("monit", theirs, "bench-monit", "", "", ""));
        await Task.Delay(Settle, stop);
        await WindowAsync(all, $"idle, {options.Members} services", scraped: false, options, report, stop);
        await WindowAsync(all, $"scraped, {options.Members} services", scraped: true, options, report, stop);
        await ours.ShellAsync("systemctl stop prometheus-node-exporter etcd || true", stop);
    }

    private static async Task AddAsync(List<Watched> all, Watched one, BenchmarkReport report, CancellationToken stop)
    {
        var started = await one.Host.RunAsync(["systemctl", "start", one.Unit], cancellationToken: stop);
        if (started.Succeeded) all.Add(one);
        else report.Note($"{one.Name} cannot be had on the hosts of this lab: {started.Stderr.Trim()}");
    }

    private static async Task WindowAsync(List<Watched> all, string what, bool scraped, BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        var before = new Dictionary<string, long>(StringComparer.Ordinal);
        foreach (var one in all) before[one.Name] = await TicksAsync(one, stop);
        var began = DateTimeOffset.UtcNow;
        while (DateTimeOffset.UtcNow - began is var gone && gone.TotalSeconds < options.IdleSeconds)
        {
            foreach (var one in all.Where(o => scraped && o.MetricsUrl.Length > 0)) await one.Host.ShellAsync("curl -sf -o /dev/null \"$1\"", stop, one.MetricsUrl);
            var left = TimeSpan.FromSeconds(options.IdleSeconds) - (DateTimeOffset.UtcNow - began);
            if (left > TimeSpan.Zero) await Task.Delay(scraped && left > ScrapeEvery ? ScrapeEvery : left, stop);
        }
        foreach (var one in all)
        {
            var ticks = await TicksAsync(one, stop) - before[one.Name];
            var seconds = (DateTimeOffset.UtcNow - began).TotalSeconds;
            var (pss, anonymous, threads) = await MemoryAsync(one, stop);
            report.Add("idle", one.Name, $"{what}: PSS", "MiB", pss, one.MemoryAim);
            report.Add("idle", one.Name, $"{what}: anonymous", "MiB", anonymous);
            report.Add("idle", one.Name, $"{what}: threads", "", threads);
            report.Add("idle", one.Name, $"{what}: CPU", "% of a core", ticks / TicksPerSecond / seconds * 100, one.CpuAim);
        }
    }

    /// <summary>CPU of the main process and of the children that it has waited for.</summary>
    private static async Task<long> TicksAsync(Watched one, CancellationToken stop)
    {
        var stat = await File.ReadAllTextAsync($"{one.Host.RootPath}/proc/{await one.Host.MainPidAsync(one.Unit, stop)}/stat", stop);
        var fields = stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return fields[11..15].Sum(f => long.Parse(f, CultureInfo.InvariantCulture));
    }

    private static async Task<(double Pss, double Anonymous, double Threads)> MemoryAsync(Watched one, CancellationToken stop)
    {
        var process = $"{one.Host.RootPath}/proc/{await one.Host.MainPidAsync(one.Unit, stop)}";
        var rollup = await File.ReadAllLinesAsync(process + "/smaps_rollup", stop);
        return (Kib(rollup, "Pss:") / 1024, Kib(rollup, "Anonymous:") / 1024, Kib(await File.ReadAllLinesAsync(process + "/status", stop), "Threads:"));
    }

    private static double Kib(string[] lines, string name) =>
        double.Parse(lines.First(l => l.StartsWith(name, StringComparison.Ordinal))[name.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture);
}
