using System.Security.Cryptography;
using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>What to write, and what the caller gets once it is durable.</summary>
internal sealed record FleetChange<T>(T Result)
{
    public IReadOnlyList<StoreWrite> Writes { get; init; } = [];

    /// <summary>Only if these are still as the view said.</summary>
    public IReadOnlyList<StoreCompare> Compares { get; init; } = [];
}

/// <summary>
/// Every write of the leader: decided on the newest view, one at a time, fenced by the CoordinatorLease, all or nothing also when it is larger than one
/// transaction.
/// </summary>
internal sealed class FleetWriter(IStore store, FleetModel model, Leadership leadership) : IDisposable
{
    private const int MaxTries = 5;
    private const int Chunk = StoreLimits.MaxTxnOperations - 8;

    private readonly SemaphoreSlim _gate = new(1, 1);
    private (string Intent, IReadOnlyList<StoreWrite> Writes)? _unfinished;

    /// <summary>Decides and writes. The decision is made again when somebody else wrote in between.</summary>
    /// <exception cref="StoreAwayException">The store cannot answer; the write may or may not have happened.</exception>
    /// <exception cref="NotLeaderException">Another coordinator leads.</exception>
    public async Task<T> ChangeAsync<T>(Func<FleetView, FleetChange<T>> decide, CancellationToken cancel)
    {
        await _gate.WaitAsync(cancel);
        try
        {
            // A large write that the store interrupted comes first: finished later, it would undo what was written meanwhile.
            if (_unfinished is { } unfinished) await WriteManyAsync(unfinished.Intent, unfinished.Writes);
            for (var tries = 1; ; tries++)
            {
                var change = decide(model.Current);
                if (change.Writes.Count == 0) return change.Result;
                // Not cancelled from here on: a write that began is waited for, so that the caller's answer is true.
                if (change.Writes.Count + change.Compares.Count > StoreLimits.MaxTxnOperations)
                {
                    await WriteManyAsync(StoreKeys.Intents + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8)), change.Writes);
                    return change.Result;
                }
                switch (await store.TxnAsync(new() { Compares = change.Compares, Writes = change.Writes, Leader = leadership.Proof }, CancellationToken.None))
                {
                    case StoreResult.Committed committed:
                        await model.CaughtUpAsync(committed.At.Number, CancellationToken.None);
                        return change.Result;
                    case StoreResult.Conflict when tries < MaxTries:
                        var read = await store.GetAsync(StoreKeys.Lease, CancellationToken.None);
                        await model.CaughtUpAsync(read.At.Number, cancel);
                        break;
                    case StoreResult.Fenced fenced:
                        throw leadership.Fenced(fenced);
                    case var other:
                        throw new InvalidOperationException($"the store refused a write: {other}");
                }
            }
        }
        finally { _gate.Release(); }
    }

    /// <summary>Finishes large writes that a crash interrupted.</summary>
    public async Task FinishIntentsAsync(CancellationToken stop)
    {
        foreach (var entry in (await store.ListAsync(StoreKeys.Intents, stop)).Entries)
        {
            var hash = System.Text.Encoding.ASCII.GetString(entry.Value.Span);
            var bytes = await store.GetBlobAsync(hash, stop) ?? throw new InvalidOperationException($"the blob {hash} of {entry.Key} is missing");
            await WriteChunksAsync(entry.Key, WriteList.Read(bytes));
        }
    }

    // More than one transaction: the whole list is stored first, so that a crash between two chunks is finished at the next start and never left half done.
    private async Task WriteManyAsync(string intent, IReadOnlyList<StoreWrite> writes)
    {
        if (await store.PutBlobAsync(WriteList.Write(writes)) is not BlobResult.Stored stored)
            throw new TooLargeException("the change is larger than 16 MiB; split it");
        _unfinished = (intent, writes);
        await CommitAsync([StoreWrite.Put(intent, System.Text.Encoding.ASCII.GetBytes(stored.Hash))]);
        await WriteChunksAsync(intent, writes);
        _unfinished = null;
    }

    private async Task WriteChunksAsync(string intent, IReadOnlyList<StoreWrite> writes)
    {
        foreach (var chunk in writes.Chunk(Chunk)) await CommitAsync(chunk);
        await CommitAsync([StoreWrite.Delete(intent)]);
    }

    private async Task CommitAsync(IReadOnlyList<StoreWrite> writes)
    {
        switch (await store.TxnAsync(new() { Writes = writes, Leader = leadership.Proof }))
        {
            case StoreResult.Committed committed:
                await model.CaughtUpAsync(committed.At.Number, CancellationToken.None);
                break;
            case StoreResult.Fenced fenced:
                throw leadership.Fenced(fenced);
            case var other:
                throw new InvalidOperationException($"the store refused a write: {other}");
        }
    }

    public void Dispose() => _gate.Dispose();
}

/// <summary>A change is too large for the store.</summary>
internal sealed class TooLargeException(string message) : Exception(message);

/// <summary>A list of writes as bytes, for the intent of a large write.</summary>
internal static class WriteList
{
    public static byte[] Write(IReadOnlyList<StoreWrite> writes)
    {
        using var memory = new MemoryStream();
        using (var writer = new BinaryWriter(memory))
        {
            writer.Write(writes.Count);
            foreach (var write in writes)
            {
                writer.Write(write.Key);
                writer.Write(write.Value?.Length ?? -1);
                if (write.Value is { } value) writer.Write(value.Span);
            }
        }
        return memory.ToArray();
    }

    /// <exception cref="EndOfStreamException">Cut short; the blob's hash was checked, so this is a bug.</exception>
    public static IReadOnlyList<StoreWrite> Read(ReadOnlyMemory<byte> bytes)
    {
        using var reader = new BinaryReader(new MemoryStream(bytes.ToArray()));
        var writes = new List<StoreWrite>();
        for (var left = reader.ReadInt32(); left > 0; left--)
        {
            var key = reader.ReadString();
            var length = reader.ReadInt32();
            writes.Add(length < 0 ? StoreWrite.Delete(key) : StoreWrite.Put(key, reader.ReadBytes(length)));
        }
        return writes;
    }
}
