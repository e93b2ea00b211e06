namespace AgentMetal.Runtime.Store;

/// <summary>
/// The desired state of a fleet: a small, strongly consistent map from keys to bytes with a history. SQLite on one machine, etcd for a fleet and memory in
/// tests keep the same contract, which the store conformance suite checks.
/// <para>Every call that cannot be answered throws <see cref="StoreAwayException"/>; no failure is ever reported as an absent key or an empty list.
/// A call waits for as long as its cancellation token allows. Any thread may call. Heartbeats and audit records do not belong here.</para>
/// </summary>
public interface IStore : IAsyncDisposable
{
    /// <summary>Minted when the store was made, restored or migrated.</summary>
    string StoreId { get; }

    ValueTask<StoreRead> GetAsync(string key, CancellationToken cancel = default);

    /// <summary>All entries whose key begins with the prefix (ordinal), at one revision. End a prefix with '/' to stay within a folder.</summary>
    ValueTask<StoreListing> ListAsync(string prefix, CancellationToken cancel = default);

    /// <summary>
    /// Cancelling stops the waiting, not the transaction: it may still commit. Limits are checked first, then the fence, then the compares.
    /// </summary>
    ValueTask<StoreResult> TxnAsync(StoreTxn txn, CancellationToken cancel = default);

    /// <summary>
    /// Changes under the prefix after a revision, in commit order, without gaps or repeats, until cancelled (which throws, as asynchronous streams do) or a
    /// <see cref="WatchEvent.ReList"/>, which is the last event. A slow reader costs the store no memory: it reads the history at its own pace and is
    /// asked to list again if the history is compacted past it.
    /// </summary>
    IAsyncEnumerable<WatchEvent> WatchAsync(string prefix, Revision after, CancellationToken cancel = default);

    /// <summary>
    /// Asks for the CoordinatorLease. Granted if it is free or expired, and also if the same holder has it: a restarted coordinator does not wait for
    /// its own ghost, which the higher token fences. Two coordinators must never share a holder name.
    /// </summary>
    /// <param name="lease">The name of the lease, a key.</param>
    /// <param name="holder">The coordinator, unique in the fleet.</param>
    /// <param name="timeToLive">1 s to 5 min.</param>
    /// <param name="cancel">Stops the waiting.</param>
    ValueTask<LeaseResult> AcquireLeaseAsync(string lease, string holder, TimeSpan timeToLive, CancellationToken cancel = default);

    /// <summary>Granted with the same token and a later end, or Lost. An expired lease cannot be renewed, even if nobody took it.</summary>
    ValueTask<LeaseResult> RenewLeaseAsync(LeaderProof proof, TimeSpan timeToLive, CancellationToken cancel = default);

    /// <summary>Lets go at once, so that a successor need not wait. Does nothing if the lease has already passed on.</summary>
    ValueTask ReleaseLeaseAsync(LeaderProof proof, CancellationToken cancel = default);

    /// <summary>Stores bytes under their own hash; storing the same bytes again changes nothing. Up to 16 MiB.</summary>
    ValueTask<BlobResult> PutBlobAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default);

    /// <summary>Null if no blob has this hash. Bytes that no longer match their hash throw <see cref="StoreAwayException"/>.</summary>
    ValueTask<ReadOnlyMemory<byte>?> GetBlobAsync(string hash, CancellationToken cancel = default);
}
