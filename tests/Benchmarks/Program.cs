using System.Diagnostics;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// Cost of an idle daemon and time to repair, beside the peers that people know, in one run on the hosts of the lab:
/// <c>dotnet run -c Release --project tests/Benchmarks -- [--members N] [--repairs N]</c>. Prints a table; judges nothing.
/// </summary>
internal static class Program
{
    private const int FirstPort = 7000;

    private static async Task<int> Main(string[] args)
    {
        var members = Number(args, "--members", 50);
        var repairs = Number(args, "--repairs", 20);
        using var stopping = new CancellationTokenSource(TimeSpan.FromMinutes(30));
        var stop = stopping.Token;
        await using var fleet = await Fleet.StartAsync(stop);
        var host = fleet.Lab.Hosts[0];
        Console.WriteLine($"members on {host.Name}: {members}; repairs of each kind: {repairs}; cores: {Environment.ProcessorCount}");

        await StartTimeAsync(host, stop);
        await ApplyManyAsync(fleet, host.Name, members, stop);
        await IdleAsync(host, stop);
        await RepairsAsync(host, repairs, stop);
        return 0;
    }

    private static int Number(string[] args, string name, int otherwise) =>
        Array.IndexOf(args, name) is >= 0 and var i && i + 1 < args.Length ? int.Parse(args[i + 1]) : otherwise;

    /// <summary>exec to ready (the first look at every member is queued by then), as systemd saw it.</summary>
    private static async Task StartTimeAsync(LabHost host, CancellationToken stop)
    {
        List<double> took = [];
        for (var i = 0; i < 10; i++)
        {
            await host.ShellAsync("systemctl restart agentmetald", stop);
            var times = (await host.ShellAsync("systemctl show -p ExecMainStartTimestampMonotonic -p ActiveEnterTimestampMonotonic --value agentmetald", stop)).Split('\n').Select(long.Parse).Order().ToArray();
            took.Add((times[1] - times[0]) / 1000.0);
        }
        Print("exec to ready", took, "ms");
    }

    private static async Task ApplyManyAsync(Fleet fleet, string node, int members, CancellationToken stop)
    {
        var yaml = string.Join("\n---\n", Enumerable.Range(0, members).Select(i => $$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: bench{{i}} }
            spec: { port: {{FirstPort + i}}, placement: { labels: { host: {{node}} } }, persistence: { appendonly: false, save: [] } }
            """));
        var watch = Stopwatch.StartNew();
        (await fleet.ApplyAsync(yaml, stop, "--timeout", "10m")).OrThrow();
        Console.WriteLine($"{members} members applied and Ready: {watch.Elapsed.TotalSeconds:0.0} s");
    }

    /// <summary>Proportional memory and CPU over a minute, of the daemon and of what people run beside it.</summary>
    private static async Task IdleAsync(LabHost host, CancellationToken stop)
    {
        await host.ShellAsync("systemctl start prometheus-node-exporter etcd monit || true", stop);
        await Task.Delay(TimeSpan.FromSeconds(30), stop);
        string[] units = ["agentmetald", "prometheus-node-exporter", "etcd", "monit"];
        var before = new Dictionary<string, long>();
        foreach (var unit in units) before[unit] = await TicksAsync(host, unit, stop);
        await Task.Delay(TimeSpan.FromSeconds(60), stop);
        Console.WriteLine($"{"idle, one minute",-28} {"PSS MiB",9} {"anon MiB",9} {"% of a core",12}");
        foreach (var unit in units)
        {
            var ticks = await TicksAsync(host, unit, stop) - before[unit];
            var memory = await host.ShellAsync($"p=$(systemctl show -p MainPID --value {unit}); [ $p -gt 0 ] && awk '/^Pss:|^Anonymous:/ {{ print $2 }}' /proc/$p/smaps_rollup || printf '0\\n0\\n'", stop);
            var kib = memory.Split('\n').Select(double.Parse).ToArray();
            Console.WriteLine($"{unit,-28} {kib[0] / 1024,9:0.0} {kib[1] / 1024,9:0.0} {ticks / 60.0,12:0.00}");
        }
        await host.ShellAsync("systemctl stop prometheus-node-exporter etcd monit || true", stop);
    }

    private static async Task<long> TicksAsync(LabHost host, string unit, CancellationToken stop) =>
        long.Parse(await host.ShellAsync($"p=$(systemctl show -p MainPID --value {unit}); [ $p -gt 0 ] && awk '{{ print $14 + $15 }}' /proc/$p/stat || echo 0", stop));

    private static async Task RepairsAsync(LabHost host, int repairs, CancellationToken stop)
    {
        const string unit = "agentmetal-redis-default-bench0-0.service";
        // The default asks a person after eight repairs of one difference within an hour; this run injects more.
        await host.ShellAsync("sed -i 's/\"maxReturns\": [0-9]*/\"maxReturns\": 1000000/' /var/lib/agentmetal/agent.json && systemctl restart agentmetald", stop);
        await Task.Delay(TimeSpan.FromSeconds(5), stop);
        foreach (var (what, harm) in new[]
        {
            ("hang to serving", $"systemctl kill -s STOP --kill-whom=main {unit}"),
            ("deleted configuration", $"rm -f /etc/agentmetal/redis/default-bench0-0/redis.conf; systemctl kill -s KILL {unit}"),
            ("deleted unit", $"rm -f /etc/systemd/system/{unit}; systemctl kill -s KILL {unit}"),
        })
        {
            List<double> took = [];
            for (var i = 0; i < repairs; i++)
            {
                // Measured on the host: from the harm to the first answer with everything declared in place.
                var ms = await host.ShellAsync($$"""
                    auth=$(sed -n 's/^requirepass //p' /etc/agentmetal/redis/default-bench0-0/auth.conf | tr -d '"')
                    a=$(date +%s%N)
                    {{harm}}
                    for i in $(seq 600); do
                      [ "$(REDISCLI_AUTH=$auth timeout 0.2 redis-cli --no-auth-warning -p {{FirstPort}} PING 2>/dev/null)" = PONG ] && [ -s /etc/systemd/system/{{unit}} ] && [ -s /etc/agentmetal/redis/default-bench0-0/redis.conf ] && break
                      sleep 0.05
                    done
                    b=$(date +%s%N)
                    echo $(( (b - a) / 1000000 ))
                    """, stop);
                took.Add(double.Parse(ms));
                await Task.Delay(TimeSpan.FromMilliseconds(1500 + (i % 7 * 300)), stop);
            }
            Print(what, took, "ms");
        }
    }

    private static void Print(string what, List<double> values, string unit)
    {
        values.Sort();
        Console.WriteLine($"{what,-28} n={values.Count} p50 {values[values.Count / 2]:0} {unit}, p99 {values[(int)Math.Ceiling(values.Count * 0.99) - 1]:0} {unit}, max {values[^1]:0} {unit}");
    }
}
