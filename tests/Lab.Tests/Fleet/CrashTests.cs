using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>
/// kill -9 of agentmetald at journal boundaries of create, change and delete, on a real host: it converges, and what was done happened once,
/// counted from outside (systemd's start count of the unit, the server's own run id).
/// </summary>
public sealed class CrashTests(SharedFleet shared)
{
    private const int Port = 6431;

    private static string Yaml(string name, string spec) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { port: {{Port}}, {{spec}} }
        """;

    public static TheoryData<int> Boundaries()
    {
        var all = new TheoryData<int>();
        var soak = Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";
        var random = new Random(int.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), out var seed) ? seed : 1);
        // Two boundaries a commit; a create takes about twenty commits. What lies beyond the last one is not reached, and the test says so.
        foreach (var at in soak ? Enumerable.Range(1, 44) : Enumerable.Range(1, 30).OrderBy(_ => random.Next()).Take(4).Order()) all.Add(at);
        return all;
    }

    [Theory]
    [MemberData(nameof(Boundaries))]
    public async Task Daemon_KilledAtAJournalBoundary_ConvergesAndDoesNothingTwice(int at)
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var name = $"crash{at}";
        foreach (var host in fleet.Lab.Hosts)
            await host.ShellAsync($"touch /run/agentmetal-crash-once; mkdir -p /run/systemd/system/agentmetald.service.d; printf '[Service]\\nEnvironment=AGENTMETAL_CRASH_AT={at} AGENTMETAL_CRASH_ONCE=/run/agentmetal-crash-once\\n' >/run/systemd/system/agentmetald.service.d/crash.conf; systemctl daemon-reload; systemctl restart agentmetald", stop);
        try
        {
            await fleet.WaitAttachedAsync(3, stop);
            (await fleet.ApplyAsync(Yaml(name, "memory: { max: 32Mi }"), stop)).OrThrow();
            var (host, unit) = (await fleet.MembersAsync(name, stop))[0];
            await Fleet.RedisAsync(host, Port, "SET kept yes", stop); // With data, deletion waits for a signature.
            var reached = (await host.RunAsync(["test", "-e", "/run/agentmetal-crash-once"], cancellationToken: stop)).ExitCode != 0;
            // Started once, never restarted: the server's uptime is older than any repair, and systemd counted no restart.
            Assert.Equal("0", (await host.ShellAsync($"systemctl show -p NRestarts --value {unit}", stop)).Trim());
            Assert.Equal("1", (await host.ShellAsync($"journalctl -u {unit} -o cat | grep -c 'Started' || true", stop)).Trim());
            (await fleet.ApplyAsync(Yaml(name, "memory: { max: 48Mi }"), stop)).OrThrow();
            Assert.Contains("50331648", await Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop), StringComparison.Ordinal);
            TestContext.Current.SendDiagnosticMessage($"boundary {at}: {(reached ? "killed" : "not reached in create")}");
        }
        finally
        {
            foreach (var host in fleet.Lab.Hosts)
                await host.ShellAsync("rm -rf /run/systemd/system/agentmetald.service.d /run/agentmetal-crash-once; systemctl daemon-reload; systemctl restart agentmetald", stop);
            await fleet.CliAsync(stop, "delete", "redis", name, "--yes", "--no-wait");
            await Fleet.EventuallyAsync("the deletion waits", TimeSpan.FromSeconds(30), async () => (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains(name, StringComparison.Ordinal), stop);
            (await fleet.CliAsync(stop, "approve", "redis/" + name, "--yes", "--reason", "test")).OrThrow();
            await Fleet.EventuallyAsync("gone", TimeSpan.FromSeconds(60), async () => !(await fleet.CliAsync(stop, "get", "redis", name)).Succeeded, stop);
        }
    }
}
