using System.Diagnostics;
using AgentMetal.NodeAgent.Pipeline.Stories;
using AgentMetal.Runtime.Execution;

namespace AgentMetal.NodeAgent.Pipeline;

internal sealed partial class Controller
{
    private static readonly TimeSpan ProbeDeadline = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan ProbeFresh = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan ProbeSlack = TimeSpan.FromMilliseconds(250);

    private async Task PassAsync(string key, MemberSlot slot)
    {
        var input = slot.Input;
        var started = Stopwatch.GetTimestamp();
        PassResult result;
        try
        {
            var runner = slot.Runner ?? throw new NotSupportedException($"kind {input.Key.Split('/')[1]} is not in this build; kinds: {string.Join(", ", Kinds)}");
            SetWatch(key, slot, runner, input);
            // The baseline is taken before the look: what changes in between makes the next probe differ, and costs one more look at most.
            slot.Fingerprint = JustSeen(slot) ?? await ProbeAsync(slot);
            var open = await _state.OpenRunAsync(key, _stopping.Token);
            if (PauseOf(key) is { } pause)
            {
                if (Stories is { } told && slot.Watch is { } watched) await told.LookAsync(input, watched, open is not null, _stopping.Token);
                var looked = await runner.PreviewAsync(input, Context(input, null, await _state.AttemptsAsync(key, input.Generation, _stopping.Token), _ => { }), _stopping.Token);
                if (Stories is { } noted) await noted.NoteAsync(input, looked.Notes, _stopping.Token);
                looked = looked with { Destroyed = input.Absent ? await _state.DestroyedAsync(key, input.Generation, _stopping.Token) : "" };
                Finish(key, slot, input, Held(looked, pause), Stopwatch.GetElapsedTime(started));
                return;
            }
            if (open is not null) Began(key, SignedRun.Of(open.Run));
            if (Stories is { } stories && slot.Watch is { } watch) await stories.LookAsync(input, watch, open is not null, _stopping.Token);
            var attempts = await _state.AttemptsAsync(key, input.Generation, _stopping.Token);
            var destroyed = input.Absent ? await _state.DestroyedAsync(key, input.Generation, _stopping.Token) : "";
            var current = input with { IsSuperseded = () => IsSuperseded(slot, input) };
            result = await runner.ReconcileAsync(current, Context(input, open, attempts, told => Tell(input, told), destroyed), _stopping.Token);
            if (input.Absent && destroyed.Length == 0) destroyed = await _state.DestroyedAsync(key, input.Generation, _stopping.Token);
            result = result with { Destroyed = destroyed };
            SetWatch(key, slot, runner, input);
            await CompareAsync(runner, slot, input, result, open is not null);
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested) { return; }
        catch (PausedException) { result = new(new() { Phase = ReconcilePhase.Paused, Blocker = PauseOf(key)?.Text ?? "", Again = TimeSpan.Zero }, false, []); }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            LogPassFailed(_log, input.ResourceKey, input.Ordinal, e.Message, e is IOException or NotSupportedException ? null : e);
            var phase = e is NotSupportedException ? ReconcilePhase.Stuck : ReconcilePhase.Unseen;
            result = new(new() { Phase = phase, Blocker = e.Message, BackOff = true }, false, []);
        }
        Finish(key, slot, input, result, Stopwatch.GetElapsedTime(started));
    }

    private void Finish(string key, MemberSlot slot, MemberInput input, PassResult result, TimeSpan took)
    {
        MemberView before, view;
        lock (_lock)
        {
            slot.Working = false;
            var now = _clock.GetUtcNow();
            var retryAt = Schedule(key, slot, result, now);
            (before, view) = (slot.View, ViewOf(slot, input, result, now, retryAt, Stories?.View(key) ?? StoryView.None));
            view = view with { Paused = _pauses.GetValueOrDefault(key) ?? _struckOff };
            slot.View = view;
            if (_slots.ContainsKey(key)) _probes.Add(key, now + _options.Probe);
            Looked(key);
        }
        _workSignal.Release();
        PassEnded?.Invoke(input.ResourceKey, result.Report.Phase, took);
        if (!view.SaysTheSameAs(before)) Changed?.Invoke(view);
    }

    private DateTimeOffset? Schedule(string key, MemberSlot slot, PassResult result, DateTimeOffset now)
    {
        var report = result.Report;
        if (report.Again == TimeSpan.Zero && ++slot.Immediate <= _options.MaxImmediate)
        {
            _work.Done(key, now, TimeSpan.Zero);
            return now;
        }
        if (report.Phase == ReconcilePhase.Converged || result.Kept?.Phase == ReconcilePhase.Converged) slot.Immediate = 0;
        if (report.BackOff || report.Again == TimeSpan.Zero) return _work.Retry(key, now, Random.Shared.NextDouble());
        var again = report.Again ?? _options.Resync * (0.9 + (0.2 * Random.Shared.NextDouble()));
        _work.Done(key, now, again);
        return report.Phase == ReconcilePhase.Converged ? null : now + again;
    }

    private static MemberView ViewOf(MemberSlot slot, MemberInput input, PassResult result, DateTimeOffset now, DateTimeOffset? retryAt, StoryView story)
    {
        var (old, report) = (slot.View, result.Report);
        var phase = result.Errors.IsEmpty ? report.Phase.ToString() : "Unsupported";
        return old with
        {
            Input = input,
            Phase = phase,
            Summary = report.Summary.Length > 0 ? report.Summary : old.Summary,
            Blocker = report.Blocker,
            Since = phase == old.Phase ? old.Since : now,
            RetryAt = retryAt,
            Differences = report.Differences,
            Held = report.Held,
            Report = report,
            Drift = result.Drift,
            Seen = result.Errors.IsEmpty && report.Phase != ReconcilePhase.Unseen ? result.Details : old.Seen,
            Underway = "",
            Running = null,
            Story = story,
            // A step that ran has changed what was seen before it; the look that follows at once says how it is.
            Serving = report.Phase == ReconcilePhase.Unseen ? null : report.Executed is not null ? old.Serving : result.Serving,
            Kept = result.Kept,
            Destroyed = result.Destroyed,
            Gone = result.Gone,
            // What could not be looked at has not moved.
            Move = report.Phase == ReconcilePhase.Unseen ? old.Move : result.Move,
            Errors = result.Errors,
        };
    }

    /// <summary>A signed run is under way: people see since when. What of it has not begun can still be denied, so it is still shown.</summary>
    private void Began(string key, SignedRun? run)
    {
        if (run is null) return;
        MemberView view;
        lock (_lock)
        {
            if (!_slots.TryGetValue(key, out var slot) || slot.View.Running is not null) return;
            slot.View = view = slot.View with { Running = run, Phase = nameof(ReconcilePhase.Converging), Blocker = "", Since = slot.View.Phase == nameof(ReconcilePhase.Converging) ? slot.View.Since : _clock.GetUtcNow() };
        }
        Changed?.Invoke(view);
    }

    /// <summary>Tells of a member what did not come from a pass of it.</summary>
    public void Note(string key, Tell told)
    {
        MemberSlot? slot;
        lock (_lock) slot = _slots.GetValueOrDefault(key);
        if (slot is not null) Tell(slot.Input, told);
    }

    private void SetWatch(string key, MemberSlot slot, IMemberRunner runner, MemberInput input)
    {
        slot.Watch = runner.WatchFor(input);
        _watches.Set(key, slot.Watch);
        _topics.Set(key, slot.Watch.Topics);
    }

    private async Task ProbeLoopAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            MemberSlot? slot = null;
            string key;
            TimeSpan wait;
            lock (_lock)
            {
                var now = _clock.GetUtcNow();
                if (_probes.TryTake(now, out key)) slot = _slots.GetValueOrDefault(key);
                wait = _probes.NextDue is { } due ? due - now : _options.Probe;
            }
            try
            {
                if (key.Length == 0)
                {
                    // Those that are due within moments are asked together: each time that a thread wakes costs more than a question.
                    await Task.Delay(TimeSpan.FromMilliseconds(Math.Clamp(wait.TotalMilliseconds, ProbeSlack.TotalMilliseconds, _options.Probe.TotalMilliseconds)), _clock, _stopping.Token);
                    continue;
                }
                // A server that hangs takes its whole deadline to say so: the others are not asked later for it.
                await _probing.WaitAsync(_stopping.Token);
            }
            catch (OperationCanceledException) { return; }
            _ = ProbeOneAsync(key, slot);
        }
    }

    private async Task ProbeOneAsync(string key, MemberSlot? slot)
    {
        string? seen = null;
        try { seen = slot is { Working: false, Fingerprint: not null } ? await ProbeAsync(slot) : null; }
        catch (OperationCanceledException) { return; }
        catch (Exception e) when (e is not OutOfMemoryException) { LogPassFailed(_log, slot!.Input.ResourceKey, slot.Input.Ordinal, "probe: " + e.Message, e); }
        finally { _probing.Release(); }
        var changed = false;
        lock (_lock)
        {
            // A pass that began meanwhile has taken its own baseline.
            changed = slot is { Working: false } && seen is not null && seen != slot.Fingerprint;
            if (changed) slot!.JustSeen = (seen!, _clock.GetTimestamp());
            if (slot is not null) _probes.Done(key, _clock.GetUtcNow(), _options.Probe * (0.95 + (0.1 * Random.Shared.NextDouble())));
            else _probes.Done(key, _clock.GetUtcNow());
        }
        if (changed) Wake(key);
    }

    /// <summary>What the probe that caused this pass saw: a server that hangs would take its whole deadline to say it once more.</summary>
    private string? JustSeen(MemberSlot slot)
    {
        lock (_lock)
        {
            var (seen, at) = slot.JustSeen;
            slot.JustSeen = default;
            return seen is not null && _clock.GetElapsedTime(at) < ProbeFresh ? seen : null;
        }
    }

    private async Task<string?> ProbeAsync(MemberSlot slot)
    {
        if (slot.Watch?.ProbeAsync is not { } probe) return null;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
        try
        {
            var asked = probe(deadline.Token);
            if (!asked.IsCompleted) deadline.CancelAfter(ProbeDeadline); // Most answer before a timer would be set.
            return await asked;
        }
        catch (OperationCanceledException) when (!_stopping.IsCancellationRequested) { return "late"; }
    }

    /// <summary>Something else is wanted of it by now.</summary>
    private static bool IsSuperseded(MemberSlot slot, MemberInput input) =>
        !ReferenceEquals(slot.Input, input) && MemberRunner<string, string>.GoalHash(slot.Input) != MemberRunner<string, string>.GoalHash(input);
}
