namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Reads units; never changes one.</summary>
internal interface IUnitReader
{
    /// <summary>
    /// One unit's state. A name without a unit file is seen with LoadState "not-found"; a bus that does not answer
    /// within <see cref="SystemdOptions.CallDeadline"/> is unseen.
    /// </summary>
    /// <exception cref="ArgumentException">The name is not a unit name with a suffix (systemd.unit(5)).</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct);

    /// <summary>How main processes of a watched unit ended since this was asked last, oldest first; at most <see cref="UnitEnds.Most"/>.</summary>
    IReadOnlyList<UnitEnd> TakeEnds(string name) => [];

    /// <summary>
    /// Signals about these units until cancelled. The first element is <see cref="UnitSignalKind.Resync"/> or
    /// <see cref="UnitSignalKind.Unseen"/>, once the watch stands: what is read after a Resync misses no change. Signals
    /// that a slow reader has not taken are folded into one per unit and kind, so nothing is lost and nothing grows.
    /// </summary>
    IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, CancellationToken ct);
}

/// <summary>What kind of thing happened.</summary>
internal enum UnitSignalKind
{
    /// <summary>Properties of <see cref="UnitSignal.Unit"/> changed: read it again.</summary>
    Changed,

    /// <summary>systemd forgot the unit (no file and not running, or garbage-collected): read it again.</summary>
    Removed,

    /// <summary>A job of the unit ended with <see cref="UnitSignal.JobResult"/>.</summary>
    JobRemoved,

    /// <summary>systemd reloaded all unit files: every unit of the watch may have changed.</summary>
    Reloaded,

    /// <summary>The watch stands, for the first time or again after a lost bus: read everything again.</summary>
    Resync,

    /// <summary>The bus is away: what was read before may no longer be true, and nothing is known to be absent.</summary>
    Unseen,
}

/// <summary>One signal. A signal is a reason to look, never a fact.</summary>
internal sealed record UnitSignal
{
    /// <summary>What happened.</summary>
    public required UnitSignalKind Kind { get; init; }

    /// <summary>The unit it is about, or null when it is about all of the watch.</summary>
    public string? Unit { get; init; }

    /// <summary>For <see cref="UnitSignalKind.JobRemoved"/>: systemd's word ("done", "failed", ...).</summary>
    public string? JobResult { get; init; }
}
