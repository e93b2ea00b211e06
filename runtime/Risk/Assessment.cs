using System.Collections.Immutable;

namespace AgentMetal.Runtime.Risk;

/// <summary>Declared by tools, raised by context, never lowered by anything.</summary>
public enum RiskLevel
{
    /// <summary>Goes ahead.</summary>
    Safe,

    /// <summary>Goes ahead and notifies; a policy may hold it.</summary>
    Moderate,

    /// <summary>Waits for a signed approval of exactly these step hashes.</summary>
    Dangerous,
}

/// <param name="Level">The level the tool declares in this state.</param>
/// <param name="Reasons">Stable codes, sorted; hashed. Words for people come from a table.</param>
/// <param name="LosesData">Refused outright on a protected resource.</param>
public sealed record Assessment(RiskLevel Level, ImmutableArray<string> Reasons, bool LosesData = false)
{
    /// <summary>Reading, health checks, and what packages can fetch again.</summary>
    public static readonly Assessment Safe = new(RiskLevel.Safe, []);

    /// <summary>Creating, scaling up, restarting one of several.</summary>
    public static Assessment Moderate(params ImmutableArray<string> why) => new(RiskLevel.Moderate, Sorted(why));

    /// <summary>Needs a person.</summary>
    public static Assessment Dangerous(params ImmutableArray<string> why) => new(RiskLevel.Dangerous, Sorted(why));

    /// <summary>The same with one more reason and at least this level; there is no way to lower it.</summary>
    public Assessment Raise(RiskLevel level, string why) => this with
    {
        Level = level > Level ? level : Level,
        Reasons = Reasons.Contains(why) ? Reasons : Sorted(Reasons.Add(why)),
    };

    private static ImmutableArray<string> Sorted(ImmutableArray<string> codes) => [.. codes.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
}
