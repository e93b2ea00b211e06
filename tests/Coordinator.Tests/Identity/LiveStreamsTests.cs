using AgentMetal.Coordinator.Identity;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Identity;

public sealed class LiveStreamsTests
{
    private static readonly DateTimeOffset s_now = DateTimeOffset.UnixEpoch;

    private readonly LiveStreams _streams = new();

    [Fact]
    public void Attach_FirstOrAfterDetach_IsServed()
    {
        Assert.Equal(StreamRuling.Serve, _streams.Attach("n", 1, "boot-a", s_now));
        _streams.Detach("n", 1);
        Assert.Equal(StreamRuling.Serve, _streams.Attach("n", 2, "boot-b", s_now));
    }

    [Fact]
    public void Attach_SameBootAgain_ReplacesTheOlder()
    {
        _streams.Attach("n", 1, "boot-a", s_now);
        Assert.Equal(StreamRuling.Replace, _streams.Attach("n", 2, "boot-a", s_now));
        Assert.Equal(StreamRuling.Serve, _streams.Heard("n", 2, s_now));
    }

    [Fact]
    public void Heard_OlderStreamAfterAnotherBootCame_QuarantinesBoth()
    {
        _streams.Attach("n", 1, "boot-a", s_now);
        Assert.Equal(StreamRuling.Wait, _streams.Attach("n", 2, "boot-b", s_now.AddSeconds(5)));
        Assert.Equal(StreamRuling.Wait, _streams.Heard("n", 2, s_now.AddSeconds(6)));
        Assert.Equal(StreamRuling.Quarantine, _streams.Heard("n", 1, s_now.AddSeconds(7)));
        Assert.Equal(StreamRuling.Quarantine, _streams.Heard("n", 2, s_now.AddSeconds(8)));
        _streams.Detach("n", 1);
        _streams.Detach("n", 2);
        Assert.Equal(StreamRuling.Quarantine, _streams.Attach("n", 3, "boot-a", s_now.AddHours(1)));
        _streams.Release("n");
        Assert.Equal(StreamRuling.Serve, _streams.Attach("n", 4, "boot-a", s_now.AddHours(1)));
    }

    [Fact]
    public void Heard_RebootedHostWhoseOlderStreamStaysSilent_IsServed()
    {
        _streams.Attach("n", 1, "boot-a", s_now);
        _streams.Attach("n", 2, "boot-b", s_now.AddSeconds(5));
        Assert.Equal(StreamRuling.Replace, _streams.Heard("n", 2, s_now + LiveStreams.Silence));
        Assert.Equal(StreamRuling.Serve, _streams.Heard("n", 2, s_now.AddSeconds(30)));
    }

    [Fact]
    public void Attach_ThirdBootBeforeTheSecondIsSettled_IsQuarantined()
    {
        _streams.Attach("n", 1, "boot-a", s_now);
        _streams.Attach("n", 2, "boot-b", s_now);
        Assert.Equal(StreamRuling.Quarantine, _streams.Attach("n", 3, "boot-a", s_now));
    }

    [Fact]
    public void Attach_TwoHostsTakingTurnsWithOneBootId_AreQuarantined()
    {
        var ruling = StreamRuling.Serve;
        for (var i = 0; i <= LiveStreams.MaxReplacements + 1; i++)
            ruling = _streams.Attach("n", i, "boot-a", s_now.AddSeconds(i));
        Assert.Equal(StreamRuling.Quarantine, ruling);
        Assert.True(_streams.IsQuarantined("n"));
    }

    [Fact]
    public void Attach_SlowReconnects_AreNeverQuarantined()
    {
        for (var i = 0; i < 100; i++)
            Assert.NotEqual(StreamRuling.Quarantine, _streams.Attach("n", i, "boot-a", s_now.AddMinutes(i)));
    }
}
