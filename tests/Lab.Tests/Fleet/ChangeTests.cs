using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>What a person changes, on real servers: live settings, restarts, scale out and in, switchover; and garbage.</summary>
[Story("fleet", 15, Heart = true)]
public sealed class ChangeTests(SharedFleet shared)
{
    private const int Port = 6421;

    private static string Yaml(string name, int port, string spec) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { port: {{port}}, {{spec}} }
        """;

    [Fact]
    public async Task LiveSetting_Changed_DoesNotRestart()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("live", Port, "memory: { max: 32Mi }"), stop)).OrThrow();
        var (host, unit) = (await fleet.MembersAsync("live", stop))[0];
        var pid = await host.MainPidAsync(unit, stop);
        (await fleet.ApplyAsync(Yaml("live", Port, "memory: { max: 48Mi, policy: allkeys-lru }, persistence: { appendonly: false }"), stop)).OrThrow();
        Assert.Contains("50331648", await Fleet.RedisAsync(host, Port, "CONFIG GET maxmemory", stop), StringComparison.Ordinal);
        Assert.Contains("no", await Fleet.RedisAsync(host, Port, "CONFIG GET appendonly", stop), StringComparison.Ordinal);
        Assert.Equal(pid, await host.MainPidAsync(unit, stop));
    }

    [Fact]
    public async Task Replicas_ScaledOutSwitchedAndIn_KeepEveryWrite()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("moving", Port + 1, "replicas: 0"), stop)).OrThrow();
        var (first, _) = (await fleet.MembersAsync("moving", stop))[0];
        for (var i = 0; i < 20; i++) await Fleet.RedisAsync(first, Port + 1, $"SET k{i} {i}", stop);

        (await fleet.ApplyAsync(Yaml("moving", Port + 1, "replicas: 2"), stop)).OrThrow();
        Assert.Equal(3, (await fleet.MembersAsync("moving", stop)).Length);
        Assert.Contains("connected_slaves:2", await Fleet.RedisAsync(first, Port + 1, "INFO replication", stop), StringComparison.Ordinal);

        (await fleet.ApplyAsync(Yaml("moving", Port + 1, "replicas: 2, primary: 1"), stop)).OrThrow();
        var primaries = new List<LabHost>();
        foreach (var host in fleet.Lab.Hosts)
            if ((await Fleet.RedisAsync(host, Port + 1, "INFO replication", stop)).Contains("role:master", StringComparison.Ordinal)) primaries.Add(host);
        var primary = Assert.Single(primaries);
        Assert.NotEqual(first.Name, primary.Name);
        for (var i = 0; i < 20; i++) Assert.Equal(i.ToString(), await Fleet.RedisAsync(primary, Port + 1, $"GET k{i}", stop));

        (await fleet.ApplyAsync(Yaml("moving", Port + 1, "replicas: 1, primary: 1"), stop)).OrThrow();
        await Fleet.EventuallyAsync("two members are left", TimeSpan.FromSeconds(60), async () => (await fleet.MembersAsync("moving", stop)).Length == 2, stop);
        Assert.Equal("7", await Fleet.RedisAsync(primary, Port + 1, "GET k7", stop));
    }

    [Fact]
    public async Task Garbage_IsRefusedWithFieldsAndNothingIsCreated()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        foreach (var (yaml, says) in new[]
        {
            (Yaml("bad", Port + 2, "persistence: { appendfsync: sometimes }"), "spec.persistence.appendfsync"),
            (Yaml("bad", Port + 2, "replica: 1"), "did you mean replicas"),
            (Yaml("bad", 80, "replicas: 0"), "spec.port"),
            (Yaml(new string('x', 300), Port + 2, "replicas: 0"), "metadata.name"),
            (Yaml("bad", Port + 2, "replicas: many"), "spec.replicas"),
            ("a: &a [*a]", "error"),
            (Yaml("twice", Port + 2, "replicas: 0") + "\n---\n" + Yaml("twice", Port + 2, "replicas: 0"), "twice"),
        })
        {
            var refused = await fleet.ApplyAsync(yaml, stop);
            Assert.Equal(2, refused.ExitCode);
            Assert.Contains(says, refused.Stderr + refused.Stdout, StringComparison.Ordinal);
        }
        Assert.False((await fleet.CliAsync(stop, "get", "redis", "bad")).Succeeded);
        Assert.False((await fleet.CliAsync(stop, "get", "redis", "twice")).Succeeded);
    }

    [Fact]
    public async Task Spec_NoHostCanHold_IsNotReadyAndSaysWhatBlocksIt()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        await fleet.ApplyAsync(Yaml("nowhere", Port + 3, "placement: { labels: { site: moon } }"), stop, "--no-wait");
        await Fleet.EventuallyAsync("the blocker is named", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "describe", "redis", "nowhere")).Stdout.Contains("site=moon", StringComparison.Ordinal), stop);
    }
}
