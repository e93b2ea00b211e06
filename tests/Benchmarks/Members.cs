using System.Diagnostics;
using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>The Redis members of one host, declared with defaults (password, appendonly) through the native CLI.</summary>
internal sealed class Members(Fleet fleet, LabHost host)
{
    private const int FirstPort = 7000;

    /// <summary>Declares this many and waits until all are Ready.</summary>
    public async Task ApplyAsync(int count, CancellationToken stop)
    {
        var yaml = string.Join("\n---\n", Enumerable.Range(0, count).Select(i => $$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: bench{{i}} }
            spec: { port: {{FirstPort + i}}, placement: { labels: { host: {{host.Name}} } } }
            """));
        var watch = Stopwatch.StartNew();
        (await fleet.ApplyAsync(yaml, stop, "--timeout", "10m")).OrThrow();
        Console.WriteLine($"{count} members on {host.Name} are Ready after {watch.Elapsed.TotalSeconds:0.0} s");
    }

    /// <summary>The members as things to harm.</summary>
    public async Task<IReadOnlyList<RepairTarget>> TargetsAsync(int count, CancellationToken stop)
    {
        // By default a person is asked after eight repairs of one difference within an hour; this run makes more.
        await host.ShellAsync("sed -i 's/\"maxReturns\": [0-9]*/\"maxReturns\": 1000000/' /var/lib/agentmetal/agent.json && systemctl restart agentmetald", stop);
        await Task.Delay(TimeSpan.FromSeconds(15), stop);
        return [.. Enumerable.Range(0, count).Select(i => new RepairTarget
        {
            Unit = Text($"agentmetal-redis-default-bench{i}-0.service"),
            UnitFile = Text($"/etc/systemd/system/agentmetal-redis-default-bench{i}-0.service"),
            ConfigFile = Text($"/etc/agentmetal/redis/default-bench{i}-0/redis.conf"),
            Port = FirstPort + i,
            Password = Password(Text($"/etc/agentmetal/redis/default-bench{i}-0/auth.conf")),
        })];
    }

    private string Password(string file) => File.ReadLines(host.RootPath + file).First(l => l.StartsWith("requirepass ", StringComparison.Ordinal))["requirepass ".Length..].Trim().Trim('"');

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
