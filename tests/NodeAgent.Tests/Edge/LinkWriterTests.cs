using System.Threading.Channels;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Tests.Pipeline;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Grpc.Core;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Tests.Edge;

/// <summary>What goes up the stream: everything once, the newest, and nothing lost by a write that failed.</summary>
public sealed class LinkWriterTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Audit_AnyNumberOfWrites_IsSentOnceFromWhereItWasAcknowledged()
    {
        await using var kit = new ControllerKit();
        var (state, outbox, stream) = (new Chain(600), new Outbox(), new Stream());
        using var stop = new CancellationTokenSource();
        var writing = new LinkWriter(outbox, state, kit.Controller, stream, TimeSpan.FromMilliseconds(500), auditAcked: 40).RunAsync(stop.Token);
        var sent = new List<long>();
        while (sent.Count < 560) sent.AddRange((await stream.NextAsync()).Audit.Select(a => a.Seq));
        state.Length = 601;
        outbox.Put(new V1.Event { Reason = "News" });
        V1.NodeMessage next;
        do
        {
            next = await stream.NextAsync();
            sent.AddRange(next.Audit.Select(a => a.Seq));
        }
        while (next.Events.Count == 0);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => writing);
        Assert.Equal(Enumerable.Range(41, 561).Select(n => (long)n), sent);
    }

    [Fact]
    public async Task Write_Fails_WhatItHeldWaitsForTheNextStreamUnlessSomethingNewerDoes()
    {
        await using var kit = new ControllerKit();
        var outbox = new Outbox();
        foreach (var key in (string[])["a", "b"]) outbox.Put(new V1.MemberReport { Assignment = key, Generation = 1 });
        outbox.Put(new V1.Event { Reason = "First" });
        outbox.Release("turn");
        outbox.Put(new V1.TurnRequest { Id = "asked on a stream that ends" });
        var broken = new Stream { Meanwhile = () => outbox.Put(new V1.MemberReport { Assignment = "a", Generation = 2 }) };
        await Assert.ThrowsAsync<IOException>(() => new LinkWriter(outbox, new Chain(0), kit.Controller, broken, TimeSpan.FromSeconds(1), 0).RunAsync(Ct));
        outbox.DropRequests();
        var next = new V1.NodeMessage();
        Assert.True(outbox.Drain(next));
        Assert.Equal([("a", 2L), ("b", 1L)], next.Reports.Select(r => (r.Assignment, r.Generation)).Order());
        Assert.Equal(["First"], next.Events.Select(e => e.Reason));
        Assert.Equal(["turn"], next.ReleasedTurns);
        Assert.Empty(next.Turns);
        Assert.False(outbox.Drain(new()));
    }

    [Fact]
    public void DropRequests_BeforeANewStream_ForgetsWhatNobodyWaitsForAnyMore()
    {
        var outbox = new Outbox();
        outbox.Put(new V1.TurnRequest { Id = "t" });
        outbox.Put(new V1.PreviewReply { Id = "p" });
        outbox.DropRequests();
        Assert.False(outbox.Drain(new()));
    }

    [Fact]
    public void Events_MoreThanTheBound_KeepTheNewest()
    {
        var outbox = new Outbox();
        for (var i = 0; i < Outbox.MaxEvents + 5; i++) outbox.Put(new V1.Event { AtUnixMs = i });
        var message = new V1.NodeMessage();
        outbox.Drain(message);
        Assert.Equal((Outbox.MaxEvents, 5L), (message.Events.Count, message.Events[0].AtUnixMs));
    }

    /// <summary>Takes what is written; one that is broken throws, after what happens meanwhile.</summary>
    private sealed class Stream : IClientStreamWriter<V1.NodeMessage>
    {
        private readonly Channel<V1.NodeMessage> _written = Channel.CreateUnbounded<V1.NodeMessage>();

        public Action? Meanwhile { get; init; }

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(V1.NodeMessage message)
        {
            if (Meanwhile is not null)
            {
                Meanwhile();
                throw new IOException("the stream is gone");
            }
            _written.Writer.TryWrite(message);
            return Task.CompletedTask;
        }

        public Task WriteAsync(V1.NodeMessage message, CancellationToken cancellationToken) => WriteAsync(message);

        public Task CompleteAsync() => Task.CompletedTask;

        public async Task<V1.NodeMessage> NextAsync() => await _written.Reader.ReadAsync(Ct).AsTask().WaitAsync(TimeSpan.FromSeconds(20), Ct);
    }

    /// <summary>A chain of so many records.</summary>
    internal sealed class Chain(long length) : ILinkState
    {
        public long Length { get; set; } = length;
        public List<SignedApproval> Approvals { get; } = [];
        public List<string> Log { get; } = [];

        /// <summary>Called while assignments are being stored.</summary>
        public Action? Saving { get; set; }

        public ValueTask<LinkCursor> CursorAsync(CancellationToken stop) => new(new LinkCursor("store", 1));

        public ValueTask SaveAsync(IReadOnlyList<V1.Assignment> changed, IReadOnlyList<string> dropped, LinkCursor cursor, StoreMark mark, CancellationToken stop)
        {
            Saving?.Invoke();
            lock (Log) Log.Add($"saved {changed.Count}, dropped {string.Join(',', dropped)}");
            return default;
        }

        public ValueTask<IReadOnlyList<V1.Assignment>> AssignmentsAsync(CancellationToken stop) => new([]);

        public ValueTask AddApprovalAsync(SignedApproval approval, CancellationToken stop)
        {
            Approvals.Add(approval);
            return default;
        }

        public ValueTask<IReadOnlyList<AuditRecord>> AuditAfterAsync(long seq, int limit, CancellationToken stop) => new([.. Enumerable.Range(1, (int)Length).Where(n => n > seq).Take(limit)
            .Select(n => new AuditRecord("chain", n, DateTimeOffset.UnixEpoch, "Kind", "", "{}", "p", "h"))]);

        public ValueTask<long> LastAuditSeqAsync(CancellationToken stop) => new(Length);

        public ValueTask AuditAckedAsync(long seq, CancellationToken stop) => default;

        public ValueTask<StoreMark> MarkAsync(CancellationToken stop) => new(StoreMark.None);

        public ValueTask SaveMarkAsync(StoreMark mark, CancellationToken stop) => default;

        public ValueTask<IReadOnlyDictionary<string, SeenMember>> SeenAsync(CancellationToken stop) => new(new Dictionary<string, SeenMember>());

        public ValueTask SaveHandedAsync(string key, SeenMember seen, CancellationToken stop) => default;

        public ValueTask<IReadOnlyDictionary<string, DateTimeOffset>> OrphansAsync(CancellationToken stop) => new(new Dictionary<string, DateTimeOffset>());

        public ValueTask SaveOrphansAsync(IReadOnlyDictionary<string, DateTimeOffset> orphans, CancellationToken stop) => default;

        public ValueTask<long> AuditAckedSeqAsync(CancellationToken stop) => new(0L);
    }
}
