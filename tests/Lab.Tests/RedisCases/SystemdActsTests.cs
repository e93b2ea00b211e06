using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 2: systemd brings up whatever is on disk, also empty or old, while a peer holds more. The check is in the unit and
/// holds with agentmetald dead.</summary>
public sealed class SystemdActsTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("daemons off, primary killed", "daemons off, data directory gone, primary killed", "power cut of the primary",
        "data directory gone, only member killed");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Systemd_StartsOnWhatIsOnDisk_NothingOlderLeads(string what) => await WithAsync("gate", Spec(what), async g =>
    {
        await FillAsync(g, 2000);
        if (what.StartsWith("daemons off", StringComparison.Ordinal)) await DaemonsAsync(g, "stop");
        if (what.Contains("directory gone", StringComparison.Ordinal)) await g[0].Host.ShellAsync($"rm -rf {g[0].DataDir}", Stop);
        if (what.StartsWith("power cut", StringComparison.Ordinal)) await PowerCutAsync(g[0].Host);
        else await KillAsync(g[0]);
        if (what.Contains("only member", StringComparison.Ordinal))
        {
            // What was there is gone by a hand: nothing empty comes up in its name until a person says so.
            await Task.Delay(15_000, Stop);
            Assert.NotEqual(0, g.InMemory(g[0])?.Count ?? -1);
            Assert.False(await g.ReadyAsync(Stop));
            return;
        }
        await HeldThroughAsync(g, what);
        if (what.StartsWith("daemons off", StringComparison.Ordinal))
        {
            await DaemonsAsync(g, "start");
            await HeldThroughAsync(g, what + ", daemons on");
        }
        await EndAsync(g, TimeSpan.FromSeconds(60));
        Assert.Empty(await MissingAsync(g));
    });

    private static string Spec(string what) => what.Contains("only member", StringComparison.Ordinal) ? "replicas: 0"
        : what.Contains("directory gone", StringComparison.Ordinal) ? "replicas: 1" : "replicas: 1, persistence: { appendonly: false }";
}
