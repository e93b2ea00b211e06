using System.Buffers.Binary;
using System.Net.Sockets;
using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>A person on this host, over its own socket: each frame is preceded by its length, two bytes, big-endian.</summary>
internal sealed class SocketConsole(NetworkStream stream) : IConsolePeer, IDisposable
{
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly byte[] _length = new byte[2];

    public async ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop)
    {
        try
        {
            await stream.ReadExactlyAsync(_length, stop);
            var frame = new byte[BinaryPrimitives.ReadUInt16BigEndian(_length)];
            await stream.ReadExactlyAsync(frame, stop);
            return ConsoleFrame.Decode(frame);
        }
        catch (IOException) { return null; }
    }

    public async ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
    {
        var bytes = frame.Encode();
        var framed = new byte[2 + bytes.Length];
        BinaryPrimitives.WriteUInt16BigEndian(framed, (ushort)bytes.Length);
        bytes.CopyTo(framed, 2);
        await _sending.WaitAsync(stop);
        try { await stream.WriteAsync(framed, stop); }
        finally { _sending.Release(); }
    }

    public void Dispose() => _sending.Dispose();
}
