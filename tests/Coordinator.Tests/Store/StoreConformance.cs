using System.Text;
using AgentMetal.Runtime.Store;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Store;

/// <summary>The contract of <see cref="IStore"/> as tests: every store passes all of them, so that none is a special case to its users.</summary>
public abstract partial class StoreConformance : IAsyncDisposable
{
    private readonly List<IStore> opened = [];

    protected FakeTimeProvider Time { get; } = new(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero));

    protected static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>A new, empty store.</summary>
    protected abstract IStore Make(int historyLimit);

    public virtual async ValueTask DisposeAsync()
    {
        foreach (var store in opened) await store.DisposeAsync();
        GC.SuppressFinalize(this);
    }

    [Fact]
    public async Task Get_KeyNeverWritten_IsAbsentAtRevisionZero()
    {
        var store = Open();
        Assert.Equal(new StoreRead(new Revision(store.StoreId, 0), null), await store.GetAsync("a/b", Stop));
    }

    [Fact]
    public async Task Txn_PutTwiceThenDeleteAndPut_KeepsCreatedUntilMadeAnew()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        await Commit(store, StoreTxn.Put("a", Bytes("2"), 1));
        var entry = (await store.GetAsync("a", Stop)).Entry!;
        Assert.Equal((1, 2, "2"), (entry.CreatedAt, entry.ModifiedAt, Text(entry.Value)));
        await Commit(store, StoreTxn.Delete("a", 2));
        Assert.Null((await store.GetAsync("a", Stop)).Entry);
        await Commit(store, StoreTxn.Put("a", Bytes("3"), 0));
        entry = (await store.GetAsync("a", Stop)).Entry!;
        Assert.Equal((4, 4), (entry.CreatedAt, entry.ModifiedAt));
    }

    [Fact]
    public async Task Txn_OneCompareFails_WritesNothingAndNamesIt()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        var result = await store.TxnAsync(new StoreTxn { Compares = [new("a", 1), new("b", 7)], Writes = [StoreWrite.Put("a", Bytes("2")), StoreWrite.Put("c", Bytes("3"))] }, Stop);
        Assert.Equal(new StoreResult.Conflict("b", 7, 0), result);
        var listing = await store.ListAsync("", Stop);
        Assert.Equal(1, listing.At.Number);
        Assert.Equal("1", Text(Assert.Single(listing.Entries).Value));
    }

    [Fact]
    public async Task Txn_ExpectsAbsentButPresent_ConflictsWithItsRevision()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        Assert.Equal(new StoreResult.Conflict("a", 0, 1), await store.TxnAsync(StoreTxn.Put("a", Bytes("2"), 0), Stop));
    }

    [Fact]
    public async Task Txn_ChangesNothing_DoesNotMoveTheRevision()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        Assert.Equal(new StoreResult.Committed(new Revision(store.StoreId, 1)), await store.TxnAsync(new StoreTxn { Writes = [StoreWrite.Delete("none")] }, Stop));
        Assert.Equal(new StoreResult.Committed(new Revision(store.StoreId, 1)), await store.TxnAsync(new StoreTxn { Compares = [new("a", 1)] }, Stop));
    }

    [Fact]
    public async Task Txn_ManyWrites_ShareOneRevision()
    {
        var store = Open();
        await Commit(store, new StoreTxn { Writes = [StoreWrite.Put("b", Bytes("1")), StoreWrite.Put("a", Bytes("2"))] });
        Assert.Equal([("a", 1L), ("b", 1L)], (await store.ListAsync("", Stop)).Entries.Select(e => (e.Key, e.ModifiedAt)));
    }

    [Fact]
    public async Task List_Prefix_IsOrdinalAndEndsAtTheFolder()
    {
        var store = Open();
        string[] keys = ["a/B", "a/b", "a/b/c", "a0", "A/b", "a/~", "b"];
        await Commit(store, new StoreTxn { Writes = [.. keys.Select(k => StoreWrite.Put(k, Bytes(k)))] });
        Assert.Equal(["a/B", "a/b", "a/b/c", "a/~"], (await store.ListAsync("a/", Stop)).Entries.Select(e => e.Key));
        Assert.Equal(keys.Order(StringComparer.Ordinal), (await store.ListAsync("", Stop)).Entries.Select(e => e.Key));
    }

    [Fact]
    public async Task Txn_ValueOf64KiB_IsKeptAndOneByteMoreIsRefused()
    {
        var store = Open();
        var value = new byte[StoreLimits.MaxValueBytes];
        value[^1] = 42;
        await Commit(store, StoreTxn.Put("a", value, 0));
        Assert.Equal(value, (await store.GetAsync("a", Stop)).Entry!.Value.ToArray());
        var refused = Assert.IsType<StoreResult.Refused>(await store.TxnAsync(StoreTxn.Put("b", new byte[StoreLimits.MaxValueBytes + 1], 0), Stop));
        Assert.Equal("writes[0].value", refused.Field);
        Assert.Contains("65537 bytes; at most 65536", refused.Message, StringComparison.Ordinal);
        Assert.Null((await store.GetAsync("b", Stop)).Entry);
    }

    [Theory]
    [InlineData("", "writes[0].key")]
    [InlineData("has space", "writes[0].key")]
    [InlineData("ünicode", "writes[0].key")]
    [InlineData("nul\0", "writes[0].key")]
    public async Task Txn_BadKey_IsRefusedByField(string key, string field)
    {
        var store = Open();
        Assert.Equal(field, Assert.IsType<StoreResult.Refused>(await store.TxnAsync(new StoreTxn { Writes = [StoreWrite.Put(key, Bytes("1"))] }, Stop)).Field);
    }

    [Fact]
    public async Task Txn_SameKeyTwiceOrTooManyWrites_IsRefused()
    {
        var store = Open();
        Assert.Equal("writes[1].key", Assert.IsType<StoreResult.Refused>(await store.TxnAsync(new StoreTxn { Writes = [StoreWrite.Put("a", Bytes("1")), StoreWrite.Delete("a")] }, Stop)).Field);
        var many = Enumerable.Range(0, StoreLimits.MaxTxnOperations + 1).Select(i => StoreWrite.Put($"k{i}", Bytes("1"))).ToArray();
        Assert.Equal("writes", Assert.IsType<StoreResult.Refused>(await store.TxnAsync(new StoreTxn { Writes = many }, Stop)).Field);
        Assert.Empty((await store.ListAsync("", Stop)).Entries);
    }

    [Fact]
    public async Task Txn_CallerReusesItsBuffer_StoreKeepsWhatWasGiven()
    {
        var store = Open();
        var buffer = Bytes("before");
        await Commit(store, StoreTxn.Put("a", buffer, 0));
        Bytes("AFTER!").CopyTo(buffer, 0);
        Assert.Equal("before", Text((await store.GetAsync("a", Stop)).Entry!.Value));
    }

    [Fact]
    public async Task Blob_PutTwice_HasOneHashAndComesBack()
    {
        var store = Open();
        var bytes = new byte[StoreLimits.MaxValueBytes * 3];
        bytes[7] = 7;
        var first = Assert.IsType<BlobResult.Stored>(await store.PutBlobAsync(bytes, Stop));
        Assert.Equal(first, await store.PutBlobAsync(bytes, Stop));
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(bytes)), first.Hash);
        Assert.Equal(bytes, (await store.GetBlobAsync(first.Hash, Stop))!.Value.ToArray());
        Assert.Null(await store.GetBlobAsync(new string('0', 64), Stop));
    }

    [Fact]
    public async Task Blob_Above16MiB_IsRefused()
    {
        var store = Open();
        Assert.Equal("bytes", Assert.IsType<BlobResult.Refused>(await store.PutBlobAsync(new byte[StoreLimits.MaxBlobBytes + 1], Stop)).Field);
    }

    [Fact]
    public async Task AnyCall_StoreClosed_IsAwayAndNeverEmpty()
    {
        var store = Open();
        await Commit(store, StoreTxn.Put("a", Bytes("1"), 0));
        var watch = Next(store.WatchAsync("", new Revision(store.StoreId, 1), Stop).GetAsyncEnumerator(Stop));
        await store.DisposeAsync();
        await Assert.ThrowsAsync<StoreAwayException>(async () => await store.GetAsync("a", Stop));
        await Assert.ThrowsAsync<StoreAwayException>(async () => await store.ListAsync("", Stop));
        await Assert.ThrowsAsync<StoreAwayException>(async () => await store.TxnAsync(StoreTxn.Put("b", Bytes("1"), 0), Stop));
        await Assert.ThrowsAsync<StoreAwayException>(async () => await store.AcquireLeaseAsync("leader", "c1", TimeSpan.FromSeconds(5), Stop));
        await Assert.ThrowsAsync<StoreAwayException>(async () => await store.GetBlobAsync(new string('0', 64), Stop));
        await Assert.ThrowsAsync<StoreAwayException>(async () => await watch);
    }

    protected IStore Open(int historyLimit = 1_000)
    {
        var store = Make(historyLimit);
        opened.Add(store);
        return store;
    }

    protected static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    protected static string Text(ReadOnlyMemory<byte> value) => Encoding.UTF8.GetString(value.Span);

    protected static async Task<Revision> Commit(IStore store, StoreTxn txn) => Assert.IsType<StoreResult.Committed>(await store.TxnAsync(txn, Stop)).At;

    /// <summary>The next event; a watch that says nothing for ten seconds fails the test instead of hanging it.</summary>
    protected static async Task<WatchEvent> Next(IAsyncEnumerator<WatchEvent> watch)
    {
        Assert.True(await watch.MoveNextAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(10), Stop));
        return watch.Current;
    }
}
