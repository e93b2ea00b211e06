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
internal sealed class Reports(TimeProvider clock)
{
    public const string Converged = "Converged";

    private readonly ConcurrentDictionary<string, Reported> _byAssignment = new(StringComparer.Ordinal);

    public Reported? Find(string assignment) => _byAssignment.GetValueOrDefault(assignment);

    /// <summary>Takes a report of an assignment that is the reporting node's own.</summary>
    public void Put(MemberReport report)
    {
        var now = clock.GetUtcNow();
        var served = report.Status.Phase == Converged && !report.AbsentAcknowledged ? report.Generation : 0;
        _byAssignment.AddOrUpdate(report.Assignment, new Reported(report, now, now, served), (_, old) =>
            new(report, now, old.Report.Status.Phase == report.Status.Phase ? old.Since : now, Math.Max(old.Served, served)));
    }

    public void Forget(string assignment) => _byAssignment.TryRemove(assignment, out _);
}
