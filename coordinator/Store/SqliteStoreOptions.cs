namespace AgentMetal.Coordinator.Store;

internal sealed record SqliteStoreOptions
{
    /// <summary>The database file; its directory exists. Files with <c>.lock</c> and <c>.holder</c> appended lie beside it.</summary>
    public required string Path { get; init; }

    /// <summary>The clock by which leases expire.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>How many revisions are kept for watches to resume from; older ones are compacted away.</summary>
    public int HistoryLimit { get; init; } = 10_000;

    /// <summary>True after putting a backup in place: mints a new store id, so that every reader lists again and deletes nothing meanwhile.</summary>
    public bool Restored { get; init; }

    /// <summary>How long a call waits for the disk before it says that the store is away.</summary>
    public TimeSpan Deadline { get; init; } = TimeSpan.FromSeconds(30);
}

/// <summary>What came of opening the store.</summary>
internal abstract record StoreOpening
{
    private StoreOpening() { }

    public sealed record Opened(SqliteStore Store) : StoreOpening;

    /// <summary>Another coordinator has it; this one exits.</summary>
    public sealed record HeldBy(string Path, string Pid, string Since) : StoreOpening
    {
        public string Message => $"{Path} is in use by coordinator process {Pid} since {Since}. Stop that one first: a store has one coordinator.";
    }

    /// <summary>The file is damaged, newer than this program, or not a store. It was not changed.</summary>
    public sealed record Refused(string Message) : StoreOpening;
}
