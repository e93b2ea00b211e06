using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Planning;

/// <summary>
/// Propose, choose, predict, until nothing differs. Pure and synchronous: a question ends the call, and the caller plans again with the
/// answer, so the same inputs and decisions give the same plan on the coordinator, on the host and in an audit years later.
/// </summary>
public sealed partial class Planner<TGoal, TState>(Agent<TGoal, TState> agent)
    where TGoal : class
{
    private readonly FrozenDictionary<string, Tool<TGoal, TState>[]> _byKind = agent.Tools
        .SelectMany(t => t.Resolves.Select(kind => (kind, t))).GroupBy(x => x.kind, x => x.t)
        .ToFrozenDictionary(g => g.Key, g => g.OrderBy(t => t.Name, StringComparer.Ordinal).ToArray(), StringComparer.Ordinal);

    private readonly FrozenDictionary<string, Tool<TGoal, TState>> _byName = agent.Tools.ToFrozenDictionary(t => t.Name, StringComparer.Ordinal);

    private readonly record struct Candidate(Difference Difference, Proposal<TState> Call, Footprint Touches, bool LastResort);

    /// <summary>
    /// Groups are all or nothing: one that cannot be finished in the model is left out whole and the rest is planned without it, so one
    /// stuck resource does not hold up a fleet, and a refused delete does not begin.
    /// </summary>
    /// <param name="request">Whose plan, and its bounds.</param>
    /// <param name="spec">What is wanted; null = teardown.</param>
    /// <param name="start">What was observed.</param>
    /// <param name="tried">What was tried; its Now is the time of planning.</param>
    /// <param name="readings">What text says causes are; may reorder viable moves of one difference and nothing else.</param>
    /// <param name="decisions">Answers to choice points so far.</param>
    public Plan<TGoal, TState> Plan(PlanRequest request, TGoal? spec, TState start, Attempts tried, ImmutableArray<Reading> readings, ImmutableArray<Decision> decisions)
    {
        var goal = agent.Aim(spec, start);
        var left = new Dictionary<string, BlockedDifference>(StringComparer.Ordinal);
        ImmutableArray<Difference> differences = [.. agent.Differences(goal, start).OrderBy(d => d.Key, StringComparer.Ordinal)];
        while (true)
        {
            var run = new Run(request, goal, start, tried, readings, decisions, differences);
            var plan = PlanOnce(request, run, left);
            if (plan.Outcome is Outcome.NeedsChoice || (plan.Blocked.IsEmpty && left.Count == 0)) return plan;
            if (plan.Blocked.IsEmpty || plan.Steps.IsEmpty)
            {
                run.Blocked.AddRange(left.Values);
                return run.Finish(plan.Outcome == Outcome.Partial || !plan.Steps.IsEmpty ? Outcome.Partial : run.Verdict());
            }
            foreach (var blocked in plan.Blocked) left[blocked.Group] = blocked;
        }
    }

    private Plan<TGoal, TState> PlanOnce(PlanRequest request, Run run, Dictionary<string, BlockedDifference> left)
    {
        while (true)
        {
            var open = agent.Differences(run.Goal, run.Model).Where(d => left.Count == 0 || !left.ContainsKey(d.Scope)).ToList();
            if (open.Count == 0)
            {
                run.Blocked.Clear();
                return run.Finish(run.Steps.Count == 0 ? Outcome.Converged : Outcome.Ready);
            }
            if (++run.Rounds > request.MaxRounds || run.Steps.Count >= request.MaxSteps) { run.Blocked.Clear(); return run.Finish(Outcome.Partial); }
            open.Sort(static (a, b) => string.CompareOrdinal(a.Key, b.Key));

            run.Blocked.Clear();
            if (Candidates(run, open) is not { } candidates) return run.Finish(Outcome.NeedsChoice);
            if (candidates.Count == 0) return run.Finish(run.Verdict());
            if (TakeWave(run, candidates)) { run.Blocked.Clear(); return run.Finish(Outcome.Partial); }
        }
    }

    /// <summary>One candidate per difference, all proposed against the same state; null = a question is open.</summary>
    private List<Candidate>? Candidates(Run run, List<Difference> open)
    {
        var candidates = new List<Candidate>(open.Count);
        foreach (var difference in open)
        {
            var viable = Viable(run, difference);
            if (viable.Count == 0) continue;
            if (Choose(run, difference, viable) is not { } call) return null;
            var touches = call.Touches(run.Model);
            candidates.Add(new(difference, call, touches, call.Inverse(run.Model).Kind == UndoKind.Impossible
                || Broken(run.Goal, run.Model, call, touches, Strength.Guard) is not null));
        }
        return candidates;
    }

    /// <summary>
    /// The wave: cheapest first; irreversible and guard-breaking ones only when nothing else can move, and only calls whose reads and writes
    /// the wave has not written; those proposals are still valid, and commute. The others wait a round. True = the plan ends here.
    /// </summary>
    private bool TakeWave(Run run, List<Candidate> candidates)
    {
        var lastResort = candidates.TrueForAll(static c => c.LastResort);
        candidates.Sort(static (a, b) => a.Call.Cost != b.Call.Cost
            ? a.Call.Cost.CompareTo(b.Call.Cost) : string.CompareOrdinal(a.Difference.Key, b.Difference.Key));
        var written = new HashSet<string>(StringComparer.Ordinal);
        var read = new HashSet<string>(StringComparer.Ordinal);
        var wave = ++run.Waves;
        foreach (var c in candidates)
        {
            if ((c.LastResort && !lastResort) || Overlaps(written, c.Touches.Reads) || Overlaps(written, c.Touches.Writes)
                || Overlaps(read, c.Touches.Writes) || Broken(run.Goal, run.Model, c.Call, c.Touches, lastResort ? Strength.Never : null) is not null) continue;
            run.Model = Take(run, c, wave);
            written.UnionWith(c.Touches.Writes);
            read.UnionWith(c.Touches.Reads);
            if (c.Call.EndsPlan) return true;
            if (lastResort) return false; // One at a time: look again whether a milder way has opened.
        }
        return false;
    }

    private List<Proposal<TState>> Viable(Run run, Difference difference)
    {
        List<Proposal<TState>> viable = [];
        List<string>? reasons = null;
        var onlyWaits = true;
        var retry = difference.ClearsAfter;
        var exhausted = run.Tried.Flapping(difference.Key);
        if (exhausted && run.Tried.Returns(difference.Key) is var (times, until))
            (reasons ??= []).Add(string.Create(CultureInfo.InvariantCulture, $"returns after every repair: put right {times} times within an hour and undone each time by something else ({difference.Text}); put right once more at {until:HH:mm:ss} UTC"));
        else if (_byKind.TryGetValue(difference.Kind, out var tools))
            foreach (var tool in tools)
                foreach (var proposed in tool.ProposeBound(run.Goal, run.Model, difference))
                {
                    var call = Asked(run, difference, tool, proposed);
                    if (Refusal(run, difference, call) is not { } reason) { viable.Add(call); continue; }
                    (reasons ??= []).Add(reason);
                    onlyWaits &= call.Blocked is not null;
                    exhausted |= call.Blocked is null && run.Tried.Exhausted(difference.Key, call.Key);
                    if (call.RetryAfter is { } r && (retry is null || r < retry)) retry = r;
                }
        if (viable.Count == 0)
            run.Blocked.Add(new(difference.Key, difference.Scope, [.. reasons ?? [retry is null ? "no tool resolves " + difference.Kind : difference.Text]], retry, exhausted) { OnlyWaits = onlyWaits && reasons is not null && !exhausted });
        return viable;
    }

    /// <summary>What was shown before and covers it, so that a signature over that stands; else as it is shown for the first time.</summary>
    private static Proposal<TState> Asked(Run run, Difference difference, Tool<TGoal, TState> tool, Proposal<TState> proposed)
    {
        if (proposed.Blocked is not null) return proposed;
        ShownCall? latest = null;
        foreach (var shown in run.Request.Shown)
        {
            if (shown.Tool != tool.Name || shown.Difference != difference.Key) continue;
            if (tool.AsShown(proposed, shown.Args) is { } standing) return standing;
            latest ??= shown;
        }
        var call = tool.ToShow(proposed, run.Model);
        // What is lost now is said, and not what is asked for it with room.
        if (latest is not null) run.Outgrown[call.Key] = tool.Outgrown(latest.Args, proposed.Args);
        return call;
    }

    private string? Refusal(Run run, Difference difference, Proposal<TState> call)
    {
        if (call.Blocked is { } blocked) return blocked;
        if (run.Taken.Count > 0 && run.Taken.Contains(call.Key)) return "repeats " + call.Key; // The whole of cycle detection.
        if (run.Tried.Resting(difference.Key, call.Key) is var (last, until))
            return string.Create(CultureInfo.InvariantCulture, $"tried and failed: {call.Text}{(last.Detail.Length > 0 ? ": " + last.Detail : "")}; tried again at {until:HH:mm:ss} UTC");
        var touches = call.Touches(run.Model);
        if (!touches.ActsBlind)
            foreach (var key in touches.Reads)
                if (FactValue.IsUnseen(agent.Fact(run.Model, key))) return "cannot see " + key;
        if (run.Request.Protected && call.Assess(run.Model).LosesData) return "protected";
        return Broken(run.Goal, run.Model, call, touches, Strength.Never);
    }

    private static Proposal<TState>? Choose(Run run, Difference difference, List<Proposal<TState>> viable)
    {
        if (viable.Count == 1) return viable[0];
        viable.Sort(static (a, b) => a.Cost != b.Cost ? a.Cost.CompareTo(b.Cost) : string.CompareOrdinal(a.Key, b.Key));
        run.Reorder(difference, viable);
        if (viable[0].Ask is not { } ask || viable.Count(v => v.Ask == ask) == 1) return viable[0];
        var options = viable.Where(v => v.Ask == ask).Take(8).Select(v => v.Key).ToImmutableArray();
        var key = difference.Key + "|" + string.Join('|', options);
        foreach (var decision in run.Decisions)
            if (decision.Question == key) return viable.Find(v => options.Contains(v.Key) && v.Key == decision.Option) ?? viable[0];
        if (run.Decisions.Length >= run.Request.MaxQuestions)
        {
            run.Beyond.Add(key);
            return viable[0];
        }
        run.Question = new(key, ask, difference.Key, options);
        return null;
    }

    /// <summary>The first invariant, of those that watch a written fact, broken with the call under way or done; null = none.</summary>
    public string? Broken(TGoal? goal, TState state, Proposal<TState> call, Footprint touches, Strength? only)
    {
        foreach (var invariant in agent.Invariants)
        {
            if (only is { } strength && invariant.Strength != strength) continue;
            foreach (var key in touches.Writes)
            {
                if (!key.StartsWith(invariant.Watches, StringComparison.Ordinal)) continue;
                if ((invariant.Check(goal, state, call.During(state)) ?? invariant.Check(goal, state, call.Predict(state))) is { } why)
                    return invariant.Name + ": " + why;
                break;
            }
        }
        return null;
    }

    private TState Take(Run run, Candidate c, int wave)
    {
        var after = c.Call.Predict(run.Model);
        var basis = Facts(run.Model, c.Touches.Reads.Concat(c.Touches.Writes));
        var expect = Facts(after, c.Touches.Writes);
        if (expect.All(e => basis.Contains(e))) throw new InvalidOperationException($"{c.Call.Key} predicts no change in what it writes.");
        var undo = c.Call.Inverse(run.Model);
        var risk = Risk(run.Request, run.Goal, run.Model, c.Call, undo);
        run.Taken.Add(c.Call.Key);
        run.Steps.Add(new(run.Steps.Count, wave, c.Call.Tool, c.Call.ToolVersion, c.Call.Args, c.Difference.Key, c.Difference.Scope, basis, expect,
            risk, undo, c.Touches.Turns, "", Hashes.Step(run.Request.Subject, "", c.Call.Tool, c.Call.ToolVersion, c.Call.Args, basis, expect, risk, undo))
        {
            Why = c.Call.Why,
            Outgrown = run.Outgrown.GetValueOrDefault(c.Call.Key, ""),
            Text = c.Call.Text,
            UndoText = undo.Call is { } u && _byName.TryGetValue(u.Tool, out var tool) ? tool.Bind(u.Args).Text : undo.Why,
        });
        return after;
    }

    /// <summary>What the tool says, raised by what the engine knows.</summary>
    public Assessment Risk(PlanRequest request, TGoal? goal, TState state, Proposal<TState> call, Undo undo)
    {
        var risk = call.Assess(state);
        if (undo.Kind == UndoKind.Impossible) risk = risk.Raise(RiskLevel.Dangerous, "irreversible");
        if (request.Teardown && risk.LosesData) risk = risk.Raise(RiskLevel.Dangerous, "teardown");
        if (Broken(goal, state, call, call.Touches(state), Strength.Guard) is null) return risk;
        // All of them: who signs for a member that stops serving must also read that no primary is left.
        foreach (var invariant in agent.Invariants)
            if (invariant.Strength == Strength.Guard && (invariant.Check(goal, state, call.During(state)) ?? invariant.Check(goal, state, call.Predict(state))) is not null)
                risk = risk.Raise(RiskLevel.Dangerous, invariant.Name);
        return risk;
    }

    /// <summary>The named facts, distinct and in ordinal order of their keys.</summary>
    public ImmutableArray<Fact> Facts(TState state, IEnumerable<string> keys) =>
        [.. keys.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal).Select(k => new Fact(k, agent.Fact(state, k)))];

    private static bool Overlaps(HashSet<string> set, ImmutableArray<string> keys)
    {
        if (set.Count == 0) return false;
        foreach (var key in keys) if (set.Contains(key)) return true;
        return false;
    }
}
