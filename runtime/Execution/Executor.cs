using System.Collections.Immutable;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Execution;

/// <summary>How a run ended.</summary>
public enum Ended
{
    /// <summary>Every step is confirmed.</summary>
    Done,

    /// <summary>A basis fact is no longer what it was; plan again.</summary>
    Moved,

    /// <summary>Somebody else's turn; wait.</summary>
    NotMyTurn,

    /// <summary>More dangerous than it was when planned; plan again.</summary>
    RiskRose,

    /// <summary>No valid approval for a step that needs one.</summary>
    NeedsApproval,

    /// <summary>The world cannot be read; look again later, the run stays open.</summary>
    Away,

    /// <summary>A step failed and its group is as it was before.</summary>
    Undone,

    /// <summary>A step failed and undo could not finish: a person is needed.</summary>
    UndoStopped,
}

/// <param name="Ended">How.</param>
/// <param name="At">The step where it ended.</param>
/// <param name="Detail">For people.</param>
public sealed record ExecutionResult(Ended Ended, Step? At, string Detail);

/// <summary>
/// Runs one plan, or resumes it from its journal. Per step: take turns, look and re-check the basis, journal the intent (consuming the
/// approval in the same transaction), apply, look until the expected facts hold, journal. A failure undoes backwards.
/// </summary>
public sealed partial class Executor<TGoal, TState>(Agent<TGoal, TState> agent, IApprovalVerifier verifier, TimeProvider clock)
    where TGoal : class
{
    private const int MaxApplies = 3;

    private readonly Planner<TGoal, TState> _planner = new(agent);
    private readonly Dictionary<string, Tool<TGoal, TState>> _tools = agent.Tools.ToDictionary(t => t.Name, StringComparer.Ordinal);

    /// <summary>
    /// The effects of the run. <see cref="Execution.Result"/> is set when the sequence ends; a sequence that is dropped before leaves the
    /// journal as it is, and the next call resumes from it.
    /// </summary>
    /// <param name="request">Of the goal as it is now.</param>
    /// <param name="goal">Invariants see it.</param>
    /// <param name="execution">The run, its journal, and the result.</param>
    /// <param name="onlyOpenStep">The goal has changed since: finish the step that is open, and stop.</param>
    public IEnumerable<Effect> Run(PlanRequest request, TGoal? goal, Execution execution, bool onlyOpenStep = false)
    {
        foreach (var step in execution.Run.Steps)
        {
            if (execution.IsFailed(step.Hash))
            {
                foreach (var e in UndoFrom(goal, execution, step, execution.FailureOf(step.Hash))) yield return e;
                yield break;
            }
        }
        foreach (var step in execution.Run.Steps)
        {
            if (execution.IsDone(step.Hash)) continue;
            if (onlyOpenStep && execution.OpenIntent(step.Hash) is null) continue;
            foreach (var e in RunStep(request, goal, execution, step)) yield return e;
            if (step.Turns.Length > 0) yield return new ReleaseTurns();
            if (execution.Result is not null) yield break;
        }
        execution.Result = new(Ended.Done, null, "");
    }

    private IEnumerable<Effect> RunStep(PlanRequest request, TGoal? goal, Execution execution, Step step)
    {
        if (!_tools.TryGetValue(step.Tool, out var tool) || tool.Version != step.ToolVersion)
        {
            execution.Result = new(Ended.Moved, step, $"tool {step.Tool} is at version {tool?.Version.ToString() ?? "none"}, the step at {step.ToolVersion}");
            yield break;
        }
        var call = tool.Bind(step.Args);
        var asked = clock.GetUtcNow();
        var signed = new Box();
        if (step.Turns.Length > 0)
        {
            foreach (var e in FindSignature(request, execution, step, signed)) yield return e;
        }
        foreach (var key in step.Turns)
        {
            var turn = new TakeTurn(key, call.Timing.Timeout) { Signed = signed.Yes };
            yield return turn;
            if (turn.Granted) continue;
            execution.Result = new(Ended.NotMyTurn, step, turn.Refusal);
            yield break;
        }
        // Turns first, then look: what was true before the turn was ours proves nothing.
        var look = new Observe<TState>();
        yield return look;
        if (look.Away is { } away) { execution.Result = new(Ended.Away, step, away); yield break; }

        // A turn counts from when it was asked for. What took this long to look at may be somebody else's by now.
        if (step.Turns.Length > 0 && clock.GetUtcNow() - asked >= call.Timing.Timeout)
        {
            execution.Result = new(Ended.NotMyTurn, step, "the turn ran out before the step began");
            yield break;
        }

        var intent = execution.OpenIntent(step.Hash);
        var resumed = intent is not null;
        if (intent is null)
        {
            if (Matches(execution, look.State, step.Expect) is null)
            {
                yield return Record(execution, Entry.Done, step, look.State, null, "already so");
                yield break;
            }
            if (Obstacle(request, goal, execution, look.State, step, call, out var undo) is { } obstacle) { execution.Result = obstacle; yield break; }
            var (approvedBy, judged) = ("", 0);
            if (NeedsApproval(request, step))
            {
                var find = new FindApproval(step.Hash);
                yield return find;
                var verdict = verifier.Verify(execution.Run.Subject, step, find.Found, clock.GetUtcNow());
                if (!verdict.Allowed) { execution.Result = new(Ended.NeedsApproval, step, verdict.Why); yield break; }
                (approvedBy, judged) = (verdict.By, find.Found.Length);
            }
            intent = new(Entry.Intent, step.Hash, clock.GetUtcNow(), Facts(look.State, step.Basis), [], undo, ImmutableSortedDictionary<string, string>.Empty);
            // No cancellation between here and the outcome: what is journalled as intended is observed and confirmed, or undone.
            var commit = Intend(request, execution, step, intent, approvedBy, judged);
            yield return commit;
            if (!commit.Consumed) { execution.Result = new(Ended.NeedsApproval, step, "the approval was already used, or another decision came meanwhile"); yield break; }
            execution.Add(intent);
            yield return new Tell("StepStarted", step.Text);
        }
        foreach (var e in Drive(goal, execution, step, call, look.State, intent, resumed, asked)) yield return e;
    }

    /// <summary>What is durable before a step has its first effect: that it is meant, and that its approval is used.</summary>
    private static Commit Intend(PlanRequest request, Execution execution, Step step, JournalEntry intent, string approvedBy, int judged) => new()
    {
        RunId = execution.Run.RunId,
        Journal = [intent],
        Audit = [new("StepIntent", AuditBody.Of(step, by: approvedBy, runId: execution.Run.RunId))],
        Consume = NeedsApproval(request, step) ? step.Hash : null,
        ConsumeOf = judged,
        Destroys = step.Risk.LosesData ? step.Text : null,
        ConsumedContent = NeedsApproval(request, step) ? Hashes.Bind(execution.Run.Subject, step, "").Hash : null,
    };

    /// <summary>
    /// Whether a person signed for what this step belongs to: a Dangerous step of its group that has begun, or whose approval stands now. What leads to a signed step
    /// is signed with it; a step of another group, or one that nobody had to sign, is not.
    /// </summary>
    private IEnumerable<Effect> FindSignature(PlanRequest request, Execution execution, Step step, Box signed)
    {
        foreach (var other in execution.Run.Steps.Where(s => s.Group == step.Group && NeedsApproval(request, s)))
        {
            if (!execution.IsDone(other.Hash) && execution.OpenIntent(other.Hash) is null)
            {
                var find = new FindApproval(other.Hash);
                yield return find;
                if (!verifier.Verify(execution.Run.Subject, other, find.Found, clock.GetUtcNow()).Allowed) continue;
            }
            signed.Yes = true;
            yield break;
        }
    }

    private sealed class Box
    {
        public bool Yes { get; set; }
    }

    /// <summary>Whether a person must have signed it.</summary>
    public static bool NeedsApproval(PlanRequest request, Step step) => step.Risk.Level >= RiskLevel.Dangerous;

    private ExecutionResult? Obstacle(PlanRequest request, TGoal? goal, Execution execution, TState state, Step step, Proposal<TState> call, out Undo undo)
    {
        undo = Undo.Keep("");
        if (Matches(execution, state, step.Basis) is { } moved) return new(Ended.Moved, step, moved);
        if (_planner.Broken(goal, state, call, call.Touches(state), Strength.Never) is { } broken) return new(Ended.Moved, step, broken);
        undo = call.Inverse(state);
        var risk = _planner.Risk(request, goal, state, call, undo);
        return risk.Level > step.Risk.Level || risk.Reasons.Except(step.Risk.Reasons).Any() || (risk.LosesData && request.Protected)
            ? new(Ended.RiskRose, step, string.Join(',', risk.Reasons)) : null;
    }

    private IEnumerable<Effect> Drive(TGoal? goal, Execution execution, Step step, Proposal<TState> call, TState state, JournalEntry intent, bool resumed, DateTimeOffset started)
    {
        // The timeout counts from when the turns were asked for: nothing is applied after they have run out.
        var (applies, progress, lastChange, refusal) = (0, (long?)null, clock.GetUtcNow(), (string?)null);
        while (true)
        {
            var told = call.Observe(state);
            // Before anything was made, a failure that the tool sees is an earlier try's, which is what this one answers.
            if (told?.Phase == Phase.Failed && applies == 0 && !resumed) told = new(Phase.NotStarted);
            var differs = Matches(execution, state, step.Expect, intent.Before);
            if ((applies > 0 || resumed) && differs is null && told?.Phase is not (Phase.Running or Phase.Failed))
            {
                yield return Record(execution, Entry.Done, step, state, intent, "");
                yield return new Tell("StepDone", step.Text);
                yield break;
            }
            var now = clock.GetUtcNow();
            if (told?.Progress != progress) (progress, lastChange) = (told?.Progress, now);
            // A call that returned is not repeated unless its tool says that nothing of it is visible: a second restart helps nobody.
            var again = told?.Phase is not Phase.Running && (applies == 0 || refusal is not null || told?.Phase == Phase.NotStarted);
            // What it was planned on may have moved while this process was dead or the step was waiting: it is not made again on another ground.
            var moved = again && (applies > 0 || resumed) ? Matches(execution, state, ReadOnly(step)) : null;
            var failure = told?.Phase == Phase.Failed ? told.Detail ?? "failed"
                : moved is not null ? "moved while it ran: " + moved
                : now - started > call.Timing.Timeout ? $"not confirmed within {call.Timing.Timeout.TotalSeconds:0} s: {differs}"
                : now - lastChange > call.Timing.Stall ? $"no progress for {call.Timing.Stall.TotalSeconds:0} s: {differs}"
                : again && applies >= MaxApplies ? refusal ?? $"made {applies} times, and nothing of it is to be seen: {differs}" : null;
            if (failure is not null)
            {
                yield return Record(execution, Entry.Failed, step, state, intent, failure);
                yield return new Tell("StepFailed", $"{step.Text}: {failure}", warning: true);
                foreach (var e in UndoFrom(goal, execution, step, failure)) yield return e;
                // Somebody interfered: that says nothing against the remedy, so it does not count as one that was tried and failed.
                if (moved is not null && execution.Result is { Ended: Ended.Undone }) execution.Result = new(Ended.Moved, step, failure);
                yield break;
            }
            if (again)
            {
                if (applies > 0) yield return new Pause(call.Timing.Poll);
                applies++;
                var apply = new Apply<TState>(call, step.Key, execution.Outputs);
                yield return apply;
                refusal = apply.Refused;
            }
            else yield return new Pause(call.Timing.Poll) { Underway = told?.Detail ?? step.Text };
            var look = new Observe<TState>();
            yield return look;
            if (look.Away is { } away) { execution.Result = new(Ended.Away, step, away); yield break; }
            state = look.State;
        }
    }

    private Commit Record(Execution execution, Entry kind, Step step, TState state, JournalEntry? intent, string detail)
    {
        var outputs = kind == Entry.Done ? Bind(execution, state, step.Expect) : ImmutableSortedDictionary<string, string>.Empty;
        var entry = new JournalEntry(kind, step.Hash, clock.GetUtcNow(), intent?.Before ?? Facts(state, step.Basis), Facts(state, step.Expect), intent?.Undo, outputs, detail);
        execution.Add(entry);
        return new()
        {
            RunId = execution.Run.RunId,
            Journal = [entry],
            Audit = [new("Step" + kind, AuditBody.Of(step, detail, runId: execution.Run.RunId, seen: entry.After))],
        };
    }

    /// <summary>What the step depends on and does not change itself.</summary>
    private static ImmutableArray<Fact> ReadOnly(Step step) => [.. step.Basis.Where(b => !step.Expect.Any(e => e.Key == b.Key))];

    private ImmutableArray<Fact> Facts(TState state, ImmutableArray<Fact> named) => _planner.Facts(state, named.Select(f => f.Key));

    /// <summary>
    /// Null when every fact holds; else the first that does not. A Later stands for its bound value; unbound, it holds only for the step
    /// that makes it (unbound given), and only when something is there that was not there before.
    /// </summary>
    private string? Matches(Execution execution, TState state, ImmutableArray<Fact> facts, ImmutableArray<Fact> unbound = default)
    {
        foreach (var (key, wanted) in facts)
        {
            var seen = agent.Fact(state, key);
            if (seen == wanted) continue;
            if (FactValue.IsLater(wanted) && !FactValue.IsUnseen(seen) && seen != FactValue.Absent)
            {
                if (execution.Outputs.TryGetValue(wanted, out var bound)) { if (bound == seen) continue; }
                else if (!unbound.IsDefault && !unbound.Contains(new Fact(key, seen))) continue;
            }
            return $"{key} is {seen}, not {wanted}";
        }
        return null;
    }

    private ImmutableSortedDictionary<string, string> Bind(Execution execution, TState state, ImmutableArray<Fact> expect) =>
        expect.Where(f => FactValue.IsLater(f.Value) && !execution.Outputs.ContainsKey(f.Value)).DistinctBy(f => f.Value)
            .ToImmutableSortedDictionary(f => f.Value, f => agent.Fact(state, f.Key), StringComparer.Ordinal);
}
