using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;

namespace AgentMetal.Conformance;

/// <summary>
/// What every catalog of tools keeps, judged case by case. Each rule yields its findings as texts, so that a test can ask for them (a planted
/// defect must be found) as well as for their absence.
/// </summary>
internal sealed class Rules<TGoal, TState>(Samples<TGoal, TState> samples)
    where TGoal : class
{
    /// <summary>A catalog whose plan needs more looks than this between two steps of work is one that polls.</summary>
    private const int MaxLooks = 200_000;

    /// <summary>What the cases so far have shown.</summary>
    public Coverage Seen { get; } = new();

    /// <summary>Footprints, journal form, invariants, inverses, waves, and that what ended as Ready is reached: <see cref="PlanChecks"/>.</summary>
    public IEnumerable<string> Plans(Case<TGoal, TState> c)
    {
        var plan = Plan(c);
        foreach (var step in plan.Steps)
        {
            Seen.Steps++;
            Seen.Tool(step.Tool);
            if (step.Undo.Kind == UndoKind.Call) Seen.Inverses++;
        }
        return PlanChecks.Findings(c.Agent, plan);
    }

    /// <summary>What was shown in a state stays the question in it: it is covered by itself, also where it was shown with room for figures to grow.</summary>
    public IEnumerable<string> Shown(Case<TGoal, TState> c)
    {
        var plan = Plan(c);
        var again = Plan(c with { Request = c.Request with { Shown = [.. plan.Steps.Select(s => new ShownCall(s.Tool, s.Args, s.Difference))] } });
        var asked = again.Steps.Select(s => s.Hash).ToHashSet(StringComparer.Ordinal);
        foreach (var step in plan.Steps)
            if (!asked.Contains(step.Hash)) yield return $"{step.Key} is another question once it was shown: {again.Steps.FirstOrDefault(s => s.Difference == step.Difference)?.Outgrown}";
    }

    /// <summary>A call does the same, says the same of itself and is taken back the same wherever its Reads and Writes are the same.</summary>
    public IEnumerable<string> Dependence(Case<TGoal, TState> c, TState other)
    {
        var state = c.State;
        var plan = Plan(c);
        foreach (var step in plan.Steps)
        {
            var call = Call(c, step);
            var touches = call.Touches(state);
            foreach (var near in samples.Between(state, other))
            {
                if (touches.Reads.Concat(touches.Writes).Any(k => c.Agent.Fact(near, k) != c.Agent.Fact(state, k))) continue;
                if (!PlanChecks.Differing(c.Agent, state, near, []).Any()) continue;
                Seen.Neighbours++;
                // Bound anew: a proposal remembers its footprint.
                var there = Call(c, step);
                if (!there.Touches(near).Writes.ToHashSet().SetEquals(touches.Writes)) yield return $"{step.Key} writes {string.Join(", ", there.Touches(near).Writes.Except(touches.Writes).Concat(touches.Writes.Except(there.Touches(near).Writes)))} by what it does not read";
                foreach (var key in touches.Writes)
                {
                    if (c.Agent.Fact(call.Predict(state), key) != c.Agent.Fact(there.Predict(near), key)) yield return $"{step.Key} makes {key} {c.Agent.Fact(call.Predict(state), key)} or {c.Agent.Fact(there.Predict(near), key)} by what it does not read: {Differing(c, state, near)}";
                    if (c.Agent.Fact(call.During(state), key) != c.Agent.Fact(there.During(near), key)) yield return $"{step.Key}, under way, makes {key} {c.Agent.Fact(call.During(state), key)} or {c.Agent.Fact(there.During(near), key)} by what it does not read: {Differing(c, state, near)}";
                }
                var (one, two) = (call.Inverse(state), there.Inverse(near));
                if (one.Kind == UndoKind.Call && two.Kind == UndoKind.Call && one.Call != two.Call) yield return $"{step.Key} is taken back by {one.Call} or {two.Call} by what it does not read: {Differing(c, state, near)}";
            }
            state = call.Predict(state);
        }
    }

    /// <summary>
    /// Plans, the model's own change, what the world does by itself: until nothing differs, or every difference says why it stays. A call that is proposed
    /// again because it changed nothing is no reason.
    /// </summary>
    public IEnumerable<string> Convergence(Case<TGoal, TState> c)
    {
        var at = c;
        for (var round = 0; round < samples.MaxPlans; round++)
        {
            var plan = Plan(at);
            foreach (var d in plan.Differences) Seen.Kind(d.Kind);
            if (plan.Outcome == Outcome.Converged)
            {
                Seen.Reached++;
                if (!plan.Steps.IsEmpty) yield return "a converged plan has steps";
                yield break;
            }
            if (plan.Outcome == Outcome.Ready && Plan(at with { State = plan.Final }) is { Outcome: not Outcome.Converged } again && c.Agent.Aim(at.Goal, plan.Final) is var aim && Equals(aim, plan.Goal))
                yield return $"a plan that ended as Ready is followed by one that is {again.Outcome}: {string.Join(", ", again.Differences.Select(d => d.Key))}";
            if ((plan.Steps.IsEmpty || !plan.Blocked.IsEmpty) && Blocked(plan) is { } finding) yield return finding;
            var next = samples.Settle(plan.Final);
            if (plan.Steps.IsEmpty && !PlanChecks.Differing(c.Agent, at.State, next, []).Any()) { Seen.Waited++; yield break; }
            at = at with { State = next };
        }
        yield return $"{samples.MaxPlans} plans did not end: {string.Join(", ", Plan(at).Steps.Select(s => s.Key))}";
    }

    /// <summary>Two agents that differ in the order of what they list make one plan.</summary>
    public IEnumerable<string> Determinism(Case<TGoal, TState> c, int seed)
    {
        var (plan, again) = (Plan(c), Plan(c));
        var mixed = Plan(c with { Agent = new Shuffled<TGoal, TState>(c.Agent, new Random(seed)) });
        if (plan.Hash != again.Hash) yield return "the same inputs give two plans";
        if (plan.Hash != mixed.Hash || !plan.Steps.Select(s => (s.Hash, s.Wave)).SequenceEqual(mixed.Steps.Select(s => (s.Hash, s.Wave)))) yield return "another order of tools gives another plan";
        if (!plan.Blocked.Select(Said).Order(StringComparer.Ordinal).SequenceEqual(mixed.Blocked.Select(Said).Order(StringComparer.Ordinal))) yield return "another order of tools gives other reasons";
    }

    /// <summary>What loses data is Dangerous, says so, and does not happen on a protected resource.</summary>
    public IEnumerable<string> Danger(Case<TGoal, TState> c)
    {
        var state = c.State;
        foreach (var step in Plan(c).Steps)
        {
            var call = Call(c, step);
            var loses = samples.Loses(state, call.Predict(state));
            if (loses) Seen.Losses++;
            if (loses && !step.Risk.LosesData) yield return $"{step.Key} loses data and does not say so";
            var takes = samples.TakesOutOfUse(c.Agent.Aim(c.Goal, state), state, call.Predict(state));
            if (takes) Seen.OutOfUse++;
            if (takes && step.Risk.Level < RiskLevel.Dangerous) yield return $"{step.Key} takes data out of use and is only {step.Risk.Level}";
            if (!step.Risk.LosesData && !samples.ByItself(state).Any(x => samples.Loses(state, x)))
                foreach (var after in samples.ByItself(call.Predict(state)).Concat(samples.ByItself(call.During(state))))
                {
                    Seen.ByItself++;
                    if (samples.Loses(state, after)) yield return $"{step.Key} is followed by a loss that nobody signed: {Differing(c, state, after)}";
                }
            if (step.Risk.LosesData && step.Risk.Level < RiskLevel.Dangerous) yield return $"{step.Key} loses data and is only {step.Risk.Level}";
            if (step.Undo.Kind == UndoKind.Impossible && step.Risk.Level < RiskLevel.Dangerous) yield return $"{step.Key} cannot be taken back and is only {step.Risk.Level}";
            state = call.Predict(state);
        }
        foreach (var after in samples.Starts(c.State))
        {
            Seen.ByItself++;
            if (samples.Loses(c.State, after)) yield return $"a start by the service manager loses data: {Differing(c, c.State, after)}; {c}";
        }
        foreach (var step in Plan(c with { Request = c.Request with { Protected = true } }).Steps)
            if (step.Risk.LosesData) yield return $"{step.Key} loses data of a protected resource";
    }

    /// <summary>Arguments come back from the journal as they went in; nothing that is shown, hashed or audited holds a secret.</summary>
    public IEnumerable<string> Texts(Case<TGoal, TState> c)
    {
        var plan = Plan(c);
        foreach (var step in plan.Steps)
        {
            var call = Call(c, step);
            if (call.Args != step.Args || Call(c, step with { Args = call.Args }).Args != step.Args) yield return $"{step.Tool}: {step.Args} becomes {call.Args} in the journal";
            if (string.IsNullOrWhiteSpace(call.Text)) yield return $"{step.Key} has no words for people";
            if (call.Text != step.Text) yield return $"{step.Key} is described as \"{step.Text}\" and, from the journal, as \"{call.Text}\"";
        }
        var shown = plan.Steps.SelectMany(s => (string[])[s.Args, s.Text, s.Why, s.UndoText, s.Undo.Call?.Args ?? "", s.Undo.Why, .. s.Basis.Select(f => f.Value), .. s.Expect.Select(f => f.Value)])
            .Concat(plan.Differences.SelectMany(d => (string[])[d.Key, d.Text])).Concat(plan.Blocked.SelectMany(b => b.Reasons))
            .Concat(c.Agent.FactKeys(c.State).SelectMany(k => (string[])[k, c.Agent.Fact(c.State, k)])).Append(c.Agent.Summary(plan.Goal, c.State));
        foreach (var text in shown)
            foreach (var secret in samples.Secrets)
                if (text.Contains(secret, StringComparison.Ordinal)) yield return "a secret is shown: " + text.Replace(secret, "***", StringComparison.Ordinal);
    }

    /// <summary>Every difference is of a declared kind, and a tool answers that kind or it clears by itself. One subject differs once.</summary>
    public IEnumerable<string> Kinds(Case<TGoal, TState> c)
    {
        var resolved = c.Agent.Tools.SelectMany(t => t.Resolves).ToHashSet(StringComparer.Ordinal);
        foreach (var kind in resolved.Except(samples.Kinds)) yield return $"a tool answers {kind}, which is no declared kind";
        var keys = new HashSet<string>(StringComparer.Ordinal);
        foreach (var d in c.Agent.Differences(c.Agent.Aim(c.Goal, c.State), c.State))
        {
            Seen.Kind(d.Kind);
            if (!samples.Kinds.Contains(d.Kind)) yield return d.Kind + " is no declared kind";
            if (!resolved.Contains(d.Kind) && d.ClearsAfter is not { } after) yield return $"{d.Key} has no tool, and does not clear by itself";
            if (d.ClearsAfter <= TimeSpan.Zero) yield return $"{d.Key} clears after {d.ClearsAfter}";
            if (string.IsNullOrWhiteSpace(d.Text)) yield return $"{d.Key} has no words for people";
            if (!keys.Add(d.Key)) yield return $"{d.Key} is said twice";
        }
    }

    /// <summary>Bounds that end: a look now and then, no wait without an end.</summary>
    public IEnumerable<string> Timings(Case<TGoal, TState> c)
    {
        foreach (var step in Plan(c).Steps)
        {
            var timing = Call(c, step).Timing;
            if (timing.Poll < TimeSpan.FromMilliseconds(50)) yield return $"{step.Tool} looks every {timing.Poll}";
            if (timing.Poll > timing.Stall || timing.Stall > timing.Timeout) yield return $"{step.Tool}: poll {timing.Poll}, stall {timing.Stall}, timeout {timing.Timeout} are not in this order";
            if (timing.Timeout > TimeSpan.FromDays(1) || timing.Timeout / timing.Poll > MaxLooks) yield return $"{step.Tool} may look {timing.Timeout / timing.Poll:0} times within {timing.Timeout}";
        }
    }

    /// <summary>What differs is said by facts: two states with the same facts have the same differences.</summary>
    public IEnumerable<string> Facts(Case<TGoal, TState> c, TState other)
    {
        foreach (var near in samples.Between(c.State, other))
        {
            // What was aimed at is pinned: the rule is about the differences.
            var goal = c.Agent.Aim(c.Goal, c.State);
            if (Keys(goal, c.State) == Keys(goal, near)) continue;
            Seen.Changes++;
            if (!PlanChecks.Differing(c.Agent, c.State, near, []).Any()) yield return $"what differs became {Keys(goal, near)} from {Keys(goal, c.State)}, and no fact moved";
        }

        string Keys(TGoal? goal, TState state) => string.Join(", ", c.Agent.Differences(goal, state).Select(d => d.Key).Order(StringComparer.Ordinal));
    }

    private static string Differing(Case<TGoal, TState> c, TState a, TState b) => string.Join(", ", PlanChecks.Differing(c.Agent, a, b, []).Take(4));

    private static string Said(BlockedDifference b) => b.Difference + string.Join('|', b.Reasons.Order(StringComparer.Ordinal));

    private string? Blocked(Plan<TGoal, TState> plan)
    {
        if (plan.Blocked.IsEmpty) return $"{plan.Outcome} without steps, and nothing is said to block it";
        foreach (var b in plan.Blocked)
        {
            if (b.Reasons.IsEmpty || b.Reasons.Any(string.IsNullOrWhiteSpace)) return b.Difference + " is blocked without a reason";
            if (b.Reasons.All(r => r.StartsWith("repeats ", StringComparison.Ordinal))) return b.Difference + " is worked at by a call that leaves it as it was";
            if (b.Reasons.Any(r => r.StartsWith("no tool resolves", StringComparison.Ordinal))) return b.Difference + " is answered by nobody";
        }
        return null;
    }

    private static Plan<TGoal, TState> Plan(Case<TGoal, TState> c) => PlanChecks.Plan(c.Agent, c.Goal, c.State, c.Request);

    private static Proposal<TState> Call(Case<TGoal, TState> c, Step step) => c.Agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args);
}

/// <summary>What cases have shown; a rule that met nothing proves nothing.</summary>
internal sealed class Coverage
{
    private readonly HashSet<string> _tools = new(StringComparer.Ordinal);
    private readonly HashSet<string> _kinds = new(StringComparer.Ordinal);

    public int Steps { get; set; }
    public int Inverses { get; set; }
    public int Neighbours { get; set; }
    public int Reached { get; set; }
    public int Waited { get; set; }
    public int Losses { get; set; }
    public int ByItself { get; set; }
    public int OutOfUse { get; set; }
    public int Changes { get; set; }
    public IReadOnlyCollection<string> Tools => _tools;
    public IReadOnlyCollection<string> Kinds => _kinds;

    public void Tool(string name) => _tools.Add(name);

    public void Kind(string kind) => _kinds.Add(kind);
}
