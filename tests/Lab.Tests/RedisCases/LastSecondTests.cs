using System.Diagnostics;
using System.Globalization;
using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>
/// Kind 2: after a power cut the last second of an append-only file may be missing, after a kill what was not written yet, and a dump has what its server had only where that saved
/// at its end; a host is up before its network, and what is missing is only with the replica.
/// </summary>
[Story("redis", 155)]
public sealed class LastSecondTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases => Pick("the replica has the end", "the replica has the end, of one command", "the replica has the end, daemons off", "the replica has the end, of which one command is torn",
        "both have all", "both have all, and the network is away for long", "both lose power, both have all", "both lose power, the replica has the end", "in order, the replica away", "killed, the replica away");

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Primary_UpBeforeItsReplicaIsSeen_LeavesItWhatOnlyItHas(string what) => await WithAsync("second", "replicas: 1", async g =>
    {
        await FillAsync(g, 500);
        // What was noted comes before what is lost.
        await Task.Delay(12_000, Stop);
        await FillAsync(g, 200);
        var (primary, replica) = (g[0], g[1]);
        if (what.Contains("daemons off", StringComparison.Ordinal)) await DaemonsAsync(g, "stop");
        if (what.EndsWith("replica away", StringComparison.Ordinal))
        {
            await g.Fleet.Lab.PartitionAsync(primary.Host, replica.Host, Stop);
            if (what.StartsWith("killed", StringComparison.Ordinal)) await KillAsync(primary);
            else await primary.Host.RebootAsync(Stop);
            if (what.StartsWith("killed", StringComparison.Ordinal)) await WaitsAsync(g, what, "the server did not end in order: the last writes may be missing");
            else await g.EventuallyAsync("it leads without its replica", TimeSpan.FromSeconds(15), () => Task.FromResult(g.Role(primary) == "master"), Stop);
            Assert.Empty(await MissingAsync(g));
            await g.Fleet.Lab.HealAsync(Stop);
            await GoesOnAsync(g, what);
            return;
        }
        await Task.WhenAll((what.StartsWith("both lose", StringComparison.Ordinal) ? g.Members : [primary]).Select(m => m.Host.PowerOffAsync(Stop)));
        await g.Fleet.Lab.PartitionAsync(primary.Host, replica.Host, Stop);
        if (what.Contains("has the end", StringComparison.Ordinal)) CutEnd(g.Seen(primary.Host, primary.DataDir), commands: what.EndsWith("one command", StringComparison.Ordinal) ? 1 : 8, torn: what.EndsWith("torn", StringComparison.Ordinal));
        await Task.WhenAll(g.Members.Select(m => m.Host.StartAsync(Stop)));
        await HeldThroughAsync(g, what + ", before its replica is seen", TimeSpan.FromSeconds(6));
        Assert.Null(g.InMemory(primary));
        if (!what.Contains("daemons off", StringComparison.Ordinal))
            await g.EventuallyAsync("describe says why it is down", TimeSpan.FromSeconds(15),
                async () => (await g.DescribeAsync(Stop)).Contains("its host went down under the server", StringComparison.Ordinal), Stop);
        if (what.EndsWith("for long", StringComparison.Ordinal)) Assert.Contains("unseen-data", await AskedAsync(g, TimeSpan.FromSeconds(90)), StringComparison.Ordinal);
        await g.Fleet.Lab.HealAsync(Stop);
        var healed = Stopwatch.StartNew();
        if (what.Contains("daemons off", StringComparison.Ordinal))
        {
            await HeldThroughAsync(g, what);
            await DaemonsAsync(g, "start");
            healed.Restart();
        }
        if (what == "both lose power, the replica has the end")
        {
            // A server that was started anew has no history to compare: it is asked, with what each side has.
            await HeldThroughAsync(g, what);
            Assert.NotEqual("ready", await EndAsync(g, TimeSpan.FromSeconds(90)));
            return;
        }
        await GoesOnAsync(g, what, healed);
    });

    public static TheoryData<string> Ends => Pick("killed after a dump", "killed on a full disk", "killed after a dump, daemons off", "ended without a save", "in order");

    /// <summary>The server ends alone, while the network is cut.</summary>
    [Theory]
    [MemberData(nameof(Ends))]
    public async Task Primary_ThatEndsWhileItsReplicaIsAway_LeavesItWhatOnlyItHas(string what) => await WithAsync("ends",
        what == "killed on a full disk" ? "replicas: 1" : "replicas: 1, persistence: { appendonly: false }", async g =>
    {
        var (primary, replica) = (g[0], g[1]);
        await FillAsync(g, 1000);
        if (what == "killed on a full disk")
        {
            await LimitAsync(primary);
            await g.EventuallyAsync("both are in sync again", TimeSpan.FromSeconds(60), () => Task.FromResult(g.Role(primary) == "master" && g.InSync(replica, primary)), Stop);
            while (g.Write(primary, 100, 2000).Count == 100) await Task.Delay(50, Stop); // What the disk refuses last is acknowledged.
            await Task.Delay(1500, Stop);
        }
        else
        {
            if (what.EndsWith("off", StringComparison.Ordinal) || what == "ended without a save") await DaemonsAsync(g, "stop");
            Assert.Equal("OK", g.Ask(primary, "SAVE"));
            await Task.Delay(1100, Stop);
            await FillAsync(g, 3000);
        }
        await g.Fleet.Lab.PartitionAsync(primary.Host, replica.Host, Stop);
        if (what.StartsWith("killed", StringComparison.Ordinal)) await KillAsync(primary);
        else if (what == "in order") await primary.Host.RebootAsync(Stop);
        else
        {
            g.Ask(primary, "SHUTDOWN", "NOSAVE", "NOW");
            await DaemonsAsync(g, "start");
        }
        if (what == "in order") await g.EventuallyAsync("it leads without its replica", TimeSpan.FromSeconds(15), () => Task.FromResult(g.Role(primary) == "master"), Stop);
        else await WaitsAsync(g, what, what.EndsWith("off", StringComparison.Ordinal) || what.Contains("full", StringComparison.Ordinal) ? "" : "the server did not end in order");
        await g.Fleet.Lab.HealAsync(Stop);
        if (what == "killed after a dump, daemons off")
        {
            await HeldThroughAsync(g, what, TimeSpan.FromSeconds(6));
            await DaemonsAsync(g, "start");
        }
        await GoesOnAsync(g, what);
    });

    /// <summary>It is down until its replica is seen, says why, and nothing is gone.</summary>
    private static async Task WaitsAsync(RedisGroup g, string what, string says)
    {
        await HeldThroughAsync(g, what + ", before its replica is seen", TimeSpan.FromSeconds(6));
        Assert.Null(g.InMemory(g[0]));
        if (says.Length > 0)
            await g.EventuallyAsync("describe says why it is down", TimeSpan.FromSeconds(30), async () => (await g.DescribeAsync(Stop)).Contains(says, StringComparison.Ordinal), Stop);
    }

    /// <summary>Once all see each other again: a member leads, unasked, and all have everything.</summary>
    private static async Task GoesOnAsync(RedisGroup g, string what, Stopwatch? healed = null)
    {
        healed ??= Stopwatch.StartNew();
        await g.EventuallyAsync("a member leads, and nobody had to sign", TimeSpan.FromSeconds(60),
            () => Task.FromResult(g.Members.Any(m => g.Role(m) == "master")), Stop);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what}: member {g.Members.First(m => g.Role(m) == "master").Ordinal} leads {healed.Elapsed.TotalSeconds:0.0} s after the network was there"));
        await HeldThroughAsync(g, what);
        await g.EventuallyAsync("Ready", TimeSpan.FromSeconds(60), () => g.ReadyAsync(Stop), Stop);
        Assert.Empty(await g.HeldAsync(Stop));
        Assert.Empty(await MissingAsync(g));
        foreach (var m in g.Members) Assert.Superset(g.Acked.ToHashSet(), g.InMemory(m)!.ToHashSet());
    }

    /// <summary>As a power cut does: the file ends before the last commands, or within the first of them.</summary>
    internal static void CutEnd(string dataDir, int commands, bool torn)
    {
        var part = Directory.GetFiles(dataDir + "/appendonlydir", "*.incr.aof").Single();
        var bytes = File.ReadAllBytes(part);
        var end = bytes.Length;
        for (var i = 0; i < commands; i++) end = bytes.AsSpan(0, end).LastIndexOf("*3\r\n"u8);
        Assert.True(end > 0);
        using var file = File.OpenWrite(part);
        file.SetLength(end + (torn ? 9 : 0));
    }
}
