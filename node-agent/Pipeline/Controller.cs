using System.Collections.Immutable;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>Bounds of the controller.</summary>
internal sealed record ControllerOptions
{
    /// <summary>Passes at the same time; each is mostly waiting.</summary>
    public int Workers { get; init; } = 8;

    /// <summary>Probes at the same time; each waits for one round trip, or for a server that hangs.</summary>
    public int Probers { get; init; } = 16;

    /// <summary>Between two probes of one member, 1 s to 1 h.</summary>
    public TimeSpan Probe { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between two looks at a converged member that nothing signalled.</summary>
    public TimeSpan Resync { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>See <see cref="Attempts"/>.</summary>
    public int MaxReturns { get; init; } = 8;

    /// <summary>Between two tries of a remedy that failed: what a person put right elsewhere is found out by trying.</summary>
    public TimeSpan Rest { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>What agents may do on this host.</summary>
    public Mode Mode { get; init; } = Mode.Enforce;

    /// <summary>Passes in a row without a wait before the back-off applies to them too.</summary>
    public int MaxImmediate { get; init; } = 40;
}

/// <summary>The durable state the controller needs for one member.</summary>
internal interface IMemberState
{
    IPassStore For(MemberInput input);
    ValueTask<OpenRun?> OpenRunAsync(string key, CancellationToken stop);
    ValueTask<ImmutableArray<Attempt>> AttemptsAsync(string key, long generation, CancellationToken stop);

    /// <summary>What was begun to be taken away for good of a member that goes, in words; empty = nothing.</summary>
    ValueTask<string> DestroyedAsync(string key, long generation, CancellationToken stop) => new("");
}

/// <summary>
/// Runs the pipeline for every member on this host: a signal, a file change, a changed probe or the resync puts a key into the work queue; a
/// worker takes it through one pass. A converged member costs one probe per interval and nothing else.
/// </summary>
internal sealed partial class Controller : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, MemberSlot> _slots = new(StringComparer.Ordinal);
    /// <summary>A look at a host costs milliseconds: what failed is tried again soon, and nobody waits two minutes for a race that was lost.</summary>
    private readonly WorkQueue _work = new(new(MaxDelay: TimeSpan.FromSeconds(20)));
    private readonly WorkQueue _probes = new(new());
    private readonly SemaphoreSlim _workSignal = new(0);
    private readonly SemaphoreSlim _probing;
    private readonly CancellationTokenSource _stopping = new();
    private readonly ControllerOptions _options;
    private readonly IReadOnlyDictionary<string, IMemberRunner> _kinds;
    private readonly IMemberState _state;
    private readonly ITurns _turns;
    private readonly IApprovalVerifier _verifier;
    private readonly IDigestVerifier _digests;
    private readonly TimeProvider _clock;
    private readonly ILogger<Controller> _log;
    private readonly MemberWatches _watches;
    private readonly TopicWatches _topics;
    private readonly List<Task> _loops = [];
    private readonly TaskCompletionSource _looked = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly HashSet<string> _unlooked = new(StringComparer.Ordinal);
    private bool _paused;

    public Controller(ControllerOptions options, IEnumerable<IMemberRunner> kinds, IMemberState state, IUnitReader units, PathWatcher paths, ITurns turns,
        IApprovalVerifier verifier, IDigestVerifier digests, TimeProvider clock, ILogger<Controller> log, IReadOnlyList<ITopicSource>? topics = null)
    {
        (_options, _state, _turns, _verifier, _digests, _clock, _log) = (options, state, turns, verifier, digests, clock, log);
        _probing = new(options.Probers);
        _kinds = kinds.ToDictionary(k => k.Kind, StringComparer.Ordinal);
        _watches = new MemberWatches(units, paths, Wake, log, _stopping.Token);
        _topics = new TopicWatches(topics ?? [], Wake, log, _stopping.Token);
    }

    /// <summary>Called outside the lock whenever what a person would read of a member changed.</summary>
    public Action<MemberView>? Changed { get; set; }

    /// <summary>Called outside the lock for every event.</summary>
    public Action<MemberInput, MemberEvent>? Happened { get; set; }

    /// <summary>Called when a pass ends, with its duration; for metrics.</summary>
    public Action<string, ReconcilePhase, TimeSpan>? PassEnded { get; set; }

    /// <summary>Ends the process at a journal boundary; set by crash tests only.</summary>
    public Func<string, Commit, ValueTask>? Boundary { get; set; }

    public IReadOnlyCollection<string> Kinds => [.. _kinds.Keys.Order(StringComparer.Ordinal)];

    public ImmutableArray<MemberView> Members
    {
        get { lock (_lock) return [.. _slots.Values.Select(s => s.View).OrderBy(v => v.Input.Key, StringComparer.Ordinal)]; }
    }

    /// <summary>Done once every member that was here at the start has been looked at.</summary>
    public Task LookedAtAll => _looked.Task;

    public void Start()
    {
        lock (_lock)
        {
            _unlooked.UnionWith(_slots.Keys);
            if (_unlooked.Count == 0) _looked.TrySetResult();
        }
        for (var i = 0; i < _options.Workers; i++) _loops.Add(Task.Run(WorkLoopAsync));
        _loops.Add(Task.Run(ProbeLoopAsync));
    }

    /// <summary>Adds to a member what this host knows of its peers by itself; set before the first is assigned.</summary>
    public Func<MemberInput, MemberInput> Mark { get; set; } = static input => input;

    /// <summary>What <see cref="Mark"/> adds has changed.</summary>
    public void MarkAgain()
    {
        lock (_lock)
            foreach (var slot in _slots.Values) slot.Input = Mark(slot.Input);
        Wake(null);
    }

    /// <summary>A new or changed assignment; already stored.</summary>
    public void Assign(MemberInput input)
    {
        input = Mark(input with { DigestVerifier = _digests });
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            if (!_slots.TryGetValue(input.Key, out var slot))
                _slots[input.Key] = slot = new MemberSlot(input, _kinds.GetValueOrDefault(input.Key.Split('/') is [_, var kind, ..] ? kind : ""), now);
            slot.Input = input; // The view keeps what was last looked at, so that the next look at a new generation is news.
            slot.Immediate = 0;
        }
        Wake(input.Key);
    }

    /// <summary>The assignment is no longer listed and its member is gone: nothing is left to do.</summary>
    public void Forget(string key)
    {
        lock (_lock)
        {
            _slots.Remove(key);
            _work.Remove(key);
            _probes.Remove(key);
            Looked(key);
        }
        _watches.Clear(key);
        _topics.Clear(key);
    }

    private void Looked(string key)
    {
        if (_unlooked.Remove(key) && _unlooked.Count == 0) _looked.TrySetResult();
    }

    /// <summary>Kill switch: nothing is applied until it is lifted; looking goes on.</summary>
    public void SetPaused(bool paused)
    {
        lock (_lock) _paused = paused;
        foreach (var view in Members) Wake(view.Input.Key);
    }

    /// <summary>Something about this member changed; null = about any.</summary>
    public void Wake(string? key)
    {
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            foreach (var (k, slot) in key is null ? [.. _slots] : _slots.TryGetValue(key, out var one) ? new[] { KeyValuePair.Create(key, one) } : [])
            {
                _work.Add(k, now);
                slot.Woken.TrySetResult();
            }
        }
        _workSignal.Release();
    }

