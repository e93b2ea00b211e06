using System.Threading.Channels;
using AgentMetal.Proto.V1;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// One stream of one node, as the rest of the coordinator sees it: a single outgoing slot in which everything waits, latest wins. However slow the node,
/// what waits for it is bounded by what it is.
/// </summary>
internal sealed class NodeSession(long id, string uid, string name, string bootId, ByteString certificate, DateTimeOffset certificateEnds) : IDisposable
{
    public const int MaxWaiting = 1_000;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Assignment> _assignments = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Approval> _approvals = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Statement> _statements = new(StringComparer.Ordinal);
    private readonly List<PreviewRequest> _previews = [];
    private readonly List<TurnGrant> _turns = [];
    private readonly List<ConsoleCall> _consoles = [];
    private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _ended = new();
    private volatile bool _over;
    private bool _full;
    private long _revision;
    private long _acked;
    private Goodbye? _goodbye;

    public long Id => id;

    public string Uid => uid;

    public string Name => name;

    public string BootId => bootId;

    /// <summary>DER, of the connection.</summary>
    public ByteString Certificate => certificate;

    public DateTimeOffset CertificateEnds => certificateEnds;

    /// <summary>When the node was last heard.</summary>
    public DateTimeOffset HeardAt { get; set; }

    public Heartbeat? Heartbeat { get; set; }

    /// <summary>What the host's clock is ahead of ours by, as far as a message on its way can say; null = it has not told.</summary>
    public TimeSpan? ClockAhead { get; set; }

    /// <summary>The newest form of approval that the node understands; from 2 on it answers each decision.</summary>
    public int ApprovalVersion { get; init; } = 1;

    /// <summary>Cancelled when the stream must end.</summary>
    public CancellationToken Ended => _ended.Token;

    /// <summary>Whether the goodbye is on its way or said.</summary>
    public bool Leaving { get { lock (_lock) return _goodbye is not null; } }

    /// <summary>The whole list, in place of whatever waits.</summary>
    public void PutAll(IEnumerable<Assignment> assignments, long revision) => With(() =>
    {
        _assignments.Clear();
        foreach (var a in assignments) _assignments[a.Key] = a;
        (_full, _revision) = (true, Math.Max(_revision, revision));
    });

    /// <summary>One that changed.</summary>
    public void Put(Assignment assignment, long revision) => With(() =>
    {
        _assignments[assignment.Key] = assignment;
        _revision = Math.Max(_revision, revision);
    });

    public void Put(Approval approval, string hash) => With(() => { if (_approvals.Count < MaxWaiting) _approvals[hash] = approval; });

    public void Put(Statement statement) => With(() => { if (_statements.Count < MaxWaiting) _statements[statement.Nonce] = statement; });

    /// <summary>False when too many wait already.</summary>
    public bool Put(PreviewRequest request)
    {
        var room = false;
        With(() =>
        {
            if (room = _previews.Count < MaxWaiting) _previews.Add(request);
        });
        return room;
    }

    /// <summary>False when too many wait already.</summary>
    public bool Put(ConsoleCall call)
    {
        var room = false;
        With(() =>
        {
            if (room = _consoles.Count < MaxWaiting) _consoles.Add(call);
        });
        return room;
    }

    public void Put(TurnGrant grant) => With(() => { if (_turns.Count < MaxWaiting) _turns.Add(grant); });

    public void Acked(long seq) => With(() => _acked = Math.Max(_acked, seq));

    /// <summary>Says why and ends the stream.</summary>
    public void Leave(string reason, bool retry) => With(() => _goodbye ??= new() { Reason = reason, Retry = retry });

    /// <summary>Ends the stream without a word. Others than the stream's own call may do so at any time, also when it is over.</summary>
    public void End()
    {
        lock (_lock)
            if (_over) return;
        // Not under the lock: what waits for the end runs here. Only the stream itself disposes, after its last use of End.
        try { _ended.Cancel(); }
        catch (ObjectDisposedException) when (_over) { return; }
    }

    /// <summary>Waits until there is something to send, and takes all of it.</summary>
    public async ValueTask<CoordinatorMessage> TakeAsync(CancellationToken cancel)
    {
        while (true)
        {
            await _signal.Reader.ReadAsync(cancel);
            if (Take() is { } message) return message;
        }
    }

    public void Dispose()
    {
        lock (_lock) _over = true;
        _ended.Dispose();
    }

    private CoordinatorMessage? Take()
    {
        lock (_lock)
        {
            var message = new CoordinatorMessage();
            message.Assignments.AddRange(_assignments.Values.OrderBy(a => a.Revision).ThenBy(a => a.Key, StringComparer.Ordinal));
            message.Approvals.AddRange(_approvals.Values);
            message.Statements.AddRange(_statements.Values);
            message.Previews.AddRange(_previews);
            message.Turns.AddRange(_turns);
            message.Consoles.AddRange(_consoles);
            message.Full = _full;
            message.Revision = _full || _assignments.Count > 0 ? _revision : 0;
            message.AuditAcked = _acked;
            message.Goodbye = _goodbye;
            _assignments.Clear();
            _approvals.Clear();
            _statements.Clear();
            _previews.Clear();
            _turns.Clear();
            _consoles.Clear();
            (_full, _acked) = (false, 0);
            return message.CalculateSize() == 0 ? null : message;
        }
    }

    private void With(Action change)
    {
        lock (_lock) change();
        _signal.Writer.TryWrite(true);
    }
}
