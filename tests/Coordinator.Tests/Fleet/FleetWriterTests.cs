using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using Google.Protobuf;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Fleet;

public sealed class FleetWriterTests
{
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2026, 11, 23, 12, 0, 0, TimeSpan.Zero));

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public async Task Change_LargerThanATransaction_InterruptedAnywhere_IsAllThereAfterTheNextStart(int failAt)
    {
        await using var memory = new MemoryStore("s1", _clock);
        await using (var run = await Run.StartAsync(new FailingStore(memory, failAt), _clock))
            await Assert.ThrowsAsync<StoreAwayException>(() => run.PutAsync(300));
        await using var again = await Run.StartAsync(memory, _clock);
        await again.Writer.FinishIntentsAsync(Stop);
        // Before the intent is durable, nothing; from then on, everything.
        Assert.Equal(failAt == 1 ? 0 : 300, again.Model.Current.Names.Count);
        Assert.Empty((await memory.ListAsync(StoreKeys.Intents, Stop)).Entries);
    }

    [Fact]
    public async Task Change_AfterAnInterruptedOne_FinishesThatFirst()
    {
        await using var memory = new MemoryStore("s1", _clock);
        await using var run = await Run.StartAsync(new FailingStore(memory, 3), _clock);
        await Assert.ThrowsAsync<StoreAwayException>(() => run.PutAsync(300));
        await run.PutAsync(1, "later");
        Assert.Equal(300, run.Model.Current.Names.Count);
        Assert.Equal("later", run.Model.Current.Find("default", "Redis", "r0")!.Value.Metadata.Uid[..5]);
        Assert.Empty((await memory.ListAsync(StoreKeys.Intents, Stop)).Entries);
    }

    [Fact]
    public async Task Change_OfALeaderThatLostTheLease_IsRefused()
    {
        await using var memory = new MemoryStore("s1", _clock);
        await using var old = await Run.StartAsync(memory, _clock);
        _clock.Advance(TimeSpan.FromMinutes(1));
        Assert.IsType<LeaseResult.Granted>(await memory.AcquireLeaseAsync(StoreKeys.Lease, "another", TimeSpan.FromSeconds(15), Stop));
        var refused = await Assert.ThrowsAsync<NotLeaderException>(() => old.PutAsync(1));
        Assert.Contains("another", refused.Message, StringComparison.Ordinal);
        Assert.Empty((await memory.ListAsync(StoreKeys.Resources, Stop)).Entries);
    }

    [Fact]
    public async Task Change_WhenSomebodyElseWroteInBetween_IsDecidedAnew()
    {
        await using var memory = new MemoryStore("s1", _clock);
        await using var run = await Run.StartAsync(memory, _clock);
        await run.PutAsync(1);
        var seen = new List<long>();
        await run.Writer.ChangeAsync(view =>
        {
            var row = view.Find("default", "Redis", "r0")!;
            seen.Add(row.ModifiedAt);
            var key = StoreKeys.Resource("default", "Redis", "r0");
            if (seen.Count == 1) memory.TxnAsync(StoreTxn.Put(key, row.Value.ToByteArray(), row.ModifiedAt), Stop).AsTask().GetAwaiter().GetResult();
            return new FleetChange<bool>(true) { Writes = [StoreWrite.Put(key, row.Value.ToByteArray())], Compares = [new(key, row.ModifiedAt)] };
        }, Stop);
        Assert.Equal(2, seen.Count);
        Assert.True(seen[1] > seen[0]);
    }

    /// <summary>A coordinator that stops while somebody writes must end: the writer would wait for a view that nobody renews any more.</summary>
    [Fact]
    public async Task Change_AfterTheModelStoppedFollowing_EndsAndIsStored()
    {
        await using var memory = new MemoryStore("s1", _clock);
        await using var run = await Run.StartAsync(memory, _clock);
        await run.StopFollowingAsync();
        var ended = await Assert.ThrowsAsync<StoreAwayException>(() => run.PutAsync(1).WaitAsync(TimeSpan.FromSeconds(10), Stop));
        Assert.Contains("stops", ended.Message, StringComparison.Ordinal);
        Assert.Single((await memory.ListAsync(StoreKeys.Resources, Stop)).Entries);
    }

    /// <summary>A model that follows, a lease, and a writer.</summary>
    private sealed class Run : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = CancellationTokenSource.CreateLinkedTokenSource(FleetWriterTests.Stop);
        private Task _following = Task.CompletedTask;

        public required FleetModel Model { get; init; }

        public required FleetWriter Writer { get; init; }

        public static async Task<Run> StartAsync(IStore store, TimeProvider clock)
        {
            var model = new FleetModel(store, NullLogger<FleetModel>.Instance, clock);
            var leadership = new Leadership(store, "control", clock, NullLogger<Leadership>.Instance);
            Assert.Null(await leadership.AcquireAsync(FleetWriterTests.Stop));
            await model.LoadAsync(FleetWriterTests.Stop);
            var run = new Run { Model = model, Writer = new(store, model, leadership) };
            run._following = model.FollowAsync(run._stop.Token);
            return run;
        }

        public Task<bool> PutAsync(int count, string uid = "first") => Writer.ChangeAsync(_ => new FleetChange<bool>(true)
        {
            Writes = [.. Enumerable.Range(0, count).Select(i => StoreWrite.Put(StoreKeys.Resource("default", "Redis", $"r{i}"),
                new Resource { Kind = "Redis", Metadata = new() { Project = "default", Name = $"r{i}", Uid = $"{uid}{i}" } }.ToByteArray()))],
        }, FleetWriterTests.Stop);

        public async Task StopFollowingAsync()
        {
            await _stop.CancelAsync();
            await _following;
        }

        public async ValueTask DisposeAsync()
        {
            await StopFollowingAsync();
            Writer.Dispose();
            _stop.Dispose();
        }
    }

    /// <summary>Is away for one transaction, the n-th of a writer.</summary>
    private sealed class FailingStore(IStore inner, int failAt) : IStore
    {
        private int _transactions;

        public string StoreId => inner.StoreId;

        public ValueTask<StoreResult> TxnAsync(StoreTxn txn, CancellationToken cancel = default) =>
            Interlocked.Increment(ref _transactions) == failAt ? throw new StoreAwayException("the disk is full") : inner.TxnAsync(txn, cancel);

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
}
