using System.Globalization;

namespace AgentMetal.Cli.Tests.Support;

/// <summary>Time stands still, in UTC.</summary>
internal sealed class FixedClock(DateTimeOffset now) : TimeProvider
{
    internal static readonly DateTimeOffset Noon = new(2026, 11, 23, 14, 5, 11, TimeSpan.Zero);

    internal static long Ms(string timeOfDay) => new DateTimeOffset(2026, 11, 23, 0, 0, 0, TimeSpan.Zero).Add(TimeSpan.Parse(timeOfDay, CultureInfo.InvariantCulture)).ToUnixTimeMilliseconds();

    public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;

    public override DateTimeOffset GetUtcNow() => now;
}
