using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Tests.Identity;

/// <summary>A store in which something happens between one caller's reading and writing, once.</summary>
internal sealed class RacingStore(IStore inner) : IStore
{
    public Func<Task>? BeforeTxn { get; set; }

    public string StoreId => inner.StoreId;

    public async ValueTask<StoreResult> TxnAsync(StoreTxn txn, CancellationToken cancel = default)
    {
        if (BeforeTxn is { } happening)
        {
            BeforeTxn = null;
            await happening();
        }
        return await inner.TxnAsync(txn, cancel);
    }

    public ValueTask<StoreRead> GetAsync(string key, CancellationToken cancel = default) => inner.GetAsync(key, cancel);

    public ValueTask<StoreListing> ListAsync(string prefix, CancellationToken cancel = default) => inner.ListAsync(prefix, cancel);

    public IAsyncEnumerable<WatchEvent> WatchAsync(string prefix, Revision after, CancellationToken cancel = default) => inner.WatchAsync(prefix, after, cancel);

    public ValueTask<LeaseResult> AcquireLeaseAsync(string lease, string holder, TimeSpan timeToLive, CancellationToken cancel = default) => inner.AcquireLeaseAsync(lease, holder, timeToLive, cancel);

    public ValueTask<LeaseResult> RenewLeaseAsync(LeaderProof proof, TimeSpan timeToLive, CancellationToken cancel = default) => inner.RenewLeaseAsync(proof, timeToLive, cancel);

    public ValueTask ReleaseLeaseAsync(LeaderProof proof, CancellationToken cancel = default) => inner.ReleaseLeaseAsync(proof, cancel);

    public ValueTask<BlobResult> PutBlobAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default) => inner.PutBlobAsync(bytes, cancel);

    public ValueTask<ReadOnlyMemory<byte>?> GetBlobAsync(string hash, CancellationToken cancel = default) => inner.GetBlobAsync(hash, cancel);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
