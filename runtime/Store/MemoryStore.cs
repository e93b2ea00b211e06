using System.Runtime.CompilerServices;
using System.Security.Cryptography;

namespace AgentMetal.Runtime.Store;

/// <summary>
/// The reference store: the contract in as few lines as say it, for simulation and tests. It is deterministic: it mints nothing, every call but a watch
/// that waits completes before it returns, and <see cref="ChangesAfter"/> lets a simulation pull where a daemon would await.
/// </summary>
/// <param name="storeId">Any text; another text is another store.</param>
/// <param name="time">The clock by which leases expire.</param>
/// <param name="historyLimit">How many revisions are kept for watches.</param>
public sealed class MemoryStore(string storeId, TimeProvider time, int historyLimit = 10_000) : IStore
{
    private readonly Lock gate = new();
    private readonly SortedDictionary<string, StoreEntry> entries = new(StringComparer.Ordinal);
    private readonly Queue<WatchEvent.Changed> history = new();
    private readonly Dictionary<string, LeaderProof> leases = new(StringComparer.Ordinal);
    private readonly Dictionary<string, byte[]> blobs = new(StringComparer.Ordinal);
    private long head;
    private string? away;
    private TaskCompletionSource moved = NewSignal();

    public string StoreId { get; } = storeId;

    /// <summary>From here until <see cref="ComeBack"/> every call throws <see cref="StoreAwayException"/>; running watches end the same way.</summary>
    public void GoAway(string reason)
    {
        lock (gate)
        {
            away = reason;
            Signal();
        }
    }

    public void ComeBack()
    {
        lock (gate) away = null;
    }

    public ValueTask<StoreRead> GetAsync(string key, CancellationToken cancel = default)
    {
        StoreLimits.RequireKey(key);
        lock (gate)
        {
            ThrowIfAway();
            return new(new StoreRead(Current, entries.GetValueOrDefault(key)));
        }
    }

    public ValueTask<StoreListing> ListAsync(string prefix, CancellationToken cancel = default)
    {
        StoreLimits.RequirePrefix(prefix);
        lock (gate)
        {
            ThrowIfAway();
            return new(new StoreListing(Current, [.. entries.Values.Where(e => e.Key.StartsWith(prefix, StringComparison.Ordinal))]));
        }
    }

    public ValueTask<StoreResult> TxnAsync(StoreTxn txn, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(txn);
        lock (gate)
        {
            ThrowIfAway();
            return new(Apply(txn));
        }
    }

    /// <summary>What a watch would say next, without waiting: changes, a single ReList, or nothing.</summary>
    public IReadOnlyList<WatchEvent> ChangesAfter(string prefix, Revision after)
    {
        StoreLimits.RequirePrefix(prefix);
        lock (gate)
        {
            ThrowIfAway();
            if (after.StoreId != StoreId) return [new WatchEvent.ReList(ReListReason.ForeignStore, Current)];
            if (after.Number > head) return [new WatchEvent.ReList(ReListReason.AheadOfStore, Current)];
            if (after.Number < head - history.Count) return [new WatchEvent.ReList(ReListReason.Compacted, Current)];
            return [.. history.Where(h => h.At.Number > after.Number).Select(h => Under(prefix, h)).Where(h => h.Changes.Count > 0)];
        }
    }

    public async IAsyncEnumerable<WatchEvent> WatchAsync(string prefix, Revision after, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        while (true)
        {
            // The signal and the head are taken before looking, so that a change in between wakes the wait at once instead of being missed.
            Task signal;
            Revision seen;
            lock (gate) (signal, seen) = (moved.Task, Current);
            foreach (var next in ChangesAfter(prefix, after))
            {
                cancel.ThrowIfCancellationRequested();
                yield return next;
                if (next is WatchEvent.ReList) yield break;
                if (next is WatchEvent.Changed changed) after = changed.At;
            }
            // Changes under other prefixes were looked at too: their compaction must not force this watch to list again.
            if (seen.Number > after.Number) after = seen;
            await signal.WaitAsync(cancel).ConfigureAwait(false);
        }
    }

    public ValueTask<LeaseResult> AcquireLeaseAsync(string lease, string holder, TimeSpan timeToLive, CancellationToken cancel = default)
    {
        lock (gate)
        {
            ThrowIfAway();
            if (StoreLimits.CheckLease(lease, holder, timeToLive) is { } refused) return new(refused);
            var held = leases.GetValueOrDefault(lease);
            if (held is not null && IsLive(held) && held.Holder != holder) return new(new LeaseResult.HeldBy(held.Holder, held.Token, held.Until));
            return new(Grant(lease, holder, (held?.Token ?? 0) + 1, timeToLive));
        }
    }

