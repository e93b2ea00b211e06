using AgentMetal.Runtime.Consoles;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>An operator far away: each frame is sealed, and one that was touched on its way ends the session.</summary>
internal sealed class SealedConsole(AsyncDuplexStreamingCall<V1.ConsoleMessage, V1.ConsoleMessage> stream, ConsoleSeal seal) : IConsolePeer, IDisposable
{
    private readonly SemaphoreSlim _sending = new(1, 1);

    public async ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop)
    {
        try
        {
            if (!await stream.ResponseStream.MoveNext(stop) || stream.ResponseStream.Current is not { WhatCase: V1.ConsoleMessage.WhatOneofCase.Sealed, Sealed: var bytes } || bytes.Length > ConsoleFrame.MaxFrame) return null;
            var frame = seal.Open(bytes.Span);
            return frame.Problem is { } problem ? throw new InvalidDataException(problem.Message) : ConsoleFrame.Decode(frame.Value);
        }
        catch (RpcException) when (!stop.IsCancellationRequested) { return null; }
        catch (IOException) { return null; }
    }

    public async ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
    {
        await _sending.WaitAsync(stop);
        try { await stream.RequestStream.WriteAsync(new() { Sealed = UnsafeByteOperations.UnsafeWrap(seal.Seal(frame.Encode())) }, stop); }
        catch (RpcException e) { throw new IOException(e.Status.Detail, e); }
        finally { _sending.Release(); }
    }

    public void Dispose()
    {
        _sending.Dispose();
        seal.Dispose();
    }
}
