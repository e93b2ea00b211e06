using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Host.Systemd;

public sealed class UnitTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("redis-server.service", "/org/freedesktop/systemd1/unit/redis_2dserver_2eservice")]
    [InlineData("9p@a\\x2d.mount", "/org/freedesktop/systemd1/unit/_39p_40a_5cx2d_2emount")]
    public void UnitPath_AnyName_IsEscapedAsSystemdDoes(string name, string path) => Assert.Equal(path, SystemdLink.UnitPath(name));

    [Theory]
    [InlineData("")]
    [InlineData("redis")]
    [InlineData(".service")]
    [InlineData("a'b.service")]
    [InlineData("../a.service")]
    [InlineData("a b.service")]
    public void UnitName_NotAUnitName_IsRefusedByName(string name)
    {
        var error = Assert.Throws<ArgumentException>(() => UnitName.Require(name));
        Assert.Contains($"\"{name}\"", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("done", UnitResult.Done)]
    [InlineData("failed", UnitResult.Failed)]
    [InlineData("timeout", UnitResult.Timeout)]
    [InlineData("canceled", UnitResult.Canceled)]
    [InlineData("dependency", UnitResult.Dependency)]
    [InlineData("skipped", UnitResult.Skipped)]
    [InlineData("invented-later", UnitResult.Failed)]
    public void JobResult_EveryWord_HasAResult(string word, object result) => Assert.Equal((UnitResult)result, UnitWriter.ResultOf(word));

    [Fact]
    public async Task GetUnit_BusWithoutSystemd_IsUnseenAndNotAbsent()
    {
        using var bus = new PrivateBus();
        bus.Start();
        await using var link = new SystemdLink(bus.Options, TimeProvider.System);
        var seen = await new UnitReader(link).GetUnitAsync("redis.service", Ct);
        Assert.False(seen.IsSeen);
        Assert.Contains("redis.service", seen.WhyUnseen!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Start_NoBus_IsUnseen()
    {
        using var bus = new PrivateBus();
        await using var link = new SystemdLink(bus.Options, TimeProvider.System);
        var outcome = await new UnitWriter(link).StartAsync("redis.service", TimeSpan.FromMilliseconds(50), Ct);
        Assert.Equal(UnitResult.Unseen, outcome.Result);
    }

    [Fact]
    public async Task Watch_NoBus_SaysUnseenFirst()
    {
        using var bus = new PrivateBus();
        await using var link = new SystemdLink(bus.Options, TimeProvider.System);
        await foreach (var signal in new UnitReader(link).WatchAsync(["redis.service"], Ct))
        {
            Assert.Equal(UnitSignalKind.Unseen, signal.Kind);
            break;
        }
    }

    [Fact]
    public async Task SignalBox_SlowReader_KeepsOnePerUnitAndKindTheLatest()
    {
        var box = new SignalBox();
        for (var i = 0; i < 1000; i++)
        {
            box.Put(new UnitSignal { Kind = UnitSignalKind.Changed, Unit = "a.service" });
            box.Put(new UnitSignal { Kind = UnitSignalKind.JobRemoved, Unit = "a.service", JobResult = i == 999 ? "done" : "failed" });
            box.Put(new UnitSignal { Kind = UnitSignalKind.Changed, Unit = "b.service" });
        }

        var taken = await box.TakeAsync(Ct);
        Assert.Equal(3, taken.Count);
        Assert.Equal("done", taken[1].JobResult);
    }

    [Fact]
    public async Task SignalBox_BusLost_ForgetsWhatWasSeenBefore()
    {
        var box = new SignalBox();
        box.Put(new UnitSignal { Kind = UnitSignalKind.Changed, Unit = "a.service" });
        box.Put(new UnitSignal { Kind = UnitSignalKind.Unseen });
        Assert.Equal(UnitSignalKind.Unseen, Assert.Single(await box.TakeAsync(Ct)).Kind);
    }
}
