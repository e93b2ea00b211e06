using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// A full disk under the daemon's own file and under a member's data, on a host of its own: both say so, keep serving what can be served, and go on by
/// themselves once there is space; nothing is corrupted and nothing is restarted.
/// </summary>
[Story("fleet", 55)]
public sealed class DiskFullTests
{
    private const int Port = 6471;
    private const string Disk = "/var/lib/agentmetal";

    private static string Yaml(string spec) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: full }
        spec: { port: {{Port}}, {{spec}} }
        """;

    [Fact]
    public async Task Disk_FullUnderDaemonAndData_IsSaidAndOutlived()
    {
        await SharedLab.RequireCapabilityAsync();
        var stop = TestContext.Current.CancellationToken;
        await using var fleet = await Fleet.StartAsync(stop, ["small-1"], h => h.ShellAsync($"mkdir -p {Disk}", stop).ContinueWith(_ => h.SizeLimitedMountAsync(Disk, 24 << 20, stop), stop).Unwrap());
        var host = fleet.Lab.Hosts[0];
        (await fleet.ApplyAsync(Yaml("memory: { max: 32Mi }"), stop)).OrThrow();
        var (_, unit) = (await fleet.MembersAsync("full", stop))[0];
        Assert.Equal("OK", await Fleet.RedisAsync(host, Port, "SET kept yes", stop));
        var pid = await host.MainPidAsync(unit, stop);
        await using var monitor = await BusMonitor.StartAsync(host, stop);

        await host.FillAsync(Disk, stop);
        // The member: it refuses writes (this one does not fit into the last page of its file) and answers reads, and whoever asks is told.
        await Fleet.EventuallyAsync(host, "the server refuses a write", TimeSpan.FromSeconds(90), async () =>
            (await Fleet.RedisAsync(host, Port, "SET lost $(head -c 20000 /dev/zero | tr '\\0' x)", stop)).StartsWith("MISCONF", StringComparison.Ordinal), stop);
        Assert.Equal("yes", await Fleet.RedisAsync(host, Port, "GET kept", stop));
        await Fleet.EventuallyAsync(host, "describe names the disk, how full it is, and that it does not serve", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "describe", "redis", "full")).Stdout is var said && said.Contains("every write is refused (MISCONF)", StringComparison.Ordinal)
            && said.Contains($"{Disk}/redis/", StringComparison.Ordinal) && said.Contains("of 24 MiB used", StringComparison.Ordinal) && said.Contains("Serving  False", StringComparison.Ordinal), stop);

        // The daemon: a change cannot be journalled, so it is not made, and the host says why.
        var applied = await fleet.ApplyAsync(Yaml("memory: { max: 48Mi }"), stop, "--timeout", "15s");
        Assert.Equal(6, applied.ExitCode);
        // The host stays attached, and the coordinator names its disk instead of a host that comes and goes.
        await Fleet.EventuallyAsync(host, "the coordinator names the disk", TimeSpan.FromSeconds(30), async () =>
            (await fleet.CliAsync(stop, "nodes", "describe", host.Name)).Stdout is var said && said.Contains("is full", StringComparison.Ordinal) && said.Contains("Attached", StringComparison.Ordinal), stop);
        Assert.InRange((await fleet.CliAsync(stop, "events", "--node", host.Name, "--limit", "1000")).Stdout.Split('\n').Count(l => l.Contains("NodeAttached", StringComparison.Ordinal)), 1, 3);
        Assert.Contains("33554432", await Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop), StringComparison.Ordinal);
        Assert.Contains("is full", await host.ShellAsync("journalctl -u agentmetald -o cat", stop), StringComparison.Ordinal);

        // A daemon that has to start on the full disk goes on too, once there is space.
        await host.ShellAsync("systemctl kill -s KILL agentmetald", stop);
        await Task.Delay(TimeSpan.FromSeconds(12), stop);
        await host.FreeAsync(Disk, stop);
        await Fleet.EventuallyAsync(host, "the change is made and writes are taken", TimeSpan.FromSeconds(60), async () =>
            (await fleet.CliAsync(stop, "get", "redis", "full", "-o", "json")).Stdout.Contains("\"ready\": true", StringComparison.Ordinal)
            && (await Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop)).Contains("50331648", StringComparison.Ordinal)
            && await Fleet.RedisAsync(host, Port, "SET new yes", stop) == "OK", stop);

        Assert.Equal("yes", await Fleet.RedisAsync(host, Port, "GET kept", stop));
        Assert.Equal(pid, await host.MainPidAsync(unit, stop));
        foreach (var method in new[] { "StartUnit", "RestartUnit", "StopUnit", "KillUnit" }) Assert.Equal(0, await monitor.CountAsync(method, unit, stop));
        await host.ShellAsync("systemctl stop agentmetald", stop);
        Assert.Equal("ok", await host.ShellAsync($"sqlite3 {Disk}/local.db 'PRAGMA integrity_check'", stop));
        Assert.Equal("0", await host.ShellAsync($"redis-check-aof {Disk}/redis/*-full-0/appendonlydir/*.manifest >/dev/null 2>&1; echo $?", stop));
        var audit = await fleet.CliAsync(stop, "audit", "--verify");
        Assert.True(audit.Succeeded, audit.Stdout + audit.Stderr);
    }
}
