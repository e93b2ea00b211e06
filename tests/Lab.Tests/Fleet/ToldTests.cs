using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>What happens outside the daemon's steps is told with its cause, counted, once, and also when the daemon was away: kills by the kernel, hands, refused writes, stops that ended in SIGKILL.</summary>
[Story("fleet", 45)]
public sealed class ToldTests(SharedFleet shared)
{
    private const int Port = 6481;
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(120);

    [Fact]
    public async Task Member_KilledByTheKernelOrTouchedByHands_IsToldWithCauseAndFigures()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync($$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: told }
            spec: { port: {{Port}}, memory: { max: 24Mi }, limits: { memory: 48Mi } }
            """, stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("told", stop))[0];
        await Fleet.RedisAsync(host, Port, "SET kept yes", stop);

        // One script is not held to maxmemory while it runs: the unit's limit is what stops it.
        for (var time = 1; time <= 2; time++)
        {
            await RunAsync(host, "EVAL \"for i=1,2000 do redis.call('set','k'..i,string.rep('x',100000)) end\" 0", stop);
            await ToldAsync(fleet, host, time == 1 ? "killed by the kernel: memory limit 48 MiB reached, peak 48 MiB" : "2nd time in 10 min; raise spec.limits.memory", stop);
            await ServesAsync(host, stop);
        }
        var described = (await fleet.CliAsync(stop, "describe", "redis", "told")).OrThrow().Stdout;
        Assert.Contains("last ended", described, StringComparison.Ordinal);
        Assert.Contains("ended 2 times in 10 min", described, StringComparison.Ordinal);
        Assert.Contains("killed by the kernel", (await fleet.CliAsync(stop, "audit", "--for", "redis/told")).OrThrow().Stdout, StringComparison.Ordinal);
        Assert.Contains("agentmetal_events_total{reason=\"KilledByKernel\"} 2", await host.ShellAsync("curl -s http://127.0.0.1:9465/metrics", stop), StringComparison.Ordinal);

        await host.ShellAsync($"systemctl restart {unit}", stop);
        await ToldAsync(fleet, host, "restarted by hand or by another program", stop);
        await host.ShellAsync($"systemctl stop {unit}", stop);
        await ToldAsync(fleet, host, "stopped by hand or by another program", stop);
        await ServesAsync(host, stop);
        // What is set before the first look after a start of ours cannot be told from what the start made of it: it is put back, and the hand tries again.
        var set = DateTime.MinValue;
        await Fleet.EventuallyAsync(host, "told: maxmemory was set by hand", s_soon, async () =>
        {
            if (DateTime.UtcNow - set > TimeSpan.FromSeconds(20))
            {
                await Fleet.RedisAsync(host, Port, "CONFIG SET maxmemory 12582912", stop);
                set = DateTime.UtcNow;
            }
            return (await EventsAsync(fleet, stop)).Contains("maxmemory was set to 12 MiB by hand or by another program (it was 24 MiB)", StringComparison.Ordinal);
        }, stop);

        // A tail that is cut off: the server starts without it, and only its log says so.
        await Fleet.RedisAsync(host, Port, "SET tail yes", stop);
        await host.ShellAsync($"systemctl kill -s STOP --kill-whom=main {unit}; f=$(ls /var/lib/agentmetal/redis/default-told-0/appendonlydir/*.incr.aof | tail -n 1); truncate -s -5 $f; systemctl kill -s KILL {unit}", stop);
        await ToldAsync(fleet, host, "the end of its append-only file was cut off at byte ", stop);
        await ServesAsync(host, stop);

        // Nobody looks: it is told when somebody does, and not again by the one after.
        await host.ShellAsync($"systemctl stop agentmetald; systemctl kill -s KILL {unit}; sleep 1; systemctl start agentmetald", stop);
        await ToldAsync(fleet, host, "ended once while nobody looked, and systemd started it again", stop);
        await host.ShellAsync("systemctl restart agentmetald", stop);
        await fleet.WaitAttachedAsync(3, stop);
        await Task.Delay(TimeSpan.FromSeconds(2), stop);
        Assert.Single((await EventsAsync(fleet, stop)).Split('\n'), l => l.Contains("while nobody looked", StringComparison.Ordinal));
        await fleet.RemoveAsync("told", stop);
    }

    [Fact]
    public async Task Member_ThatRefusesWritesForMemory_IsNotReadyAndSaysHowFullItIs()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync($$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: brimful }
            spec: { port: {{Port + 1}}, memory: { max: 4Mi }, persistence: { appendonly: false } }
            """, stop)).OrThrow();
        var (host, _) = (await fleet.MembersAsync("brimful", stop))[0];
        // Conditions are looked at once a second: one that is lost at once was never there.
        await Fleet.EventuallyAsync(host, "that it is Ready is told", s_soon, async () =>
            (await fleet.CliAsync(stop, "events", "--for", "redis/brimful")).Stdout.Contains("Ready after", StringComparison.Ordinal), stop);
        await RunAsync(host, "EVAL \"for i=1,100 do redis.call('set','k'..i,string.rep('x',100000)) end\" 0", stop, Port + 1);
        await Fleet.EventuallyAsync(host, "it is not Ready, does not serve, and says why", s_soon, async () =>
            (await fleet.CliAsync(stop, "describe", "redis", "brimful")).Stdout is var said && said.Contains("Ready    False", StringComparison.Ordinal)
            && said.Contains("Serving  False", StringComparison.Ordinal) && said.Contains("used of maxmemory 4 MiB", StringComparison.Ordinal), stop);
        await Fleet.EventuallyAsync(host, "that it is not Ready is told", s_soon, async () =>
            (await fleet.CliAsync(stop, "events", "--for", "redis/brimful")).Stdout.Contains("no longer Ready: ", StringComparison.Ordinal), stop);
        await Fleet.RedisAsync(host, Port + 1, "FLUSHALL", stop);
        var told = "";
        bool IsTold() => told.Contains("no longer Ready: ", StringComparison.Ordinal)
            && told.LastIndexOf("Ready after", StringComparison.Ordinal) > told.LastIndexOf("no longer Ready", StringComparison.Ordinal);
        for (var until = DateTime.UtcNow + s_soon; DateTime.UtcNow < until && !IsTold(); await Task.Delay(500, stop))
            told = (await fleet.CliAsync(stop, "events", "--for", "redis/brimful")).Stdout;
        Assert.True(IsTold(), $"that it was lost and is back is told:\n{told}\n{(await fleet.CliAsync(stop, "describe", "redis", "brimful")).Stdout}");
        await fleet.RemoveAsync("brimful", stop);
    }

    [Fact]
    public async Task Stop_ThatEndedInSigkill_IsToldAtOnce()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[2];
        await host.WriteFileAsync("/etc/slow/redis.conf", $"port {Port + 2}\nbind 127.0.0.1\ndir /srv/slow\nsupervised systemd\nsave 3600 1\nmaxmemory 64mb\n", cancellationToken: stop);
        await host.WriteFileAsync("/etc/systemd/system/slow.service", """
            [Service]
            Type=notify
            TimeoutStopSec=3
            ExecStart=/usr/bin/redis-server /etc/slow/redis.conf
            """, cancellationToken: stop);
        await host.ShellAsync("mkdir -p /srv/slow; systemctl daemon-reload; systemctl start slow", stop);
        (await fleet.ApplyAsync($$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: slow }
            spec: { port: {{Port + 2}}, auth: { enabled: false }, memory: { max: 64Mi }, adopt: { unit: slow.service }, placement: { labels: { host: {{host.Name}} } } }
            """, stop)).OrThrow();
        // Its last save takes seconds for each key: SIGTERM does not end it, systemd's patience does.
        await host.ShellAsync($"redis-cli -p {Port + 2} SET a 1; redis-cli -p {Port + 2} SET b 1; redis-cli -p {Port + 2} CONFIG SET rdb-key-save-delay 10000000; systemctl stop --no-block slow", stop);
        await Fleet.EventuallyAsync(host, "the SIGKILL is told", TimeSpan.FromSeconds(15), async () =>
            (await fleet.CliAsync(stop, "events", "--for", "redis/slow")).Stdout.Contains("took longer than 3 s, and systemd ended it with SIGKILL", StringComparison.Ordinal), stop);
        await Fleet.EventuallyAsync(host, "it runs again", s_soon, async () => await host.ShellAsync("systemctl is-active slow || true", stop) == "active", stop);
        (await fleet.CliAsync(stop, "delete", "redis", "slow", "--yes", "--wait", "--timeout", "60s")).OrThrow();
        await host.ShellAsync("systemctl kill -s KILL slow; systemctl stop slow; rm -rf /etc/systemd/system/slow.service /etc/slow /srv/slow; systemctl daemon-reload", stop);
    }

    private static Task ServesAsync(LabHost host, CancellationToken stop) => Fleet.EventuallyAsync(host, "it serves again", s_soon, async () =>
    {
        try { return await Fleet.RedisAsync(host, Port, "GET kept", stop) == "yes"; }
        catch (LabException) { return false; }
    }, stop);

    private static async Task ToldAsync(Fleet fleet, LabHost host, string text, CancellationToken stop) =>
        await Fleet.EventuallyAsync(host, "told: " + text, s_soon, async () => (await EventsAsync(fleet, stop)).Contains(text, StringComparison.Ordinal), stop);

    private static async Task<string> EventsAsync(Fleet fleet, CancellationToken stop) => (await fleet.CliAsync(stop, "events", "--for", "redis/told", "--limit", "500")).OrThrow().Stdout;

    /// <summary>A command that may cost the server its life.</summary>
    private static async Task RunAsync(LabHost host, string command, CancellationToken stop, int port = Port)
    {
        try { await Fleet.RedisAsync(host, port, command, stop); }
        catch (LabException) { /* It died of it, which is what was wanted. */ }
    }
}
