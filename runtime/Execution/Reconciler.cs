using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Runtime.Execution;

/// <summary>What the runtime lets an agent do with a resource; policy over the same pure functions.</summary>
public enum Mode
{
    /// <summary>Plan and act.</summary>
    Enforce,

    /// <summary>Plan and show; act on nothing.</summary>
    Propose,

    /// <summary>Report differences only.</summary>
    Observe,
}

/// <summary>Where a resource or a member stands.</summary>
public enum ReconcilePhase
{
    /// <summary>No difference.</summary>
    Converged,

    /// <summary>Steps ran or will run next.</summary>
    Converging,

    /// <summary>It clears by itself.</summary>
    Waiting,

    /// <summary>Steps wait for a signature.</summary>
    AwaitingApproval,

    /// <summary>No tool can go on.</summary>
    Stuck,

    /// <summary>Remedies are exhausted or an undo stopped: a person is needed.</summary>
    Escalated,

    /// <summary>The world could not be read.</summary>
    Unseen,

    /// <summary>It is not as wanted, and a person at the host has asked that nothing is done to it.</summary>
    Paused,
}

/// <param name="Key">The assignment or resource.</param>
/// <param name="Request">Whose plan, and its bounds.</param>
/// <param name="Goal">What is wanted; null = teardown.</param>
/// <param name="Attempts">What was tried for this generation.</param>
/// <param name="Open">A run that did not end, with its journal.</param>
/// <param name="Mode">What is allowed.</param>
/// <param name="NewRunId">Identifies the run that may be opened; unique per host.</param>
public sealed record ReconcileInput<TGoal>(string Key, PlanRequest Request, TGoal? Goal, Attempts Attempts, OpenRun? Open, Mode Mode, string NewRunId)
    where TGoal : class
{
    /// <summary>Nothing runs while anything of the plan waits for a signature: a deletion that nobody has signed begins with nothing.</summary>
    public bool AllOrNothing { get; init; }

    /// <summary>What would need a signature is left out, and nobody is asked for it: another question about the same thing is open.</summary>
    public bool AskNobody { get; init; }
}

/// <summary>What one reconcile found and did.</summary>
public sealed record ReconcileReport
{
    /// <summary>Where it stands.</summary>
    public required ReconcilePhase Phase { get; init; }

    /// <summary>One line for people.</summary>
    public string Summary { get; init; } = "";

    /// <summary>What blocks it, for people; empty when nothing does.</summary>
    public string Blocker { get; init; } = "";

    /// <summary>All that is not as wanted.</summary>
    public ImmutableArray<Difference> Differences { get; init; } = [];

    /// <summary>Differences that no call answers now.</summary>
    public ImmutableArray<BlockedDifference> Blocked { get; init; } = [];

    /// <summary>Steps that wait for a signature, with those that wait for them; hashes bound to their nonces.</summary>
    public ImmutableArray<Step> Held { get; init; } = [];

    /// <summary>How the decisions about them stand, in words; empty when nothing is held.</summary>
    public string Standing { get; init; } = "";

    /// <summary>The decisions that are recorded for them.</summary>
    public ImmutableArray<SignedApproval> Decisions { get; init; } = [];

    /// <summary>The plan's steps as they would run.</summary>
    public ImmutableArray<Step> Steps { get; init; } = [];

    /// <summary>The plan's outcome and hash.</summary>
    public Outcome Outcome { get; init; }

    /// <summary>The plan's hash.</summary>
    public string PlanHash { get; init; } = "";

    /// <summary>Choice points that were decided.</summary>
    public int Questions { get; init; }

    /// <summary>How the run ended, if one ran.</summary>
    public ExecutionResult? Executed { get; init; }

    /// <summary>Steps that were confirmed in this pass.</summary>
    public int Completed { get; init; }

    /// <summary>Look again after this; null = the default resync. Zero = at once.</summary>
    public TimeSpan? Again { get; init; }

    /// <summary>Look again with back-off.</summary>
    public bool BackOff { get; init; }
}