    /// <summary>Wakes the members of a resource: an approval came.</summary>
    public void WakeResource(string resourceUid)
    {
        foreach (var view in Members)
            if (view.Input.ResourceUid == resourceUid) Wake(view.Input.Key);
    }

    /// <summary>Observes and plans a hypothetical assignment; changes nothing.</summary>
    public async Task<PassResult?> PreviewAsync(MemberInput input, CancellationToken stop)
    {
        var kind = input.Key.Split('/') is [_, var k, ..] ? k : "";
        if (!_kinds.TryGetValue(kind, out var runner)) return null;
        input = Mark(input with { DigestVerifier = _digests });
        return await runner.PreviewAsync(input, Context(input, null, [], _ => { }), stop);
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        _workSignal.Release(_options.Workers + 1);
        try { await Task.WhenAll(_loops).WaitAsync(TimeSpan.FromSeconds(10)); }
        catch (Exception e) when (e is TimeoutException or OperationCanceledException) { LogSlowStop(_log); }
        await _watches.DisposeAsync();
        try { await _topics.Ended.WaitAsync(TimeSpan.FromSeconds(5)); }
        catch (TimeoutException) { LogSlowStop(_log); }
        // A probe may still be under way and give its place back: the semaphore holds nothing that needs disposing.
        _stopping.Dispose();
        _workSignal.Dispose();
    }