    public ValueTask<LeaseResult> RenewLeaseAsync(LeaderProof proof, TimeSpan timeToLive, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(proof);
        lock (gate)
        {
            ThrowIfAway();
            if (StoreLimits.CheckLease(proof.Lease, proof.Holder, timeToLive) is { } refused) return new(refused);
            if (Fence(proof) is { } fenced) return new(new LeaseResult.Lost(fenced.CurrentToken, fenced.Holder));
            return new(Grant(proof.Lease, proof.Holder, proof.Token, timeToLive));
        }
    }

    public ValueTask ReleaseLeaseAsync(LeaderProof proof, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(proof);
        lock (gate)
        {
            ThrowIfAway();
            // The row stays, expired: its token must never be given out again.
            if (Fence(proof) is null) leases[proof.Lease] = leases[proof.Lease] with { Until = DateTimeOffset.MinValue };
            return ValueTask.CompletedTask;
        }
    }

    public ValueTask<BlobResult> PutBlobAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default)
    {
        lock (gate)
        {
            ThrowIfAway();
            if (StoreLimits.CheckBlob(bytes) is { } refused) return new(refused);
            var hash = Convert.ToHexStringLower(SHA256.HashData(bytes.Span));
            blobs.TryAdd(hash, bytes.ToArray());
            return new(new BlobResult.Stored(hash));
        }
    }

    public ValueTask<ReadOnlyMemory<byte>?> GetBlobAsync(string hash, CancellationToken cancel = default)
    {
        StoreLimits.RequireHash(hash);
        lock (gate)
        {
            ThrowIfAway();
            return new(blobs.TryGetValue(hash, out var bytes) ? bytes : (ReadOnlyMemory<byte>?)null);
        }
    }

    public ValueTask DisposeAsync()
    {
        GoAway("it was closed");
        return ValueTask.CompletedTask;
    }

    private Revision Current => new(StoreId, head);

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private StoreResult Apply(StoreTxn txn)
    {
        if (StoreLimits.Check(txn) is { } refused) return refused;
        if (txn.Leader is { } leader && Fence(leader) is { } fenced) return fenced;
        foreach (var compare in txn.Compares)
        {
            var actual = entries.GetValueOrDefault(compare.Key)?.ModifiedAt ?? 0;
            if (actual != compare.ModifiedAt) return new StoreResult.Conflict(compare.Key, compare.ModifiedAt, actual);
        }
        var changes = new List<StoreChange>();
        var next = head + 1;
        foreach (var write in txn.Writes.OrderBy(w => w.Key, StringComparer.Ordinal))
        {
            if (write.Value is { } value) changes.Add(Put(write.Key, value.ToArray(), next));
            else if (entries.Remove(write.Key, out var gone)) changes.Add(new StoreChange(write.Key, null, gone.CreatedAt));
        }
        if (changes.Count == 0) return new StoreResult.Committed(Current);
        head = next;
        history.Enqueue(new WatchEvent.Changed(Current, changes));
        while (history.Count > historyLimit) history.Dequeue();
        Signal();
        return new StoreResult.Committed(Current);
    }

    private StoreChange Put(string key, byte[] value, long at)
    {
        var createdAt = entries.TryGetValue(key, out var before) ? before.CreatedAt : at;
        entries[key] = new StoreEntry { Key = key, Value = value, CreatedAt = createdAt, ModifiedAt = at };
        return new StoreChange(key, value, createdAt);
    }

    private static WatchEvent.Changed Under(string prefix, WatchEvent.Changed all) =>
        all with { Changes = [.. all.Changes.Where(c => c.Key.StartsWith(prefix, StringComparison.Ordinal))] };

    private bool IsLive(LeaderProof held) => time.GetUtcNow() < held.Until;

    private LeaseResult.Granted Grant(string lease, string holder, long token, TimeSpan timeToLive)
    {
        var proof = new LeaderProof { Lease = lease, Holder = holder, Token = token, Until = time.GetUtcNow() + timeToLive };
        leases[lease] = proof;
        return new LeaseResult.Granted(proof);
    }

    /// <summary>Null if the proof is of the lease as it is now. The holder is compared too: a token alone is a number that anyone could have.</summary>
    private StoreResult.Fenced? Fence(LeaderProof proof)
    {
        var held = leases.GetValueOrDefault(proof.Lease);
        if (held is not null && held.Token == proof.Token && held.Holder == proof.Holder && IsLive(held)) return null;
        return new StoreResult.Fenced(proof.Lease, proof.Token, held?.Token ?? 0, held is not null && IsLive(held) ? held.Holder : null);
    }

    private void ThrowIfAway()
    {
        if (away is not null) throw new StoreAwayException(away);
    }

    private void Signal()
    {
        var before = moved;
        moved = NewSignal();
        before.TrySetResult();
    }
}
