using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

public sealed class RenewalRuleTests
{
    [Theory]
    [InlineData(0, 16)]
    [InlineData(1, 18)]
    public void DueAt_ADayOfLife_IsBetweenTwoThirdsAndThreeQuarters(double jitter, int hours) =>
        Assert.Equal(DateTimeOffset.UnixEpoch.AddHours(hours), RenewalRule.DueAt(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1), jitter));

    [Theory]
    [InlineData(-0.1)]
    [InlineData(1.1)]
    [InlineData(double.NaN)]
    public void DueAt_JitterOutOfRange_Throws(double jitter) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => RenewalRule.DueAt(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1), jitter));
}
