namespace AgentMetal.Runtime.Store;

/// <summary>A key that was put (value) or deleted (null).</summary>
public readonly record struct StoreChange(string Key, ReadOnlyMemory<byte>? Value, long CreatedAt)
{
    public bool IsDelete => Value is null;
}

/// <summary>What a watch says.</summary>
public abstract record WatchEvent
{
    private WatchEvent() { }

    /// <summary>All changes of one transaction under the watched prefix, in ordinal key order. Resume from <paramref name="At"/>.</summary>
    public sealed record Changed(Revision At, IReadOnlyList<StoreChange> Changes) : WatchEvent;

    /// <summary>
    /// The watch cannot go on from where it was and ends: list again, then watch from that listing. Where the reason is
    /// <see cref="ReListReason.ForeignStore"/>, nothing that is missing from the new list may be deleted anywhere.
    /// </summary>
    /// <param name="Reason">Why.</param>
    /// <param name="Current">The store's current revision.</param>
    public sealed record ReList(ReListReason Reason, Revision Current) : WatchEvent;
}

public enum ReListReason
{
    /// <summary>The changes after this revision are no longer kept.</summary>
    Compacted,

    /// <summary>The revision was counted by another store: this one is new, restored or migrated.</summary>
    ForeignStore,

    /// <summary>The store never counted this far: it lost history without saying so. Treated like a foreign store.</summary>
    AheadOfStore,
}
