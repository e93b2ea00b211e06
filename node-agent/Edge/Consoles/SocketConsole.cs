using System.Net.Sockets;
using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>A person on this host, over its own socket.</summary>
internal sealed class SocketConsole(NetworkStream stream) : IConsolePeer, IDisposable
{
    private readonly SemaphoreSlim _sending = new(1, 1);

    public ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop) => ConsoleFrame.ReadAsync(stream, stop);

    public async ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop)
    {
        await _sending.WaitAsync(stop);
        try { await frame.WriteAsync(stream, stop); }
        finally { _sending.Release(); }
    }

    public void Dispose() => _sending.Dispose();
}
