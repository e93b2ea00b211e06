using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>
/// Kind 1, where nobody looks: with agentmetald dead a hand tells a primary to append no more, puts other data into it or old files beneath
/// it, and starts it again. What lies there is not what
/// the server had, and the start gate is all that stands between that and the replica.
/// </summary>
[Story("redis", 90)]
public sealed class ByHandTests(RedisFleet shared) : RedisCase(shared)
{
    private const string Away = ", the replica away";

    public static TheoryData<string> Cases => Pick("append-only off, ended without a save" + Away, "append-only off, 20 writes, saved at its end",
        "append-only made anew and off, saved at its end", "a stranger's data" + Away, "a save in the background, ended without one" + Away,
        "files of the running member put back" + Away, "always made everysec, power cut" + Away);

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task Primary_WhoseFilesAreNotWhatItHad_LeavesItsReplicaWhatThatHas(string what) => await WithAsync("byhand", what[..7] switch
    {
        "a save " => "replicas: 1, persistence: { appendonly: false }",
        "always " => "replicas: 1, persistence: { appendfsync: always }",
        _ => "replicas: 1",
    }, async g =>
    {
        var (primary, replica) = (g[0], g[1]);
        await FillAsync(g, 500);
        // What is noted comes before what a hand does.
        await Task.Delay(12_000, Stop);
        if (!what.StartsWith("files", StringComparison.Ordinal)) await DaemonsAsync(g, "stop");
        await HandAsync(g, primary, replica, what);
        if (what.EndsWith(Away, StringComparison.Ordinal)) await g.Fleet.Lab.PartitionAsync(primary.Host, replica.Host, Stop);
        await EndAsync(g, primary, what);
        await HeldThroughAsync(g, what + ", started", TimeSpan.FromSeconds(6));
        await g.Fleet.Lab.HealAsync(Stop);
        await HeldThroughAsync(g, what + ", healed", TimeSpan.FromSeconds(12));
        await DaemonsAsync(g, "start");
        await HeldThroughAsync(g, what);
        await EndAsync(g, TimeSpan.FromSeconds(90));
        Assert.Empty(await MissingAsync(g));
    });

    private static async Task HandAsync(RedisGroup g, RedisMember primary, RedisMember replica, string what)
    {
        switch (what[..7])
        {
            case "append-":
                if (what.Contains("anew", StringComparison.Ordinal))
                {
                    g.Ask(primary, "BGREWRITEAOF");
                    await Task.Delay(500, Stop);
                    await g.EventuallyAsync("it is made anew", TimeSpan.FromSeconds(30),
                        () => Task.FromResult(g.Info(primary, "aof_rewrite_in_progress") == "0" && g.Info(primary, "aof_rewrite_scheduled") == "0"), Stop);
                }
                Assert.Equal("OK", g.Ask(primary, "CONFIG", "SET", "appendonly", "no"));
                await FillAsync(g, what.Contains("20", StringComparison.Ordinal) ? 20 : 3000);
                break;
            case "a stran":
                var stranger = await ForeignAsync(g, g.Fleet.Lab.Hosts.First(h => g.Members.All(m => m.Host != h)), 6391, 2000);
                await g.Fleet.Lab.PartitionAsync(primary.Host, replica.Host, Stop);
                Replicaof(g, primary, stranger);
                await g.EventuallyAsync("it has the stranger's data", TimeSpan.FromSeconds(30), () => Task.FromResult(g.Info(primary, "master_link_status") == "up"), Stop);
                Replicaof(g, primary, "NO ONE");
                break;
            case "a save ":
                // It holds what was there when it began.
                Assert.Equal("OK", g.Ask(primary, "CONFIG", "SET", "rdb-key-save-delay", "8000"));
                g.Ask(primary, "BGSAVE");
                await FillAsync(g, 2000);
                break;
            case "files o":
                await primary.Host.ShellAsync($"mkdir -p /root/kept; cp -a {primary.DataDir} /root/kept/data; cp -a /var/lib/agentmetal/notes /root/kept/notes", Stop);
                await FillAsync(g, 3000);
                break;
            default:
                Assert.Equal("OK", g.Ask(primary, "CONFIG", "SET", "appendfsync", "everysec"));
                await FillAsync(g, 200);
                break;
        }
    }

    private static async Task EndAsync(RedisGroup g, RedisMember primary, string what)
    {
        switch (what[..7])
        {
            case "a stran":
                await primary.Host.ShellAsync("systemctl stop " + primary.Unit, Stop);
                break;
            case "files o":
                await primary.Host.ShellAsync($"systemctl stop agentmetald; systemctl stop {primary.Unit}; rm -rf {primary.DataDir} /var/lib/agentmetal/notes; cp -a /root/kept/data {primary.DataDir}; cp -a /root/kept/notes /var/lib/agentmetal/notes; rm -r /root/kept", Stop);
                break;
            case "always ":
                await primary.Host.PowerOffAsync(Stop);
                LastSecondTests.CutEnd(g.Seen(primary.Host, primary.DataDir), commands: 100, torn: false);
                await primary.Host.StartAsync(Stop);
                return;
            case "a save ":
                await g.EventuallyAsync("the save in the background ended", TimeSpan.FromSeconds(60), () => Task.FromResult(g.Info(primary, "rdb_bgsave_in_progress") == "0"), Stop);
                g.Ask(primary, "SHUTDOWN", "NOSAVE", "NOW");
                break;
            default:
                g.Ask(primary, "SHUTDOWN", what.EndsWith("saved at its end", StringComparison.Ordinal) ? "SAVE" : "NOSAVE", "NOW");
                break;
        }
        await Task.Delay(1500, Stop);
        await primary.Host.ShellAsync($"systemctl start {primary.Unit} || true", Stop);
    }
}
