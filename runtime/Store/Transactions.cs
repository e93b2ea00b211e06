namespace AgentMetal.Runtime.Store;

/// <summary>Expects that a key was last written at a revision number.</summary>
/// <param name="Key">The key to look at.</param>
/// <param name="ModifiedAt">The <see cref="StoreEntry.ModifiedAt"/> expected; 0 expects that the key is absent.</param>
public readonly record struct StoreCompare(string Key, long ModifiedAt);

/// <summary>One write of a transaction: a value to put, or null to delete. Deleting an absent key changes nothing and is no error.</summary>
public readonly record struct StoreWrite(string Key, ReadOnlyMemory<byte>? Value)
{
    public static StoreWrite Put(string key, ReadOnlyMemory<byte> value) => new(key, value);

    public static StoreWrite Delete(string key) => new(key, null);
}

/// <summary>
/// All compares hold and all writes happen, or nothing happens. Compares are made before the writes. A key may be written once.
/// </summary>
public sealed record StoreTxn
{
    public IReadOnlyList<StoreCompare> Compares { get; init; } = [];

    public IReadOnlyList<StoreWrite> Writes { get; init; } = [];

    /// <summary>Set on every write that only the leader may make. Checked in the same transaction, so that a leader who lost the lease in between writes nothing.</summary>
    public LeaderProof? Leader { get; init; }

    /// <summary>Puts one value if the key is still as it was read (0: if it is absent).</summary>
    public static StoreTxn Put(string key, ReadOnlyMemory<byte> value, long modifiedAt, LeaderProof? leader = null) =>
        new() { Compares = [new(key, modifiedAt)], Writes = [StoreWrite.Put(key, value)], Leader = leader };

    /// <summary>Deletes one key if it is still as it was read.</summary>
    public static StoreTxn Delete(string key, long modifiedAt, LeaderProof? leader = null) =>
        new() { Compares = [new(key, modifiedAt)], Writes = [StoreWrite.Delete(key)], Leader = leader };
}

/// <summary>How a transaction ended. A store that cannot answer throws <see cref="StoreAwayException"/> instead.</summary>
public abstract record StoreResult
{
    private StoreResult() { }

    /// <summary>Durable. <paramref name="At"/> is the revision of these writes, or the current one where they changed nothing.</summary>
    public sealed record Committed(Revision At) : StoreResult;

    /// <summary>The first compare, in the caller's order, that did not hold. Nothing was written.</summary>
    /// <param name="Key">The key that is not as expected.</param>
    /// <param name="Expected">The revision number that the compare named.</param>
    /// <param name="Actual">The revision number found; 0 if the key is absent.</param>
    public sealed record Conflict(string Key, long Expected, long Actual) : StoreResult;

    /// <summary>The writer is not, or no longer, the leader. Nothing was written; stop leading.</summary>
    /// <param name="Lease">The name of the lease.</param>
    /// <param name="Token">The token that the writer showed.</param>
    /// <param name="CurrentToken">The highest token given out so far.</param>
    /// <param name="Holder">Who holds the lease now; null if nobody does.</param>
    public sealed record Fenced(string Lease, long Token, long CurrentToken, string? Holder) : StoreResult;

    /// <summary>The transaction breaks a limit and never can commit. Nothing was written.</summary>
    /// <param name="Field">What is wrong, as <c>writes[2].value</c>.</param>
    /// <param name="Message">What it is, what is allowed and what to do.</param>
    public sealed record Refused(string Field, string Message) : StoreResult;
}

/// <summary>
/// The store could not answer: it is closed, its disk is full, its peers do not form a quorum, its deadline passed. A write that ends so may or may not
/// have happened; read before writing again. Whoever catches this keeps what it knows: away is never "empty".
/// </summary>
public sealed class StoreAwayException(string reason, Exception? inner = null) : Exception($"the store is away: {reason}", inner)
{
    /// <summary>What is wrong and what to do, for an operator.</summary>
    public string Reason { get; } = reason;
}
