using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 4: offsets start again at 0 and roles set by hand are forgotten at a restart; histories that cannot be compared are a
/// person's to choose between.</summary>
[Story("redis", 40)]
public sealed class EvidenceInMemoryTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases => Pick("power cut of both", "both killed", "reboot of both, no snapshot rule");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Holder_ForgottenByARestart_IsNotOverruledByTheOlder(string what) =>
        await WithAsync("memory", "replicas: 1, primary: 1, persistence: { appendfsync: always"
            + (what[0] == 'r' ? ", save: [] }" : " }"), async g =>
    {
        await FillAsync(g, 1000);
        await DaemonsAsync(g, "stop");
        Replicaof(g, g[1], "192.0.2.9 6379");
        Replicaof(g, g[0], "NO ONE");
        Assert.Equal(1000, g.Write(g[0], 1000).Count);
        Replicaof(g, g[0], "192.0.2.9 6379");
        await DaemonsAsync(g, "start");
        await HeldThroughAsync(g, what + ", before", TimeSpan.FromSeconds(8));
        switch (what[0])
        {
            case 'p': await PowerCutAsync(g[0].Host, g[1].Host); break;
            case 'b': await Task.WhenAll(KillAsync(g[0]), KillAsync(g[1])); break;
            default: await Task.WhenAll(g[0].Host.RebootAsync(Stop), g[1].Host.RebootAsync(Stop)); break;
        }
        await HeldThroughAsync(g, what);
        // Either it is found out who has more, or it is asked, once the other was away for a minute, with what each side has.
        await g.EventuallyAsync("it is Ready, or asks, or says what to do", TimeSpan.FromSeconds(120), async () =>
            await g.ReadyAsync(Stop) || (await g.HeldAsync(Stop)).Count > 0
            || (await g.DescribeAsync(Stop)).Contains("spec.primary: 0", StringComparison.Ordinal), Stop);
    });
}
