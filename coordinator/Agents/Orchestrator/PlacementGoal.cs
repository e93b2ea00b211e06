using System.Collections.Immutable;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>What is wanted of one resource's members.</summary>
internal sealed record PlacementGoal
{
    public required string Kind { get; init; }

    public required long Generation { get; init; }

    public required FleetShape Shape { get; init; }

    /// <summary>Hex SHA-256 of the canonical spec and of those that it refers to: members with another one are stale.</summary>
    public required string SpecHash { get; init; }

    /// <summary>Who signed what of it, as one word: a member with another one has not all signatures; empty = nothing is signed.</summary>
    public string Signed { get; init; } = "";

    /// <summary>Why members cannot be told what is wanted: something that the spec refers to is missing. What is placed stays as it is.</summary>
    public ImmutableArray<string> Unresolved { get; init; } = [];

    /// <summary>Resources on whose host members belong.</summary>
    public ImmutableArray<Neighbour> Beside { get; init; } = [];

    public required bool Protect { get; init; }

    /// <summary>By ordinal, where each member belongs; set by Aim.</summary>
    public ImmutableSortedDictionary<int, Slot> Target { get; init; } = ImmutableSortedDictionary<int, Slot>.Empty;

    /// <summary>By ordinal, why there is no host for it; set by Aim.</summary>
    public ImmutableSortedDictionary<int, string> NoRoom { get; init; } = ImmutableSortedDictionary<int, string>.Empty;

    /// <summary>By ordinal, why the member cannot have what it is to reserve where it is; it stays as it was told last. Set by Aim.</summary>
    public ImmutableSortedDictionary<int, string> Cramped { get; init; } = ImmutableSortedDictionary<int, string>.Empty;

    /// <summary>By ordinal, members on their way from one host to another; set by Aim.</summary>
    public ImmutableSortedDictionary<int, Moving> Moves { get; init; } = ImmutableSortedDictionary<int, Moving>.Empty;

    /// <summary>By ordinal, why the member should not be where it is; it stays there all the same. Set by Aim.</summary>
    public ImmutableSortedDictionary<int, string> Misplaced { get; init; } = ImmutableSortedDictionary<int, string>.Empty;
}

/// <summary>A resource on whose host a member belongs.</summary>
/// <param name="Key">"Volume default/data".</param>
/// <param name="Bond">How closely.</param>
/// <param name="Node">The uid of its host; empty while that is not known.</param>
/// <param name="Why">Why it is not known; empty when it is.</param>
internal sealed record Neighbour(string Key, Bond Bond, string Node, string Why);

/// <summary>A place for one member.</summary>
internal sealed record Slot(string Node, int Port);
