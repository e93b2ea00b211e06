namespace AgentMetal.Runtime.Planning;

/// <summary>How strong a rule is.</summary>
public enum Strength
{
    /// <summary>No approval allows it (two primaries).</summary>
    Never,

    /// <summary>The last resort, Dangerous with the invariant's name as its reason; without guards a small cluster can never be changed.</summary>
    Guard,
}

/// <summary>A rule about steps, not states: the world may already be broken; no step may break it (further).</summary>
/// <param name="Name">Kebab-case; a risk reason when a guard is broken.</param>
/// <param name="Strength">Never or Guard.</param>
/// <param name="Watches">Fact-key prefix; evaluated only for steps that write under it. "" = always.</param>
/// <param name="Check">(goal, before, duringOrAfter) -> null, or what would be violated. Pure, cheap.</param>
public sealed record Invariant<TGoal, TState>(string Name, Strength Strength, string Watches, Func<TGoal?, TState, TState, string?> Check)
    where TGoal : class;
