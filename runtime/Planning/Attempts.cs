using System.Collections.Immutable;

namespace AgentMetal.Runtime.Planning;

/// <summary>One remedy that was tried.</summary>
/// <param name="Difference">The difference's key.</param>
/// <param name="StepKey">tool(args).</param>
/// <param name="At">When it ended.</param>
/// <param name="Worked">Confirmed by the expected facts.</param>
/// <param name="Detail">How it failed, for people.</param>
public sealed record Attempt(string Difference, string StepKey, DateTimeOffset At, bool Worked, string Detail = "");

/// <summary>
/// What was tried, kept by the runtime per resource (bounded, pruned by age); an input of the planner beside State, so agents neither
/// store nor forge it. A remedy that failed is not offered again inside the window; a difference that returns too often is damped.
/// </summary>
/// <param name="Log">At most 256 attempts, oldest first.</param>
/// <param name="Now">The time of planning.</param>
/// <param name="MaxFailures">Failures of one remedy for one difference before it is no longer offered (2).</param>
/// <param name="MaxReturns">Successes for one difference before its return means somebody else is undoing it (8).</param>
/// <param name="Window">How long an attempt counts; null = one hour.</param>
/// <param name="Rest">How long a remedy that failed too often is left alone before it is tried once more; null = the whole window.</param>
public sealed record Attempts(ImmutableArray<Attempt> Log, DateTimeOffset Now, int MaxFailures = 2, int MaxReturns = 8, TimeSpan? Window = null, TimeSpan? Rest = null)
{
    /// <summary>The most attempts kept per resource.</summary>
    public const int Capacity = 256;

    private TimeSpan Span => Window ?? TimeSpan.FromHours(1);

    /// <summary>Nothing was tried.</summary>
    public static Attempts None(DateTimeOffset now) => new([], now);

    /// <summary>With one more, pruned by age and count.</summary>
    public Attempts Add(string difference, string key, bool worked, DateTimeOffset at) =>
        this with { Log = [.. Log.Where(a => at - a.At < Span).TakeLast(Capacity - 1), new(difference, key, at, worked)], Now = at };

    /// <summary>This remedy failed too often for this difference, and rests.</summary>
    public bool Exhausted(string difference, string key) => Resting(difference, key) is not null;

    /// <summary>The last failure of a remedy that rests, and when it is tried once more; null when it may be tried now.</summary>
    public (Attempt Last, DateTimeOffset Until)? Resting(string difference, string key)
    {
        if (Log.IsEmpty) return null;
        var failed = Log.Where(a => !a.Worked && a.StepKey == key && a.Difference == difference && Now - a.At < Span).ToList();
        if (failed.Count < MaxFailures) return null;
        // Whichever comes first: the rest is over, or so many failures have left the window that it has another try.
        var rested = failed[^1].At + (Rest ?? Span);
        var forgotten = failed[^MaxFailures].At + Span;
        var until = rested < forgotten ? rested : forgotten;
        return Now < until ? (failed[^1], until) : null;
    }

    /// <summary>
    /// It "worked" again and again and the difference is back again and again: somebody else is undoing it. With a rest it is put right once more whenever the last time is so long ago: whoever
    /// did that may have stopped, and what is declared is to be in force then.
    /// </summary>
    public bool Flapping(string difference) => Returns(difference) is { } returns && Now < returns.Until;

    /// <summary>How often it worked within the window, and when it is put right once more; null when that is not too often.</summary>
    public (int Times, DateTimeOffset Until)? Returns(string difference)
    {
        if (Log.IsEmpty) return null;
        var worked = Log.Where(a => a.Worked && a.Difference == difference && Now - a.At < Span).ToList();
        if (worked.Count < MaxReturns) return null;
        var forgotten = worked[^MaxReturns].At + Span;
        var rested = worked[^1].At + (Rest ?? Span);
        return (worked.Count, rested < forgotten ? rested : forgotten);
    }

    /// <summary>When the oldest attempt that damps this difference leaves the window; null if nothing damps it.</summary>
    public DateTimeOffset? OpensAt(string difference) =>
        Log.Where(a => a.Difference == difference && Now - a.At < Span).Select(a => (DateTimeOffset?)(a.At + Span)).FirstOrDefault();
}
