using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 3: a replica of a replica gets a full copy too, older or foreign data wipes as well as none.</summary>
[Story("redis", 40)]
public sealed class RiskJudgedOneHopTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("empty stranger, daemons off", "empty stranger, daemons on", "stranger with data", "stranger follows a stranger",
        "triple, both others wiped");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Primary_FollowsAStranger_WhoHasTheDataIsLeftAlone(string what) =>
        await WithAsync("hop", what[0] == 't' ? "replicas: 2" : "replicas: 1", async g =>
    {
        await FillAsync(g, 5000);
        var host = g.Fleet.Lab.Hosts.First(h => what[0] == 't' || g.Members.All(m => m.Host != h));
        var stranger = await ForeignAsync(g, host, 6390, what.Contains("with data", StringComparison.Ordinal) ? 100 : 0);
        if (what.Contains("follows a stranger", StringComparison.Ordinal))
        {
            var second = await ForeignAsync(g, host, 6391, 50);
            await host.ShellAsync("REDISCLI_AUTH=$1 redis-cli --no-auth-warning -p 6390 REPLICAOF $2 6391", Stop, g.Password(g[0]),
                second.Split(' ')[0]);
        }
        if (what.EndsWith("off", StringComparison.Ordinal)) await DaemonsAsync(g, "stop");
        Replicaof(g, g[1], "192.0.2.9 6379");
        if (what[0] == 't') Replicaof(g, g[2], stranger);
        Replicaof(g, g[0], stranger);
        if (what.EndsWith("off", StringComparison.Ordinal))
        {
            await g.EventuallyAsync("member 0 is empty", TimeSpan.FromSeconds(20), () => Task.FromResult(g.InMemory(g[0])?.Count == 0),
                Stop);
            await DaemonsAsync(g, "start");
        }
        await HeldThroughAsync(g, what);
        if (await g.ReadyAsync(Stop)) return;
        // It waits for somebody: who is asked is told whom the wanted primary follows, and how to go on.
        var said = await g.DescribeAsync(Stop) + await g.EventsAsync(Stop);
        Assert.Contains(stranger.Replace(' ', ':'), said, StringComparison.Ordinal);
        Assert.Contains("no member", said, StringComparison.Ordinal);
        Assert.True((await g.HeldAsync(Stop)).Count > 0 || said.Contains("spec.primary: 1", StringComparison.Ordinal), said);
    });
}
