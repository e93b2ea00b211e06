using System.Collections.Immutable;

namespace AgentMetal.Runtime.Planning;

/// <summary>What an agent's author provides beside the observer.</summary>
public abstract class Agent<TGoal, TState>
    where TGoal : class
{
    /// <summary>Lower-case name of the agent ("redis").</summary>
    public abstract string Name { get; }

    /// <summary>All tools; order does not matter.</summary>
    public abstract ImmutableArray<Tool<TGoal, TState>> Tools { get; }

    /// <summary>Rules that no step may break.</summary>
    public abstract ImmutableArray<Invariant<TGoal, TState>> Invariants { get; }

    /// <summary>Pins what the spec leaves open (placement, survivors, order). Called once per plan, so a plan cannot change its mind.</summary>
    public virtual TGoal? Aim(TGoal? spec, TState state) => spec;

    /// <summary>All that is not as wanted; empty = converged. Complete: not limited to what the tools can change.</summary>
    public abstract IEnumerable<Difference> Differences(TGoal? goal, TState state);

    /// <summary>What somebody changed and policy leaves alone: told to people, and no difference.</summary>
    public virtual IEnumerable<Difference> Drift(TGoal? goal, TState state) => [];

    /// <summary>The value of one fact, O(1); Absent where it does not exist. Volatile numbers are bucketed (lag: "in-sync").</summary>
    public abstract string Fact(TState state, string key);

    /// <summary>Every fact key of the state: for conformance, drift reports and audit, not for the planner.</summary>
    public abstract IEnumerable<string> FactKeys(TState state);

    /// <summary>
    /// Whether a fact compares what is here with what others hold, or is what clients own: a step may rest on it, and none promises it, because whatever changes
    /// one side changes it.
    /// </summary>
    public virtual bool IsRelative(string key) => false;

    /// <summary>One line for people: "primary, 2 replicas in sync". Never holds a secret.</summary>
    public abstract string Summary(TGoal? goal, TState state);

    /// <summary>When to look again although nothing signalled (a backup due, a certificate's half life); null = the default resync.</summary>
    public virtual TimeSpan? ReviewAfter(TGoal? goal, TState state) => null;
}
