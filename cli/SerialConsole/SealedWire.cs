using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Cli.Approve;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>Which console is meant, and who asks.</summary>
internal sealed record ConsoleQuestion(string Project, string Kind, string Name, bool Force)
{
    /// <summary>As hosts call it: "Instance default/hello".</summary>
    internal string ResourceKey => $"{Kind} {Project}/{Name}";
}

/// <summary>
/// A console through a coordinator that only carries. The operator's key signs an opening for the one session that the host has minted a nonce for; the host's
/// answer must be signed by the key of a certificate that chains to the pinned root, and must name the machine that was asked for, before a byte is typed.
/// </summary>
internal sealed class SealedWire : IConsoleWire, IDisposable
{
    private static readonly TimeSpan Life = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Opening = TimeSpan.FromSeconds(20);

    private readonly AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> _call;
    private readonly ConsoleSeal _seal;

    private SealedWire(AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> call, ConsoleSeal seal, string title) => (_call, _seal, Title) = (call, seal, title);

    public string Title { get; }

    /// <param name="call">The open call; this takes it over.</param>
    /// <param name="question">What is asked for.</param>
    /// <param name="certificates">Judges the host's certificate.</param>
    /// <param name="key">The operator's, which signs approvals too.</param>
    /// <param name="clock">For the opening's end and the deadline.</param>
    /// <param name="stop">Gives up.</param>
    internal static async Task<SealedWire> OpenAsync(AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> call, ConsoleQuestion question, Func<NodeCertificates> certificates, ECDsa key, TimeProvider clock, CancellationToken stop)
    {
        using var deadline = new CancellationTokenSource(Opening, clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop, deadline.Token);
        try
        {
            return await AgreeAsync(call, question, certificates, key, clock, limit.Token);
        }
        catch (Exception e) when (limit.IsCancellationRequested && !stop.IsCancellationRequested && e is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            call.Dispose();
            throw new CommandFailedException(new(ExitCode.TimedOut, $"the console of {question.Kind.ToLowerInvariant()}/{question.Name} did not open within {Opening.TotalSeconds:0} s", "try again; on the host: agentmetal local console"));
        }
        catch
        {
            call.Dispose();
            throw;
        }
    }

    public async ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop)
    {
        try
        {
            if (!await _call.ResponseStream.MoveNext(stop)) return null;
        }
        catch (Exception e) when (e is RpcException or IOException && !stop.IsCancellationRequested) { return null; }
        var message = _call.ResponseStream.Current;
        if (message.WhatCase != ConsoleMessage.WhatOneofCase.Sealed || message.Sealed.Length > ConsoleFrame.MaxFrame) throw Touched("a message that no host sends came in the session");
        var frame = _seal.Open(message.Sealed.Span);
        return frame.Problem is { } problem ? throw Touched(problem.Message) : ConsoleFrame.Decode(frame.Value);
    }

    public async ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
    {
        try { await _call.RequestStream.WriteAsync(new() { Sealed = UnsafeByteOperations.UnsafeWrap(_seal.Seal(frame.Encode())) }, stop); }
        catch (RpcException e) { throw new IOException(e.Status.Detail, e); }
        catch (InvalidOperationException e) { throw new IOException(e.Message, e); }
    }

    public void Dispose()
    {
        _call.Dispose();
        _seal.Dispose();
    }

    private static async Task<SealedWire> AgreeAsync(AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> call, ConsoleQuestion question, Func<NodeCertificates> certificates, ECDsa key, TimeProvider clock, CancellationToken stop)
    {
        await TellAsync(call, new() { Target = new() { Project = question.Project, Kind = question.Kind, Name = question.Name } }, stop);
        var offer = (await NextAsync(call, ConsoleMessage.WhatOneofCase.Offer, stop)).Offer;
        var node = certificates().Read(offer.NodeCertificate.Span, "the offer", out var certificate);
        if (node.Problem is { } stranger) throw Refused(stranger.Message);
        using var leaf = certificate!;
        // Before anything is signed: a coordinator must not have one machine's console opened for another's name.
        if (offer.NodeUid != node.Value.Uid) throw Refused($"the offer is another host's than its certificate, which is of {node.Value.Name}");
        if (offer.ResourceKey != question.ResourceKey) throw Refused($"{question.ResourceKey} was asked for, and the console of {offer.ResourceKey} is offered");
        using var session = new ConsoleSessionKey();
        var opening = Sign(offer, session, question.Force, key, clock);
        await TellAsync(call, new() { Opening = ToWire(opening) }, stop);
        var said = (await NextAsync(call, ConsoleMessage.WhatOneofCase.Answer, stop)).Answer;
        var answer = new Runtime.Trust.ConsoleAnswer { SessionKey = said.SessionKey.ToByteArray(), ResourceKey = said.ResourceKey, Signature = said.Signature.ToByteArray() };
        if (answer.Verify(node.Value, leaf, opening).Problem is { } forged) throw Refused(forged.Message);
        if (answer.ResourceKey != question.ResourceKey) throw Refused($"{question.ResourceKey} was asked for, and {node.Value.Name} has opened {answer.ResourceKey}");
        return new(call, session.ForOperator(opening, answer), $"{question.Kind.ToLowerInvariant()}/{question.Name} on {node.Value.Name}");
    }

    private static Runtime.Trust.ConsoleOpening Sign(ConsoleOffer offer, ConsoleSessionKey session, bool force, ECDsa key, TimeProvider clock)
    {
        try
        {
            return Runtime.Trust.ConsoleOpening.Sign(key, new(offer.NodeUid, offer.ResourceUid, offer.Nonce), session.Spki, force, TrustedTime.Now(clock.GetUtcNow(), null) + Life);
        }
        catch (ArgumentException e) { throw Refused(e.Message); }
    }

    private static async Task TellAsync(AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> call, ConsoleMessage message, CancellationToken stop)
    {
        try { await call.RequestStream.WriteAsync(message, stop); }
        catch (InvalidOperationException) { /* The call is over, and what is read next says why. */ }
    }

    private static async Task<ConsoleMessage> NextAsync(AsyncDuplexStreamingCall<ConsoleMessage, ConsoleMessage> call, ConsoleMessage.WhatOneofCase wanted, CancellationToken stop)
    {
        if (!await call.ResponseStream.MoveNext(stop))
            throw new CommandFailedException(new(ExitCode.Failed, "the session ended before the host had answered", "try again; agentmetal nodes list shows whether the host is there"));
        var message = call.ResponseStream.Current;
        if (message.Refusal is { } refusal) throw new CommandFailedException(new(ExitCode.Refused, refusal.Message, refusal.Next));
        return message.WhatCase == wanted ? message : throw Refused($"{message.WhatCase} came where {wanted} comes");
    }

    private static Proto.V1.ConsoleOpening ToWire(Runtime.Trust.ConsoleOpening o) => new()
    {
        NodeUid = o.NodeUid,
        ResourceUid = o.ResourceUid,
        SessionKey = ByteString.CopyFrom(o.SessionKey),
        Nonce = o.Nonce,
        ExpiresUnixMs = o.ExpiresUnixMs,
        Force = o.Force,
        KeyId = o.KeyId,
        Signature = ByteString.CopyFrom(o.Signature),
    };

    private static CommandFailedException Refused(string why) =>
        new(new(ExitCode.Refused, $"{why}; nothing was typed", "look at the coordinator: agentmetal audit --verify; on the host: agentmetal local console"));

    private static CommandFailedException Touched(string why) =>
        new(new(ExitCode.Refused, $"{why}; the session was ended", "do not go on before you know who is between here and the host; on the host: agentmetal local console"));
}
