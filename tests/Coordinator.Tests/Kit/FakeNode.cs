using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Coordinator.Tests.Kit;

/// <summary>A host as the coordinator sees one: a key, and streams that say what a test wants said.</summary>
internal sealed class FakeNode(CoordinatorKit kit, string name, string uid, X509Certificate2 certificate, X509Certificate2 intermediate) : IDisposable
{
    public string Name => name;

    public string Uid => uid;

    public X509Certificate2 Certificate => certificate;

    public Grpc.Net.Client.GrpcChannel Channel() => kit.Channel(certificate, intermediate);

    /// <summary>Says hello and waits for the welcome.</summary>
    public async Task<FakeStream> AttachAsync(Action<Hello>? change = null, bool obedient = true)
    {
        var stream = Open(change, obedient);
        await stream.UntilAsync(s => s.Welcome is not null || s.Goodbye is not null);
        return stream;
    }

    /// <summary>Says hello and does not wait.</summary>
    public FakeStream Open(Action<Hello>? change = null, bool obedient = true)
    {
        var hello = new Hello { NodeUid = uid, Name = name, Version = "test", BootId = "boot-1" };
        hello.Addresses.Add("10.0.0." + (1 + (Math.Abs(name.GetHashCode(StringComparison.Ordinal)) % 200)).ToString(System.Globalization.CultureInfo.InvariantCulture));
        hello.Kinds.Add("Redis");
        change?.Invoke(hello);
        return new FakeStream(this, new NodeLink.NodeLinkClient(Channel()).Attach(cancellationToken: CoordinatorKit.Stop), hello, obedient);
    }

    public void Dispose()
    {
        certificate.Dispose();
        intermediate.Dispose();
    }
}

