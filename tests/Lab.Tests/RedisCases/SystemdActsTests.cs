using System.Diagnostics;
using AgentMetal.LabTests.Adversary;
using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 2: systemd brings up whatever is on disk, also empty or old, while a peer holds more. The check is in the unit and
/// holds with agentmetald dead.</summary>
[Story("redis", 40, Heart = true)]
public sealed class SystemdActsTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("daemons off, primary killed", "daemons off, data directory gone, primary killed", "power cut of the primary",
        "data directory gone, only member killed", "what a kill in the middle of a rewrite loses");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task Systemd_StartsOnWhatIsOnDisk_NothingOlderLeads(string what) =>
        what == "what a kill in the middle of a rewrite loses" ? Rewriting() : Gate(what);

    private Task Gate(string what) => WithAsync("gate", Spec(what), async g =>
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

    /// <summary>A rewrite leaves files that no manifest names yet, and an append-only file in several parts: neither is damage, or less
    /// data.</summary>
    private Task Rewriting() => WithAsync("gate", "replicas: 1, persistence: { save: [] }", async g =>
    {
        await FillAsync(g, 2000);
        await g.EventuallyAsync("describe declares what a death gives up", TimeSpan.FromSeconds(40),
            async () => (await g.DescribeAsync(Stop)).Contains(EverySecond, StringComparison.Ordinal), Stop);
        for (var round = 1; round <= 4; round++)
        {
            var primary = g.Members.First(m => g.Role(m) == "master");
            // A key takes five milliseconds: the rewrite goes on for ten seconds and more.
            Assert.Equal("OK", g.Ask(primary, "CONFIG", "SET", "rdb-key-save-delay", "5000"));
            Assert.Contains("rewriting started", g.Ask(primary, "BGREWRITEAOF"), StringComparison.Ordinal);
            await g.EventuallyAsync("it rewrites", TimeSpan.FromSeconds(5), () => Task.FromResult(Rewrites(g, primary)), Stop);
            var acked = new List<(string Key, TimeSpan At)>();
            var since = Stopwatch.StartNew();
            var writing = Task.Run(async () =>
            {
                try
                {
                    while (!Stop.IsCancellationRequested)
                    {
                        foreach (var key in g.Write(primary, 5)) acked.Add((key, since.Elapsed));
                        await Task.Delay(5, Stop);
                    }
                }
                catch (Exception e) when (e is IOException or RespException) { } // It was killed.
            }, Stop);
            if (round == 1) await SilentAsync(g);
            await Task.Delay(TimeSpan.FromSeconds(2 + round), Stop);
            Assert.True(Rewrites(g, primary), "the rewrite is not over yet");
            var killed = since.Elapsed;
            await KillAsync(primary);
            await writing;
            await g.EventuallyAsync("Ready again", TimeSpan.FromSeconds(90), () => g.ReadyAsync(Stop), Stop);
            var missing = await MissingAsync(g);
            HashSet<string> late = [.. acked.Where(a => a.At > killed - Declared).Select(a => a.Key)];
            TestContext.Current.TestOutputHelper?.WriteLine(
                $"round {round}: {acked.Count} writes during the rewrite, {late.Count} of the last {Declared.TotalSeconds:0} s, {missing.Count} gone");
            Assert.True(acked.Count > late.Count, "there were writes before the time that everysec gives up");
            Assert.Empty(missing.Except(late));
            g.Forget(missing);
            await HeldThroughAsync(g, $"killed in rewrite {round}", TimeSpan.FromSeconds(6));
            await SilentAsync(g);
        }
        // One that is let go on comes to its end, with all of it.
        var last = g.Members.First(m => g.Role(m) == "master");
        g.Ask(last, "BGREWRITEAOF");
        await g.EventuallyAsync("a rewrite ends", TimeSpan.FromSeconds(30),
            () => Task.FromResult(!Rewrites(g, last) && g.Info(last, "aof_last_bgrewrite_status") == "ok"), Stop);
        await KillAsync(last);
        await g.EventuallyAsync("Ready after the last", TimeSpan.FromSeconds(90), () => g.ReadyAsync(Stop), Stop);
        await HeldThroughAsync(g, "killed after a rewrite", TimeSpan.FromSeconds(6));
    });

    private const string EverySecond = "up to one second of writes goes, two while its disk is slow";

    /// <summary>What describe says that a death gives up at most.</summary>
    private static readonly TimeSpan Declared = TimeSpan.FromSeconds(2);

    private static bool Rewrites(RedisGroup g, RedisMember m) => g.Info(m, "aof_rewrite_in_progress") == "1";

    /// <summary>Nothing is asked, and nothing is said of the files that is not so.</summary>
    private static async Task SilentAsync(RedisGroup g)
    {
        Assert.Empty(await g.HeldAsync(Stop));
        var said = await g.DescribeAsync(Stop);
        Assert.Contains(EverySecond, said, StringComparison.Ordinal);
        Assert.DoesNotContain("damaged", said, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("is gone from its disk", said, StringComparison.Ordinal);
        Assert.DoesNotContain("is not written now", said, StringComparison.Ordinal);
        var planned = await g.Fleet.CliAsync(g.Yaml(), Stop, "plan", "-f", "-");
        Assert.DoesNotContain("Dangerous", planned.Stdout + planned.Stderr, StringComparison.Ordinal);
    }

    private static string Spec(string what) => what.Contains("only member", StringComparison.Ordinal) ? "replicas: 0"
        : what.Contains("directory gone", StringComparison.Ordinal) ? "replicas: 1" : "replicas: 1, persistence: { appendonly: false }";
}
