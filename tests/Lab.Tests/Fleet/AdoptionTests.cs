using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>A redis-server that somebody else set up is taken over while it runs, and let go again, without ever being stopped.</summary>
[Story("fleet", 30)]
public sealed class AdoptionTests(SharedFleet shared)
{
    private const int Port = 6451;
    private const string Unit = "legacy.service";

    [Fact]
    public async Task HandMadeServer_AdoptedTunedAndReleased_IsNeverRestartedAndItsFilesAreNotTouched()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[1];
        await host.WriteFileAsync("/etc/legacy/redis.conf", $"port {Port}\nbind 127.0.0.1\ndir /srv/legacy\nmaxmemory 10mb\nsupervised systemd\nappendonly yes\n", cancellationToken: stop);
        await host.WriteFileAsync("/etc/systemd/system/" + Unit, """
            [Service]
            Type=notify
            ExecStart=/usr/bin/redis-server /etc/legacy/redis.conf
            """, cancellationToken: stop);
        await host.ShellAsync($"mkdir -p /srv/legacy; systemctl daemon-reload; systemctl start {Unit}; redis-cli -p {Port} SET kept yes", stop);
        var before = await IdentityAsync(host, stop);
        Assert.Contains("run_id:", before, StringComparison.Ordinal);
        await using var monitor = await BusMonitor.StartAsync(host, stop);

        (await fleet.ApplyAsync(Yaml(host), stop)).OrThrow();
        Assert.Equal("67108864", await MaxMemoryAsync(host, stop));
        await host.ShellAsync($"redis-cli -p {Port} CONFIG SET maxmemory 12345678", stop);
        await Fleet.EventuallyAsync(host, "drift of an adopted server is put right", TimeSpan.FromSeconds(90), async () => await MaxMemoryAsync(host, stop) == "67108864", stop);
        Assert.Equal(before, await IdentityAsync(host, stop));

        // What is released was never ours to remove, so nobody has to sign.
        (await fleet.CliAsync(stop, "delete", "redis", "legacy", "--yes", "--wait", "--timeout", "60s")).OrThrow();
        Assert.Equal(3, (await fleet.CliAsync(stop, "get", "redis", "legacy")).ExitCode);
        Assert.Equal(before, await IdentityAsync(host, stop));
        Assert.Equal("yes", await host.ShellAsync($"redis-cli -p {Port} GET kept", stop));
        foreach (var method in new[] { "StartUnit", "RestartUnit", "StopUnit", "KillUnit", "ReloadUnit" }) Assert.Equal(0, await monitor.CountAsync(method, Unit, stop));
        await host.ShellAsync($"systemctl stop {Unit}; rm -rf /etc/systemd/system/{Unit} /etc/legacy /srv/legacy; systemctl daemon-reload", stop);
    }

    [Fact]
    public async Task Adoption_OfAUnitThatDoesNotExist_SaysSoAndCreatesNothing()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[1];
        var applied = await fleet.ApplyAsync(Yaml(host), stop, "--timeout", "8s");
        Assert.Equal(6, applied.ExitCode);
        Assert.Contains("correct spec.adopt.unit", applied.Stderr + applied.Stdout, StringComparison.Ordinal);
        Assert.Empty(await fleet.MembersAsync("legacy", stop));
        (await fleet.CliAsync(stop, "delete", "redis", "legacy", "--yes", "--wait", "--timeout", "60s")).OrThrow();
    }

    private static string Yaml(LabHost host) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: legacy }
        spec: { port: {{Port}}, auth: { enabled: false }, memory: { max: 64Mi }, adopt: { unit: {{Unit}} }, placement: { labels: { host: {{host.Name}} } } }
        """;

    private static Task<string> MaxMemoryAsync(LabHost host, CancellationToken stop) => host.ShellAsync($"redis-cli -p {Port} CONFIG GET maxmemory | tail -n 1", stop);

    /// <summary>Process, run id, files and how the unit is installed.</summary>
    private static Task<string> IdentityAsync(LabHost host, CancellationToken stop) => host.ShellAsync($"""
        systemctl show -P MainPID {Unit}; redis-cli -p {Port} INFO server | grep run_id; sha256sum /etc/legacy/redis.conf /etc/systemd/system/{Unit}
        ls -d /etc/systemd/system/{Unit}.d /etc/systemd/system/*.wants/{Unit} 2>/dev/null || true
        """, stop);
}
