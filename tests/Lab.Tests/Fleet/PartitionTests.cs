using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// Partitions while things change: after healing it converges, every write that was acknowledged is there, and no server took a write after another
/// had begun to.
/// </summary>
[Story("fleet", 35)]
public sealed class PartitionTests(SharedFleet shared)
{
    private const int Port = 6481;

    private static bool Soak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";

    private static string Yaml(string spec) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: parted }
        spec: { port: {{Port}}, replicas: 1, {{spec}} }
        """;

    [Fact]
    public async Task Members_CutOffDuringChangeAndSwitchover_ConvergeLoseNoWriteAndNeverBothTakeWrites()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("primary: 0, memory: { max: 32Mi }"), stop)).OrThrow();
        var hosts = (await fleet.MembersAsync("parted", stop)).OrderBy(m => m.Unit, StringComparer.Ordinal).Select(m => m.Host).ToArray();
        var random = new Random(int.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), out var seed) ? seed : 1);

        // A change while the replica's host hears no coordinator: it is told when it does.
        await fleet.Lab.PartitionFromControlAsync(hosts[1], stop);
        await fleet.ApplyAsync(Yaml("primary: 0, memory: { max: 48Mi }"), stop, "--no-wait");
        await Fleet.EventuallyAsync(hosts[0], "who can be reached has changed", TimeSpan.FromSeconds(90), async () => await MaxMemoryAsync(hosts[0], stop) == "50331648", stop);
        Assert.Equal("33554432", await MaxMemoryAsync(hosts[1], stop));
        await fleet.Lab.HealAsync(stop);
        await Fleet.EventuallyAsync(hosts[1], "the other one follows once it is heard", TimeSpan.FromSeconds(60), async () => await MaxMemoryAsync(hosts[1], stop) == "50331648", stop);

        for (var (round, primary) = (1, 0); round <= (Soak ? 20 : 2); round++, primary = 1 - primary)
            await SwitchOverAsync(fleet, hosts, from: primary, TimeSpan.FromMilliseconds(random.Next(0, 1500)), apart: round % 2 == 0 ? "control" : "members", stop);
        await fleet.RemoveAsync("parted", stop);
    }

    /// <summary>Moves the primary while the members, or the primary and the coordinator, are cut from each other a moment after it began.</summary>
    private static async Task SwitchOverAsync(Fleet fleet, LabHost[] hosts, int from, TimeSpan after, string apart, CancellationToken stop)
    {
        var password = await hosts[0].ShellAsync($"""sed -n 's/^requirepass //p' "$(dirname "$(grep -lx 'port {Port}' /etc/agentmetal/redis/*/redis.conf)")/auth.conf" | tr -d '"'""", stop);
        var round = string.Create(CultureInfo.InvariantCulture, $"{apart}-{after.TotalMilliseconds:0}");
        RespWriter[] writers = [.. hosts.Select((h, i) => new RespWriter($"{round}-{i}", h.Address, Port, password))];
        foreach (var writer in writers) writer.Start();
        await using (writers[0])
        await using (writers[1])
        {
            await Task.Delay(300, stop);
            await fleet.ApplyAsync(Yaml($"primary: {1 - from}, memory: {{ max: 48Mi }}"), stop, "--no-wait");
            await Task.Delay(after, stop);
            if (apart == "members") await fleet.Lab.PartitionAsync(hosts[0], hosts[1], stop);
            else await fleet.Lab.IsolateAsync(hosts[from], stop);
            await Task.Delay(TimeSpan.FromSeconds(4), stop);
            await fleet.Lab.HealAsync(stop);
            await Fleet.EventuallyAsync(hosts[from], $"{round}: the other member leads and the first follows", TimeSpan.FromSeconds(90), async () =>
                (await RoleAsync(hosts[1 - from], stop)).Contains("role:master", StringComparison.Ordinal)
                && await RoleAsync(hosts[from], stop) is var old && old.Contains("role:slave", StringComparison.Ordinal) && old.Contains("master_link_status:up", StringComparison.Ordinal)
                && (await fleet.CliAsync(stop, "get", "redis", "parted", "-o", "json")).Stdout.Contains("\"ready\": true", StringComparison.Ordinal), stop);
            await Task.Delay(300, stop);
        }
        Assert.True(writers[from].Acked.Count > 10 && writers[1 - from].Acked.Count > 10, $"{round}: both led for a while: {writers[0].Acked.Count} and {writers[1].Acked.Count} writes");
        // The new one's first write was sent after the old one's last was answered, or the two overlap in time only by being under way.
        var first = writers[1 - from].Acked[0];
        Assert.All(writers[from].Acked, w => Assert.True(w.Sent < first.Acked, $"{round}: {w.Key} was taken by the old primary after the new one had answered {first.Key}"));
        var keys = writers.SelectMany(w => w.Acked).Select(w => w.Key);
        var there = (await hosts[1 - from].RunAsync(["sh", "-c", $"REDISCLI_AUTH='{password}' redis-cli --no-auth-warning -p {Port} --scan --pattern '{round}-*'"], cancellationToken: stop)).OrThrow().Stdout.Split('\n').ToHashSet(StringComparer.Ordinal);
        Assert.Equal("", string.Join(' ', keys.Except(there)));
        TestContext.Current.TestOutputHelper?.WriteLine($"{round}: {writers[from].Acked.Count} writes before, {writers[1 - from].Acked.Count} after, none lost");
    }

    private static async Task<string> MaxMemoryAsync(LabHost host, CancellationToken stop) => (await Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop)).Split('\n')[^1].Trim();

    private static Task<string> RoleAsync(LabHost host, CancellationToken stop) => Fleet.RedisAsync(host, Port, "INFO replication", stop);
}
