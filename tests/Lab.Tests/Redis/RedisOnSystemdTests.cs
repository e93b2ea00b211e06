using AgentMetal.Testing;

namespace AgentMetal.LabTests.Redis;

/// <summary>
/// The tests of the Redis agent against real servers, once more, inside a host of the lab: there its units are run by a real systemd, as the
/// user, with the limits and behind the walls that the unit asks for.
/// </summary>
[Story("redis", 200)]
public sealed class RedisOnSystemdTests
{
    private const string Class = "AgentMetal.NodeAgent.Tests.Agents.Redis.RealRedisTests";

    [Fact]
    public async Task EveryTool_OnALabHost_PredictionEqualsObservation()
    {
        await SharedLab.RequireCapabilityAsync();
        var ct = TestContext.Current.CancellationToken;
        var tests = AppContext.BaseDirectory.Replace("Lab.Tests", "NodeAgent.Tests", StringComparison.Ordinal);
        Assert.SkipUnless(File.Exists(tests + "/NodeAgent.Tests.dll"), "the tests of the node agent are not built: dotnet build tests/NodeAgent.Tests");
        await using var lab = await Lab.StartAsync(new() { HostNames = ["redis-1"], Binds = [new(tests, "/opt/nodetests"), new(Dotnet.Directory, "/opt/dotnet")] }, ct);
        var run = await lab["redis-1"].RunAsync(
            ["env", "AGENTMETAL_REDIS_SYSTEMD=1", "DOTNET_ROOT=/opt/dotnet", "AGENTMETAL_REDIS_GATE=/opt/dotnet/dotnet /opt/nodetests/agentmetald.dll", "/opt/dotnet/dotnet", "/opt/nodetests/NodeAgent.Tests.dll", "-noColor", "-class", Class],
            timeout: TimeSpan.FromMinutes(8), cancellationToken: ct);
        Assert.True(run.Succeeded, run.Stdout + run.Stderr);
        Assert.Contains("Failed: 0, Skipped: 0", run.Stdout, StringComparison.Ordinal);
    }
}
