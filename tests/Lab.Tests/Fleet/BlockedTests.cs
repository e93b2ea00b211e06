using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>A member that never comes up: the reason is named where people look, nothing is half created elsewhere, and it comes up once the reason is gone.</summary>
[Story("fleet", 30)]
public sealed class BlockedTests(SharedFleet shared)
{
    private const int Port = 6461;

    [Fact]
    public async Task Member_WhosePortIsTaken_SaysSoUntilItIsFreeAndThenComesUpByItself()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        await host.ShellAsync($"systemd-run -q --unit=squatter socat TCP-LISTEN:{Port},fork,reuseaddr SYSTEM:cat", stop);
        await host.WaitForAsync($"ss -ltn | grep -q ':{Port} '", TimeSpan.FromSeconds(60), stop);
        try
        {
            var applied = await fleet.ApplyAsync($$"""
                apiVersion: agentmetal.io/v1
                kind: Redis
                metadata: { name: blocked }
                spec: { port: {{Port}}, placement: { labels: { host: {{host.Name}} } } }
                """, stop, "--timeout", "25s");
            Assert.Equal(6, applied.ExitCode); // Timed out, not failed: it goes on by itself.
            Assert.Contains("agentmetal describe redis blocked", applied.Stderr, StringComparison.Ordinal);
            Assert.Contains($"port {Port}", applied.Stderr, StringComparison.Ordinal);

            var described = (await fleet.CliAsync(stop, "describe", "redis", "blocked")).OrThrow().Stdout;
            Assert.Contains($"port {Port}", described, StringComparison.Ordinal);
            var why = await Fleet.WhyAsync(host, "blocked", stop);
            Assert.Contains($"port {Port}", why, StringComparison.Ordinal);
            Assert.Contains("looked at again", why, StringComparison.Ordinal);
            Assert.Contains("Next ", why, StringComparison.Ordinal);
            Assert.All(await fleet.MembersAsync("blocked", stop), m => Assert.Equal(host.Name, m.Host.Name));
        }
        finally { await host.ShellAsync("systemctl stop squatter", stop); }
        await Fleet.EventuallyAsync(host, "it comes up by itself", TimeSpan.FromSeconds(60), async () =>
            (await fleet.CliAsync(stop, "get", "redis", "blocked", "-o", "json")).Stdout.Contains("\"ready\": true", StringComparison.Ordinal), stop);
        Assert.Equal("PONG", await Fleet.RedisAsync(host, Port, "PING", stop));
        await fleet.RemoveAsync("blocked", stop);
    }
}
