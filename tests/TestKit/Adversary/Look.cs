using System.Collections.Immutable;

namespace AgentMetal.TestKit.Adversary;

/// <summary>Where things are held: a member and a medium of it, "1" and "memory".</summary>
/// <param name="Member">A name.</param>
/// <param name="Medium">A name.</param>
public readonly record struct Place(string Member, string Medium)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Member}.{Medium}";
}

/// <summary>
/// One look at everything that members hold. Items are written once, with a content that follows from their name, and never taken back,
/// so that what is held is a set:
/// a key, a block with its checksum, a message.
/// </summary>
public sealed record Look
{
    /// <summary>By whatever clock the subject has.</summary>
    public required TimeSpan At { get; init; }

    /// <summary>What each place holds; null = it cannot be looked at now (hung, loading) and holds what it held.</summary>
    public required ImmutableDictionary<Place, IReadOnlySet<string>?> Held { get; init; }

    /// <summary>Places that an earlier fault may still take at any time: a standing order to copy, a limit that is still lowered.</summary>
    public ImmutableHashSet<Place> AtRisk { get; init; } = [];
}

/// <summary>What a fault may destroy by itself, and by copies that were under way or ordered by a hand. Everything else it must
/// leave.</summary>
public sealed record Toll
{
    /// <summary>Nothing.</summary>
    public static Toll None { get; } = new();

    /// <summary>Their content may go.</summary>
    public ImmutableHashSet<Place> Places { get; init; } = [];

    /// <summary>
    /// Which items the declared persistence may give up here; null = this fault is not one that a declared persistence speaks of (a hand
    /// deleted files),
    /// and what it destroyed is its own.
    /// </summary>
    public Func<string, bool>? MayGo { get; init; }
}

/// <summary>What a person signed.</summary>
/// <param name="Text">All of it.</param>
/// <param name="ItemsAtMost">How much it says will go; 0 = "nothing", null = it names no number.</param>
public sealed record Signature(string Text, long? ItemsAtMost);

/// <summary>Something that must not be.</summary>
/// <param name="After">Commands of the sequence that were done before it was seen: its failing prefix.</param>
/// <param name="What">One line.</param>
/// <param name="Loses">A broken promise about data, and not only a missing word.</param>
public sealed record Finding(int After, string What, bool Loses = true);
