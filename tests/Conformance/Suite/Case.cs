using AgentMetal.Runtime.Planning;

namespace AgentMetal.Conformance;

/// <summary>One situation: an agent, what is wanted and what is there.</summary>
/// <param name="Name">For people; empty where chance drew it.</param>
/// <param name="Agent">It plans; what it would do to a world is done to a model.</param>
/// <param name="Goal">Null = teardown.</param>
/// <param name="State">What was observed.</param>
/// <param name="Request">Whose plan.</param>
internal sealed record Case<TGoal, TState>(string Name, Agent<TGoal, TState> Agent, TGoal? Goal, TState State, PlanRequest Request)
    where TGoal : class
{
    public override string ToString() => $"{(Name.Length > 0 ? Name + ": " : "")}{string.Join(", ", Agent.FactKeys(State).Select(k => k + "=" + Agent.Fact(State, k)))}";
}