/// <summary>One stream of a fake host. An obedient one reports everything converged at once, and what is to go as gone.</summary>
internal sealed class FakeStream : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _writing = new(1, 1);
    private readonly Channel<bool> _news = System.Threading.Channels.Channel.CreateUnbounded<bool>();
    private readonly FakeNode _node;
    private readonly AsyncDuplexStreamingCall<NodeMessage, CoordinatorMessage> _call;
    private readonly bool _obedient;
    private readonly Task _reading;
    private readonly Dictionary<string, Assignment> _assignments = new(StringComparer.Ordinal);

    public FakeStream(FakeNode node, AsyncDuplexStreamingCall<NodeMessage, CoordinatorMessage> call, Hello hello, bool obedient)
    {
        (_node, _call, _obedient) = (node, call, obedient);
        _reading = ReadAsync(hello);
    }

    public Welcome? Welcome { get; private set; }

    public Goodbye? Goodbye { get; private set; }

    public bool Ended { get; private set; }

    public StatusCode? Error { get; private set; }

    public string ErrorText { get; private set; } = "";

    public Grpc.Core.Metadata Trailers { get; private set; } = [];

    public long Revision { get; private set; }

    public long Acked { get; private set; }

    public List<CoordinatorMessage> Messages { get { lock (_lock) return [.. _messages]; } }

    private readonly List<CoordinatorMessage> _messages = [];

    public List<Approval> Approvals { get; } = [];

    public Dictionary<string, TurnGrant> Turns { get; } = new(StringComparer.Ordinal);

    /// <summary>Answers decisions: why it is refused, or nothing; null = stay silent.</summary>
    public Func<Approval, string>? Decides { get; set; }

    /// <summary>Answers previews; null = stay silent.</summary>
    public Func<Assignment, PlanSummary>? Plans { get; set; }

    public List<Assignment> Assignments { get { lock (_lock) return [.. _assignments.Values.OrderBy(a => a.Key, StringComparer.Ordinal)]; } }

    public async Task SendAsync(NodeMessage message)
    {
        await _writing.WaitAsync(CoordinatorKit.Stop);
        try { await _call.RequestStream.WriteAsync(message, CoordinatorKit.Stop); }
        finally { _writing.Release(); }
    }

    public Task ReportAsync(Assignment a, string phase = "Converged", string summary = "", bool gone = false, string message = "")
    {
        var status = new MemberStatus { Ordinal = a.Ordinal, Phase = gone ? "Absent" : phase, Summary = summary.Length > 0 ? summary : a.Ordinal == a.PrimaryOrdinal ? "primary" : "replica, lag 0" };
        if (phase != "Converged") status.Conditions.Add(new Condition { Type = "Ready", Status = "False", Reason = phase, Message = message, NextCommand = "look" });
        var report = new NodeMessage();
        report.Reports.Add(new MemberReport { Assignment = a.Key, Generation = a.Generation, Status = status, AbsentAcknowledged = gone });
        return SendAsync(report);
    }

    public Task AuditAsync(params Runtime.Audit.AuditRecord[] records)
    {
        var message = new NodeMessage();
        message.Audit.AddRange(records.Select(AgentMetal.Coordinator.AuditLog.AuditWire.Write));
        return SendAsync(message);
    }

    /// <summary>Waits until what arrived is as wanted.</summary>
    public async Task UntilAsync(Func<FakeStream, bool> wanted)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(CoordinatorKit.Stop);
        limit.CancelAfter(TimeSpan.FromSeconds(60));
        while (true)
        {
            lock (_lock)
                if (wanted(this)) return;
            try { await _news.Reader.ReadAsync(limit.Token); }
            catch (OperationCanceledException) { throw new TimeoutException($"{_node.Name} waited in vain; error {Error} {ErrorText}, goodbye {Goodbye}, assignments {_assignments.Count}"); }
        }
    }

    public async ValueTask DisposeAsync()
    {
        _call.Dispose();
        await _reading;
        _writing.Dispose();
    }

    private async Task ReadAsync(Hello hello)
    {
        try
        {
            await SendAsync(new() { Hello = hello });
            await foreach (var message in _call.ResponseStream.ReadAllAsync(CoordinatorKit.Stop)) await TakeAsync(message);
        }
        catch (RpcException e) { lock (_lock) (Error, ErrorText, Trailers) = (e.StatusCode, e.Status.Detail, e.Trailers); }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or IOException or InvalidOperationException) { lock (_lock) ErrorText = e.Message; }
        finally
        {
            lock (_lock) Ended = true;
            _news.Writer.TryWrite(true);
        }
    }

    private async Task TakeAsync(CoordinatorMessage message)
    {
        lock (_lock)
        {
            _messages.Add(message);
            Welcome ??= message.Welcome;
            Goodbye ??= message.Goodbye;
            if (message.Full) _assignments.Clear();
            foreach (var a in message.Assignments) _assignments[a.Key] = a;
            if (message.Revision > 0) Revision = message.Revision;
            if (message.AuditAcked > 0) Acked = message.AuditAcked;
            Approvals.AddRange(message.Approvals);
            var answers = new NodeMessage();
            foreach (var a in Decides is null ? [] : message.Approvals)
            {
                var why = Decides!(a);
                answers.Decided.Add(new DecisionAnswer { Id = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(Google.Protobuf.MessageExtensions.ToByteArray(a))), Accepted = why.Length == 0, Message = why });
            }
            if (answers.Decided.Count > 0) _ = SendAsync(answers);
            foreach (var grant in message.Turns) Turns[grant.Id] = grant;
        }
        if (_obedient)
            foreach (var a in message.Assignments) await ReportAsync(a, gone: a.Absent);
        foreach (var request in message.Previews)
        {
            if (Plans?.Invoke(request.Assignment) is not { } plan) continue;
            var reply = new NodeMessage();
            reply.Previews.Add(new PreviewReply { Id = request.Id, Plan = plan });
            await SendAsync(reply);
        }
        _news.Writer.TryWrite(true);
    }
}