    private async Task WorkLoopAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            string key;
            MemberSlot? slot;
            TimeSpan? wait;
            lock (_lock)
            {
                var now = _clock.GetUtcNow();
                var taken = _work.TryTake(now, out key);
                slot = taken ? _slots.GetValueOrDefault(key) : null;
                if (taken && slot is null) { _work.Done(key, now); continue; }
                if (slot is not null)
                {
                    slot.Working = true;
                    slot.Woken = new(TaskCreationOptions.RunContinuationsAsynchronously);
                }
                wait = _work.NextDue is { } due ? due - now : null;
            }
            if (slot is null)
            {
                var limit = wait is { } w ? TimeSpan.FromMilliseconds(Math.Clamp(w.TotalMilliseconds, 1, 60_000)) : TimeSpan.FromMinutes(1);
                try { await _workSignal.WaitAsync(limit, _stopping.Token); }
                catch (OperationCanceledException) { return; }
                continue;
            }
            if (wait <= TimeSpan.Zero) _workSignal.Release(); // More is due: another worker may take it.
            await PassAsync(key, slot);
        }
    }

    private PassContext Context(MemberInput input, OpenRun? open, ImmutableArray<Attempt> attempts, Action<Tell> tell, string destroyed = "") => new()
    {
        Destroyed = destroyed,
        Store = _state.For(input),
        Turns = _turns,
        Verifier = _verifier,
        Clock = _clock,
        Attempts = new(attempts, _clock.GetUtcNow(), MaxReturns: _options.MaxReturns, Rest: _options.Rest),
        Open = open,
        Mode = _paused ? Mode.Propose : _options.Mode,
        NewRunId = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)),
        Tell = tell,
        Pause = (span, stop) => PauseAsync(input.Key, span, stop),
        Underway = doing => Underway(input.Key, doing),
        Boundary = Boundary,
        IsPaused = () => PauseOf(input.Key) is not null,
        Began = run => Began(input.Key, SignedRun.Of(run)),
    };

    /// <summary>A step's wait: ends early when a signal about the member arrives, so confirmation is as fast as the world is.</summary>
    private async Task PauseAsync(string key, TimeSpan span, CancellationToken stop)
    {
        Task woken;
        lock (_lock)
        {
            if (!_slots.TryGetValue(key, out var slot)) { woken = Task.Delay(span, _clock, stop); }
            else
            {
                if (slot.Woken.Task.IsCompleted) slot.Woken = new(TaskCreationOptions.RunContinuationsAsynchronously);
                woken = slot.Woken.Task;
            }
        }
        await Task.WhenAny(woken, Task.Delay(span, _clock, stop));
        stop.ThrowIfCancellationRequested();
    }

    [LoggerMessage(EventId = 1001, Level = LogLevel.Error, Message = "{Resource}#{Ordinal}: pass failed: {Why}")]
    private static partial void LogPassFailed(ILogger log, string resource, int ordinal, string why, Exception? exception);

    [LoggerMessage(EventId = 1002, Level = LogLevel.Information, Message = "{Resource}#{Ordinal}: {Reason}: {What}")]
    private static partial void LogEvent(ILogger log, string resource, int ordinal, string reason, string what);

    [LoggerMessage(EventId = 1003, Level = LogLevel.Warning, Message = "stopping although a pass did not end; its journal says where it was")]
    private static partial void LogSlowStop(ILogger log);
}
