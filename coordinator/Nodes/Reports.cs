using System.Collections.Concurrent;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>The last report of a member.</summary>
/// <param name="Report">As it came.</param>
/// <param name="At">When, by our clock.</param>
/// <param name="Since">Since when the phase is the same, by our clock.</param>
/// <param name="Served">The newest generation at which it was converged; 0 = none since this coordinator started.</param>
internal sealed record Reported(MemberReport Report, DateTimeOffset At, DateTimeOffset Since, long Served);

/// <summary>What nodes say of their members. In memory only: nodes say it again whenever they attach.</summary>
internal sealed class Reports(TimeProvider clock, LastSaid? last = null)
{
    /// <summary>What hosts said before this coordinator started; for people's eyes only.</summary>
    public LastSaid? Last => last;

    public const string Converged = "Converged";

    private readonly ConcurrentDictionary<string, Reported> _byAssignment = new(StringComparer.Ordinal);

    public Reported? Find(string assignment) => _byAssignment.GetValueOrDefault(assignment);

    /// <summary>Details of one member: so many, and so long; what is more is a node that shows off.</summary>
    private const int MaxDetails = 32, MaxDetailKey = 64, MaxDetail = 2048;

    /// <summary>Takes a report of an assignment that is the reporting node's own.</summary>
    /// <returns>False when it says nothing new but details, which are for people and plan nothing.</returns>
    public bool Put(MemberReport report)
    {
        Bound(report.Status);
        last?.Put(report);
        var known = Find(report.Assignment)?.Report;
        var now = clock.GetUtcNow();
        var served = report.Status.Phase == Converged && !report.AbsentAcknowledged ? report.Generation : 0;
        _byAssignment.AddOrUpdate(report.Assignment, new Reported(report, now, now, served), (_, old) =>
            new(report, now, old.Report.Status.Phase == report.Status.Phase ? old.Since : now, Math.Max(old.Served, served)));
        return known is null || !SameButDetails(known, report);
    }

    private static void Bound(MemberStatus status)
    {
        foreach (var (key, value) in status.Details.ToList())
            if (key.Length > MaxDetailKey || status.Details.Count > MaxDetails) status.Details.Remove(key);
            else if (value.Length > MaxDetail) status.Details[key] = value[..MaxDetail];
    }

    private static bool SameButDetails(MemberReport a, MemberReport b)
    {
        if (a.Status.Details.Equals(b.Status.Details)) return false; // Said again by a stream that began anew: everybody looks.
        var (one, other) = (a.Clone(), b.Clone());
        foreach (var status in (MemberStatus[])[one.Status, other.Status])
        {
            status.Details.Clear();
            status.ReportedUnixMs = 0;
        }
        return one.Equals(other);
    }

    public void Forget(string assignment)
    {
        _byAssignment.TryRemove(assignment, out _);
        last?.Forget(assignment);
    }
}
