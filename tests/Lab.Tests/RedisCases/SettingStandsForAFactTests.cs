using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 1: "has a snapshot rule" is no "a restart brings the data back". Only what is on disk now says that.</summary>
[Story("redis", 35)]
public sealed class SettingStandsForAFactTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("old dump, primary killed", "no dump, primary killed", "append-only switched off by hand, primary killed");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Restart_OfWhatIsNotOnDisk_LosesNothing(string what) =>
        await WithAsync("setting", what[0] == 'a' ? "replicas: 1" : "replicas: 1, persistence: { appendonly: false }", async g =>
    {
        if (what[0] == 'o')
        {
            await FillAsync(g, 100);
            Assert.Equal("OK", g.Ask(g[0], "SAVE"));
        }
        if (what[0] == 'a') Assert.Equal("OK", g.Ask(g[0], "CONFIG", "SET", "appendonly", "no", "save", ""));
        await FillAsync(g, 3000);
        await KillAsync(g[0]);
        await HeldThroughAsync(g, what);
        if (await EndAsync(g, TimeSpan.FromSeconds(60)) == "held") await SignAllAsync(g, TimeSpan.FromSeconds(60));
        Assert.Empty(await MissingAsync(g));
    });
}
