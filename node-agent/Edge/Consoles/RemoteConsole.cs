using System.Security.Cryptography;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.Extensions.Logging;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>What this host says of itself and judges by when a console is asked for from far.</summary>
internal sealed record ConsoleTrust
{
    public required string NodeUid { get; init; }
    public required Func<ECDsa> NodeKey { get; init; }
    public required Func<byte[]> NodeCertificate { get; init; }

    /// <summary>The approver set in force; null = none, and nobody may.</summary>
    public required Func<ApproverSet?> Approvers { get; init; }

    /// <summary>Trusted time.</summary>
    public required Func<DateTimeOffset> Now { get; init; }
}

/// <summary>
/// Consoles for operators, through a coordinator that is not believed: it says that somebody asks and carries what both say. This host mints a nonce,
/// judges the operator's signature over it itself, and from then on everything is sealed with keys that only the two have.
/// </summary>
/// <param name="desk">Opens consoles.</param>
/// <param name="trust">By what it is judged.</param>
/// <param name="members">All that this host has.</param>
/// <param name="connect">A connection of its own for each session, so that its bytes keep no heartbeat waiting.</param>
/// <param name="clock">Deadlines.</param>
/// <param name="log">Never contents.</param>
internal sealed partial class RemoteConsole(ConsoleDesk desk, ConsoleTrust trust, Func<IEnumerable<MemberInput>> members, Func<GrpcChannel> connect, TimeProvider clock, ILogger<RemoteConsole> log)
{
    /// <summary>Sessions at once; the coordinator asks for no more.</summary>
    public const int MaxSessions = 8;

    private static readonly TimeSpan Deadline = ConsoleDesk.OpeningDeadline;
    private static readonly TimeSpan Farewell = TimeSpan.FromSeconds(3);

    private int _sessions;

    /// <summary>Sessions that there are now.</summary>
    public int Sessions => Volatile.Read(ref _sessions);

    /// <summary>One session from the call to its end. Never throws: whatever a coordinator sends, it is its session only that ends.</summary>
    public async Task ServeAsync(V1.ConsoleCall call, CancellationToken stop)
    {
        try
        {
            if (Interlocked.Increment(ref _sessions) > MaxSessions)
            {
                LogRefused(log, call.ResourceUid, $"{MaxSessions} sessions are open already");
                return;
            }
            using var channel = connect();
            using var stream = new V1.NodeLink.NodeLinkClient(channel).Console(cancellationToken: stop);
            await stream.RequestStream.WriteAsync(new() { Session = call.Session }, stop);
            await HandshakeAsync(call, stream, stop);
            await FinishAsync(stream);
        }
        catch (Exception e) when (e is RpcException or IOException or OperationCanceledException or InvalidOperationException or ObjectDisposedException or HttpRequestException or InvalidDataException or TimeoutException)
        {
            if (!stop.IsCancellationRequested) LogCut(log, call.ResourceUid, e.Message);
        }
        finally { Interlocked.Decrement(ref _sessions); }
    }

    private async Task HandshakeAsync(V1.ConsoleCall call, AsyncDuplexStreamingCall<V1.ConsoleMessage, V1.ConsoleMessage> stream, CancellationToken stop)
    {
        if (members().FirstOrDefault(m => m.ResourceUid == call.ResourceUid) is not { } member)
        {
            await RefuseAsync(stream, call.ResourceUid, "this host has no member of that resource", "agentmetal get all -o wide", stop);
            return;
        }
        // Minted here, used for one judgement, and then forgotten: what was signed for it serves nobody a second time.
        var scope = new ConsoleScope(trust.NodeUid, member.ResourceUid, ConsoleOpening.NonceOf(RandomNumberGenerator.GetBytes(32)));
        await stream.RequestStream.WriteAsync(new()
        {
            Offer = new()
            {
                NodeUid = scope.NodeUid,
                ResourceUid = scope.ResourceUid,
                ResourceKey = member.ResourceKey,
                Nonce = scope.Nonce,
                NodeCertificate = ByteString.CopyFrom(trust.NodeCertificate()),
            },
        }, stop);
        if (!await stream.ResponseStream.MoveNext(stop).WaitAsync(Deadline, clock, stop) || stream.ResponseStream.Current.Opening is not { } wire)
        {
            await RefuseAsync(stream, member.ResourceKey, "the offer was not answered with an opening", "", stop);
            return;
        }
        var opening = Read(wire);
        var verdict = opening.Verify(scope, trust.Approvers(), trust.Now());
        if (verdict.Problem is { } problem)
        {
            await RefuseAsync(stream, member.ResourceKey, $"{NameOf(member)} on this host: {problem.Message}", "use a key of the approver set: agentmetal describe shows who may sign", stop);
            return;
        }
        using var key = new ConsoleSessionKey();
        var answer = ConsoleAnswer.Sign(trust.NodeKey(), opening, key.Spki, member.ResourceKey);
        using var peer = new SealedConsole(stream, key.ForHost(opening, answer));
        await stream.RequestStream.WriteAsync(new() { Answer = new() { SessionKey = ByteString.CopyFrom(answer.SessionKey), ResourceKey = answer.ResourceKey, Signature = ByteString.CopyFrom(answer.Signature) } }, stop);
        await desk.ServeAsync(member, new(verdict.Value.Name, opening.KeyId, opening.Force) { WhyNot = () => ConsoleOpening.Holder(opening.KeyId, trust.Approvers(), trust.Now()).Problem?.Message }, peer, stop);
    }

    private async Task RefuseAsync(AsyncDuplexStreamingCall<V1.ConsoleMessage, V1.ConsoleMessage> stream, string what, string why, string next, CancellationToken stop)
    {
        LogRefused(log, what, why);
        await stream.RequestStream.WriteAsync(new() { Refusal = new() { Message = why, Next = next } }, stop);
    }

    /// <summary>Waits until the other side has read the last word; what is broken off may not arrive.</summary>
    private async Task FinishAsync(AsyncDuplexStreamingCall<V1.ConsoleMessage, V1.ConsoleMessage> stream)
    {
        await stream.RequestStream.CompleteAsync();
        using var limit = new CancellationTokenSource(Farewell, clock);
        while (await stream.ResponseStream.MoveNext(limit.Token)) { }
    }

    private static ConsoleOpening Read(V1.ConsoleOpening o) => new()
    {
        NodeUid = o.NodeUid,
        ResourceUid = o.ResourceUid,
        SessionKey = o.SessionKey.ToByteArray(),
        Nonce = o.Nonce,
        ExpiresUnixMs = o.ExpiresUnixMs,
        Force = o.Force,
        KeyId = o.KeyId,
        Signature = o.Signature.ToByteArray(),
    };

    private static string NameOf(MemberInput member) => $"{member.ResourceKey.Split(' ')[0].ToLowerInvariant()}/{member.Name}";

    [LoggerMessage(EventId = 1411, Level = LogLevel.Warning, Message = "a console of {Resource} was not opened: {Why}")]
    private static partial void LogRefused(ILogger log, string resource, string why);

    [LoggerMessage(EventId = 1412, Level = LogLevel.Debug, Message = "the stream of a console of {Resource} ended: {Why}")]
    private static partial void LogCut(ILogger log, string resource, string why);
}
