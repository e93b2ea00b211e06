using System.Collections.Concurrent;
using System.Security.Cryptography;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Trust;
using Step = AgentMetal.Runtime.Planning.Step;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>What placement last found of a resource.</summary>
/// <param name="Report">Of the reconciler.</param>
/// <param name="Generation">That it planned for.</param>
/// <param name="Since">Since when the phase and the blocker are the same.</param>
/// <param name="RetryAt">When it looks again by itself; null = on a change only.</param>
internal sealed record PlacementReport(ReconcileReport Report, long Generation, DateTimeOffset Since, DateTimeOffset? RetryAt);

/// <summary>Runs placement for every resource whose world changed. One worker: all of it is in memory, and the store takes one writer anyway.</summary>
internal sealed partial class Orchestrator : IDisposable
{
    private static readonly TimeSpan Resync = TimeSpan.FromMinutes(5);
    private const int MaxImmediate = 64;

    private readonly Lock _lock = new();
    private readonly WorkQueue _queue = new(new(BaseDelay: TimeSpan.FromMilliseconds(500), MaxDelay: TimeSpan.FromSeconds(30)));
    private readonly SemaphoreSlim _signal = new(0);
    private readonly ConcurrentDictionary<string, PlacementReport> _reports = new(StringComparer.Ordinal);
    private readonly FleetModel _model;
    private readonly PlacementWorld _world;
    private readonly FleetJournal _journal;
    private readonly EventLog _events;
    private readonly TimeProvider _clock;
    private readonly ILogger<Orchestrator> _log;
    private readonly Reconciler<PlacementGoal, PlacementState> _reconciler;

    public Orchestrator(PlacementAgent agent, FleetModel model, PlacementWorld world, FleetJournal journal, EventLog events, TimeProvider clock, ILogger<Orchestrator> log)
    {
        (_model, _world, _journal, _events, _clock, _log) = (model, world, journal, events, clock, log);
        _reconciler = new(agent, new NoApprovals(), new RulesReasoner(), clock);
    }

    /// <summary>Called with the resource's uid after each pass.</summary>
    public Action<string>? Reconciled { get; set; }

    public PlacementReport? Report(string uid) => _reports.GetValueOrDefault(uid);

    /// <summary>Something that placement of this resource depends on changed.</summary>
    public void Wake(string uid)
    {
        lock (_lock) _queue.Add(uid, _clock.GetUtcNow());
        _signal.Release();
    }

    /// <summary>Resources that are not where they should be: a host came, left or changed.</summary>
    public void WakeUnplaced()
    {
        foreach (var (uid, report) in _reports)
            if (report.Report.Phase != ReconcilePhase.Converged) Wake(uid);
    }

    public async Task RunAsync(CancellationToken stop)
    {
        foreach (var key in _journal.OpenKeys()) Wake(key);
        foreach (var uid in _model.Current.Resources.Keys) Wake(uid);
        while (!stop.IsCancellationRequested)
        {
            string uid;
            bool taken;
            TimeSpan wait;
            lock (_lock)
            {
                var now = _clock.GetUtcNow();
                taken = _queue.TryTake(now, out uid);
                wait = _queue.NextDue is { } due ? due - now : Resync;
            }
            if (taken)
            {
                await PassAsync(uid, stop);
                continue;
            }
            try { await WaitAsync(TimeSpan.FromMilliseconds(Math.Clamp(wait.TotalMilliseconds, 1, Resync.TotalMilliseconds)), stop); }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
        }
    }

    public void Dispose() => _signal.Dispose();

    private async Task WaitAsync(TimeSpan limit, CancellationToken stop)
    {
        using var timeout = new CancellationTokenSource(limit, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(stop, timeout.Token);
        try { await _signal.WaitAsync(either.Token); }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested) { return; }
        while (_signal.Wait(0, stop)) { }
    }

