using AgentMetal.LabTests.Adversary;
using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 5: hung, another password, loading, refused writes are different facts with different remedies; SIGKILL is for what is
/// proved hung.</summary>
[Story("redis", 35)]
public sealed class DoesNotAnswerTests(RedisFleet shared) : RedisCase(shared)
{
    private const string Snapshots = "replicas: 1, persistence: { appendonly: false }";

    public static TheoryData<string> Cases =>
        Pick("another password, snapshots", "another password, append-only", "no password", "another password at the replica",
        "another masterauth at the replica", "hung, snapshots");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Server_ThatIsWell_IsNotKilled(string what) =>
        await WithAsync("mute", what.Contains("append-only", StringComparison.Ordinal) ? "replicas: 1" : Snapshots, async g =>
    {
        await FillAsync(g, 100);
        Assert.Equal("OK", g.Ask(g[0], "SAVE"));
        await FillAsync(g, 3000);
        var m = what.Contains("replica", StringComparison.Ordinal) ? g[1] : g[0];
        var pid = await m.Host.MainPidAsync(m.Unit, Stop);
        if (what[0] == 'h')
        {
            await m.Host.FreezeAsync(m.Unit, Stop);
            await Task.Delay(12_000, Stop);
            if (await m.Host.MainPidAsync(m.Unit, Stop) == pid) await m.Host.ThawAsync(m.Unit, Stop);
            await HeldThroughAsync(g, what);
            return;
        }
        if (what.Contains("masterauth", StringComparison.Ordinal))
        {
            Assert.Equal("OK", g.Ask(m, "CONFIG", "SET", "masterauth", "wrong"));
            await Fleet.RedisAsync(g[0].Host, g.Port, "CLIENT KILL TYPE replica", Stop);
        }
        else Assert.Equal("OK", g.Ask(m, "CONFIG", "SET", "requirepass", what[0] == 'n' ? "" : "other"));
        await g.EventuallyAsync("the password is put back and all are in sync", TimeSpan.FromSeconds(60), async () =>
        {
            try
            {
                using var own = g.Open(m);
                return own.Text("CONFIG", "GET", "requirepass").Length >= 0 && g.InSync(g[1], g[0])
                    && (await Fleet.RedisAsync(m.Host, g.Port, "PING", Stop)).Contains("PONG", StringComparison.Ordinal)
                        && await g.ReadyAsync(Stop);
            }
            catch (Exception e) when (e is IOException or RespException) { return false; }
        }, Stop);
        Assert.Equal(pid, await m.Host.MainPidAsync(m.Unit, Stop));
        Assert.Contains("password", await g.EventsAsync(Stop), StringComparison.Ordinal);
        await HeldThroughAsync(g, what, TimeSpan.FromSeconds(2));
    });
}
