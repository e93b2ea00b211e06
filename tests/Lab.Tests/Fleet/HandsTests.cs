using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>A person at a host holds a member still, stops it and lets it go on, while the coordinator is away; the centre hears of all of it.</summary>
[Story("fleet", 50)]
public sealed class HandsTests(SharedFleet shared)
{
    private const int Port = 6511;
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(90);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Person_PausesStopsAndResumes_WithoutACoordinator_IsNotFoughtAndIsTold()
    {
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync($$"""
            apiVersion: agentmetal.io/v1
            kind: Redis
            metadata: { name: still }
            spec: { port: {{Port}} }
            """, Stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("still", Stop))[0];
        await Fleet.RedisAsync(host, Port, "SET kept yes", Stop);
        await fleet.KillCoordinatorAsync();
        try
        {
            Assert.Contains("is paused on this host", await LocalAsync(host, "pause", "redis/still", "--reason", "looking at it"), StringComparison.Ordinal);
            // What a person does by hand now is left alone, over a restart of the daemon as well.
            await host.ShellAsync($"systemctl stop {unit}; systemctl restart agentmetald", Stop);
            await Fleet.EventuallyAsync(host, "it says by whom it is paused", s_soon, async () => await Fleet.WhyAsync(host, "still", Stop) is var why && why.Contains("paused by root", StringComparison.Ordinal)
                && why.Contains("looking at it", StringComparison.Ordinal) && why.Contains("agentmetal local resume redis/still", StringComparison.Ordinal), Stop);
            await Task.Delay(TimeSpan.FromSeconds(12), Stop); // A probe comes every ten seconds, and would have healed it.
            Assert.False(await RunsAsync(host, unit));
            Assert.Contains("is kept as declared again", await LocalAsync(host, "resume", "redis/still"), StringComparison.Ordinal);
            await Fleet.EventuallyAsync(host, "it serves again", s_soon, () => ServesAsync(host), Stop);
            var twice = await host.RunAsync([Fleet.HostCli, "local", "resume", "redis/still"], cancellationToken: Stop);
            Assert.Contains("is not paused on this host", twice.Stderr, StringComparison.Ordinal);

            Assert.Contains("was stopped at", await LocalAsync(host, "stop", "redis/still", "--yes", "--reason", "a new disk"), StringComparison.Ordinal);
            var stopped = (await host.ShellAsync("date +%s", Stop)).Trim();
            await host.RebootAsync(Stop);
            await Fleet.EventuallyAsync(host, "agentmetald is up again", s_soon, async () => (await Fleet.WhyAsync(host, "still", Stop)).Contains("a new disk", StringComparison.Ordinal), Stop);
            await Task.Delay(TimeSpan.FromSeconds(5), Stop);
            Assert.False(await RunsAsync(host, unit));
            // Neither systemd nor the daemon has started it for a moment.
            Assert.Equal("", (await host.ShellAsync($"journalctl --since @{stopped} -u {unit} -o cat --no-pager | grep -i started || true", Stop)).Trim());
        }
        finally { await fleet.StartCoordinatorAsync(Stop); }
        await fleet.WaitAttachedAsync(3, Stop);
        await Fleet.EventuallyAsync("the centre says who stopped it and how it goes on", s_soon, async () => (await fleet.CliAsync(Stop, "describe", "redis", "still")).Stdout is var said
            && said.Contains("Paused", StringComparison.Ordinal) && said.Contains("by root", StringComparison.Ordinal) && said.Contains("a new disk", StringComparison.Ordinal) && said.Contains("agentmetal local resume redis/still", StringComparison.Ordinal), Stop);
        Assert.False(await RunsAsync(host, unit));
        await LocalAsync(host, "resume", "redis/still");
        await Fleet.EventuallyAsync(host, "it serves what it had", s_soon, () => ServesAsync(host), Stop);
        // What happened while nobody heard it, on a host whose daemon was restarted twice since, is in its audit.
        await Fleet.EventuallyAsync(host, "all of it is in the audit", s_soon, async () =>
            (await fleet.CliAsync(Stop, "audit", "--chain", host.Name, "--for", "redis/still", "--limit", "1000", "-o", "json")).Stdout is var audit
            && audit.Split("\"PausedByHand\"").Length == 2 && audit.Split("\"StoppedByHand\"").Length == 2
            && audit.Split("\"ResumedByHand\"").Length == 3 && audit.Contains("looking at it", StringComparison.Ordinal), Stop);
        Assert.Contains("resumed on this host by root", (await fleet.CliAsync(Stop, "events", "--for", "redis/still")).Stdout, StringComparison.Ordinal);
        Assert.Equal("enabled", (await host.ShellAsync($"systemctl is-enabled {unit}", Stop)).Trim());
        await fleet.RemoveAsync("still", Stop);
    }

    private static async Task<bool> RunsAsync(LabHost host, string unit) => (await host.ShellAsync($"systemctl is-active {unit} || true", Stop)).Trim() == "active";

    private static async Task<bool> ServesAsync(LabHost host)
    {
        try { return await Fleet.RedisAsync(host, Port, "GET kept", Stop) == "yes"; }
        catch (LabException) { return false; }
    }

    private static async Task<string> LocalAsync(LabHost host, params string[] words) =>
        await host.RunAsync(["env", "NO_COLOR=1", "COLUMNS=2000", Fleet.HostCli, "local", .. words], cancellationToken: Stop) is var said && said.Succeeded ? said.Stdout + said.Stderr : throw new LabException(said.Stdout + said.Stderr);
}
