using System.Diagnostics;
using System.Globalization;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// kill -9 of agentmetald at journal boundaries of create, live change, restart change, switchover and delete, on every host that takes part: it
/// converges, and every effect happened once, counted from outside by the hosts' D-Bus, the servers' own logs and the servers' command counts.
/// </summary>
[Story("fleet", 140)]
public sealed class CrashTests(SharedFleet shared)
{
    private const int Port = 6431;

    private static readonly CrashLives All = new(limit: 72, ("create", 20), ("live", 8), ("restart", 8), ("switchover", 8), ("delete", 14));

    public static TheoryData<int, string> Lives() => All.Data(sample: 2);

    [Theory]
    [MemberData(nameof(Lives))]
    public async Task Daemon_KilledAtAJournalBoundaryOfEachOperation_ConvergesAndDoesNothingTwice(int life, string boundaries)
    {
        if (All.At(life, boundaries) is not { } at) return;
        var stop = TestContext.Current.CancellationToken;
        var run = new Life(await shared.GetAsync(), $"crash{life}", at, stop);
        try { await run.LiveAsync(); }
        finally { await run.EndAsync(); }
    }

    private sealed class Life(Fleet fleet, string name, Dictionary<string, int> at, CancellationToken stop)
    {
        private readonly JournalKills kills = new(fleet, All, at, stop);
        private readonly List<BusMonitor> monitors = [];
        private (LabHost Host, string Unit)[] members = [];

        public async Task LiveAsync()
        {
            foreach (var host in fleet.Lab.Hosts) monitors.Add(await BusMonitor.StartAsync(host, stop));

            await kills.DuringAsync("create", () => DeclareAsync("databases: 16, memory: { max: 32Mi }"));
            members = await fleet.MembersAsync(name, stop);
            Assert.Equal(2, members.Length);
            await ExpectAsync(starts: 1, restarts: 0, stops: 0, ready: 1, failovers: 0);
            await Fleet.RedisAsync(await PrimaryAsync(), Port, "SET kept yes", stop); // With data, deletion waits for a signature.

            var sets = await SumAsync("cmdstat_config|set");
            await kills.DuringAsync("live", () => DeclareAsync("databases: 16, memory: { max: 48Mi }"));
            Assert.Equal(members.Length, await SumAsync("cmdstat_config|set") - sets); // One CONFIG SET a member.
            await ExpectAsync(starts: 1, restarts: 0, stops: 0, ready: 1, failovers: 0);

            // The primary's restart leaves the members without one for a moment: it waits for a signature.
            await kills.DuringAsync("restart", () => DeclareAsync("databases: 17, memory: { max: 48Mi }", signed: true));
            await ExpectAsync(starts: 1, restarts: 1, stops: 0, ready: 2, failovers: 0);

            var before = await PrimaryAsync();
            await kills.DuringAsync("switchover", () => DeclareAsync("databases: 17, memory: { max: 48Mi }, primary: 1"));
            Assert.NotEqual(before.Name, (await PrimaryAsync()).Name);
            await ExpectAsync(starts: 1, restarts: 1, stops: 0, ready: 2, failovers: 1);
            Assert.Equal("yes", await Fleet.RedisAsync(await PrimaryAsync(), Port, "GET kept", stop));

            await kills.DuringAsync("delete", () => fleet.RemoveAsync(name, stop));
            await ExpectAsync(starts: 1, restarts: 1, stops: 1, ready: 2, failovers: 1);
            foreach (var (host, unit) in members)
            {
                Assert.Equal("", await host.ShellAsync($"ls -d /etc/systemd/system/{unit} /etc/agentmetal/redis/*-{name}-* /var/lib/agentmetal/redis/*-{name}-* 2>/dev/null || true", stop));
                Assert.Equal("1", await host.ShellAsync($"ls /var/lib/agentmetal/backups | grep -c -- '-{name}-.*rdb$' || true", stop));
                // Asked to end by the restart and by the deletion, and by nobody else.
                Assert.Equal("2", await host.ShellAsync($"journalctl -u {unit} -o cat | grep -c 'User requested shutdown' || true", stop));
            }
        }

