using System.Threading.Channels;
using AgentMetal.NodeAgent.Pipeline;
using Grpc.Core;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// What waits to be sent. One latest-wins slot a member, bounded queues for the rest; everything that waits goes in one write with the
/// heartbeat, because the cost of a message is the wake-up.
/// </summary>
internal sealed class Outbox
{
    public const int MaxEvents = 1000;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, V1.MemberReport> _reports = new(StringComparer.Ordinal);
    private readonly Dictionary<string, V1.HeldPlan> _held = new(StringComparer.Ordinal);
    private V1.HostStanding? _standing;
    private readonly Queue<V1.Event> _events = new();
    private readonly List<V1.PreviewReply> _previews = [];
    private readonly List<V1.TurnRequest> _turns = [];
    private readonly List<string> _released = [];
    private readonly List<V1.DecisionAnswer> _decided = [];
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    public ChannelReader<bool> Signal => _signal.Reader;

    public void Put(V1.MemberReport report) => With(() => _reports[report.Assignment] = report);

    public void Put(V1.HeldPlan held) => With(() => _held[held.Assignment] = held);

    public void Put(V1.Event happened) => With(() =>
    {
        if (_events.Count >= MaxEvents) _events.Dequeue(); // The oldest goes: the newest says how it stands.
        _events.Enqueue(happened);
    });

    /// <summary>In place of the one before.</summary>
    public void Put(V1.HostStanding standing) => With(() => _standing = standing);

    public void Put(V1.PreviewReply reply) => With(() => _previews.Add(reply));

    public void Put(V1.TurnRequest request) => With(() => _turns.Add(request));

    public void Put(V1.DecisionAnswer answer) => With(() => _decided.Add(answer));

    public void Release(string turn) => With(() => _released.Add(turn));

    public void Wake() => _signal.Writer.TryWrite(true);

    /// <summary>Requests of a stream that ended are nobody's any more.</summary>
    public void DropRequests()
    {
        lock (_lock)
        {
            _previews.Clear();
            _turns.Clear();
            _decided.Clear();
        }
    }

    public bool Drain(V1.NodeMessage into)
    {
        lock (_lock)
        {
            into.Standing = _standing;
            into.Reports.AddRange(_reports.Values);
            into.Held.AddRange(_held.Values);
            into.Events.AddRange(_events);
            into.Previews.AddRange(_previews);
            into.Turns.AddRange(_turns);
            into.ReleasedTurns.AddRange(_released);
            into.Decided.AddRange(_decided);
            var any = (_standing is null ? 0 : 1) + _reports.Count + _held.Count + _events.Count + _previews.Count + _turns.Count + _released.Count + _decided.Count > 0;
            _standing = null;
            _decided.Clear();
            _reports.Clear();
            _held.Clear();
            _events.Clear();
            _previews.Clear();
            _turns.Clear();
            _released.Clear();
            return any;
        }
    }

    /// <summary>What a write that failed held goes back, unless something newer waits.</summary>
    public void Return(V1.NodeMessage failed)
    {
        lock (_lock)
        {
            _standing ??= failed.Standing;
            foreach (var r in failed.Reports) _reports.TryAdd(r.Assignment, r);
            foreach (var h in failed.Held) _held.TryAdd(h.Assignment, h);
            foreach (var e in failed.Events) if (_events.Count < MaxEvents) _events.Enqueue(e);
            _released.AddRange(failed.ReleasedTurns);
        }
    }

    private void With(Action change)
    {
        lock (_lock) change();
        Wake();
    }
}

/// <summary>Writes what waits, and a heartbeat when nothing does.</summary>
internal sealed class LinkWriter(Outbox outbox, ILinkState state, Controller controller, IAsyncStreamWriter<V1.NodeMessage> stream, TimeSpan heartbeat, long auditAcked)
{
    public const int AuditBatch = 256;

    private long _auditSent = auditAcked;

    /// <summary>What keeps this host from taking what it is told; empty = nothing.</summary>
    public Func<string> Trouble { get; init; } = static () => "";

    public async Task RunAsync(CancellationToken stop)
    {
        while (true)
        {
            var message = new V1.NodeMessage();
            outbox.Drain(message);
            IReadOnlyList<Runtime.Audit.AuditRecord> records;
            try
            {
                records = await state.AuditAfterAsync(_auditSent, AuditBatch, stop);
                message.Audit.AddRange(records.Select(Wire.ToProto));
                var members = controller.Members;
                message.Heartbeat = new() { MonotonicMs = Environment.TickCount64, WallUnixMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), Converged = members.Count(m => m.IsConverged), Total = members.Length, Trouble = Trouble() };
                await stream.WriteAsync(message, stop);
            }
            catch (Exception) { outbox.Return(message); throw; }
            if (records.Count > 0) _auditSent = records[^1].Seq;
            if (records.Count == AuditBatch) continue;

            using var beat = CancellationTokenSource.CreateLinkedTokenSource(stop);
            beat.CancelAfter(heartbeat);
            try { if (await outbox.Signal.WaitToReadAsync(beat.Token)) outbox.Signal.TryRead(out _); }
            catch (OperationCanceledException) when (!stop.IsCancellationRequested) { /* Time for a heartbeat. */ }
        }
    }
}
