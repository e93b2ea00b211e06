using System.Globalization;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// The time that certificates and approvals are judged by: the wall clock, and never below what others proved. What only the own clock said is no floor,
/// for a clock that was ahead once would end this host for good. A floor alone never ends the own certificate either, so that it can always be renewed.
/// </summary>
internal sealed class HostClock(TimeProvider clock, Func<DateTimeOffset> ownCertificateEnds)
{
    public const string Meta = "proved_time";

    /// <summary>A difference that is worth a word.</summary>
    public static readonly TimeSpan Worth = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan Margin = TimeSpan.FromMinutes(1);

    private readonly Lock _lock = new();
    private DateTimeOffset _proved = TrustedTime.BuildFloor;
    private long _provedAt = clock.GetTimestamp();

    /// <summary>What the coordinator's clock was ahead by when it attached last; null = not known.</summary>
    public TimeSpan? Behind { get; private set; }

    /// <summary>Trusted time.</summary>
    public DateTimeOffset Now() => TrustedTime.Now(clock.GetUtcNow(), Floor);

    /// <summary>Proved time, and what has passed since by the clock that nobody sets.</summary>
    public DateTimeOffset Floor
    {
        get
        {
            DateTimeOffset floor;
            lock (_lock) floor = _proved + clock.GetElapsedTime(_provedAt);
            var most = ownCertificateEnds() - Margin;
            return floor < most ? floor : most;
        }
    }

    /// <summary>Somebody else's signed or authenticated word that it is at least so late: when a certificate was issued, what a coordinator says.</summary>
    public void Prove(DateTimeOffset at)
    {
        lock (_lock)
            if (at > _proved + clock.GetElapsedTime(_provedAt)) (_proved, _provedAt) = (at, clock.GetTimestamp());
    }

    /// <summary>A coordinator's clock, over a connection on which it proved who it is.</summary>
    public void Hear(DateTimeOffset coordinator)
    {
        Behind = coordinator - clock.GetUtcNow();
        Prove(coordinator);
    }

    /// <summary>Operators signed that it is no later than this: the way back from a proof that was wrong.</summary>
    public void Set(DateTimeOffset at)
    {
        lock (_lock) (_proved, _provedAt) = (at, clock.GetTimestamp());
    }

    /// <summary>For people; null = the two clocks agree, or nothing is known.</summary>
    public string? Wrong => Behind is not { } behind || behind.Duration() < Worth ? null
        : $"this host's clock is {Words(behind)} the coordinator's: look which is right (timedatectl)";

    /// <summary>"2 h behind" or "5 d ahead of".</summary>
    internal static string Words(TimeSpan behind)
    {
        var by = behind.Duration();
        var length = by.TotalDays >= 2 ? (by.TotalDays, "d") : by.TotalHours >= 2 ? (by.TotalHours, "h") : by.TotalMinutes >= 2 ? (by.TotalMinutes, "min") : (by.TotalSeconds, "s");
        return string.Create(CultureInfo.InvariantCulture, $"{length.Item1:0} {length.Item2} {(behind > TimeSpan.Zero ? "behind" : "ahead of")}");
    }
}

/// <summary>Why this host could not speak with its coordinator, as its own judgement of certificates says it: TLS only says that it was rejected.</summary>
internal sealed class PeerVerdict(Func<DateTimeOffset> now, Func<TrustProblem?> own)
{
    private volatile TrustProblem? _problem;

    public void Begin() => _problem = null;

    public void Saw(Verdict<PeerIdentity> verdict) => _problem = verdict.Problem;

    /// <summary>Null = certificates were not the reason, as far as this side sees.</summary>
    public string? Why()
    {
        if (_problem is { } theirs) return theirs.Message + Clock(theirs);
        return own() is { } mine ? "this host's own certificate: " + mine.Message + Clock(mine) : null;
    }

    private string Clock(TrustProblem problem) => problem.Code is TrustProblemCode.Expired or TrustProblemCode.NotYetValid
        ? $"; here it is {now():yyyy-MM-dd HH:mm:ss}Z: look whether that is right (timedatectl)" : "";
}