        /// <summary>Nothing is left on the fleet, also after a failure.</summary>
        public async Task EndAsync()
        {
            foreach (var monitor in monitors) await monitor.DisposeAsync();
            await kills.EndAsync();
            await fleet.RemoveAsync(name, stop);
        }

        private async Task DeclareAsync(string spec, bool signed = false)
        {
            var yaml = $$"""
                apiVersion: agentmetal.io/v1
                kind: Redis
                metadata: { name: {{name}} }
                spec: { port: {{Port}}, replicas: 1, {{spec}} }
                """;
            // What was shown is void when the world moves before it is signed; then the host asks again. Until it has told that it goes on, it is still asking.
            var asking = Stopwatch.StartNew();
            while (signed && asking.Elapsed < TimeSpan.FromSeconds(60) && (await fleet.ApplyAsync(yaml, stop, "--timeout", "60s")).ExitCode == 4)
            {
                await fleet.CliAsync(stop, "approve", "redis/" + name, "--yes", "--reason", "test");
                await Task.Delay(300, stop);
            }
            await DoneAsync(() => fleet.ApplyAsync(yaml, stop, "--timeout", "60s"));
        }

        private async Task DoneAsync(Func<Task<CommandResult>> command)
        {
            var result = await command();
            if (!result.Succeeded) Assert.Fail($"{kills.Doing}: {result.Stdout}{result.Stderr}\n{await DaemonsAsync()}");
        }

        private async Task ExpectAsync(int starts, int restarts, int stops, int ready, int failovers)
        {
            var promoted = 0;
            foreach (var (host, unit) in members)
            {
                var monitor = monitors[fleet.Lab.Hosts.ToList().IndexOf(host)];
                foreach (var (method, times) in new[] { ("StartUnit", starts), ("RestartUnit", restarts), ("StopUnit", stops), ("KillUnit", 0) })
                    Seen($"{method} for {unit}", times, await monitor.CountAsync(method, unit, stop), await DaemonAsync(host));
                Seen($"starts in the log of {unit}", ready, await LinesAsync(host, unit, "Ready to accept connections"), await DaemonAsync(host));
                Seen($"systemd's own restarts of {unit}", 0, stops > 0 ? 0 : int.Parse(await host.ShellAsync($"systemctl show -P NRestarts {unit}", stop), CultureInfo.InvariantCulture), "");
                promoted += await LinesAsync(host, unit, "FAILOVER requested");
            }
            Seen("failovers in the logs", failovers, promoted, "");
        }

        private void Seen(string what, int wanted, int seen, string more)
        {
            if (wanted != seen) Assert.Fail($"{kills.Doing}: {what}: {seen}, not {wanted}\n{more}");
        }

        private async Task<int> LinesAsync(LabHost host, string unit, string text) =>
            int.Parse(await host.ShellAsync($"journalctl -u {unit} -o cat | grep -c '{text}' || true", stop), CultureInfo.InvariantCulture);

        /// <summary>Calls of a command over all members, as the servers count them themselves.</summary>
        private async Task<int> SumAsync(string command)
        {
            var sum = 0;
            foreach (var (host, _) in members)
            {
                var line = (await Fleet.RedisAsync(host, Port, "INFO commandstats", stop)).Split('\n').FirstOrDefault(l => l.StartsWith(command + ":", StringComparison.Ordinal));
                if (line is not null) sum += int.Parse(line.Split("calls=")[1].Split(',')[0], CultureInfo.InvariantCulture);
            }
            return sum;
        }

        private async Task<LabHost> PrimaryAsync()
        {
            List<LabHost> primaries = [];
            foreach (var (host, _) in members)
                if ((await Fleet.RedisAsync(host, Port, "INFO replication", stop)).Contains("role:master", StringComparison.Ordinal)) primaries.Add(host);
            return Assert.Single(primaries);
        }

        private async Task<string> DaemonsAsync() => string.Join('\n', await Task.WhenAll(fleet.Lab.Hosts.Select(DaemonAsync)));

        private Task<string> DaemonAsync(LabHost host) => host.ShellAsync("journalctl -u agentmetald -o short-precise -n 30 --no-pager", stop);
    }
}
