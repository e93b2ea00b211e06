using AgentMetal.Runtime.Store;
using CsCheck;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Store;

public abstract partial class StoreConformance
{
    [Fact]
    public async Task Watch_FromAListing_SaysEachTransactionOnceInOrder()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a/1", Bytes("1"), 0));
        var from = (await store.ListAsync("a/", Stop)).At;
        await using var watch = store.WatchAsync("a/", from, Stop).GetAsyncEnumerator(Stop);
        var first = Next(watch);
        await Commit(store, StoreTxn.Put("b/1", Bytes("elsewhere"), 0));
        var both = await Commit(store, new StoreTxn { Writes = [StoreWrite.Put("a/3", Bytes("3")), StoreWrite.Put("a/2", Bytes("2")), StoreWrite.Put("b/2", Bytes("x"))] });
        var gone = await Commit(store, StoreTxn.Delete("a/1", 1));
        var changed = Assert.IsType<WatchEvent.Changed>(await first);
        Assert.Equal(both, changed.At);
        Assert.Equal([("a/2", "2"), ("a/3", "3")], changed.Changes.Select(c => (c.Key, Text(c.Value!.Value))));
        changed = Assert.IsType<WatchEvent.Changed>(await Next(watch));
        Assert.Equal(gone, changed.At);
        Assert.Equal(("a/1", true, 1L), (changed.Changes[0].Key, changed.Changes[0].IsDelete, changed.Changes[0].CreatedAt));
    }

    [Fact]
    public async Task Watch_FromForeignStore_AsksToListAgain()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        await ExpectReList(store, new Revision("someone-else", 1), ReListReason.ForeignStore);
    }

    [Fact]
    public async Task Watch_FromTheFuture_AsksToListAgain()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        await ExpectReList(store, new Revision(store.StoreId, 2), ReListReason.AheadOfStore);
    }

    [Fact]
    public async Task Watch_HistoryCompacted_AsksToListAgainJustBeyondTheLimit()
    {
        var store = Open(historyLimit: 5);
        for (var i = 0; i < 8; i++) await Commit(store, StoreTxn.Put($"k{i}", Bytes("1"), 0));
        await ExpectReList(store, new Revision(store.StoreId, 2), ReListReason.Compacted);
        await using var watch = store.WatchAsync("", new Revision(store.StoreId, 3), Stop).GetAsyncEnumerator(Stop);
        for (var i = 4; i <= 8; i++) Assert.Equal(i, Assert.IsType<WatchEvent.Changed>(await Next(watch)).At.Number);
    }

    [Fact]
    public async Task Watch_MoreThanOneReadHolds_HasNoGapAndKeepsTransactionsWhole()
    {
        var store = Open(historyLimit: 10_000);
        var writes = Enumerable.Range(0, 100).Select(i => StoreWrite.Put($"k{i:D3}", Bytes("v"))).ToArray();
        for (var i = 0; i < 25; i++) await Commit(store, new StoreTxn { Writes = writes });
        await using var watch = store.WatchAsync("", new Revision(store.StoreId, 0), Stop).GetAsyncEnumerator(Stop);
        for (var i = 1; i <= 25; i++)
        {
            var changed = Assert.IsType<WatchEvent.Changed>(await Next(watch));
            Assert.Equal((i, 100), (changed.At.Number, changed.Changes.Count));
        }
    }

    [Fact]
    public async Task Watch_Cancelled_EndsWithCancellation()
    {
        var store = Open();
        using var cancel = new CancellationTokenSource();
        await using var watch = store.WatchAsync("", new Revision(store.StoreId, 0), cancel.Token).GetAsyncEnumerator(cancel.Token);
        var next = Next(watch);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await next);
    }

    /// <summary>
    /// Four writers at once with random compares, a watcher that drops off and resumes at random. What the watch tells, replayed, must be the store as
    /// listed at the end; its revisions must be exactly those that writers were told, and each transaction must hold against the model before it.
    /// </summary>
    [Fact]
    public void Watch_ConcurrentWritersAndResumes_ReplaysToTheListing()
    {
        var conflicts = 0;
        var resumes = 0;
        var step = Gen.Select(Gen.Int[0, 5], Gen.Int[0, 5], Gen.Int[0, 3], Gen.Int[0, 255]);
        Gen.Select(step.Array[1, 12].Array[4], Gen.Int[1, 4]).Sample((plans, stride) =>
        {
            var (failed, resumed) = RunWritersAndReplay(plans, stride).GetAwaiter().GetResult();
            Interlocked.Add(ref conflicts, failed);
            Interlocked.Add(ref resumes, resumed);
        }, iter: 60, threads: 1);
        Assert.True(conflicts > 0 && resumes > 0, $"the property saw {conflicts} conflicts and {resumes} resumes: it proves nothing");
    }

    private async Task<(int Conflicts, int Resumes)> RunWritersAndReplay((int, int, int, int)[][] plans, int stride)
    {
        var store = Open();
        // All have read before the first one writes: writers that happen to run one after another would show no conflict.
        var (reading, all) = (plans.Length, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
        var told = await Task.WhenAll(plans.Select(plan => Task.Run(() => Write(store, plan, () =>
        {
            if (Interlocked.Decrement(ref reading) == 0) all.SetResult();
            return all.Task.WaitAsync(TimeSpan.FromSeconds(30), Stop);
        }))));
        var committed = told.SelectMany(t => t).Where(t => t.At is not null).ToDictionary(t => t.At!.Value, t => t.Txn);
        var model = new SortedDictionary<string, (string Value, long Modified)>(StringComparer.Ordinal);
        var at = new Revision(store.StoreId, 0);
        var end = await store.ListAsync("", Stop);
        var resumes = 0;
        for (var seen = new List<long>(); at != end.At; resumes++)
        {
            await using var watch = store.WatchAsync("", at, Stop).GetAsyncEnumerator(Stop);
            for (var i = 0; i < stride && at != end.At; i++)
            {
                var changed = Assert.IsType<WatchEvent.Changed>(await Next(watch));
                Assert.Equal(at.Number + 1, changed.At.Number);
                foreach (var compare in committed[changed.At.Number].Compares) Assert.Equal(compare.ModifiedAt, model.GetValueOrDefault(compare.Key).Modified);
                foreach (var change in changed.Changes)
                    if (change.Value is { } value) model[change.Key] = (Text(value), changed.At.Number);
                    else Assert.True(model.Remove(change.Key));
                at = changed.At;
            }
        }
        Assert.Equal(committed.Keys.Order(), Enumerable.Range(1, (int)end.At.Number).Select(n => (long)n));
        Assert.Equal(model.Select(m => (m.Key, m.Value.Value, m.Value.Modified)), end.Entries.Select(e => (e.Key, Text(e.Value), e.ModifiedAt)));
        return (told.Sum(t => t.Count(x => x.At is null)), resumes - 1);
    }

    /// <summary>Each step reads a key and writes it and another if it is unchanged since; a delete always expects a present key, so every commit counts.</summary>
    private static async Task<List<(long? At, StoreTxn Txn)>> Write(IStore store, (int Key, int Other, int Kind, int Value)[] plan, Func<Task> firstRead)
    {
        var told = new List<(long?, StoreTxn)>();
        foreach (var (key, other, kind, value) in plan)
        {
            var read = (await store.GetAsync($"k{key}", Stop)).Entry;
            if (told.Count == 0) await firstRead();
            else await Task.Yield();
            var write = kind == 0 && read is not null ? StoreWrite.Delete($"k{key}") : StoreWrite.Put($"k{key}", Bytes($"{value}"));
            StoreWrite[] writes = other == key ? [write] : [write, StoreWrite.Put($"k{other}", Bytes($"other {value}"))];
            var txn = new StoreTxn { Compares = [new($"k{key}", read?.ModifiedAt ?? 0)], Writes = writes };
            var result = await store.TxnAsync(txn, Stop);
            told.Add((result is StoreResult.Committed done ? done.At.Number : null, txn));
        }
        return told;
    }

    private static async Task ExpectReList(IStore store, Revision after, ReListReason reason)
    {
        await using var watch = store.WatchAsync("", after, Stop).GetAsyncEnumerator(Stop);
        Assert.Equal(new WatchEvent.ReList(reason, (await store.ListAsync("", Stop)).At), await Next(watch));
        Assert.False(await watch.MoveNextAsync());
    }
}
