namespace AgentMetal.LabTests.Fleets;

/// <summary>Dangerous work waits for a signature that the host itself verifies.</summary>
[Story("fleet", 5)]
public sealed class ApprovalTests(SharedFleet shared)
{
    private const int Port = 6411;

    private static string Yaml(string name, int port, string more = "") => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}}{{more}} }
        spec: { port: {{port}} }
        """;

    [Fact]
    public async Task Delete_WithData_WaitsUntilAnOperatorSigns()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("precious", Port), stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("precious", stop))[0];
        await Fleet.RedisAsync(host, Port, "SET kept yes", stop);

        await fleet.CliAsync(stop, "delete", "redis", "precious", "--yes", "--no-wait");
        await Fleet.EventuallyAsync("the deletion waits for an approval", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("precious", StringComparison.Ordinal), stop);
        Assert.Equal("yes", await Fleet.RedisAsync(host, Port, "GET kept", stop)); // Nothing has begun.

        (await fleet.CliAsync(stop, "approve", "redis/precious", "--yes", "--reason", "no longer used")).OrThrow();
        await Fleet.EventuallyAsync("unit, configuration and data are gone, a last backup is there", TimeSpan.FromSeconds(60), async () =>
            (await host.ShellAsync($"ls -d /etc/systemd/system/{unit} /etc/agentmetal/redis/*precious* /var/lib/agentmetal/redis/*precious* 2>/dev/null || true", stop)).Trim().Length == 0, stop);
        Assert.Contains("precious", await host.ShellAsync("ls /var/lib/agentmetal/backups", stop), StringComparison.Ordinal);
        await Fleet.EventuallyAsync("the resource is gone", TimeSpan.FromSeconds(90), async () => !(await fleet.CliAsync(stop, "get", "redis", "precious")).Succeeded, stop);
    }

    [Fact]
    public async Task Delete_Protected_IsRefusedWithTheFix()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("kept", Port + 1, ", protect: true"), stop)).OrThrow();
        var refused = await fleet.CliAsync(stop, "delete", "redis", "kept", "--yes", "--no-wait");
        Assert.False(refused.Succeeded);
        Assert.Contains("protect", refused.Stderr + refused.Stdout, StringComparison.Ordinal);
    }
}
