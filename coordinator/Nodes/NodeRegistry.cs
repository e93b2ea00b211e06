using System.Collections.Concurrent;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Identity;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Where a node stands.</summary>
/// <param name="Standing">Attached (Open), Away or Quarantined.</param>
/// <param name="Since">Since when.</param>
/// <param name="LastSeen">When it was last heard; null = not since this coordinator started.</param>
/// <param name="Why">For people; empty when it is attached.</param>
internal sealed record NodeLive(Standing Standing, DateTimeOffset Since, DateTimeOffset? LastSeen, string Why);

/// <summary>NodeLiveness: who is attached, who is away, who is two.</summary>
internal sealed class NodeRegistry(FleetModel model, EventLog events, TimeProvider clock)
{
    public static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(5);

    /// <summary>Three heartbeats missed.</summary>
    public static readonly TimeSpan Silence = LiveStreams.Silence;

    /// <summary>A quarantine ends when only one boot has called for this long: the other host was stopped.</summary>
    public static readonly TimeSpan QuarantineLasts = TimeSpan.FromMinutes(10);

    private readonly Lock _lock = new();
    private readonly LiveStreams _streams = new();
    private readonly Dictionary<long, NodeSession> _sessions = [];
    private readonly Dictionary<string, Dictionary<string, DateTimeOffset>> _quarantined = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, NodeSession> _serving = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, NodeLive> _live = new(StringComparer.Ordinal);
    private readonly DateTimeOffset _started = clock.GetUtcNow();
    private long _nextId;

    /// <summary>Called outside the lock when a node's standing changed.</summary>
    public Action<string>? StandingChanged { get; set; }

    public long NewId() => Interlocked.Increment(ref _nextId);

    /// <summary>The stream that is served; null when the node is not attached.</summary>
    public NodeSession? Session(string uid) => _serving.GetValueOrDefault(uid);

    public IReadOnlyCollection<NodeSession> Serving => [.. _serving.Values];

    public NodeLive Live(string uid)
    {
        if (_live.TryGetValue(uid, out var live)) return live with { LastSeen = Session(uid)?.HeardAt ?? live.LastSeen };
        return new(Standing.Away, _started, null, "it has not attached since this coordinator started");
    }

    /// <summary>A stream said hello.</summary>
    public StreamRuling Attach(NodeSession session)
    {
        StreamRuling ruling;
        var now = clock.GetUtcNow();
        lock (_lock)
        {
            if (_streams.IsQuarantined(session.Uid) && QuarantineIsOver(session, now)) _streams.Release(session.Uid);
            session.HeardAt = now;
            ruling = _streams.Attach(session.Uid, session.Id, session.BootId, now);
            if (ruling != StreamRuling.Quarantine) _sessions[session.Id] = session;
        }
        Act(session, ruling);
        return ruling;
    }

    /// <summary>Whether a stream that waits may be served now.</summary>
    public StreamRuling Settle(NodeSession session)
    {
        StreamRuling ruling;
        lock (_lock) ruling = _streams.Settle(session.Uid, clock.GetUtcNow());
        Act(session, ruling);
        return ruling;
    }

    /// <summary>A stream said something. False = it must end.</summary>
    public bool Heard(NodeSession session)
    {
        StreamRuling ruling;
        lock (_lock)
        {
            session.HeardAt = clock.GetUtcNow();
            ruling = _streams.Heard(session.Uid, session.Id, session.HeardAt);
        }
        if (ruling == StreamRuling.Quarantine) Quarantine(session);
        return ruling == StreamRuling.Serve && Session(session.Uid) == session;
    }

    /// <summary>A stream ended.</summary>
    public void Detach(NodeSession session, string why)
    {
        lock (_lock)
        {
            _streams.Detach(session.Uid, session.Id);
            _sessions.Remove(session.Id);
        }
        if (!_serving.TryRemove(new(session.Uid, session))) return;
        Set(session.Uid, new(Standing.Away, clock.GetUtcNow(), session.HeardAt, why));
        events.Warn(session.Name, "", "NodeAway", $"{session.Name} cannot be reached: {why}; its members keep running as they were told last");
    }

    /// <summary>A host called with a certificate that has ended, or has not begun: it cannot attach, and TLS tells it nothing.</summary>
    public void CertificateRefused(string uid, string why)
    {
        if (model.Current.Joined.GetValueOrDefault(uid) is not { RevokedUnixMs: null } node || Session(uid) is not null) return;
        var words = $"it calls, and its certificate is refused: {why}";
        var before = Live(uid);
        if (before.Why == words) return;
        Set(uid, before with { Why = words });
        events.Warn(node.Name, "", "CertificateRefused", $"{node.Name} calls, and its certificate is refused: {why}; look at both clocks (timedatectl)");
    }

    /// <summary>Once a second: silence, ended certificates, revocations.</summary>
    public void Tick()
    {
        var now = clock.GetUtcNow();
        foreach (var session in _serving.Values)
        {
            if (now - session.HeardAt >= Silence) session.End();
            else if (now >= session.CertificateEnds) session.Leave("the certificate of this connection has ended; renew it", retry: true);
            else if (model.Current.Joined.GetValueOrDefault(session.Uid) is var record && record is not { RevokedUnixMs: null }) session.Leave(record?.WhyRevoked ?? "this node is not known here", retry: false);
        }
    }

    private void Act(NodeSession session, StreamRuling ruling)
    {
        if (ruling == StreamRuling.Quarantine) Quarantine(session);
        if (ruling is not (StreamRuling.Serve or StreamRuling.Replace)) return;
        if (_serving.TryGetValue(session.Uid, out var before) && before != session) before.Leave("a newer stream of the same host took over", retry: false);
        _serving[session.Uid] = session;
        var was = _live.GetValueOrDefault(session.Uid);
        if (was?.Standing == Standing.Open) return;
        Set(session.Uid, new(Standing.Open, clock.GetUtcNow(), clock.GetUtcNow(), ""));
        events.Note(session.Name, "", "NodeAttached", $"{session.Name} is attached");
    }

    private void Quarantine(NodeSession session)
    {
        List<NodeSession> all;
        bool first;
        lock (_lock)
        {
            all = [.. _sessions.Values.Where(s => s.Uid == session.Uid)];
            first = !_quarantined.ContainsKey(session.Uid);
            if (first) _quarantined[session.Uid] = all.Append(session).DistinctBy(s => s.BootId).ToDictionary(s => s.BootId, _ => clock.GetUtcNow(), StringComparer.Ordinal);
        }
        _serving.TryRemove(session.Uid, out _);
        var reason = $"two hosts use the key of {session.Name}: both are quarantined; stop one of them, and the other is let in after {QuarantineLasts.TotalMinutes:0} minutes";
        foreach (var s in all.Append(session)) s.Leave(reason, retry: true);
        if (!first) return;
        Set(session.Uid, new(Standing.Quarantined, clock.GetUtcNow(), clock.GetUtcNow(), reason));
        events.Warn(session.Name, "", "NodeQuarantined", reason);
    }

    private bool QuarantineIsOver(NodeSession session, DateTimeOffset now)
    {
        if (!_quarantined.TryGetValue(session.Uid, out var calls)) return true;
        if (calls.All(c => c.Key == session.BootId || now - c.Value >= QuarantineLasts) && calls.Count > 1)
        {
            _quarantined.Remove(session.Uid);
            return true;
        }
        calls[session.BootId] = now;
        return false;
    }

    private void Set(string uid, NodeLive live)
    {
        _live[uid] = live;
        StandingChanged?.Invoke(uid);
    }
}
