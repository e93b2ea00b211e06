using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 7: what happens outside a step is an event, and a line in describe: deaths that systemd repaired, kills by the kernel,
/// hands, a cut tail; who refuses writes is not Ready.</summary>
[Story("redis", 40)]
public sealed class ToldTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("a death that systemd repaired", "roles swapped by hand", "maxmemory reached", "tail of the append-only file cut off",
        "full disk", "killed by the kernel",
        "what memory only gives up", "what snapshots give up", "what everysec gives up", "what snapshots give up is what goes",
        "the gate held, daemon off",
        "a setting that another tool sets again and again");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task Happening_OutsideAStep_IsTold(string what) => what switch
    {
        "a death that systemd repaired" => Death(),
        "roles swapped by hand" => Swapped(),
        "maxmemory reached" => NoMemory(),
        "tail of the append-only file cut off" => CutTail(),
        "full disk" => FullDisk(),
        "killed by the kernel" => KilledByKernel(),
        "what memory only gives up" => GivesUp("memory", "in memory only", "only in memory", "memory only"),
        "what snapshots give up" =>
            GivesUp("snapshots", "since the last save", "last good save", "last snapshot", "since the last snapshot"),
        "what everysec gives up" =>
            GivesUp("everysec", "last second", "one second", "a second", "two seconds", "last 2 s", "1 s of writes", "last two seconds"),
        "what snapshots give up is what goes" => Measured(),
        "the gate held, daemon off" => Held(),
        "a setting that another tool sets again and again" => SetAgain(),
        _ => throw new ArgumentOutOfRangeException(nameof(what), what, null),
    };

    private Task Death() => WithAsync("told", "replicas: 0", async g =>
    {
        g.Write(g[0], 500);
        await KillAsync(g[0]);
        await g.EventuallyAsync("an event tells of it", TimeSpan.FromSeconds(40),
            async () => Told(await g.EventsAsync(Stop), "died", "killed", "signal", "ended"), Stop);
        await g.EventuallyAsync("it is up again", TimeSpan.FromSeconds(40), () => Task.FromResult(g.Role(g[0]).Length > 0), Stop);
        await KillAsync(g[0]);
        await g.EventuallyAsync("describe counts them", TimeSpan.FromSeconds(40), async () => await g.DescribeAsync(Stop) is var d
            && d.Contains('2') && Told(d, "2 times", "2 deaths", "restarted 2", "died 2", "twice", "2 restarts", "2 kills"), Stop);
        Assert.Empty(await MissingAsync(g));
    });

    private Task Swapped() => WithAsync("told", "replicas: 1", async g =>
    {
        await FillAsync(g, 500);
        Replicaof(g, g[1], "NO ONE");
        Replicaof(g, g[0], g[1].Address);
        await g.EventuallyAsync("an event says that a hand changed a role", TimeSpan.FromSeconds(40),
            async () => Told(await g.EventsAsync(Stop), "by hand", "a hand or another program"), Stop);
        await HeldThroughAsync(g, "roles swapped", TimeSpan.FromSeconds(10));
    });

    private Task NoMemory() => WithAsync("told", "replicas: 0, memory: { max: 4Mi, policy: noeviction }", async g =>
    {
        g.Write(g[0], 400, 16_000);
        Assert.StartsWith("OOM", g.Ask(g[0], "SET", "more", new string('x', 100_000)), StringComparison.Ordinal);
        await g.EventuallyAsync("who refuses every write is not Ready", TimeSpan.FromSeconds(40), async () => !await g.ReadyAsync(Stop),
            Stop);
        Assert.True(Told(await g.DescribeAsync(Stop), "memory", "maxmemory"));
        Assert.Empty(await MissingAsync(g));
    });

    private Task CutTail() => WithAsync("told", "replicas: 0", async g =>
    {
        g.Write(g[0], 500);
        await g[0].Host.ShellAsync("systemctl kill -s STOP --kill-whom=main $1; f=$(ls $2/appendonlydir/*.incr.aof | tail -1); truncate -s -300 $f; systemctl kill -s KILL --kill-whom=main $1", Stop, g[0].Unit, g[0].DataDir);
        await g.EventuallyAsync("the cut is told", TimeSpan.FromSeconds(60), async () => await g.EventsAsync(Stop)
            + await g.DescribeAsync(Stop) is var d && Told(d, "cut", "truncated", "tail", "incomplete"), Stop);
        Assert.InRange((await MissingAsync(g)).Count, 0, 20);
    });

    private Task FullDisk() =>
        WithAsync("told", "replicas: 0, persistence: { appendonly: false, save: [{ seconds: 2, changes: 1 }] }", async g =>
    {
        await LimitAsync(g[0]);
        g.Write(g[0], 300);
        await g[0].Host.FillAsync(g[0].DataDir, Stop);
        g.Write(g[0], 300);
        await g.EventuallyAsync("a full disk is told with its path, and it is not Ready", TimeSpan.FromSeconds(60), async () =>
        {
            try { g.Write(g[0], 1); }
            catch (Exception e) when (e is IOException or RespException) { return false; }
            var said = await g.DescribeAsync(Stop);
            return !await g.ReadyAsync(Stop) && said.Contains("/var/lib/agentmetal", StringComparison.Ordinal) && Told(said, "free");
        }, Stop);
        await g[0].Host.FreeAsync(g[0].DataDir, Stop);
        await g.EventuallyAsync("Ready again", TimeSpan.FromSeconds(60), () => g.ReadyAsync(Stop), Stop);
        Assert.Empty(await MissingAsync(g));
    });

    private Task KilledByKernel() =>
        WithAsync("told", "replicas: 1, memory: { max: 200Mi }, limits: { memory: 300Mi }, persistence: { appendonly: false }", async g =>
    {
        await FillAsync(g, 1800, 91_000);
        Assert.Equal("OK", g.Ask(g[0], "CONFIG", "SET", "rdb-key-save-delay", "5000"));
        g.Ask(g[0], "BGSAVE");
        var until = DateTime.UtcNow + TimeSpan.FromSeconds(40);
        var first = await g[0].Host.MainPidAsync(g[0].Unit, Stop);
        while (DateTime.UtcNow < until && await g[0].Host.MainPidAsync(g[0].Unit, Stop) == first)
        {
            // The copies of pages that a save needs are more than the limit leaves; in pieces, so that it is not the stream that fills the replica too.
            try
            {
                using var connection = g.Open(g[0]);
                foreach (var piece in g.Acked.Take(1800).Chunk(50))
                    connection.AskAll([.. piece.Select(k => (string[])["SET", k, RedisGroup.ValueOf(k) + new string('x', 91_000)])]);
            }
            catch (Exception e) when (e is IOException or RespException) { }
        }
        Assert.NotEqual(first, await g[0].Host.MainPidAsync(g[0].Unit, Stop));
        await g.EventuallyAsync("the kill is told with the limit", TimeSpan.FromSeconds(40), async () => await g.EventsAsync(Stop)
            + await g.DescribeAsync(Stop) is var d && Told(d, "memory limit", "limits.memory", "out of memory", "oom"), Stop);
        await HeldThroughAsync(g, "killed by the kernel");
    });

    /// <summary>What the declared persistence gives up in a death is said before anything is made, and afterwards.</summary>
    private async Task GivesUp(string persistence, params string[] words)
    {
        var spec = "replicas: 1, persistence: " + RedisShape.SpecOf(persistence);
        await WithAsync("told", spec, async g =>
        {
            var planned = await g.Fleet.CliAsync(g.Yaml(spec).Replace(g.Name, g.Name + "b", StringComparison.Ordinal)
                .Replace($"port: {g.Port}", $"port: {g.Port + 1000}", StringComparison.Ordinal), Stop, "plan", "-f", "-");
            Assert.True(Told(planned.Stdout + planned.Stderr, words), planned.Stdout + planned.Stderr);
            await g.EventuallyAsync("describe says it", TimeSpan.FromSeconds(40), async () => Told(await g.DescribeAsync(Stop), words), Stop);
        });
    }

    /// <summary>The figure that describe shows covers what a kill takes.</summary>
    private Task Measured() => WithAsync("told", "replicas: 0, persistence: { appendonly: false }", async g =>
    {
        g.Write(g[0], 100);
        Assert.Equal("OK", g.Ask(g[0], "SAVE"));
        g.Write(g[0], 730);
        await g.EventuallyAsync("describe says how much is on no disk", TimeSpan.FromSeconds(60),
            async () => Told(await g.DescribeAsync(Stop), "at most 730 changes since the last good save"), Stop);
        await KillAsync(g[0]);
        await g.EventuallyAsync("Ready again", TimeSpan.FromSeconds(60), () => g.ReadyAsync(Stop), Stop);
        Assert.InRange((await MissingAsync(g)).Count, 1, 730);
    });

    /// <summary>What the gate decided while nobody else was there is told once the daemon is back, once.</summary>
    private Task Held() => WithAsync("told", "replicas: 0", async g =>
    {
        Assert.Equal(300, g.Write(g[0], 300).Count);
        await Task.Delay(TimeSpan.FromSeconds(12), Stop); // It is noted.
        await DaemonsAsync(g, "stop");
        await g[0].Host.ShellAsync($"rm -rf {g[0].DataDir}", Stop);
        await KillAsync(g[0]);
        await Task.Delay(TimeSpan.FromSeconds(3), Stop);
        await DaemonsAsync(g, "start");
        await g.EventuallyAsync("the hold is an event with its cause and figure", TimeSpan.FromSeconds(40), async () =>
            await g.EventsAsync(Stop) is var d && Told(d, "GateHeld") && Told(d, "data-missing") && Told(d, "at most 300 keys"), Stop);
        Assert.False(await g.ReadyAsync(Stop));
        await DaemonsAsync(g, "restart");
        await Task.Delay(TimeSpan.FromSeconds(8), Stop);
        Assert.Single((await g.EventsAsync(Stop)).Split('\n'), l => l.Contains("GateHeld", StringComparison.Ordinal));
    });

    /// <summary>Another tool undoes every repair: that is said and left alone, what else is wrong is put right meanwhile, and once the tool
    /// stops the declared value is in force again.</summary>
    private Task SetAgain() => WithAsync("told", "replicas: 1, memory: { max: 64Mi, policy: noeviction }", async g =>
    {
        await FillAsync(g, 500);
        var pids = await Task.WhenAll(g.Members.Select(m => m.Host.MainPidAsync(m.Unit, Stop)));
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var tool = Task.Run(async () =>
        {
            while (!stopping.IsCancellationRequested)
            {
                Assert.Equal("OK", g.Ask(g[0], "CONFIG", "SET", "maxmemory", "1gb"));
                Assert.Equal(20, g.Write(g[0], 20).Count);
                await Task.Delay(TimeSpan.FromSeconds(10), stopping.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
            }
        }, Stop);
        try
        {
            await g.EventuallyAsync("it is said that it returns, of what, and how often", TimeSpan.FromMinutes(4), async () =>
                !tool.IsFaulted && await g.DescribeAsync(Stop) is var d && Told(d, "returns after every repair: put right 8 times")
                    && Told(d, "maxmemory"), Stop);
            Assert.False(await g.ReadyAsync(Stop), "a limit that is not as declared is not Ready");
            Assert.Empty(await g.HeldAsync(Stop));
            Assert.Equal("OK", g.Ask(g[0], "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"));
            await g.EventuallyAsync("what else is wrong is put right", TimeSpan.FromSeconds(40),
                () => Task.FromResult(g.Ask(g[0], "CONFIG", "GET", "maxmemory-policy") == "maxmemory-policy noeviction"), Stop);
            // Undamped, every look would put it right until the tool's next turn.
            for (var until = DateTime.UtcNow + TimeSpan.FromSeconds(30); DateTime.UtcNow < until; await Task.Delay(500, Stop))
                Assert.Equal("maxmemory 1073741824", g.Ask(g[0], "CONFIG", "GET", "maxmemory"));
            await HeldThroughAsync(g, "damped", TimeSpan.FromSeconds(3));
        }
        finally
        {
            await stopping.CancelAsync();
            await tool;
        }
        await g.EventuallyAsync("the declared limit is in force again", TimeSpan.FromMinutes(7), async () =>
            g.Ask(g[0], "CONFIG", "GET", "maxmemory") == "maxmemory 67108864" && await g.ReadyAsync(Stop), Stop);
        var now = (await g.DescribeAsync(Stop)).Split("\nEvents")[0]; // What was is an event of the past.
        Assert.False(Told(now, "returns after every repair"), now);
        Assert.Equal(pids, await Task.WhenAll(g.Members.Select(m => m.Host.MainPidAsync(m.Unit, Stop))));
        Assert.Empty(await MissingAsync(g));
        await g.EventuallyAsync("the replica has all", TimeSpan.FromSeconds(30), () => Task.FromResult(g.InSync(g[1], g[0])), Stop);
    });

    private static bool Told(string text, params string[] words) => words.Any(w => text.Contains(w, StringComparison.OrdinalIgnoreCase));
}
