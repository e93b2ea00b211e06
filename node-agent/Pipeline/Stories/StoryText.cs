using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.NodeAgent.Pipeline.Stories;

/// <summary>What is told of ends that repeat, and of settings that moved. Pure.</summary>
internal static class StoryText
{
    /// <summary>Ends within this time belong together.</summary>
    public static readonly TimeSpan Short = TimeSpan.FromMinutes(10);

    /// <summary>How often one ended for this cause lately, this time included.</summary>
    public static int Lately(IEnumerable<EndNote> ends, string cause, DateTimeOffset at) =>
        ends.Where(e => e.Cause == cause && e.AtMs <= at.ToUnixTimeMilliseconds() && e.AtMs > (at - Short).ToUnixTimeMilliseconds()).Sum(e => e.Count);

    /// <summary>The text of an end with how often it was, and what to do from the second time on.</summary>
    public static string WithCount(Happening happened, int lately, string memoryAdvice)
    {
        if (lately < 2) return happened.Text;
        var times = happened.Count > 1 ? $"{lately} times" : $"{Nth(lately)} time";
        return $"{happened.Text}; {times} in {Short.TotalMinutes.ToString("0", CultureInfo.InvariantCulture)} min{(Advice(happened.Cause, memoryAdvice) is { Length: > 0 } advice ? "; " + advice : "")}";
    }

    /// <summary>What a person can do about one that ends again and again; it is not what a single end calls for.</summary>
    public static string Advice(EndCause? cause, string memoryAdvice) => cause switch
    {
        EndCause.KilledByKernel => memoryAdvice,
        EndCause.Died or EndCause.Unknown => "look at its log (journalctl -u)",
        EndCause.Stopped => "somebody stops it again and again: find out who, or change what is declared",
        _ => "",
    };

    /// <summary>Why a member is not to be trusted to stay up; null when it did not end more than once lately.</summary>
    public static (string Reason, string Text)? Unsteady(StoryRecord story, DateTimeOffset now)
    {
        var worst = story.Ends.Where(e => e.Cause != nameof(EndCause.Stopped)).GroupBy(e => e.Cause).Select(g => (Cause: g.Key, Count: Lately(g, g.Key, now), Last: g.Last()))
            .Where(g => g.Count >= 2).OrderByDescending(g => g.Count).FirstOrDefault();
        return worst.Cause is null ? null : (worst.Cause, $"ended {worst.Count} times in {Short.TotalMinutes.ToString("0", CultureInfo.InvariantCulture)} min; the last time {worst.Last.Text}");
    }

    /// <summary>"14:02:05 UTC killed by the kernel: ..."; null when it never ended.</summary>
    public static string? LastEnded(StoryRecord story) => story.Ends.LastOrDefault() is not { } last ? null
        : DateTimeOffset.FromUnixTimeMilliseconds(last.AtMs).UtcDateTime.ToString("MMM d HH:mm:ss 'UTC' ", CultureInfo.InvariantCulture) + last.Text;

    /// <summary>What moved between two looks although none of our steps ran.</summary>
    public static ImmutableArray<Happening> Moved(ImmutableSortedDictionary<string, string> was, ImmutableSortedDictionary<string, string> now, Func<string, string, string, string?> words, DateTimeOffset at)
    {
        var found = ImmutableArray.CreateBuilder<Happening>();
        foreach (var (key, value) in now)
            if (was.TryGetValue(key, out var before) && before != value && words(key, before, value) is { } text) found.Add(new(at, "ChangedOutside", text));
        return found.DrainToImmutable();
    }

    private static string Nth(int number) => number.ToString(CultureInfo.InvariantCulture) + (number % 100 is >= 11 and <= 13 ? "th" : (number % 10) switch { 1 => "st", 2 => "nd", 3 => "rd", _ => "th" });
}