/// <summary>
/// One pass of the pipeline over one resource: resume what is open, look, plan, hold what needs a signature, run the rest. Converged is
/// silent: it observes and writes nothing.
/// </summary>
public sealed class Reconciler<TGoal, TState>(Agent<TGoal, TState> agent, IApprovalVerifier verifier, IReasoner reasoner, TimeProvider clock)
    where TGoal : class
{
    private readonly Planner<TGoal, TState> _planner = new(agent);
    private readonly Executor<TGoal, TState> _executor = new(agent, verifier, clock);

    /// <summary>Of why a remedy failed, this many characters are kept with the attempt.</summary>
    private const int MaxDetail = 300;

    private static readonly TimeSpan s_soonest = TimeSpan.FromMilliseconds(50);

    /// <summary>Holds the report once the sequence of effects has ended.</summary>
    public sealed class Box
    {
        /// <summary>Set at the end.</summary>
        public ReconcileReport? Report { get; set; }

        /// <summary>The last state that was observed.</summary>
        public TState? State { get; set; }
    }

    /// <summary>Looks and plans; changes nothing and writes nothing.</summary>
    public IEnumerable<Effect> Preview(ReconcileInput<TGoal> input, Box box)
    {
        var look = new Observe<TState>();
        yield return look;
        if (look.Away is { } away) { box.Report = Unseen(away); yield break; }
        box.State = look.State;
        box.Report = Describe(Decide(input, look.State), look.State);
    }

    /// <summary>One pass.</summary>
    public IEnumerable<Effect> Reconcile(ReconcileInput<TGoal> input, Box box)
    {
        if (input.Open is { } open)
        {
            foreach (var e in Resume(input, open, box)) yield return e;
            yield break;
        }
        var look = new Observe<TState>();
        yield return look;
        if (look.Away is { } away) { box.Report = Unseen(away); yield break; }
        box.State = look.State;

        var plan = Decide(input, look.State);
        if (!input.AskNobody && input.Mode != Mode.Observe && plan.Steps.Any(s => s.Risk.Level == RiskLevel.Dangerous))
        {
            var recall = new Recall();
            yield return recall;
            // What people have before them stays the question while it says enough.
            if (!recall.Shown.IsEmpty) plan = Decide(input with { Request = input.Request with { Shown = recall.Shown } }, look.State);
        }
        var report = Describe(plan, look.State);
        if (plan.Outcome == Outcome.Converged || input.Mode == Mode.Observe) { box.Report = report; yield break; }

        var bound = plan.Steps;
        var judged = new Judged();
        if (!input.AskNobody)
        {
            foreach (var e in BindNonces(input.Request, plan.Steps, judged, b => bound = b)) yield return e;
        }
        if (input.Mode == Mode.Propose) { box.Report = report with { Steps = bound, Held = bound, Phase = ReconcilePhase.AwaitingApproval, Blocker = "mode is propose" }; yield break; }

        foreach (var e in Judge(input, bound, judged)) yield return e;
        if (!judged.Anew.IsEmpty)
        {
            // A denial ran out: the same question gets another hash, so that nothing that was signed before is an answer to it.
            foreach (var step in bound.Where(s => judged.Anew.Contains(s.Key))) yield return new Tell("AskedAnew", $"{step.Text}: {judged.Refusals[step.Hash]}", warning: true);
            var anew = judged.Anew;
            judged = new();
            foreach (var e in BindNonces(input.Request, plan.Steps, judged, b => bound = b, anew)) yield return e;
            foreach (var e in Judge(input, bound, judged)) yield return e;
        }
        var refusals = judged.Refusals;
        var held = HeldBy(bound, s => refusals.ContainsKey(s.Hash));
        ImmutableArray<Step> run = input.AllOrNothing && !held.IsEmpty ? [] : [.. bound.Except(held)];
        if (input.AskNobody) held = [];
        report = WithHeld(report with { Steps = bound, Held = held }, judged);
        if (run.IsEmpty)
        {
            // Where a denial stands, the next look is when it ends.
            box.Report = held.IsEmpty ? report : report with { Phase = ReconcilePhase.AwaitingApproval, Blocker = HeldBlocker(held, refusals), Again = judged.Until is { } until ? Later(until - clock.GetUtcNow()) : report.Again };
            yield break;
        }
        var record = new RunRecord(input.NewRunId, input.Key, input.Request.Subject, input.Request.GoalHash, plan.Hash, run, clock.GetUtcNow());
        ImmutableArray<AuditEntry> audit = [new("Planned", AuditBody.Of(plan, record.RunId))];
        if (!plan.BeyondQuestions.IsEmpty) audit = audit.Add(new("QuestionsBeyondLimit", AuditBody.Of(("rules", string.Join('\n', plan.BeyondQuestions)))));
        yield return new Commit { Open = record, Audit = audit };
        var execution = new Execution(record, []);
        foreach (var e in _executor.Run(input.Request, plan.Goal, execution)) yield return e;
        foreach (var e in Close(execution, box, report, held, refusals)) yield return e;
    }

    /// <summary>How the decisions stand about what is held.</summary>
    private static ReconcileReport WithHeld(ReconcileReport report, Judged judged) => report.Held.IsEmpty ? report : report with
    {
        Standing = string.Join("; ", judged.Refusals.Where(r => report.Held.Any(s => s.Hash == r.Key)).Select(r => r.Value).Distinct(StringComparer.Ordinal)),
        Decisions = [.. judged.Found.DistinctBy(a => Convert.ToHexString(a.Signature)).TakeLast(64)],
    };

    private sealed class Judged
    {
        public Dictionary<string, string> Refusals { get; } = new(StringComparer.Ordinal);
        public ImmutableHashSet<string> Anew { get; set; } = [];
        public DateTimeOffset? Until { get; set; }
        public List<SignedApproval> Found { get; } = [];

        /// <summary>By key of a step: why what was signed for it before is void.</summary>
        public ImmutableDictionary<string, string> Void { get; set; } = ImmutableDictionary<string, string>.Empty;
    }

    /// <summary>Whoever signed and is asked again hears what became of the signature.</summary>
    private static string LastTry(Attempts attempts, Step step) => attempts.Log.LastOrDefault(a => a.Difference == step.Difference) is { Worked: false } last && last.StepKey.StartsWith(step.Tool + "{", StringComparison.Ordinal)
        ? string.Create(CultureInfo.InvariantCulture, $"; it was tried at {last.At:HH:mm:ss} UTC and failed{(last.Detail.Length > 0 ? ": " + last.Detail : "")}") : "";

    private IEnumerable<Effect> Judge(ReconcileInput<TGoal> input, ImmutableArray<Step> bound, Judged judged)
    {
        foreach (var step in bound.Where(s => Executor<TGoal, TState>.NeedsApproval(input.Request, s)))
        {
            if (input.AskNobody) { judged.Refusals[step.Hash] = "nobody is asked for it now"; continue; }
            var find = new FindApproval(step.Hash);
            yield return find;
            var verdict = verifier.Verify(input.Request.Subject, step, find.Found, clock.GetUtcNow());
            judged.Found.AddRange(find.Found);
            if (verdict.Allowed) continue;
            judged.Refusals[step.Hash] = verdict.Why + (judged.Void.TryGetValue(step.Key, out var why) ? "; " + why : "") + LastTry(input.Attempts, step);
            if (verdict.AskAnew) judged.Anew = judged.Anew.Add(step.Key);
            if (verdict.DeniedUntil is { } until && (judged.Until is null || until < judged.Until)) judged.Until = until;
        }
    }

    private static TimeSpan Later(TimeSpan span) => span < s_soonest ? s_soonest : span;

    private IEnumerable<Effect> Resume(ReconcileInput<TGoal> input, OpenRun open, Box box)
    {
        // The goal is aimed at the world as it is, as a plan would: the invariants of the steps that are left see it.
        var look = new Observe<TState>();
        yield return look;
        if (look.Away is { } away) { box.Report = Unseen(away); yield break; }
        var goal = agent.Aim(input.Goal, look.State);
        var execution = new Execution(open.Run, open.Entries);
        var same = open.Run.GoalHash == input.Request.GoalHash && open.Run.Subject == input.Request.Subject;
        // A goal that has changed does not leave a step half done: the open one is finished (or undone), the rest is planned anew.
        foreach (var e in _executor.Run(input.Request, goal, execution, onlyOpenStep: !same)) yield return e;
        var report = new ReconcileReport { Phase = ReconcilePhase.Converging, PlanHash = open.Run.PlanHash, Steps = open.Run.Steps };
        foreach (var e in Close(execution, box, report, [], [])) yield return e;
    }

    private IEnumerable<Effect> Close(Execution execution, Box box, ReconcileReport report, ImmutableArray<Step> held, Dictionary<string, string> refusals)
    {
        var result = execution.Result!;
        var completed = execution.Completed.ToList();
        report = report with { Executed = result, Completed = completed.Count };
        if (result.Ended == Ended.Away)
        {
            box.Report = report with { Phase = ReconcilePhase.Unseen, Blocker = result.Detail, BackOff = true }; // The run stays open.
            yield break;
        }
        var at = clock.GetUtcNow();
        var failed = result.Ended is Ended.Undone or Ended.UndoStopped ? result.At : null;
        var attempts = completed.Where(s => s.Difference != failed?.Difference).DistinctBy(s => s.Difference)
            .Select(s => new Attempt(s.Difference, s.Key, at, true)).ToImmutableArray();
        if (failed is not null) attempts = attempts.Add(new(failed.Difference, failed.Key, at, false, result.Detail.Length <= MaxDetail ? result.Detail : result.Detail[..MaxDetail]));
        yield return new Commit { Close = execution.Run.RunId, Attempts = attempts, Audit = [new("RunEnded", AuditBody.Of(("run", execution.Run.RunId), ("ended", result.Ended.ToString()), ("detail", result.Detail)))] };
        if (result.Ended == Ended.Moved && result.At is { } moved && Executor<TGoal, TState>.NeedsApproval(new(execution.Run.Subject, ""), moved))
            yield return new Tell("ApprovalVoided", $"{moved.Text}: {result.Detail}", warning: true);
        box.Report = result.Ended switch
        {
            Ended.Done when !held.IsEmpty => report with { Phase = ReconcilePhase.AwaitingApproval, Blocker = HeldBlocker(held, refusals), Again = TimeSpan.Zero },
            Ended.Done => report with { Phase = ReconcilePhase.Converging, Again = TimeSpan.Zero },
            Ended.Moved or Ended.RiskRose => report with { Phase = ReconcilePhase.Converging, Blocker = result.Detail, BackOff = true },
            Ended.NotMyTurn => report with { Phase = ReconcilePhase.Waiting, Blocker = "waits for its turn: " + result.Detail, BackOff = true },
            Ended.NeedsApproval => report with { Phase = ReconcilePhase.AwaitingApproval, Blocker = result.Detail, BackOff = true },
            Ended.Undone => report with { Phase = ReconcilePhase.Converging, Blocker = result.Detail, BackOff = true },
            Ended.UndoStopped => report with { Phase = ReconcilePhase.Escalated, Blocker = result.Detail, BackOff = true },
            _ => throw new InvalidOperationException($"unexpected end {result.Ended}"),
        };
    }

    private Plan<TGoal, TState> Decide(ReconcileInput<TGoal> input, TState state)
    {
        var decisions = ImmutableArray<Decision>.Empty;
        while (true)
        {
            // Readings are empty until a reader exists: checks and readings are their own issue.
            var plan = _planner.Plan(input.Request, input.Goal, state, input.Attempts, [], decisions);
            if (plan.Outcome != Outcome.NeedsChoice) return plan;
            decisions = decisions.Add(reasoner.Decide(plan.Question!));
        }
    }

    private ReconcileReport Describe(Plan<TGoal, TState> plan, TState state)
    {
        // The root first: what failed, then what is refused, then what says only that it waits for one of them.
        var first = plan.Blocked.OrderBy(static b => b.Exhausted ? 0 : b.OnlyWaits ? 2 : 1).FirstOrDefault();
        var retry = plan.Blocked.Where(b => b.RetryAfter is not null).Select(b => b.RetryAfter).Min();
        return new()
        {
            Phase = plan.Outcome switch
            {
                Outcome.Converged => ReconcilePhase.Converged,
                Outcome.Ready or Outcome.Partial when !plan.Steps.IsEmpty => ReconcilePhase.Converging,
                Outcome.Waiting => ReconcilePhase.Waiting,
                Outcome.Escalate => ReconcilePhase.Escalated,
                _ => ReconcilePhase.Stuck,
            },
            Summary = agent.Summary(plan.Goal, state),
            Blocker = first is null ? "" : first.Difference.TrimEnd(':') + ": " + string.Join("; ", first.Reasons.Distinct()),
            Differences = plan.Differences,
            Blocked = plan.Blocked,
            Steps = plan.Steps,
            Outcome = plan.Outcome,
            PlanHash = plan.Hash,
            Questions = plan.Decisions.Length,
            Again = plan.Outcome == Outcome.Converged ? agent.ReviewAfter(plan.Goal, state) : retry,
            BackOff = plan.Outcome is Outcome.Stuck or Outcome.Escalate,
        };
    }

    private static IEnumerable<Effect> BindNonces(PlanRequest request, ImmutableArray<Step> steps, Judged judged, Action<ImmutableArray<Step>> bound, ImmutableHashSet<string>? anew = null)
    {
        // A person signs whole groups: what leads to the Dangerous step is shown with it, so it gets a nonce too.
        var asking = HeldBy(steps, s => s.Risk.Level == RiskLevel.Dangerous);
        if (asking.IsEmpty) yield break;
        var preview = new Preview(asking) { Anew = anew ?? [] };
        yield return preview;
        judged.Void = preview.Void;
        foreach (var voided in preview.Voided) yield return new Tell("ApprovalVoided", voided, warning: true);
        var nonces = asking.Zip(preview.Nonces).ToDictionary(p => p.First.Index, p => p.Second);
        bound([.. steps.Select(s => nonces.TryGetValue(s.Index, out var nonce) ? Hashes.Bind(request.Subject, s, nonce) : s)]);
    }

    /// <summary>Whole groups that hold a refused step, and whatever was built on them, until nothing more is drawn in.</summary>
    private static ImmutableArray<Step> HeldBy(ImmutableArray<Step> steps, Func<Step, bool> refused)
    {
        var groups = steps.Where(refused).Select(s => s.Group).ToHashSet(StringComparer.Ordinal);
        if (groups.Count == 0) return [];
        while (true)
        {
            var before = groups.Count;
            var changed = new HashSet<string>(StringComparer.Ordinal);
            foreach (var step in steps)
            {
                if (!groups.Contains(step.Group) && step.Basis.Any(f => changed.Contains(f.Key))) groups.Add(step.Group);
                if (groups.Contains(step.Group)) changed.UnionWith(step.Expect.Except(step.Basis).Select(f => f.Key));
            }
            if (groups.Count == before) return [.. steps.Where(s => groups.Contains(s.Group))];
        }
    }

    private static string HeldBlocker(ImmutableArray<Step> held, Dictionary<string, string> refusals)
    {
        var first = held.First(s => refusals.ContainsKey(s.Hash));
        return $"{refusals.Count} Dangerous {(refusals.Count == 1 ? "step waits" : "steps wait")} for a signed approval ({first.Text}): {refusals[first.Hash]}";
    }

    private static ReconcileReport Unseen(string why) => new() { Phase = ReconcilePhase.Unseen, Blocker = why, BackOff = true };
}
