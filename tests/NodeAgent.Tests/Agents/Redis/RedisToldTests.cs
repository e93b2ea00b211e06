using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What people are told of a member beside its plan.</summary>
public sealed class RedisToldTests
{
    private static RedisState Live(int ordinal = 0) => Converged(Input(ordinal), Goal(Input(ordinal)));

    private static RedisInfo Info(string text) => RedisInfo.Of([new RespReply(RespKind.Bulk, text.ReplaceLineEndings("\r\n"), 0, [])]);

    [Fact]
    public void Plan_HungWhileItsUnitStops_IsNotKilled()
    {
        var plan = Plan(Input(1), Live(1).Down() with { Serving = Serving.Hung, UnitActive = "deactivating" });
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "restart");
        Assert.Equal(Outcome.Waiting, plan.Outcome);
    }

    [Fact]
    public void Differences_EveryWriteRefusedForMemory_IsNotConvergedAndSaysHowFull()
    {
        var full = Live() with { MemoryFull = "1 GiB used of maxmemory 1 GiB" };
        var difference = Assert.Single(RedisDifferences.Of(Goal(Input()), full));
        Assert.Contains("writes are refused (OOM): 1 GiB used of maxmemory 1 GiB", difference.Text, StringComparison.Ordinal);
        Assert.Equal(new MemberServing(false, RedisDifferences.NoWrites(full)), RedisTold.Serving(Goal(Input()), full));
        Assert.True(RedisTold.Serving(Goal(Input()), Live())!.Serves);
    }

    [Theory]
    [InlineData("noeviction", 1048577, 0, "master", true)]
    [InlineData("noeviction", 1048577, 100, "master", false)] // Buffers of replicas do not count.
    [InlineData("allkeys-lru", 2000000, 0, "master", false)]
    [InlineData("noeviction", 2000000, 0, "slave", false)]
    [InlineData("noeviction", 1000000, 0, "master", true, 3)] // It has refused some, and only the buffers of who wrote them are free again.
    [InlineData("noeviction", 700000, 0, "master", false, 3)]
    [InlineData("noeviction", 1000000, 0, "master", false)]
    public void MemoryFull_AsTheServerJudgesIt(string policy, long used, long notCounted, string role, bool full, int refused = 0) =>
        Assert.Equal(full, Info($"role:{role}\nmaxmemory:1048576\nmaxmemory_policy:{policy}\nused_memory:{used}\nmem_not_counted_for_evict:{notCounted}{(refused > 0 ? $"\nerrorstat_OOM:count={refused}" : "")}").MemoryFull is not null);

    [Fact]
    public void Summary_CountsTheReplicasThatTheServerItselfCallsOnline()
    {
        var info = Info("role:master\nslave0:ip=10.0.0.2,port=6379,state=online,offset=5,lag=0\nslave1:ip=10.0.0.3,port=6379,state=wait_bgsave,offset=0,lag=0\nslave_expires_tracked_keys:0");
        Assert.Equal(["10.0.0.2:6379"], info.Online);
        Assert.Equal("primary, 1 of 2 replicas in sync", new RedisAgent(Scope(Input())).Summary(Goal(Input()), Live() with { Online = 1 }));
    }

    [Fact]
    public void Silent_PrimaryThatSendsNothing_IsSeenBeforeTheServerGivesUp() => Assert.Equal((0, 21),
        (Info("role:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:9").Silent, Info("role:slave\nmaster_link_status:up\nmaster_last_io_seconds_ago:21").Silent));

    [Fact]
    public void Words_RoleAndSettings_NameWhatPeopleKnow()
    {
        var input = Input(1);
        var member = input.Peers.First(p => p.Ordinal == 0);
        Assert.Contains($"it was replica of member 0 and is replica of 192.0.2.9:6379, which is no member", RedisTold.Words(input, "role", $"follows:{member.Address}:{member.Port}", "follows:192.0.2.9:6379"), StringComparison.Ordinal);
        Assert.Equal("maxmemory was set to 1 GiB by hand or by another program (it was 256 MiB)", RedisTold.Words(input, "maxmemory", "268435456", "1073741824"));
        Assert.Equal("redis.conf was changed by hand or by another program", RedisTold.Words(input, "redis.conf", "aa", "bb"));
        Assert.Contains("is gone", RedisTold.Words(input, "the data directory", "ok", FactValue.Absent), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("123:M 01 Dec 2026 00:00:00.000 # !!! Truncating the AOF appendonly.aof.1.incr.aof at offset 4711 !!!", "the end of its append-only file was cut off at byte 4711: what was behind it is lost")]
    [InlineData("1:M # Bad file format reading the append only file: make a backup", "its append-only file is damaged, and it does not start with it")]
    [InlineData("1:M * Ready to accept connections", null)]
    public void LogWords_OfAStart_AreOursAndTellWhatWasLost(string line, string? words) => Assert.Equal(words, RedisTold.LogWords(line));

    [Fact]
    public void Watched_ServerThatDoesNotAnswer_LeavesOutWhatCannotBeSeen()
    {
        var down = RedisTold.Watched(Goal(Input()), Live().Down());
        Assert.DoesNotContain("role", down.Keys);
        Assert.Contains("redis.conf", down.Keys);
        Assert.Contains("maxmemory", RedisTold.Watched(Goal(Input()), Live()).Keys);
    }
}
