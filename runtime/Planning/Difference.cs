namespace AgentMetal.Runtime.Planning;

/// <summary>One thing that is not as wanted. Differences, not tools, define the goal: none left = converged.</summary>
/// <param name="Kind">Selects the tools that may answer it; kebab-case, from a closed set per agent.</param>
/// <param name="Subject">What it is about; unique within Kind. As coarse as the actuator: one atomic load = one difference.</param>
/// <param name="Text">For people: "runs maxmemory 256Mi, wants 512Mi". Never hashed.</param>
public sealed record Difference(string Kind, string Subject, string Text)
{
    /// <summary>Kind and subject; the identity of the difference within one plan and in the attempts log.</summary>
    public string Key { get; } = Kind + ":" + Subject;

    /// <summary>Undo scope: steps of one group are planned, approved and undone together. Default: the difference alone.</summary>
    public string? Group { get; init; }

    /// <summary>Set when it clears by itself with nobody acting (a peer that cannot be seen): the plan is then Waiting, not Stuck.</summary>
    public TimeSpan? ClearsAfter { get; init; }

    /// <summary>The group that applies: the declared one, or the difference itself.</summary>
    public string Scope => Group ?? Key;
}
