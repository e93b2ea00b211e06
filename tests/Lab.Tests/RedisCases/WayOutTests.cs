using AgentMetal.LabTests.Adversary;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 6: every wait for another host or a broken file has a step that goes on without it, signed, saying what may be
/// lost.</summary>
[Story("redis", 40)]
public sealed class WayOutTests(RedisFleet shared) : RedisCase(shared)
{
    private const string Damage =
        """
        systemctl kill -s STOP --kill-whom=main $1
        f=$(ls $2/appendonlydir/*.incr.aof | tail -1)
        dd if=/dev/urandom of=$f bs=1 count=600 seek=$(( $(stat -c %s $f) - 600 )) conv=notrunc 2>/dev/null
        systemctl kill -s KILL --kill-whom=main $1
        """;

    public static TheoryData<string> Cases =>
        Pick("damaged file of the only member", "damaged file of the replica", "damaged file of the primary",
        "append-only directory deleted", "databases, in memory only",
        "host of the primary is gone", "host of the primary is cut off and written to",
        "host of the primary is cut off, another is signed for");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task Wait_ForWhatMayNeverCome_HasASignedWayOut(string what) => what switch
    {
        "damaged file of the only member" => OnlyMember(),
        "damaged file of the replica" => Replica(),
        "damaged file of the primary" => Primary(),
        "append-only directory deleted" => Deleted(),
        "databases, in memory only" => HandOver(),
        "host of the primary is gone" => HostGone(),
        "host of the primary is cut off and written to" => CutOff(),
        "host of the primary is cut off, another is signed for" => CutOffAndSigned(),
        _ => throw new ArgumentOutOfRangeException(nameof(what), what, null),
    };

    private static Task DamageAsync(RedisMember m) => m.Host.ShellAsync(Damage, Stop, m.Unit, m.DataDir);

    private Task OnlyMember() => WithAsync("out", "replicas: 0", async g =>
    {
        Assert.Equal(2000, g.Write(g[0], 2000).Count);
        await DamageAsync(g[0]);
        var asked = await AskedAsync(g, TimeSpan.FromSeconds(60));
        Assert.Contains("aof", asked, StringComparison.OrdinalIgnoreCase);
        await SignAllAsync(g, TimeSpan.FromSeconds(90));
        // 600 bytes were of some ten writes; all before them are there, and the bad file is kept.
        Assert.InRange(g.InMemory(g[0])!.Count, 1900, 2000);
        Assert.NotEqual("", await g[0].Host.ShellAsync("ls /var/lib/agentmetal/backups 2>/dev/null || true", Stop));
    });

    private Task Replica() => WithAsync("out", "replicas: 1", async g =>
    {
        await FillAsync(g, 2000);
        await DamageAsync(g[1]);
        await SignAllAsync(g, TimeSpan.FromSeconds(90));
        await g.EventuallyAsync("the replica is rebuilt", TimeSpan.FromSeconds(30),
            () => Task.FromResult(g.InMemory(g[1])?.Count == 2000), Stop);
        Assert.Empty(await MissingAsync(g));
    });

    private Task Primary() => WithAsync("out", "replicas: 1", async g =>
    {
        // As one that runs for a while: its host has noted the history that its replica is in.
        await g.EventuallyAsync("the primary sees its replica", TimeSpan.FromSeconds(30),
            async () => (await g.DescribeAsync(Stop)).Contains("1 of 1 replicas in sync", StringComparison.Ordinal), Stop);
        await FillAsync(g, 2000);
        await DamageAsync(g[0]);
        // Its replica has all of it: that may go on unasked, or be asked.
        await EndAsync(g, TimeSpan.FromSeconds(60));
        await SignAllAsync(g, TimeSpan.FromSeconds(120));
        await g.EventuallyAsync("both have all", TimeSpan.FromSeconds(30),
            () => Task.FromResult(g.Members.All(m => g.InMemory(m)?.Count == 2000)), Stop);
        Assert.Empty(await MissingAsync(g));
        Assert.All(g.Members, m => Assert.Equal(2000, g.InMemory(m)?.Count));
    });

    private Task Deleted() => WithAsync("out", "replicas: 1", async g =>
    {
        await FillAsync(g, 1000);
        Assert.Equal("OK", g.Ask(g[1], "SAVE"));
        await FillAsync(g, 1000);
        await DamageAsync(g[1]);
        // Until systemd and we have given it up, as it is when a person comes to look.
        await Task.Delay(TimeSpan.FromSeconds(25), Stop);
        await g[1].Host.ShellAsync($"rm -r {g[1].DataDir}/appendonlydir", Stop);
        await SignAllAsync(g, TimeSpan.FromSeconds(90));
        await g.EventuallyAsync("the replica has all again", TimeSpan.FromSeconds(30),
            () => Task.FromResult(g.InMemory(g[1])?.Count == 2000), Stop);
        Assert.Empty(await MissingAsync(g));
    });

    private Task HandOver() => WithAsync("out", "replicas: 1, primary: 1, persistence: { appendonly: false, save: [] }", async g =>
    {
        await FillAsync(g, 2000);
        var applied = await g.ApplyAsync("replicas: 1, primary: 1, persistence: { appendonly: false, save: [] }, databases: 32", Stop,
            "--timeout", "100s");
        Assert.Empty(await MissingAsync(g));
        Assert.True(applied.Succeeded || (await g.DescribeAsync(Stop)).Contains("spec.primary: 0", StringComparison.Ordinal),
            applied.Stdout + applied.Stderr + await g.DescribeAsync(Stop));
        if (applied.Succeeded) Assert.All(g.Members, m => Assert.Equal("databases 32", g.Ask(m, "CONFIG", "GET", "databases")));
    });

