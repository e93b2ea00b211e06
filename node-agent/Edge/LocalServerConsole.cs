using System.Net.Sockets;
using AgentMetal.NodeAgent.Edge.Consoles;
using AgentMetal.Runtime.Local;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>Consoles over the host's own socket: an answer on one line, then frames both ways.</summary>
internal sealed partial class LocalServer
{
    /// <summary>Consoles at once. They have a bound of their own: no coordinator can keep root out of this host's.</summary>
    public const int MaxConsoles = 8;

    private int _consoles;

    private async Task ConsoleAsync(Socket client, LocalRequest request, CancellationToken stop)
    {
        using var stream = new NetworkStream(client, ownsSocket: true);
        using var peer = new SocketConsole(stream);
        try
        {
            if (Interlocked.Increment(ref _consoles) > MaxConsoles)
            {
                await SayAsync(client, new() { Error = $"{MaxConsoles} consoles are open on this host already; leave one with Ctrl-]" }, "\n", stop);
                return;
            }
            var found = sources.Members().Where(m => Names(m.Input, request.Resource ?? "")).ToList();
            if (found.Count != 1)
            {
                var why = found.Count == 0 ? $"no member of \"{request.Resource}\" on this host" : $"several members are called \"{request.Resource}\"; name one as KIND/PROJECT/NAME";
                await SayAsync(client, new() { Error = $"{why}; see: agentmetal local status" }, "\n", stop);
                return;
            }
            await SayAsync(client, new() { Node = sources.Node() }, "\n", stop);
            await sources.Console!(found[0].Input, request.Force == true, peer, stop);
        }
        catch (Exception e) when (e is SocketException or IOException or OperationCanceledException or ObjectDisposedException) { LogClient(log, e.Message); }
        finally { Interlocked.Decrement(ref _consoles); }
    }
}
