using AgentMetal.LabTests.Adversary;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 6: every wait for another host or a broken file has a step that goes on without it, signed, saying what may be
/// lost.</summary>
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
        "host of the primary is gone");

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
}
