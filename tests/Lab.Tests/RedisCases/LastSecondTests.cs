using System.Diagnostics;
using System.Globalization;
using AgentMetal.LabTests.Adversary;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 2 with an append-only file: after a power cut its last second may be missing, a host is up before its network, and what is missing is only with the
/// replica.</summary>
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
            await g.EventuallyAsync("it leads without its replica", TimeSpan.FromSeconds(15), () => Task.FromResult(g.Role(primary) == "master"), Stop);
            Assert.Empty(await MissingAsync(g));
            await g.Fleet.Lab.HealAsync(Stop);
            await HeldThroughAsync(g, what);
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
        await g.EventuallyAsync("a member leads, and nobody had to sign", TimeSpan.FromSeconds(60),
            () => Task.FromResult(g.Members.Any(m => g.Role(m) == "master")), Stop);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what}: member {g.Members.First(m => g.Role(m) == "master").Ordinal} leads {healed.Elapsed.TotalSeconds:0.0} s after the network was there"));
        await HeldThroughAsync(g, what);
        await g.EventuallyAsync("Ready", TimeSpan.FromSeconds(60), () => g.ReadyAsync(Stop), Stop);
        Assert.Empty(await g.HeldAsync(Stop));
        Assert.Empty(await MissingAsync(g));
        foreach (var m in g.Members) Assert.Superset(g.Acked.ToHashSet(), g.InMemory(m)!.ToHashSet());
    });

    /// <summary>As a power cut does: the file ends before the last commands, or within the first of them.</summary>
    private static void CutEnd(string dataDir, int commands, bool torn)
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
