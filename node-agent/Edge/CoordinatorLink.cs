using System.Collections.Concurrent;
using AgentMetal.NodeAgent.Pipeline;
using Grpc.Core;
using AgentMetal.Runtime.Trust;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What this host says of itself.</summary>
internal sealed record LinkOptions
{
    public required Uri Coordinator { get; init; }
    public required string Name { get; init; }
    public required string Uid { get; init; }
    public required string Version { get; init; }
    public required IReadOnlyDictionary<string, string> Labels { get; init; }
    public required Func<CancellationToken, ValueTask<IReadOnlyDictionary<string, string>>> Facts { get; init; }

    /// <summary>Asked at each attach, for they change while a host runs; first = the one that peers use.</summary>
    public required Func<IReadOnlyList<string>> Addresses { get; init; }

    /// <summary>First pause after a lost stream; doubles up to <see cref="MaxBackOff"/>, with full jitter.</summary>
    public TimeSpan MinBackOff { get; init; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Longest pause: 10,000 hosts that lost one coordinator come back over this time.</summary>
    public TimeSpan MaxBackOff { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>A stream on which nothing arrives for this long is dead.</summary>
    public TimeSpan Silence { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>State of the link, for people.</summary>
internal sealed record LinkView(bool Attached, DateTimeOffset Since, string Detail, DateTimeOffset? NextTry)
{
    /// <summary>Why the store of a coordinator that is there is not followed; empty = it is.</summary>
    public string StoreRefused { get; init; } = "";

    /// <summary>How far this host's clock is from the coordinator's; empty = they agree.</summary>
    public string ClockWrong { get; init; } = "";
}

/// <summary>
/// One stream to the coordinator, opened by this host. Its loss changes nothing on the host: members are kept converged from the local store,
/// and only what needs others (turns) waits.
/// </summary>
internal sealed partial class CoordinatorLink : ITurns
{
    private static readonly TimeSpan TurnDeadline = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PreviewDeadline = TimeSpan.FromSeconds(9);
    private static readonly TimeSpan Stood = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan HeldLife = TimeSpan.FromHours(24);

    private readonly LinkOptions _options;
    private readonly ILinkState _state;
    private readonly Func<GrpcChannel> _connect;
    private readonly Func<System.Security.Cryptography.ECDsa> _nodeKey;
    private readonly TimeProvider _clock;
    private readonly ILogger<CoordinatorLink> _log;
    private readonly Outbox _outbox = new();
    private readonly ConcurrentDictionary<string, TaskCompletionSource<V1.TurnGrant>> _asked = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, (string Hashes, DateTimeOffset Created)> _heldSince = new(StringComparer.Ordinal);
    private Controller _controller = null!;

    public CoordinatorLink(LinkOptions options, ILinkState state, Func<GrpcChannel> connect, Func<System.Security.Cryptography.ECDsa> nodeKey, TimeProvider clock, ILogger<CoordinatorLink> log)
    {
        (_options, _state, _connect, _nodeKey, _clock, _log) = (options, state, connect, nodeKey, clock, log);
        View = new(false, clock.GetUtcNow(), "not connected yet", null);
        Guard = new(state, clock);
    }

    /// <summary>What this host has seen of a store, and does not go back from.</summary>
    public StoreGuard Guard { get; }

    public LinkView View { get; private set; }

    /// <summary>Called with an approver set that the coordinator relays; verified by the receiver.</summary>
    public Action<byte[]>? ApproverSet { get; set; }

    /// <summary>What this side thought of the certificates, where TLS says only that they were rejected.</summary>
    public PeerVerdict? Verdict { get; set; }

    /// <summary>Hears the coordinator's clock.</summary>
    public HostClock? Time { get; set; }

    /// <summary>Called with an operator's statement that the coordinator relays; verified by the receiver.</summary>
    public Func<Runtime.Trust.SignedStatement, CancellationToken, Task>? Statement { get; set; }

    /// <summary>Judges and records a decision that came from the coordinator; without it, it is only recorded.</summary>
    public Func<SignedApproval, CancellationToken, Task<DecisionAnswer>>? Decide { get; set; }

    /// <summary>Called when an operator asks for a console; must return at once.</summary>
    public Action<V1.ConsoleCall>? Console { get; set; }

    /// <summary>Called once the stream stands, with whether it is the first; for metrics.</summary>
    public Action<bool>? LinkChanged { get; set; }

    /// <summary>Wires the two that need each other: turns go through the link, reports come from the controller.</summary>
    public void Bind(Controller controller)
    {
        _controller = controller;
        controller.Changed = Publish;
        controller.DetailsChanged = view => _outbox.Put(Wire.ToReport(view, _options.Name));
        controller.Happened = (input, e) => _outbox.Put(new V1.Event
        {
            AtUnixMs = e.At.ToUnixTimeMilliseconds(),
            NodeName = _options.Name,
            ResourceKey = input.ResourceKey,
            Type = e.Warning ? "Warning" : "Normal",
            Reason = e.Reason,
            Message = $"#{input.Ordinal} {e.Message}",
        });
    }

    public async Task RunAsync(CancellationToken stop)
    {
        var failures = 0;
        await Guard.LoadAsync(stop);
        while (!stop.IsCancellationRequested)
        {
            var why = "the coordinator closed the stream";
            try
            {
                using var channel = _connect();
                await AttachAsync(channel, stop);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
            catch (RpcException e)
            {
                why = $"{e.StatusCode}: {e.Status.Detail}";
                await FarewellAsync(e.Trailers, stop);
            }
            catch (Exception e) when (e is IOException or TimeoutException or HttpRequestException or InvalidOperationException or OperationCanceledException) { why = e.Message; }
            if (!View.Attached && Verdict?.Why() is { } judged) why = judged;
            var wasAttached = View.Attached;
            // A stream that ends as soon as it stands is a failure like any other: without a pause it would be tried for ever, twice a second.
            if (wasAttached && _clock.GetUtcNow() - View.Since >= Stood) failures = 0;
            var pause = BackOff(++failures);
            View = new(false, wasAttached ? _clock.GetUtcNow() : View.Since, why, _clock.GetUtcNow() + pause);
            if (wasAttached || failures == 1) LogAway(_log, _options.Coordinator, why);
            if (wasAttached) LinkChanged?.Invoke(false);
            FailTurns();
            try { await Task.Delay(pause, _clock, stop); }
            catch (OperationCanceledException) { return; }
        }
    }

    public async ValueTask<string?> TakeAsync(string key, TimeSpan hold, bool signed, CancellationToken stop)
    {
        // What a person signed for this very member was decided with the risk in view; that nobody can be asked must not stop it until the signature lapses.
        if (!View.Attached) return signed ? null : "the coordinator is away: a running member is not disturbed while this host is alone";
        // What an older store knows of turns is older too: somebody else may have this one.
        if (Guard.Refused.Length > 0) return signed ? null : $"the coordinator's store is not followed ({Guard.Refused}): a running member is not disturbed by its word";
        var id = Guid.NewGuid().ToString("N");
        var asked = new TaskCompletionSource<V1.TurnGrant>(TaskCreationOptions.RunContinuationsAsynchronously);
        _asked[id] = asked;
        try
        {
            _outbox.Put(new V1.TurnRequest { Id = id, Key = key, HoldMs = (long)hold.TotalMilliseconds });
            var grant = await asked.Task.WaitAsync(TurnDeadline, _clock, stop);
            return grant.Granted || (signed && grant.NobodyToAsk) ? null : $"{key} is held by {grant.Holder}";
        }
        catch (TimeoutException) when (signed) { return null; }
        catch (TimeoutException) { return $"the coordinator did not answer for {key} within {TurnDeadline.TotalSeconds:0} s"; }
        finally { _asked.TryRemove(id, out _); }
    }

    public void Release(string key) => _outbox.Release(key);

    private void Publish(MemberView view)
    {
        if (Guard.Handed(view) is { } handed) _ = RememberAsync(view, handed);
        else _outbox.Put(Wire.ToReport(view, _options.Name));
        PublishHeld(view);
    }

    /// <summary>That a member was handed over is on the disk before the coordinator hears of it and forgets that this host ever had it.</summary>
    private async Task RememberAsync(MemberView view, SeenMember handed)
    {
        try
        {
            await Guard.SaveHandedAsync(view.Input.Key, handed, CancellationToken.None);
            _outbox.Put(Wire.ToReport(view, _options.Name));
        }
        // The next report tries again.
        catch (LocalStoreException e) { LogIgnored(_log, "what was handed over could not be kept: " + e.Message); }
    }

    private void PublishHeld(MemberView view)
    {
        var hashes = string.Join(',', view.Held.Select(s => s.Hash).Concat(view.Running?.StepHashes ?? []));
        if (hashes.Length == 0 && !_heldSince.TryRemove(view.Input.Key, out _)) return;
        var created = _clock.GetUtcNow();
        if (hashes.Length > 0)
        {
            var since = _heldSince.AddOrUpdate(view.Input.Key, (hashes, created), (_, old) => old.Hashes == hashes && created - old.Created < HeldLife ? old : (hashes, created));
            created = since.Created;
        }
        _outbox.Put(Wire.ToHeld(view, _options.Name, _nodeKey(), created, HeldLife));
    }

    private async Task AttachAsync(GrpcChannel channel, CancellationToken stop)
    {
        var cursor = await _state.CursorAsync(stop);
        using var session = CancellationTokenSource.CreateLinkedTokenSource(stop);
        using var call = new V1.NodeLink.NodeLinkClient(channel).Attach(cancellationToken: session.Token);
        _outbox.DropRequests();
        await call.RequestStream.WriteAsync(new V1.NodeMessage { Hello = await HelloAsync(cursor, stop) }, session.Token);
        if (!await call.ResponseStream.MoveNext(session.Token).WaitAsync(_options.Silence, _clock, stop)) throw new IOException("the coordinator ended the stream");
        var first = call.ResponseStream.Current;
        if (first.Goodbye is { } refused) throw new IOException("refused: " + refused.Reason);
        if (first.Welcome is not { } welcome) throw new IOException("the coordinator did not begin with a welcome");

        if (welcome.NowUnixMs > 0) Time?.Hear(DateTimeOffset.FromUnixTimeMilliseconds(welcome.NowUnixMs));
        await Guard.WelcomeAsync(welcome, stop);
        _stands = null; // Whoever is there now has not heard it.
        View = new(true, _clock.GetUtcNow(), welcome.Coordinator, null) { StoreRefused = Guard.Refused, ClockWrong = Time?.Wrong ?? "" };
        LogAttached(_log, _options.Coordinator, welcome.Coordinator);
        LinkChanged?.Invoke(true);
        foreach (var view in _controller.Members) { _outbox.Put(Wire.ToReport(view, _options.Name)); PublishHeld(view); }
        var writer = new LinkWriter(_outbox, _state, _controller, call.RequestStream, TimeSpan.FromMilliseconds(Math.Clamp(welcome.HeartbeatMs, 500, 60_000)), welcome.AuditAcked) { Trouble = () => _trouble };
        var writing = _writing = writer.RunAsync(session.Token);
        try
        {
            await HandleAsync(first, welcome.StoreId, session.Token);
            await TellStoreAsync(session.Token);
            await ReadAsync(call.ResponseStream, welcome.StoreId, writing, session.Token);
        }
        finally
        {
            await session.CancelAsync();
            try { await writing; }
            catch (Exception e) when (e is OperationCanceledException or RpcException or IOException or InvalidOperationException or ObjectDisposedException) { LogWriterEnded(_log, e.Message); }
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<V1.CoordinatorMessage> stream, string storeId, Task writing, CancellationToken stop)
    {
        while (true)
        {
            var next = stream.MoveNext(stop);
            // A writer that ended means a stream that is dead although nothing arrives to say so.
            if (await Task.WhenAny(next, writing) == writing) await writing;
            if (!await next) return;
            if (stream.Current.Goodbye is { } goodbye) throw new IOException("the coordinator said: " + goodbye.Reason);
            await HandleAsync(stream.Current, storeId, stop);
        }
    }

    private async Task<V1.Hello> HelloAsync(LinkCursor cursor, CancellationToken stop)
    {
        var hello = new V1.Hello
        {
            NodeUid = _options.Uid,
            Name = _options.Name,
            Version = _options.Version,
            StoreId = cursor.StoreId,
            Revision = cursor.Revision,
            AuditSeq = await _state.LastAuditSeqAsync(stop),
            BootId = BootId.Value,
            ApprovalVersion = Wire.ApprovalVersion,
        };
        hello.Seen = StoreGuard.ToProto(Guard.Mark);
        hello.AuditAcked = await _state.AuditAckedSeqAsync(stop);
        hello.Labels.Add(_options.Labels.ToDictionary());
        hello.Facts.Add((await _options.Facts(stop)).ToDictionary());
        hello.Addresses.AddRange(_options.Addresses());
        hello.Kinds.AddRange(_controller.Kinds);
        return hello;
    }

    private TimeSpan BackOff(int failures)
    {
        var cap = Math.Min(_options.MaxBackOff.TotalMilliseconds, _options.MinBackOff.TotalMilliseconds * Math.Pow(2, Math.Min(failures, 16)));
        return TimeSpan.FromMilliseconds(Math.Max(50, Random.Shared.NextDouble() * cap));
    }

    private void FailTurns()
    {
        foreach (var (_, asked) in _asked) asked.TrySetResult(new V1.TurnGrant { Granted = false, NobodyToAsk = true, Holder = "nobody to ask: the coordinator went away" });
    }

    /// <summary>Distinguishes two boots, and with them two hosts that have the same identity.</summary>
    private static readonly Lazy<string> BootId = new(() =>
    {
        try { return File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim() + "-" + Environment.ProcessId; }
        catch (IOException) { return Guid.NewGuid().ToString(); }
    });

    [LoggerMessage(EventId = 1101, Level = LogLevel.Information, Message = "attached to {Address} ({Name})")]
    private static partial void LogAttached(ILogger log, Uri address, string name);

    [LoggerMessage(EventId = 1102, Level = LogLevel.Warning, Message = "no coordinator at {Address}: {Why}; members are kept as they were declared last")]
    private static partial void LogAway(ILogger log, Uri address, string why);

    [LoggerMessage(EventId = 1103, Level = LogLevel.Debug, Message = "writer ended: {Why}")]
    private static partial void LogWriterEnded(ILogger log, string why);

    [LoggerMessage(EventId = 1104, Level = LogLevel.Warning, Message = "ignored: {Why}")]
    private static partial void LogIgnored(ILogger log, string why);
}
