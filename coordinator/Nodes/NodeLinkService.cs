using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Consoles;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using Grpc.Core;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// The stream of a node: one reader, one writer. The node is who its certificate says; what a message says about identity is not read.
/// </summary>
internal sealed partial class NodeLinkService(NodeRegistry registry, NodeRecords records, AssignmentFeed feed, NodeInbox inbox, AuditSegments audit, HeldPlans held,
    Approvals.ApprovalShelf approvals, StatementShelf statements, StoreBook book, ConsoleBridge consoles, CoordinatorIdentity identity, TimeProvider clock, ILogger<NodeLinkService> log) : NodeLink.NodeLinkBase
{
    private static readonly TimeSpan HelloDeadline = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan SettleEvery = TimeSpan.FromMilliseconds(500);

    public override async Task Attach(IAsyncStreamReader<NodeMessage> requestStream, IServerStreamWriter<CoordinatorMessage> responseStream, ServerCallContext context)
    {
        var peer = PeerInterceptor.Of<PeerIdentity.Node>(context);
        var certificate = context.GetHttpContext().Connection.ClientCertificate!;
        if (!await NextAsync(requestStream, HelloDeadline, context.CancellationToken) || requestStream.Current.Hello is not { } hello)
            throw new RpcException(new Grpc.Core.Status(StatusCode.InvalidArgument, "the first message of a node is its hello"));
        using var session = new NodeSession(registry.NewId(), peer.Uid, peer.Name, hello.BootId, ByteString.CopyFrom(certificate.RawData), new DateTimeOffset(certificate.NotAfter.ToUniversalTime()))
        {
            ApprovalVersion = Math.Max(1, hello.ApprovalVersion),
        };
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, session.Ended);
        var why = "the stream ended";
        try
        {
            if (!await AdmittedAsync(session, ended.Token))
            {
                await responseStream.WriteAsync(new() { Goodbye = new() { Reason = registry.Live(peer.Uid).Why, Retry = true } }, CancellationToken.None);
                return;
            }
            await records.RememberAsync(session, hello, ended.Token);
            await inbox.BeginAsync(session, ended.Token);
            await WelcomeAsync(session, hello, responseStream, ended.Token);
            var writing = WriteAsync(session, responseStream, ended.Token);
            try { await ReadAsync(session, requestStream, ended.Token); }
            finally
            {
                session.End();
                await writing;
            }
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            why = context.CancellationToken.IsCancellationRequested ? "the connection broke" : clock.GetUtcNow() - session.HeardAt >= NodeRegistry.Silence ? "three heartbeats are missing" : "the stream was closed";
        }
        catch (IOException e)
        {
            why = e.Message;
        }
        finally { registry.Detach(session, why); }
    }

    public override async Task Console(IAsyncStreamReader<ConsoleMessage> requestStream, IServerStreamWriter<ConsoleMessage> responseStream, ServerCallContext context)
    {
        var peer = PeerInterceptor.Of<PeerIdentity.Node>(context);
        if (!await NextAsync(requestStream, HelloDeadline, context.CancellationToken) || requestStream.Current.Session.Length == 0)
            throw new RpcException(new Grpc.Core.Status(StatusCode.InvalidArgument, "the first message of a node is the session that it was called for"));
        await consoles.ServeNodeAsync(peer.Uid, requestStream.Current.Session, new(requestStream, responseStream), context.CancellationToken);
    }

    /// <summary>Waits while another boot of the same host may still be alive. False = quarantined.</summary>
    private async Task<bool> AdmittedAsync(NodeSession session, CancellationToken stop)
    {
        var ruling = registry.Attach(session);
        while (ruling == StreamRuling.Wait)
        {
            await Task.Delay(SettleEvery, clock, stop);
            session.HeardAt = clock.GetUtcNow();
            ruling = registry.Settle(session);
        }
        return ruling != StreamRuling.Quarantine;
    }

    private async Task WelcomeAsync(NodeSession session, Hello hello, IServerStreamWriter<CoordinatorMessage> stream, CancellationToken stop)
    {
        held.ForgetNode(session.Uid);
        audit.Told(session.Uid, hello.AuditAcked);
        var head = hello.AuditSeq > 0 ? audit.Shrunk(session.Uid, hello.AuditSeq) : audit.Head(session.Uid);
        inbox.Tell(session, head);
        var said = await statements.OfNodeAsync(session.Uid, stop);
        var welcome = new Welcome
        {
            StoreId = identity.StoreId,
            HeartbeatMs = (long)NodeRegistry.Heartbeat.TotalMilliseconds,
            Coordinator = identity.Name,
            AuditAcked = head.Acked,
            Head = records.Head,
            PutBack = book.PutBack ?? "",
            NowUnixMs = clock.GetUtcNow().ToUnixTimeMilliseconds(),
        };
        var named = said.Select(s => StoreAcceptance.Read(TrustWire.Read(s))?.Epoch).Append(hello.Seen?.Epoch).OfType<string>().ToHashSet(StringComparer.Ordinal);
        welcome.Epochs.AddRange(book.Told(named).Select(e => new Proto.V1.StoreEpoch { Id = e.Id, Token = e.Token, From = e.From, Until = e.Until }));
        var first = new CoordinatorMessage { Welcome = welcome, ApproverSet = ByteString.CopyFrom(identity.ApproverSet) };
        first.Statements.AddRange(said);
        await stream.WriteAsync(first, stop);
        feed.Begin(session, hello);
        foreach (var (hash, approval) in await approvals.OfNodeAsync(session.Uid, stop)) session.Put(approval, hash);
    }

    private async Task ReadAsync(NodeSession session, IAsyncStreamReader<NodeMessage> stream, CancellationToken stop)
    {
        while (await stream.MoveNext(stop))
        {
            if (!registry.Heard(session))
            {
                // The goodbye says why; the writer ends the stream once it is out.
                await Task.Delay(Timeout.InfiniteTimeSpan, clock, stop);
                return;
            }
            await inbox.TakeAsync(session, stream.Current, stop);
        }
    }

    private async Task WriteAsync(NodeSession session, IServerStreamWriter<CoordinatorMessage> stream, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                var message = await session.TakeAsync(stop);
                await stream.WriteAsync(message, stop);
                if (message.Goodbye is null) continue;
                session.End();
                return;
            }
        }
        catch (OperationCanceledException) { session.End(); }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // The peer is gone; the reader finds out by the same end.
            LogWriter(log, session.Name, e.Message);
            session.End();
        }
    }

    private async Task<bool> NextAsync<T>(IAsyncStreamReader<T> stream, TimeSpan deadline, CancellationToken stop)
    {
        try { return await stream.MoveNext(stop).WaitAsync(deadline, clock, stop); }
        catch (TimeoutException) { throw new RpcException(new Grpc.Core.Status(StatusCode.DeadlineExceeded, "no first message came")); }
    }

    [LoggerMessage(EventId = 2301, Level = LogLevel.Debug, Message = "Writing to {Node} ended: {Why}")]
    private static partial void LogWriter(ILogger log, string node, string why);
}

/// <summary>What the coordinator says of itself.</summary>
internal sealed record CoordinatorIdentity(string Name, string StoreId, byte[] ApproverSet);
