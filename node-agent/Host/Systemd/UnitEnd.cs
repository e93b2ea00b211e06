namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>How one main process of a unit ended, as systemd said it in the moment.</summary>
/// <param name="At">When, by the host's clock; it tells two ends apart.</param>
/// <param name="Result">The unit's Result then: "success", "signal", "timeout", "oom-kill", ...; later signals of the same end may correct it.</param>
/// <param name="Code">1 exited, 2 killed, 3 dumped (waitid(2)).</param>
/// <param name="Status">Exit status, or the signal's number.</param>
/// <param name="Restarts">NRestarts then.</param>
internal sealed record UnitEnd(DateTimeOffset At, string Result, int Code, int Status, uint Restarts);

/// <summary>The last ends of the units that are watched, until somebody takes them. Written by the bus's thread.</summary>
internal sealed class UnitEnds
{
    /// <summary>Of one unit; the oldest goes first. systemd's own start limit lets it end a few times only.</summary>
    internal const int Most = 32;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, List<UnitEnd>> _byUnit = new(StringComparer.Ordinal);

    internal void Put(string unit, UnitEnd end)
    {
        lock (_lock)
        {
            if (!_byUnit.TryGetValue(unit, out var ends)) _byUnit[unit] = ends = [];
            // One end is said several times: stop-sigterm, then failed. The latest word of it counts.
            ends.RemoveAll(e => e.At == end.At);
            ends.Add(end);
            if (ends.Count > Most) ends.RemoveAt(0);
        }
    }

    internal IReadOnlyList<UnitEnd> Take(string unit)
    {
        lock (_lock) return _byUnit.Remove(unit, out var ends) ? ends : [];
    }
}
