namespace AgentMetal.Runtime.Store;

/// <summary>
/// A point in one store's history. Numbers of two stores say nothing about each other, so each carries the id of the store that counted it.
/// </summary>
/// <param name="StoreId">Minted when a store is made, restored or migrated; 32 lowercase hexadecimal digits in the stores of this project.</param>
/// <param name="Number">Counts committed transactions that changed something, from 1; 0 is the empty store before the first.</param>
public readonly record struct Revision(string StoreId, long Number)
{
    public override string ToString() => $"{StoreId}@{Number}";
}

/// <summary>A key with its value as last written.</summary>
public sealed record StoreEntry
{
    public required string Key { get; init; }

    /// <summary>At most <see cref="StoreLimits.MaxValueBytes"/>. Never written to by anyone: a store may hand the same memory to several readers.</summary>
    public required ReadOnlyMemory<byte> Value { get; init; }

    /// <summary>The revision number that made this key; a key deleted and made again has a new one.</summary>
    public required long CreatedAt { get; init; }

    /// <summary>The revision number that wrote this value: what a <see cref="StoreCompare"/> expects.</summary>
    public required long ModifiedAt { get; init; }
}

/// <summary>What Get saw: a null entry means that the key was absent at this revision, never that the store could not answer.</summary>
public sealed record StoreRead(Revision At, StoreEntry? Entry);

/// <summary>What List saw, in ordinal key order and all at one revision: the place to start a watch from.</summary>
public sealed record StoreListing(Revision At, IReadOnlyList<StoreEntry> Entries);
