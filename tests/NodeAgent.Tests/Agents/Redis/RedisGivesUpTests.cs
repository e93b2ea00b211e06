using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host.Files;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What a crash may cost is said before anything is made and beside it, from what is so.</summary>
public sealed class RedisGivesUpTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-gives-up-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Theory]
    [InlineData("""{"persistence":{"appendfsync":"always"}}""", "nothing that was acknowledged goes")]
    [InlineData("{}", "up to one second of writes goes, two while its disk is slow")]
    [InlineData("""{"persistence":{"appendfsync":"no"}}""", "commonly the last 30 seconds")]
    [InlineData("""{"persistence":{"appendonly":false,"save":[{"seconds":5,"changes":1},{"seconds":3600,"changes":20}]}}""", "all since the last good save goes; it saves after 5 s with 1 change, 3600 s with 20 changes")]
    [InlineData("""{"persistence":{"appendonly":false,"save":[]}}""", "all is in memory only: everything goes when it dies")]
    public void Plan_SaysWhatIsDeclared(string spec, string said)
    {
        var input = Input(members: 1, spec: spec);
        Assert.Contains(said, Assert.Single(Member.PlanNotesOf(Goal(input), Nothing(input))), StringComparison.Ordinal);
        Assert.Empty(Member.PlanNotesOf(Goal(Input(1)), Nothing(Input(1)))); // Once of a resource.
    }

    [Theory]
    [InlineData("200Mi", "256Mi", true)]
    [InlineData("100Mi", "256Mi", false)]
    public void Plan_LimitWithoutRoomForASave_IsSaid(string max, string limit, bool said)
    {
        var input = Input(members: 1, spec: $$$"""{"memory":{"max":"{{{max}}}"},"limits":{"memory":"{{{limit}}}"}}""");
        Assert.Equal(said, Member.PlanNotesOf(Goal(input), Nothing(input)).Any(n => n.Contains("leaves less than as much again", StringComparison.Ordinal)));
    }

    [Fact]
    public void Details_AppendOnlySwitchedOffByHand_SaysWhatIsSo()
    {
        var state = Converged(Input(members: 1), Goal(Input(members: 1)));
        Assert.Equal("up to one second of writes goes, two while its disk is slow", RedisGivesUp.Of(Goal(Input(members: 1)), state)[RedisGivesUp.Detail]);
        var off = RedisGivesUp.Of(Goal(Input(members: 1)), state with { Live = state.Live.SetItem("appendonly", "no") });
        Assert.StartsWith("all since the last good save goes", off[RedisGivesUp.Detail], StringComparison.Ordinal);
        Assert.Equal("at most 10 keys: nothing was saved yet", off[RedisGivesUp.Unsaved]);
        var unwritten = RedisGivesUp.Of(Goal(Input(members: 1)), state with { Own = state.Own! with { Appending = false } });
        Assert.StartsWith("its append-only file is not written now", unwritten[RedisGivesUp.Detail], StringComparison.Ordinal);
        var gone = RedisGivesUp.Of(Goal(Input(members: 1)), state with { Disk = RedisDisk.Nothing });
        Assert.Equal("its append-only file is gone from its disk: everything goes", gone[RedisGivesUp.Detail]);
    }

    [Theory]
    [InlineData(0, false, "nothing: no change since the last good save, of 2023-11-14 21:56 UTC")]
    [InlineData(2_345, false, "at most 2,400 changes since the last good save, of 2023-11-14 21:56 UTC")]
    [InlineData(2_345, true, "at most 10 keys: nothing was saved yet")] // The dump that lies there is damaged.
    public void Details_Snapshots_SayHowMuchIsOnNoDisk(long changes, bool damaged, string said)
    {
        var input = Input(spec: """{"replicas":2,"persistence":{"appendonly":false}}""");
        var state = Converged(input, Goal(input));
        state = state with { Own = state.Own! with { Changes = changes }, Disk = damaged ? state.Disk with { Dump = state.Disk.Dump! with { Damage = "x" } } : state.Disk };
        var told = RedisGivesUp.Of(Goal(input), state);
        Assert.Equal(said, told[RedisGivesUp.Unsaved]);
        Assert.Contains("unless a replica that was sent it lives", told[RedisGivesUp.Detail], StringComparison.Ordinal);
        Assert.Empty(RedisGivesUp.Of(Goal(Input(1)), Converged(Input(1), Goal(Input(1))))); // A replica has it again from its primary.
    }

    [Fact]
    public async Task Numbers_BetweenTwoPasses_AreTheNotes()
    {
        var roots = new RedisRoots { Lib = _root };
        var input = Input(spec: """{"replicas":2,"persistence":{"appendonly":false}}""");
        var path = RedisLayout.Of("default", "sessions", 0, roots).Notes;
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var notes = Converged(input, Goal(input)).Notes!;
        await File.WriteAllBytesAsync(path, (notes with { Own = notes.Own! with { Changes = 77 } }).Render(), TestContext.Current.CancellationToken);
        var read = await new RedisDetails(new FileReader(), roots).ReadAsync([input, Input(1)], TestContext.Current.CancellationToken);
        Assert.StartsWith("at most 77 changes", Assert.Single(read).Value[RedisGivesUp.Unsaved], StringComparison.Ordinal);

        // Of a replica: what it holds, for who decides which of two goes.
        await File.WriteAllBytesAsync(path, (notes with { Own = notes.Own! with { Keys = 1234, Role = RedisRole.Follows("10.0.0.2:6379") } }).Render(), TestContext.Current.CancellationToken);
        read = await new RedisDetails(new FileReader(), roots).ReadAsync([input], TestContext.Current.CancellationToken);
        Assert.Equal([("holds", "at most 1,300 keys")], Assert.Single(read).Value.Select(d => (d.Key, d.Value)));
    }
}
