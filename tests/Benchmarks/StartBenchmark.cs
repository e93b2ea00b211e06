using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// How long a start of the daemon takes: to READY as systemd saw it, to the end of the first pass over a member (looked at, compared, found as
/// wanted), and until every member was looked at. The daemon times the latter two itself, from its start as the kernel tells it, within 5 ms.
/// </summary>
internal static class StartBenchmark
{
    private const int Starts = 10;

    public static async Task RunAsync(LabHost host, int members, BenchmarkReport report, CancellationToken stop)
    {
        List<double> ready = [], first = [], all = [];
        for (var i = 0; i < Starts; i++)
        {
            await host.ShellAsync("systemctl reset-failed agentmetald; systemctl restart agentmetald", stop);
            var times = (await host.ShellAsync("systemctl show -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic --value agentmetald", stop)).Split('\n').Select(long.Parse).Order().ToArray();
            ready.Add((times[1] - times[0]) / 1000.0);
            await host.WaitForAsync("curl -s 127.0.0.1:9465/metrics | grep -q ^agentmetal_all_passes_seconds", TimeSpan.FromSeconds(30), stop);
            first.Add(await GaugeAsync(host, "agentmetal_first_pass_seconds", stop) * 1000);
            all.Add(await GaugeAsync(host, "agentmetal_all_passes_seconds", stop) * 1000);
            await Task.Delay(TimeSpan.FromSeconds(1), stop);
        }
        var with = members == 1 ? "with 1 member" : $"with {members} members";
        report.Add("start", "agentmetald", $"exec to READY, {with}", "ms", ready);
        report.Add("start", "agentmetald", $"exec to first reconcile, {with}", "ms", first, "50");
        if (members > 1) report.Add("start", "agentmetald", $"exec to all {members} reconciled", "ms", all);
    }

    private static async Task<double> GaugeAsync(LabHost host, string name, CancellationToken stop) => double.Parse(
        await host.ShellAsync("curl -s 127.0.0.1:9465/metrics | sed -n \"s/^$1 //p\"", stop, name), CultureInfo.InvariantCulture);
}
