using System.Collections.Immutable;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>What a pass needs from the daemon.</summary>
internal sealed record PassContext
{
    public required IPassStore Store { get; init; }
    public required ITurns Turns { get; init; }
    public required IApprovalVerifier Verifier { get; init; }
    public required TimeProvider Clock { get; init; }
    public required Attempts Attempts { get; init; }
    public OpenRun? Open { get; init; }
    public Mode Mode { get; init; } = Mode.Enforce;
    public required string NewRunId { get; init; }
    public required Action<Tell> Tell { get; init; }
    public required Func<TimeSpan, CancellationToken, Task> Pause { get; init; }

    /// <summary>What the step that runs is doing.</summary>
    public Action<string>? Underway { get; init; }
    public Func<string, Commit, ValueTask>? Boundary { get; init; }

    /// <summary>Told of a run that begins, once it is on the disk.</summary>
    public Action<RunRecord>? Began { get; init; }

    /// <summary>Of a member that goes: what was begun to be taken away for good; empty = nothing.</summary>
    public string Destroyed { get; init; } = "";

    /// <summary>Whether a person at the host has paused it: no further step begins.</summary>
    public Func<bool>? IsPaused { get; init; }
}

/// <param name="Report">What was found and done.</param>
/// <param name="Gone">Desired absent, and nothing is left.</param>
/// <param name="Errors">The spec is not supported by this build; the last good goal keeps running.</param>
internal sealed record PassResult(ReconcileReport Report, bool Gone, ImmutableArray<SpecError> Errors)
{
    /// <summary>What somebody changed by hand and is left alone.</summary>
    public ImmutableArray<Difference> Drift { get; init; } = [];

    /// <summary>For people.</summary>
    public ImmutableSortedDictionary<string, string> Details { get; init; } = MemberDetails.None;

    /// <summary>What people should know of what is declared.</summary>
    public ImmutableArray<string> PlanNotes { get; init; } = [];

    public MemberMove Move { get; init; } = MemberMove.None;

    /// <summary>Null = it cannot be told.</summary>
    public MemberServing? Serving { get; init; }

    /// <summary>Settings, roles and files as the pass saw them before it changed anything; null = it saw nothing.</summary>
    public ImmutableSortedDictionary<string, string>? Watched { get; init; }

    /// <summary>See <see cref="OutsideNote"/>.</summary>
    public ImmutableArray<OutsideNote> Notes { get; init; } = [];

    /// <summary>See <see cref="MemberView.Kept"/>.</summary>
    public ReconcileReport? Kept { get; init; }

    /// <summary>See <see cref="MemberView.Destroyed"/>.</summary>
    public string Destroyed { get; init; } = "";
}

/// <summary>A member agent with its types closed over, as the controller sees it.</summary>
internal interface IMemberRunner
{
    string Kind { get; }

    Task<PassResult> ReconcileAsync(MemberInput input, PassContext context, CancellationToken stop);

    /// <summary>Observes and plans; changes and writes nothing.</summary>
    Task<PassResult> PreviewAsync(MemberInput input, PassContext context, CancellationToken stop);

    MemberWatch WatchFor(MemberInput input);

    /// <summary>How it would be stopped for a person at the host, from a look at it; null where nothing of its kind runs.</summary>
    Task<MemberStop?> StopOfAsync(MemberInput input, CancellationToken stop) => Task.FromResult<MemberStop?>(null);

    /// <summary>What is told of a watched setting that moved; null = nothing.</summary>
    string? MovedWords(MemberInput input, string key, string was, string now) => null;
}

