using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>What must hold with the coordinator stopped: the host repairs by itself, and a rebooted host converges from what it knows.</summary>
[Story("fleet", 195)]
public sealed class AutonomyTests(SharedFleet shared)
{
    private const int Port = 6401;

    private static string Yaml(string name, int port, int replicas) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { replicas: {{replicas}}, port: {{port}}, memory: { max: 32Mi, policy: allkeys-lru } }
        """;

    [Fact]
    public async Task Member_HungKilledDeletedOrClosed_IsRepairedWithoutACoordinator()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("alone", Port, 1), stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("alone", stop))[0];
        var id = unit["agentmetal-redis-".Length..^".service".Length];
        await Fleet.RedisAsync(host, Port, "SET kept yes", stop);
        await fleet.KillCoordinatorAsync();
        try
        {
            foreach (var (what, harm) in new (string, string)[]
            {
                ("killed", $"systemctl kill -s KILL {unit}"),
                ("hung", $"systemctl kill -s STOP --kill-whom=main {unit}"),
                ("its unit file deleted and stopped", $"rm /etc/systemd/system/{unit}; systemctl daemon-reload; systemctl stop {unit} || true; systemctl kill -s KILL {unit} || true"),
                ("its configuration deleted and killed", $"rm -rf /etc/agentmetal/redis/*alone*; systemctl kill -s KILL {unit}"),
                ("its data closed to it", $"chown -R root:root /var/lib/agentmetal/redis/*alone*; chmod 0 /var/lib/agentmetal/redis/*alone*; systemctl kill -s KILL {unit}"),
                ("a setting changed by hand", "true"),
            })
            {
                if (what.StartsWith("a setting", StringComparison.Ordinal)) await Fleet.RedisAsync(host, Port, "CONFIG SET maxmemory 12345678", stop);
                await host.ShellAsync(harm, stop);
                await Fleet.EventuallyAsync(host, $"{what}: serving again as declared (unit {id})", TimeSpan.FromSeconds(150), async () =>
                    await Try(() => Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop)) is { } answer && answer.Contains("33554432", StringComparison.Ordinal)
                    && await Try(() => host.ShellAsync($"systemctl is-active {unit} && test -s /etc/systemd/system/{unit}", stop)) is not null, stop);
            }
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);
    }

    [Fact]
    public async Task Host_RebootedWithoutACoordinator_Converges()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("reborn", Port + 1, 0), stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("reborn", stop))[0];
        await Fleet.RedisAsync(host, Port + 1, "SET kept yes", stop);
        await fleet.KillCoordinatorAsync();
        try
        {
            // The unit is disabled and its configuration gone: systemd alone would not bring it back.
            await host.ShellAsync($"systemctl disable -q {unit}; rm -rf /etc/agentmetal/redis/*reborn*", stop);
            await host.RebootAsync(stop);
            await Fleet.EventuallyAsync("the member serves its data after the reboot", TimeSpan.FromSeconds(60), async () =>
                await Try(() => Fleet.RedisAsync(host, Port + 1, "GET kept", stop)) == "yes", stop);
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);
    }

    [Fact]
    public async Task Converged_IsSilent()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("quiet", Port + 2, 0), stop)).OrThrow();
        var (host, _) = (await fleet.MembersAsync("quiet", stop))[0];
        await Task.Delay(TimeSpan.FromSeconds(15), stop); // Until the last pass and its report are over.
        const int seconds = 60;
        await host.ShellAsync($"rm -f /tmp/bus.log; (timeout {seconds + 5} dbus-monitor --system \"type='method_call'\" >/tmp/bus.log 2>/dev/null </dev/null &) ; sleep 1", stop);
        // One call of ours shows that the monitor sees what is called.
        await host.ShellAsync("busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager Version", stop);
        var before = await StateAsync(fleet, host, stop);
        var calls = await ProbesAsync(host, stop);
        await Task.Delay(TimeSpan.FromSeconds(seconds), stop);
        Assert.Equal(before, await StateAsync(fleet, host, stop));
        // A probe is one round trip with one PING; at most one in ten seconds, with 5% of jitter and the one that was due.
        Assert.InRange(await ProbesAsync(host, stop) - calls, 1, (seconds / 9) + 1);
        Assert.Equal("1", (await host.ShellAsync("grep -c 'destination=org.freedesktop.systemd1' /tmp/bus.log || true", stop)).Trim());
    }

    /// <summary>Size and time of the files of both stores, the host's and the coordinator's.</summary>
    private static async Task<string> StateAsync(Fleet fleet, LabHost host, CancellationToken stop) =>
        await host.ShellAsync("stat -c '%n %s %Y' /var/lib/agentmetal/local.db /var/lib/agentmetal/local.db-wal", stop) + "\n"
        + string.Join('\n', Directory.GetFiles(fleet.CoordinatorData, "*.db*").Order(StringComparer.Ordinal).Where(f => !f.EndsWith("-shm", StringComparison.Ordinal))
            .Select(f => new FileInfo(f)).Select(f => string.Create(CultureInfo.InvariantCulture, $"{f.Name} {f.Length} {f.LastWriteTimeUtc:O}")));

    private static async Task<long> ProbesAsync(LabHost host, CancellationToken stop) =>
        long.Parse((await Fleet.RedisAsync(host, Port + 2, "INFO commandstats", stop)).Split('\n').First(l => l.StartsWith("cmdstat_ping:", StringComparison.Ordinal)).Split("calls=")[1].Split(',')[0]);

    private static async Task<string?> Try(Func<Task<string>> read)
    {
        try { return await read(); }
        catch (LabException) { return null; }
    }
}
