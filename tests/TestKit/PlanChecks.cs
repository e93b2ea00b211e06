using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;

namespace AgentMetal.TestKit;

/// <summary>What every plan of every agent keeps, replayed step by step. Findings are texts, so that a test can ask for them as well as for their absence.</summary>
public static class PlanChecks
{
    /// <summary>The subject of plans in tests.</summary>
    public static readonly PlanSubject Subject = new(new string('1', 32), "r-1", 1);

    /// <summary>A request of that subject.</summary>
    public static readonly PlanRequest Request = new(Subject, "goal");

    /// <summary>The plan with the rules' choice at every choice point.</summary>
    public static Plan<TGoal, TState> Plan<TGoal, TState>(Agent<TGoal, TState> agent, TGoal? goal, TState state, PlanRequest? request = null, Attempts? tried = null,
        ImmutableArray<Reading> readings = default, Func<Question, Decision>? reasoner = null)
        where TGoal : class
    {
        var planner = new Planner<TGoal, TState>(agent);
        var decisions = ImmutableArray<Decision>.Empty;
        while (true)
        {
            var plan = planner.Plan(request ?? Request, goal, state, tried ?? Attempts.None(default), readings.IsDefault ? [] : readings, decisions);
            if (plan.Outcome != Outcome.NeedsChoice) return plan;
            decisions = decisions.Add((reasoner ?? new RulesReasoner().Decide)(plan.Question!));
        }
    }

    /// <summary>Everything that is wrong with the plan; empty = nothing.</summary>
    public static IReadOnlyList<string> Findings<TGoal, TState>(Agent<TGoal, TState> agent, Plan<TGoal, TState> plan)
        where TGoal : class
    {
        List<string> findings = [];
        var tools = agent.Tools.ToDictionary(t => t.Name, StringComparer.Ordinal);
        var state = plan.Start;
        foreach (var step in plan.Steps)
        {
            var call = tools[step.Tool].Bind(step.Args);
            var seen = new StepReplay<TGoal, TState>(agent, tools, plan.Goal, step, call, state);
            findings.AddRange(seen.Findings().Select(f => $"step {step.Index} {step.Key}: {f}"));
            state = call.Predict(state);
        }
        if (plan.Outcome == Outcome.Ready && agent.Differences(plan.Goal, state).FirstOrDefault() is { } left) findings.Add("the goal is missed: " + left.Key);
        var turned = plan.Start;
        foreach (var wave in plan.Steps.GroupBy(s => s.Wave))
            foreach (var step in wave.Reverse()) turned = tools[step.Tool].Bind(step.Args).Predict(turned);
        findings.AddRange(Differing(agent, state, turned, []).Where(k => !agent.IsRelative(k)).Select(k => "waves do not commute at " + k));
        return findings;
    }

    /// <summary>Keys of the facts in which two states differ, without these.</summary>
    public static IEnumerable<string> Differing<TGoal, TState>(Agent<TGoal, TState> agent, TState a, TState b, ICollection<string> except)
        where TGoal : class =>
        agent.FactKeys(a).Concat(agent.FactKeys(b)).Distinct(StringComparer.Ordinal).Where(k => !except.Contains(k) && agent.Fact(a, k) != agent.Fact(b, k));
}

/// <summary>One step beside the state it was planned for.</summary>
internal sealed class StepReplay<TGoal, TState>(Agent<TGoal, TState> agent, Dictionary<string, Tool<TGoal, TState>> tools, TGoal? goal, Step step,
    Proposal<TState> call, TState state)
    where TGoal : class
{
    private readonly TState _during = call.During(state);
    private readonly TState _after = call.Predict(state);

    internal IEnumerable<string> Findings() => Itself().Concat(Invariants()).Concat(Footprint()).Concat(Inverse());

    private IEnumerable<string> Itself()
    {
        if (call.Key != step.Key) yield return "its arguments do not survive the journal";
        foreach (var (key, value) in step.Basis)
            if (agent.Fact(state, key) != value) yield return $"its basis says {key} is {value}, it is {agent.Fact(state, key)}";
        var at = step.Difference.IndexOf(':');
        var difference = new Difference(step.Difference[..at], step.Difference[(at + 1)..], "");
        // What the wave did before it must not have taken the proposal back, else its reads are incomplete.
        if (!tools[step.Tool].ProposeBound(goal, state, difference).Any(p => p.Blocked is null && p.Key == step.Key)) yield return "it is no longer proposed";
    }

    // All invariants, those that do not watch a written fact too: a prefix that watches too little shows here.
    private IEnumerable<string> Invariants() => agent.Invariants
        .Where(i => i.Strength == Strength.Never || !step.Risk.Reasons.Contains(i.Name))
        .Where(i => (i.Check(goal, state, _during) ?? i.Check(goal, state, _after)) is not null)
        .Select(i => "it breaks " + i.Name);

    private IEnumerable<string> Footprint()
    {
        var writes = call.Touches(state).Writes;
        return PlanChecks.Differing(agent, state, _after, writes).Concat(PlanChecks.Differing(agent, state, _during, writes)).Distinct().Where(k => !agent.IsRelative(k)).Select(k => "it changes undeclared " + k)
            .Concat(writes.Where(agent.IsRelative).Select(k => $"it promises {k}, which others change too"));
    }

    private IEnumerable<string> Inverse()
    {
        if (step.Undo.Call is not { } undo) yield break;
        foreach (var (from, name) in new[] { (_after, "after"), (_during, "during") })
        {
            var back = tools[undo.Tool].Bind(undo.Args).Predict(from);
            foreach (var key in call.Touches(state).Writes)
                if (agent.Fact(back, key) != agent.Fact(state, key)) yield return $"its inverse from {name} leaves {key} {agent.Fact(back, key)}, it was {agent.Fact(state, key)}";
        }
    }
}