/// <summary>Closes a member agent's types, at registration, so that nothing is found by reflection.</summary>
internal sealed class MemberRunner<TGoal, TState>(MemberAgent<TGoal, TState> agent) : IMemberRunner
    where TGoal : class
{
    public string Kind => agent.Kind;

    public MemberWatch WatchFor(MemberInput input) => agent.WatchFor(input);

    public async Task<MemberStop?> StopOfAsync(MemberInput input, CancellationToken stop)
    {
        // Of one whose spec this build does not understand, what runs can be stopped all the same.
        var declared = input with { Absent = false, Teardown = false };
        return agent.StopOf(declared, agent.ReadGoal(declared).Goal, await agent.ObserverFor(declared).ObserveAsync(stop));
    }

    public string? MovedWords(MemberInput input, string key, string was, string now) => agent.MovedWords(input, key, was, now);

    public Task<PassResult> ReconcileAsync(MemberInput input, PassContext context, CancellationToken stop) =>
        input is { Absent: true, Teardown: true } ? LeaveAsync(input, context, stop) : RunAsync(input, context, preview: false, stop);

    public Task<PassResult> PreviewAsync(MemberInput input, PassContext context, CancellationToken stop) => RunAsync(input, context, preview: true, stop);

    /// <summary>
    /// A deletion begins with nothing before it is signed. While it waits, or is denied, the member is kept as it was declared; nobody is asked for what that would need beside it. Once anything
    /// was begun to be taken away for good there is nothing to keep any more.
    /// </summary>
    private async Task<PassResult> LeaveAsync(MemberInput input, PassContext context, CancellationToken stop)
    {
        var declared = input with { Absent = false, Teardown = false };
        PassResult? kept = null;
        if (context.Open is { } open && open.Run.GoalHash == GoalHash(declared))
        {
            kept = await RunAsync(declared, context, preview: false, stop, askNobody: true);
            if (kept.Report.Phase == ReconcilePhase.Unseen) return kept; // The run stays open.
            context = context with { Open = null };
        }
        var leaving = await RunAsync(input, context, preview: false, stop, allOrNothing: true);
        if (context.Open is not null || context.Destroyed.Length > 0 || leaving.Report is not { Phase: ReconcilePhase.AwaitingApproval, Executed: null }) return leaving;
        kept ??= await RunAsync(declared, context, preview: false, stop, askNobody: true);
        var again = kept.Report.Again is { } soon && !(leaving.Report.Again < soon) ? soon : leaving.Report.Again;
        return leaving with
        {
            Report = leaving.Report with { Again = again, BackOff = leaving.Report.BackOff || kept.Report.BackOff, Completed = kept.Report.Completed, Summary = kept.Report.Summary },
            Kept = kept.Report,
            Serving = kept.Serving,
            Watched = kept.Watched,
            Notes = kept.Notes,
            Drift = kept.Drift,
            Details = kept.Details,
        };
    }

    private async Task<PassResult> RunAsync(MemberInput input, PassContext context, bool preview, CancellationToken stop, bool allOrNothing = false, bool askNobody = false)
    {
        var goal = agent.ReadGoal(input);
        if (!goal.Errors.IsEmpty)
            return new(new() { Phase = ReconcilePhase.Stuck, Blocker = string.Join("; ", goal.Errors.Select(e => $"{e.Path}: {e.Message}")), BackOff = true }, false, goal.Errors);
        var reconciler = new Reconciler<TGoal, TState>(agent.AgentFor(input), context.Verifier, new RulesReasoner(), context.Clock);
        var request = new PlanRequest(new(input.NodeUid, input.ResourceUid, input.Generation), GoalHash(input), input.Protect) { Teardown = input.Teardown };
        var box = new Reconciler<TGoal, TState>.Box();
        var work = new ReconcileInput<TGoal>(input.Key, request, goal.Goal, context.Attempts, preview ? null : context.Open, context.Mode, context.NewRunId)
        {
            AllOrNothing = allOrNothing,
            AskNobody = askNobody,
        };
        var driver = new EffectDriver<TState>(context.Store, agent.ObserverFor(input), context.Turns, context.Tell, context.Pause) { Boundary = context.Boundary, Underway = context.Underway, Began = context.Began, IsPaused = context.IsPaused };
        await driver.RunAsync(preview ? reconciler.Preview(work, box) : reconciler.Reconcile(work, box), stop);
        var report = box.Report ?? throw new InvalidOperationException("the pass ended without a report");
        var gone = input.Absent && report.Phase == ReconcilePhase.Converged && box.State is { } state && agent.IsGone(state);
        var planner = agent.AgentFor(input);
        return new(report, gone, [])
        {
            Drift = box.State is { } now ? [.. planner.Drift(planner.Aim(goal.Goal, now), now)] : [],
            Details = box.State is { } seen ? agent.DetailsOf(goal.Goal, seen) : MemberDetails.None,
            Serving = box.State is { } answering && report.Executed is null ? agent.ServingOf(goal.Goal, answering) : null,
            Watched = box.State is { } first ? agent.WatchedOf(goal.Goal, first) : null,
            PlanNotes = preview && box.State is { } planned ? agent.PlanNotesOf(goal.Goal, planned) : [],
            Notes = box.State is { } found ? agent.NotesOf(input, goal.Goal, found) : [],
            Move = box.State is { } looked ? agent.MoveOf(looked) : MemberMove.None,
        };
    }

    /// <summary>Everything that makes up the goal; secrets only as a digest. Signatures are none of it: they say who may, not what is wanted.</summary>
    internal static string GoalHash(MemberInput input)
    {
        var hash = new FieldHash("agentmetal/goal/v1").Add(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(input.Spec.Span)))
            .Add(input.Ordinal).Add(input.PrimaryOrdinal).Add(input.Absent ? 1 : 0).Add(input.Teardown ? 1 : 0).Add(input.Protect ? 1 : 0).Add(input.Adopt);
        foreach (var p in input.Peers) hash.Add(p.Ordinal).Add(p.NodeUid).Add(p.Address).Add(p.Port);
        if (input.MoveFrom is { } from) hash.Add("from").Add(from.NodeUid).Add(from.Address).Add(from.Port);
        if (input.MoveTo is { } to) hash.Add("to").Add(to.NodeUid);
        foreach (var (name, value) in input.Secrets.OrderBy(s => s.Key, StringComparer.Ordinal))
            hash.Add(name).Add(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(value.Span)));
        if (input.References.Count > 0) hash.Add("references");
        foreach (var (key, spec) in input.References.OrderBy(r => r.Key, StringComparer.Ordinal))
            hash.Add(key).Add(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(spec.Span)));
        return hash.Hex();
    }
}
