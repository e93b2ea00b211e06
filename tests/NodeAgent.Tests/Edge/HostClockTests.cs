using AgentMetal.NodeAgent.Edge;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>A wall clock that was ahead leaves nothing behind; one that falls back brings nothing back to life.</summary>
public sealed class HostClockTests
{
    private static readonly DateTimeOffset Real = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly FakeTimeProvider _wall = new(Real);

    [Fact]
    public void WallClock_TwoYearsAheadForAnHour_LeavesNoFloor()
    {
        var wrong = new FakeTimeProvider(Real.AddYears(2));
        var clock = new HostClock(wrong, () => Real.AddDays(2));
        clock.Prove(Real.AddDays(-1));
        wrong.Advance(TimeSpan.FromHours(1));
        Assert.Equal(Real.AddYears(2).AddHours(1), clock.Now());
        Assert.True(clock.Floor < Real);
    }

    [Fact]
    public void WallClock_ThatFellBack_IsLiftedToWhatWasProvedAndWhatPassedSince()
    {
        var clock = new HostClock(_wall, () => Real.AddYears(1));
        clock.Hear(Real.AddHours(5));
        _wall.Advance(TimeSpan.FromHours(1));
        Assert.Equal(Real.AddHours(6), clock.Now());
        Assert.Contains("5 h behind", clock.Wrong, StringComparison.Ordinal);
        clock.Set(Real.AddHours(2));
        Assert.Equal(Real.AddHours(2), clock.Now());
    }

    [Fact]
    public void Floor_OfACoordinatorWhoseClockWasAhead_NeverEndsTheOwnCertificate()
    {
        var clock = new HostClock(_wall, () => Real.AddDays(3));
        clock.Hear(Real.AddYears(9));
        Assert.True(clock.Now() < Real.AddDays(3));
    }
}