    private async Task PassAsync(string uid, CancellationToken stop)
    {
        ReconcileReport report;
        var resource = _model.Current.Resources.GetValueOrDefault(uid)?.Value;
        try { report = await ReconcileAsync(uid, resource, stop); }
        catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            LogPassFailed(_log, uid, e);
            report = new() { Phase = ReconcilePhase.Unseen, Blocker = e.Message, BackOff = true };
        }
        var now = _clock.GetUtcNow();
        lock (_lock)
        {
            if (report.BackOff) _queue.Retry(uid, now, Random.Shared.NextDouble());
            else _queue.Done(uid, now, report.Again ?? (report.Phase == ReconcilePhase.Converged ? null : Resync));
        }
        if (resource is null || _model.Current.Resources.GetValueOrDefault(uid) is null) _reports.TryRemove(uid, out _);
        else
        {
            var before = _reports.GetValueOrDefault(uid);
            var same = before is not null && before.Report.Phase == report.Phase && before.Report.Blocker == report.Blocker;
            _reports[uid] = new(report, resource.Metadata.Generation, same ? before!.Since : now, report.Phase == ReconcilePhase.Converged ? null : now + (report.Again ?? TimeSpan.FromSeconds(30)));
            var open = report.Differences.Where(d => d.Kind is "no-room" or "misplaced" or "unresolved").ToList();
            if (!same && open.Count > 0) _events.Warn("", Keys.Of(resource), "NotPlaced", string.Join("; ", open.Select(d => d.Text)));
        }
        Reconciled?.Invoke(uid);
    }

    private async Task<ReconcileReport> ReconcileAsync(string uid, Resource? resource, CancellationToken stop)
    {
        // Passes follow one another without waiting while steps get done; the bound keeps a wrong tool from taking the worker for good.
        for (var passes = 0; ; passes++)
        {
            var open = _journal.Open(uid);
            if (resource is null && open is null) return new() { Phase = ReconcilePhase.Converged };
            var goal = resource is null ? null : _world.Goal(resource);
            var request = resource is null ? new(open!.Run.Subject, open.Run.GoalHash) : PlacementWorld.Request(resource, goal);
            var generation = request.Subject.Generation;
            var runId = open?.Run.RunId ?? Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8));
            var input = new ReconcileInput<PlacementGoal>(uid, request, goal, _journal.Attempts(uid, generation), open, Mode.Enforce, runId);
            var box = new Reconciler<PlacementGoal, PlacementState>.Box();
            var key = resource is null ? uid : Keys.Of(resource);
            foreach (var effect in _reconciler.Reconcile(input, box)) await CarryOutAsync(effect, uid, runId, generation, key, stop);
            var report = box.Report!;
            if (report.Again != TimeSpan.Zero || report.BackOff) return report;
            if (passes >= MaxImmediate) return report with { Again = null, BackOff = true };
            resource = _model.Current.Resources.GetValueOrDefault(uid)?.Value;
        }
    }

    private async ValueTask CarryOutAsync(Effect effect, string uid, string runId, long generation, string key, CancellationToken stop)
    {
        switch (effect)
        {
            case Observe<PlacementState> look:
                look.State = _world.Observe(uid);
                break;
            case Commit commit:
                _journal.Commit(uid, runId, generation, key, commit);
                break;
            case Apply<PlacementState> apply:
                try { await apply.Call.ApplyAsync(new(apply.StepKey, apply.Outputs, stop)); }
                catch (WorldException e) { apply.Refused = e.Message; }
                break;
            case Pause pause:
                await Task.Delay(pause.Span, _clock, stop);
                break;
            case Tell tell:
                if (tell.Reason != "StepStarted") _events.Add("", key, tell.Warning ? "Warning" : "Normal", tell.Reason, tell.Message);
                break;
            case FindApproval:
                break; // None exists for the coordinator's own steps, and none of them asks for one.
            case TakeTurn turn:
                turn.Granted = true; // The coordinator is the one worker of its own steps.
                break;
            case ReleaseTurns:
                break;
            default:
                throw new InvalidOperationException($"placement has no use for {effect.GetType().Name}");
        }
    }

    /// <summary>A fleet half never runs a Dangerous step: what deletes data is a step of the host, signed for the host.</summary>
    private sealed class NoApprovals : IApprovalVerifier
    {
        public ApprovalVerdict Verify(PlanSubject subject, Step step, System.Collections.Immutable.ImmutableArray<SignedApproval> found, DateTimeOffset now) =>
            new(false, "", "the coordinator runs no Dangerous step");
    }

    [LoggerMessage(EventId = 2401, Level = LogLevel.Error, Message = "Placement of {Resource} failed")]
    private static partial void LogPassFailed(ILogger log, string resource, Exception e);
}
