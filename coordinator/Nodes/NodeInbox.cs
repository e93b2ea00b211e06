using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// Takes what a node says. A node is hostile until proved otherwise: what it says about assignments that are not its own is dropped, texts are cut, and
/// its events cannot drown those of others.
/// </summary>
internal sealed partial class NodeInbox(FleetModel model, HostStandings standings, Reports reports, HeldPlans held, Previews previews, TurnTable turns, AuditSegments audit, EventLog events,
    TimeProvider clock, ILogger<NodeInbox> log)
{
    /// <summary>Events of one node: this many at once, and a twentieth of it each second.</summary>
    public const int EventBurst = 1_000;

    private const int MaxPerMessage = 10_000;
    private const int MaxTrouble = 500;

    private readonly System.Runtime.CompilerServices.ConditionalWeakTable<NodeSession, Allowance> _allowances = [];

    /// <summary>Called with the resource's uid when a report changed what is known of it.</summary>
    public Action<string>? ResourceChanged { get; set; }

    /// <summary>Called with what a node made of a decision that was sent to it.</summary>
    public Func<NodeSession, DecisionAnswer, Task>? Decided { get; set; }

    /// <summary>Called with the resource's uid when a report told only what people look at.</summary>
    public Action<string>? DetailsChanged { get; set; }

    /// <summary>A stream begins.</summary>
    public Task BeginAsync(NodeSession session, CancellationToken stop)
    {
        standings.Forget(session.Uid);
        return turns.AttachedAsync(session.Uid, session.BootId, stop);
    }

    public async Task TakeAsync(NodeSession session, NodeMessage message, CancellationToken stop)
    {
        if (message.Heartbeat is { } heartbeat) Take(session, heartbeat);
        if (message.Standing is { } standing) standings.Put(session.Uid, standing);
        foreach (var report in message.Reports.Take(MaxPerMessage)) Take(session, report);
        foreach (var happened in message.Events.Take(MaxPerMessage)) Take(session, happened);
        foreach (var plan in message.Held.Take(MaxPerMessage)) Take(session, plan);
        foreach (var reply in message.Previews.Take(MaxPerMessage)) previews.Answer(session.Uid, reply);
        foreach (var key in message.ReleasedTurns.Take(100)) await turns.ReleaseAsync(session.Uid, key, stop);
        foreach (var request in message.Turns.Take(100)) session.Put(await turns.AskAsync(session.Uid, request, model.Current.NodeName, stop));
        foreach (var answer in message.Decided.Take(MaxPerMessage)) if (Decided is { } decided) await decided(session, answer);
        if (message.Audit.Count > 0) TakeAudit(session, message.Audit);
    }

    /// <summary>What is wrong with a chain, once.</summary>
    public void Tell(NodeSession session, AuditReceipt receipt)
    {
        if (receipt is { New: true, Problem: { } problem })
            events.Warn(session.Name, "", "AuditChainBroken", $"the audit chain of {session.Name} does not hold: {problem}. Nothing more is taken from it; look at the host, then move its directory away");
    }

    private void Take(NodeSession session, Heartbeat heartbeat)
    {
        if (heartbeat.Trouble.Length > MaxTrouble) heartbeat.Trouble = heartbeat.Trouble[..MaxTrouble];
        var before = session.Heartbeat?.Trouble ?? "";
        session.Heartbeat = heartbeat;
        TakeClock(session, heartbeat);
        if (before == heartbeat.Trouble) return;
        if (heartbeat.Trouble.Length > 0) events.Warn(session.Name, "", "HostTrouble", $"{session.Name} takes no changes: {heartbeat.Trouble}");
        else events.Note(session.Name, "", "HostTroubleOver", $"{session.Name} takes changes again");
    }

    private void TakeClock(NodeSession session, Heartbeat heartbeat)
    {
        if (heartbeat.WallUnixMs <= 0) return;
        var before = session.ClockAhead;
        session.ClockAhead = DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(heartbeat.WallUnixMs, 0, 253_402_300_799_000)) - clock.GetUtcNow();
        if (ClockWords(session.Name, session.ClockAhead) is { } wrong && ClockWords(session.Name, before) is null) events.Warn(session.Name, "", "ClockWrong", wrong);
        else if (before is not null && ClockWords(session.Name, before) is not null && ClockWords(session.Name, session.ClockAhead) is null) events.Note(session.Name, "", "ClockRight", $"the clock of {session.Name} agrees with this coordinator's again");
    }

    /// <summary>Null = it agrees, within what a message takes on its way.</summary>
    internal static string? ClockWords(string name, TimeSpan? ahead)
    {
        if (ahead is not { } by || by.Duration() < TimeSpan.FromMinutes(1)) return null;
        var length = by.Duration() is var d && d.TotalDays >= 2 ? $"{d.TotalDays:0} d" : d.TotalHours >= 2 ? $"{d.TotalHours:0} h" : d.TotalMinutes >= 2 ? $"{d.TotalMinutes:0} min" : $"{d.TotalSeconds:0} s";
        return $"the clock of {name} is {length} {(by > TimeSpan.Zero ? "ahead of" : "behind")} this coordinator's: look which is right (timedatectl); certificates and signatures are judged by it";
    }

    private void Take(NodeSession session, MemberReport report)
    {
        if (Own(session, report.Assignment) is not { } assignment) return;
        report.Status ??= new();
        report.Status.NodeUid = session.Uid;
        report.Status.NodeName = session.Name;
        report.Status.Ordinal = assignment.Ordinal;
        report.Status.ReportedUnixMs = clock.GetUtcNow().ToUnixTimeMilliseconds();
        // An old acknowledgement must not delete what is wanted again.
        if (report.AbsentAcknowledged && (!assignment.Absent || report.Generation < assignment.Generation)) report.AbsentAcknowledged = false;
        if (reports.Put(report)) ResourceChanged?.Invoke(assignment.ResourceUid);
        else DetailsChanged?.Invoke(assignment.ResourceUid);
    }

    private void Take(NodeSession session, Event happened)
    {
        if (!_allowances.GetOrCreateValue(session).Spend(clock.GetUtcNow())) return;
        var own = happened.ResourceKey.Length == 0 || model.Current.OfNode(session.Uid).Any(r => KeyOf(r.Value) == happened.ResourceKey)
            || (standings.Find(session.Uid)?.Members.Any(m => KeyOf(m.Assignment) == happened.ResourceKey) ?? false);
        var at = DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(happened.AtUnixMs, 0, clock.GetUtcNow().ToUnixTimeMilliseconds()));
        events.Add(session.Name, own ? happened.ResourceKey : "", happened.Type, happened.Reason, happened.Message, at);
    }

    private void Take(NodeSession session, HeldPlan plan)
    {
        if (Own(session, plan.Assignment) is not { } assignment) return;
        if (plan.Plan is { } summary && (summary.Steps.Any(s => s.NodeUid != session.Uid || s.ResourceUid != assignment.ResourceUid) || summary.Steps.Count > 1_000))
        {
            events.Warn(session.Name, KeyOf(assignment), "HeldPlanRefused", $"{session.Name} sent a plan whose steps are not its own");
            return;
        }
        if (held.Put(session, plan, KeyOf(assignment)) && held.Find(plan.Assignment) is { } asked)
            events.Warn(session.Name, KeyOf(assignment), "ApprovalNeeded", $"#{assignment.Ordinal} waits for a signature; look and decide: agentmetal approve {asked.Id}");
        ResourceChanged?.Invoke(assignment.ResourceUid);
    }

    private void TakeAudit(NodeSession session, IReadOnlyList<AuditRecord> records)
    {
        try
        {
            var receipt = audit.Append(session.Uid, records);
            Tell(session, receipt);
            if (receipt is { New: true, Problem: null })
                events.Warn(session.Name, "", "AuditGap", $"the audit of {session.Name}: {audit.GapsOf(session.Uid)[^1].Text}. The chain goes on; what is missing is in a newer copy of this coordinator's audit directory. That you know of it: agentmetal audit accept-gap {session.Name}");
            if (receipt.Problem is null) session.Acked(receipt.Acked);
        }
        // Nothing is acknowledged, so the host keeps it and sends it again.
        catch (IOException e) { LogAudit(log, session.Name, e.Message); }
    }

    private Assignment? Own(NodeSession session, string key) =>
        key.StartsWith(session.Uid + "/", StringComparison.Ordinal) && model.Current.Assignments.TryGetValue(key, out var row) ? row.Value : null;

    private static string KeyOf(Assignment a) => $"{a.Kind} {a.Project}/{a.Name}";

    /// <summary>Written to by one stream's reader only.</summary>
    private sealed class Allowance
    {
        private double _left = EventBurst;
        private DateTimeOffset _at;

        public bool Spend(DateTimeOffset now)
        {
            if (_at != default) _left = Math.Min(EventBurst, _left + ((now - _at).TotalSeconds * EventBurst / 20));
            _at = now;
            if (_left < 1) return false;
            _left--;
            return true;
        }
    }

    [LoggerMessage(EventId = 2311, Level = LogLevel.Error, Message = "Audit records of {Node} cannot be written: {Why}. The host keeps them")]
    private static partial void LogAudit(ILogger log, string node, string why);
}