    private Task HostGone() => WithAsync("out", "replicas: 1, persistence: { appendfsync: always }", async g =>
    {
        await FillAsync(g, 2000);
        await g[0].Host.PowerOffAsync(Stop);
        await g.EventuallyAsync("the signed way on is shown with its command", TimeSpan.FromSeconds(90), async () =>
            (await g.DescribeAsync(Stop)).Contains("agentmetal approve", StringComparison.Ordinal) && (await g.HeldAsync(Stop)).Count > 0,
                Stop);
        await g.SignAsync("its host burned", Stop);
        await g.EventuallyAsync("member 1 takes writes", TimeSpan.FromSeconds(60), () => Task.FromResult(g.Role(g[1]) == "master"), Stop);
        Assert.Equal(100, g.Write(g[1], 100).Count);
        Assert.Empty(await MissingAsync(g));
        await g[0].Host.StartAsync(Stop);
        // The old primary comes back as what it is: it has less, and takes no writes beside the new one; it may be primary again once it has all.
        await HeldThroughAsync(g, "the old primary is back");
        Assert.Single(g.Members, m => g.Role(m) == "master");
    });

    /// <summary>Who cannot be seen may be taking writes: it is asked, not done, and nothing is left of it once it is seen again.</summary>
    private Task CutOff() => WithAsync("out", "replicas: 1", async g =>
    {
        await IsolatedAsync(g);
        // Longer than the server's own time-out of its link.
        for (var until = DateTime.UtcNow + TimeSpan.FromSeconds(40); DateTime.UtcNow < until; await Task.Delay(1000, Stop))
        {
            Assert.Equal("slave", g.Role(g[1]));
            Assert.Equal(20, g.Write(g[0], 20).Count);
        }
        await HeldThroughAsync(g, "cut off and unsigned", TimeSpan.FromSeconds(3));
        await g.Fleet.Lab.HealAsync(Stop);
        await g.EventuallyAsync("Ready, with nothing to sign", TimeSpan.FromSeconds(120),
            async () => await g.ReadyAsync(Stop) && (await g.HeldAsync(Stop)).Count == 0, Stop);
        await HeldThroughAsync(g, "healed");
        Assert.Equal(("master", "slave"), (g.Role(g[0]), g.Role(g[1])));
        Assert.All(g.Members, m => Assert.Equal(g.Acked.Count, g.InMemory(m)?.Count));
    });

    /// <summary>Each side has what the other has not: that waits for a signature of its own, which names the figure and leaves a
    /// copy.</summary>
    private Task CutOffAndSigned() => WithAsync("out", "replicas: 1", async g =>
    {
        await IsolatedAsync(g);
        Assert.NotEqual("", await g.SignAsync("its host does not come back", Stop));
        await g.EventuallyAsync("member 1 takes writes", TimeSpan.FromSeconds(60), () => Task.FromResult(g.Role(g[1]) == "master"), Stop);
        Assert.Equal(700, g.Write(g[1], 700).Count);
        Assert.Equal(500, g.Write(g[0], 500).Count);
        await HeldThroughAsync(g, "a primary on each side", TimeSpan.FromSeconds(5));
        await g.Fleet.Lab.HealAsync(Stop);
        var asked = await AskedAsync(g, TimeSpan.FromSeconds(90));
        await HeldThroughAsync(g, "healed and unsigned");
        Assert.All(g.Members, m => Assert.Equal("master", g.Role(m)));
        Assert.False(await g.ReadyAsync(Stop), "two primaries that take writes are not Ready");
        Assert.InRange(KeysSaid(asked) ?? -1, 700, 10_000);
        await SignAllAsync(g, TimeSpan.FromSeconds(90));
        var kept = g.Members.First(m => g.Role(m) == "master");
        var other = g.Members.First(m => m != kept);
        await g.EventuallyAsync("one primary", TimeSpan.FromSeconds(30), () => Task.FromResult(g.InSync(other, kept)), Stop);
        Assert.InRange((await MissingAsync(g)).Count, 1, (int)KeysSaid(asked)!.Value);
        Assert.Empty(g.Acked.Except(g.InMemory(kept)!).Except(await CopiesAsync(g, other)));
    });

    /// <summary>The primary's host reaches nobody, its own clients write on, and the other host asks for the way on.</summary>
    private static async Task IsolatedAsync(RedisGroup g)
    {
        await FillAsync(g, 2000);
        await g.Fleet.Lab.IsolateAsync(g[0].Host, Stop);
        Assert.Equal(1000, g.Write(g[0], 1000).Count);
        await g.EventuallyAsync("the way on is asked, with its command", TimeSpan.FromSeconds(120), async () =>
        {
            Assert.Equal("slave", g.Role(g[1]));
            return (await g.HeldAsync(Stop)).Count > 0
                && (await g.DescribeAsync(Stop)).Contains("agentmetal approve", StringComparison.Ordinal);
        }, Stop);
        Assert.Equal(500, g.Write(g[0], 500).Count);
    }
}
