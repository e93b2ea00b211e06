namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// Where a data set stands in a replication history (Redis, "Replication": replication id and offset). Offsets of two histories are two
/// unrelated numbers; only an id that both know makes them comparable.
/// </summary>
/// <param name="Id">The replication id it has now.</param>
/// <param name="Offset">How far, in bytes of the replication stream.</param>
internal sealed record RedisPosition(string Id, long Offset)
{
    /// <summary>The history that it left when it became a primary or was started from a dump; empty = none.</summary>
    public string Id2 { get; init; } = "";

    /// <summary>It holds the history that it left below this offset.</summary>
    public long Offset2 { get; init; } = -1;

    /// <summary>40 digits that are not all zero.</summary>
    public bool IsKnown => Id.Length > 0 && Id.AsSpan().ContainsAnyExcept('0');

    /// <summary>Whether everything that the other data set holds is in this one; null = the histories do not tell.</summary>
    public bool? Covers(RedisPosition other)
    {
        if (!IsKnown || !other.IsKnown) return null;
        var told = Holds(other.Id, other.Offset);
        // The other one left a history and has taken nothing since: all that it holds is of that history.
        if (other.HasNotMoved && Holds(other.Id2, other.Offset) is { } before) return before;
        return told;
    }

    /// <summary>It took no write since it left the history before.</summary>
    private bool HasNotMoved => Id2.Length > 0 && Offset + 1 == Offset2;

    private bool? Holds(string id, long offset) =>
        id == Id ? offset <= Offset : id == Id2 && Id2.AsSpan().ContainsAnyExcept('0') ? offset < Offset2 ? true : HasNotMoved ? false : null : null;

    /// <summary>How many bytes of the stream the other one has beyond this; null = the histories do not tell.</summary>
    public long? Behind(RedisPosition other) => Covers(other) switch
    {
        true => 0,
        false when other.Id == Id => other.Offset - Offset,
        false => Math.Max(0, other.Offset - Math.Max(Offset2 - 1, 0)),
        null => null,
    };
}

/// <summary>What another copy of the data is to this one, as a fact: stable while both only go on.</summary>
internal static class Copy
{
    /// <summary>It has no key.</summary>
    public const string Empty = "empty";

    /// <summary>One of the two replicates from the other, and the link is up.</summary>
    public const string Linked = "linked";

    /// <summary>Both hold the same.</summary>
    public const string Same = "same";

    /// <summary>All that it holds is here too.</summary>
    public const string Older = "older";

    /// <summary>It holds all that is here, and more.</summary>
    public const string Newer = "newer";

    /// <summary>Two histories: nothing tells what one holds that the other does not.</summary>
    public const string Apart = "apart";

    /// <param name="own">This member's; null = nothing tells.</param>
    /// <param name="other">The other's.</param>
    public static string Of(RedisPosition? own, RedisPosition? other) => own is null || other is null ? Apart : (own.Covers(other), other.Covers(own)) switch
    {
        (true, true) => Same,
        (true, _) => Older,
        (_, true) => Newer,
        _ => Apart,
    };

    /// <summary>Whether nothing of it is lost when this member's data takes its place.</summary>
    public static bool IsCovered(string copy) => copy is Empty or Linked or Same or Older;

    /// <summary>Whether nothing of this member's data is lost when it takes its place.</summary>
    public static bool Covers(string copy) => copy is Linked or Same or Newer;
}
