using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using AgentMetal.Runtime.Store;
using Microsoft.Data.Sqlite;

namespace AgentMetal.Coordinator.Store;

/// <summary>
/// The store of one machine: a SQLite file in WAL mode, synchronous=FULL, one writer, up to four readers at once. A commit is acknowledged after its fsync.
/// </summary>
internal sealed class SqliteStore : IStore
{
    private const int ReaderLimit = 4;

    private readonly SqliteStoreOptions options;
    private readonly StoreLock held;
    private readonly SqliteConnection connection;
    private readonly SqliteWriter writer;
    private readonly ConcurrentBag<SqliteReads> readers = [];
    private readonly SemaphoreSlim readerSlots = new(ReaderLimit);
    private TaskCompletionSource moved = NewSignal();
    private volatile bool closed;

    private SqliteStore(SqliteStoreOptions options, StoreLock held)
    {
        (this.options, this.held) = (options, held);
        connection = SqliteFile.Connect(options.Path, write: true);
        StoreId = (string)SqliteFile.Scalar(connection, "SELECT value FROM meta WHERE name = 'store_id'")!;
        writer = new SqliteWriter(connection, new SqliteWrites(connection, StoreId, options.Time, options.HistoryLimit), options.Path, Signal);
    }

    public string StoreId { get; }

    /// <summary>Takes the lock, checks the file and opens it, making it if it is not there.</summary>
    public static StoreOpening Open(SqliteStoreOptions options)
    {
        StoreLock? mine;
        StoreOpening.HeldBy? holder;
        try
        {
            (mine, holder) = StoreLock.Take(options.Path, options.Time.GetUtcNow());
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new StoreOpening.Refused($"{options.Path}.lock cannot be written: {e.Message} The directory must exist and belong to the coordinator's user.");
        }
        if (holder is not null) return holder;
        if (SqliteFile.Prepare(options.Path, options.Restored) is { } problem)
        {
            mine!.Dispose();
            return new StoreOpening.Refused(problem);
        }
        return new StoreOpening.Opened(new SqliteStore(options, mine!));
    }

    public ValueTask<StoreRead> GetAsync(string key, CancellationToken cancel = default)
    {
        StoreLimits.RequireKey(key);
        return ReadAsync(r => r.Get(key), cancel);
    }

    public ValueTask<StoreListing> ListAsync(string prefix, CancellationToken cancel = default)
    {
        StoreLimits.RequirePrefix(prefix);
        return ReadAsync(r => r.List(prefix), cancel);
    }

    public ValueTask<StoreResult> TxnAsync(StoreTxn txn, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(txn);
        if (closed) throw new StoreAwayException("it was closed");
        if (StoreLimits.Check(txn) is { } refused) return new(refused);
        // Copied now: the caller may use its buffers again when it stops waiting, and the transaction may still be queued then.
        var values = txn.Writes.Select(w => (w.Key, w.Value?.ToArray())).ToArray();
        return WriteAsync(w => w.Apply(txn, values), cancel);
    }

    public async IAsyncEnumerable<WatchEvent> WatchAsync(string prefix, Revision after, [EnumeratorCancellation] CancellationToken cancel = default)
    {
        StoreLimits.RequirePrefix(prefix);
        while (true)
        {
            // The signal is taken before looking, so that a commit in between wakes the wait at once instead of being missed.
            var signal = Volatile.Read(ref moved).Task;
            var from = after;
            var (events, seen) = await ReadAsync(r => r.ChangesAfter(prefix, from), cancel).ConfigureAwait(false);
            foreach (var next in events)
            {
                cancel.ThrowIfCancellationRequested();
                yield return next;
                if (next is WatchEvent.ReList) yield break;
            }
            after = seen;
            if (events.Count == 0) await signal.WaitAsync(cancel).ConfigureAwait(false);
        }
    }

    public ValueTask<LeaseResult> AcquireLeaseAsync(string lease, string holder, TimeSpan timeToLive, CancellationToken cancel = default) =>
        StoreLimits.CheckLease(lease, holder, timeToLive) is { } refused ? new(refused) : WriteAsync(w => w.Acquire(lease, holder, timeToLive), cancel);

    public ValueTask<LeaseResult> RenewLeaseAsync(LeaderProof proof, TimeSpan timeToLive, CancellationToken cancel = default) =>
        StoreLimits.CheckLease(proof.Lease, proof.Holder, timeToLive) is { } refused ? new(refused) : WriteAsync(w => w.Renew(proof, timeToLive), cancel);

    public async ValueTask ReleaseLeaseAsync(LeaderProof proof, CancellationToken cancel = default) =>
        await WriteAsync(w => w.Release(proof), cancel).ConfigureAwait(false);

    public async ValueTask<BlobResult> PutBlobAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancel = default)
    {
        if (StoreLimits.CheckBlob(bytes) is { } refused) return refused;
        var copy = bytes.ToArray();
        var hash = Convert.ToHexStringLower(SHA256.HashData(copy));
        return new BlobResult.Stored(await WriteAsync(w => w.PutBlob(hash, copy), cancel).ConfigureAwait(false));
    }

    public async ValueTask<ReadOnlyMemory<byte>?> GetBlobAsync(string hash, CancellationToken cancel = default)
    {
        StoreLimits.RequireHash(hash);
        var bytes = await ReadAsync(r => r.Blob(hash), cancel).ConfigureAwait(false);
        if (bytes is null) return null;
        if (Convert.ToHexStringLower(SHA256.HashData(bytes)) != hash)
            throw new StoreAwayException($"blob {hash} in {options.Path} no longer matches its hash. Stop the coordinator, put the last backup in place and start with --restored; hosts follow it once an operator signs.");
        return bytes;
    }

    public async ValueTask DisposeAsync()
    {
        if (closed) return;
        closed = true;
        await writer.StopAsync().ConfigureAwait(false);
        Signal();
        // Running reads end first: a reader given back after this finds the store closed and is disposed by its borrower.
        for (var i = 0; i < ReaderLimit; i++) await readerSlots.WaitAsync(options.Deadline).ConfigureAwait(false);
        while (readers.TryTake(out var reader)) reader.Dispose();
        readerSlots.Release(ReaderLimit);
        await connection.DisposeAsync().ConfigureAwait(false);
        held.Dispose();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private void Signal() => Interlocked.Exchange(ref moved, NewSignal()).TrySetResult();

    private ValueTask<T> WriteAsync<T>(Func<SqliteWrites, T> work, CancellationToken cancel) =>
        closed ? throw new StoreAwayException("it was closed") : writer.RunAsync(work, options.Deadline, cancel);

    private async ValueTask<T> ReadAsync<T>(Func<SqliteReads, T> work, CancellationToken cancel)
    {
        if (!await readerSlots.WaitAsync(options.Deadline, cancel).ConfigureAwait(false))
            throw new StoreAwayException($"{options.Path} did not answer within {options.Deadline.TotalSeconds} s");
        SqliteReads? reader = null;
        try
        {
            if (closed) throw new StoreAwayException("it was closed");
            if (!readers.TryTake(out reader)) reader = new SqliteReads(options.Path, StoreId);
            return work(reader);
        }
        catch (SqliteException e)
        {
            // The connection may be what is wrong: the next read opens another.
            reader?.Dispose();
            reader = null;
            throw new StoreAwayException(SqliteCode.Explain(e, options.Path), e);
        }
        finally
        {
            if (reader is not null) readers.Add(reader);
            readerSlots.Release();
        }
    }
}
