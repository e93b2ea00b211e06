using System.Globalization;

namespace AgentMetal.Cli.Rendering;

/// <summary>Times and durations as people read and write them.</summary>
internal static class When
{
    /// <summary>"45 s", "3 min", "2 h", "5 d": one unit, rounded down; below a second "0 s".</summary>
    internal static string Length(TimeSpan span) => span switch
    {
        { TotalSeconds: < 0 } => "0 s",
        { TotalSeconds: < 120 } => $"{(long)span.TotalSeconds} s",
        { TotalMinutes: < 120 } => $"{(long)span.TotalMinutes} min",
        { TotalHours: < 48 } => $"{(long)span.TotalHours} h",
        _ => $"{(long)span.TotalDays} d",
    };

    /// <summary>The time of day, with the date when it is not today's. In the machine's own zone.</summary>
    internal static string Clock(long unixMs, TimeProvider time)
    {
        var at = TimeZoneInfo.ConvertTime(DateTimeOffset.FromUnixTimeMilliseconds(Bounded(unixMs)), time.LocalTimeZone);
        return at.ToString(at.Date == time.GetLocalNow().Date ? "HH:mm:ss" : "yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
    }

    /// <summary>"14:02:11 (3 min)".</summary>
    internal static string ClockAndAge(long unixMs, TimeProvider time) => $"{Clock(unixMs, time)} ({Age(unixMs, time)})";

    /// <summary>How long ago; "-" when it never was.</summary>
    internal static string Age(long unixMs, TimeProvider time) =>
        unixMs == 0 ? "-" : Length(time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Bounded(unixMs)));

    /// <summary>How long until; "over" when it was.</summary>
    internal static string Until(long unixMs, TimeProvider time)
    {
        var left = DateTimeOffset.FromUnixTimeMilliseconds(Bounded(unixMs)) - time.GetUtcNow();
        return left <= TimeSpan.Zero ? "over" : "in " + Length(left);
    }

    /// <summary>When what repeats comes next: "soon" once the time that was said is over, because a look that finds nothing new is not reported.</summary>
    internal static string Again(long unixMs, TimeProvider time) => Until(unixMs, time) is var until && until == "over" ? "soon" : until;

    /// <summary>RFC 3339 in UTC, for programs; null when it never was.</summary>
    internal static string? Stamp(long unixMs) =>
        unixMs == 0 ? null : DateTimeOffset.FromUnixTimeMilliseconds(Bounded(unixMs)).UtcDateTime.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    /// <summary>Reads "90s", "30m", "1h", "7d"; null when it is none of them, or not above zero, or above ten years.</summary>
    internal static TimeSpan? ParseLength(string text)
    {
        if (text.Length < 2 || !int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number < 1) return null;
        var span = text[^1] switch
        {
            's' => TimeSpan.FromSeconds(number),
            'm' => TimeSpan.FromMinutes(number),
            'h' => TimeSpan.FromHours(Math.Min(number, 100_000)),
            'd' => TimeSpan.FromDays(Math.Min(number, 100_000)),
            _ => TimeSpan.Zero,
        };
        return span > TimeSpan.Zero && span <= TimeSpan.FromDays(3650) ? span : null;
    }

    // The wire may carry any number; a table must not fall over it.
    private static long Bounded(long unixMs) => Math.Clamp(unixMs, 0, 253_402_300_799_000);
}
