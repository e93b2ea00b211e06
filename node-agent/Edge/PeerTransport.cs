using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Trust;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// Connections between hosts: TLS 1.3 with the certificates that the fleet gave them, judged against the pinned root like every other, and then by the one
/// uid that the assignment names. Nothing is said before both ends know whom they speak with.
/// </summary>
internal sealed partial class PeerTransport(Func<NodeIdentity> identity, Func<DateTimeOffset> now, Func<IPEndPoint> listenAt, ILogger<PeerTransport> log) : IPeerTransport
{
    private const int MaxConnections = 8;
    private const int Backlog = 16;
    private static readonly TimeSpan ConnectDeadline = TimeSpan.FromSeconds(10);

    public async ValueTask<Stream> DialAsync(string uid, string address, int port, CancellationToken stop)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
            limit.CancelAfter(ConnectDeadline);
            await socket.ConnectAsync(new IPEndPoint(IPAddress.Parse(address), port), limit.Token);
            var own = identity();
            PeerIdentity.Node? peer = null;
            var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "",
                ClientCertificateContext = own.TlsContext(),
                EnabledSslProtocols = SslProtocols.Tls13,
                AllowTlsResume = false,
                CertificateChainPolicy = PeerValidation.ChainPolicy(own.Root),
                RemoteCertificateValidationCallback = PeerValidation.For(() => own.Root, PeerRole.Node, now, v => peer = v.IsTrusted ? v.Value as PeerIdentity.Node : null),
            }, limit.Token);
            if (peer?.Uid == uid) return tls;
            await tls.DisposeAsync();
            throw new IOException($"{address}:{port} is host {peer?.Uid ?? "?"}, not {uid}");
        }
        catch (Exception e) when (e is SocketException or AuthenticationException or FormatException or OperationCanceledException || (e is IOException && e.InnerException is SocketException))
        {
            socket.Dispose();
            stop.ThrowIfCancellationRequested();
            throw new IOException(e is OperationCanceledException ? $"{address}:{port} did not answer within {ConnectDeadline.TotalSeconds:0} s" : $"{address}:{port}: {e.Message}", e);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public async Task ServeAsync(Func<string, Stream, CancellationToken, Task> serve, CancellationToken stop)
    {
        var at = listenAt();
        using var listener = new Socket(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        using var slots = new SemaphoreSlim(MaxConnections);
        try
        {
            listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            listener.Bind(at);
            listener.Listen(Backlog);
        }
        catch (SocketException e) { throw new IOException($"{at}: {e.Message}", e); }
        LogListening(log, at);
        var open = new List<Task>();
        try
        {
            while (true)
            {
                await slots.WaitAsync(stop);
                var socket = await listener.AcceptAsync(stop);
                open.RemoveAll(t => t.IsCompleted);
                open.Add(OneAsync(socket, slots, serve, stop));
            }
        }
        catch (SocketException e) { throw new IOException($"{at}: {e.Message}", e); }
        finally { await Task.WhenAll(open); }
    }

    private async Task OneAsync(Socket socket, SemaphoreSlim slots, Func<string, Stream, CancellationToken, Task> serve, CancellationToken stop)
    {
        var from = socket.RemoteEndPoint?.ToString() ?? "?";
        try
        {
            socket.NoDelay = true;
            var own = identity();
            PeerIdentity.Node? peer = null;
            await using var tls = new SslStream(new NetworkStream(socket, ownsSocket: true));
            using (var limit = CancellationTokenSource.CreateLinkedTokenSource(stop))
            {
                limit.CancelAfter(ConnectDeadline);
                await tls.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
                {
                    ServerCertificateContext = own.TlsContext(),
                    ClientCertificateRequired = true,
                    EnabledSslProtocols = SslProtocols.Tls13,
                    AllowTlsResume = false,
                    CertificateChainPolicy = PeerValidation.ChainPolicy(own.Root),
                    RemoteCertificateValidationCallback = PeerValidation.For(() => own.Root, PeerRole.Node, now, v => peer = v.IsTrusted ? v.Value as PeerIdentity.Node : null),
                }, limit.Token);
            }
            if (peer is not null) await serve(peer.Uid, tls, stop);
        }
        catch (Exception e) when (e is not OutOfMemoryException) { LogEnded(log, from, e.Message); }
        finally
        {
            socket.Dispose();
            slots.Release();
        }
    }

    [LoggerMessage(EventId = 1802, Level = LogLevel.Information, Message = "hosts that take machines over are served at {Address}")]
    private static partial void LogListening(ILogger log, IPEndPoint address);

    [LoggerMessage(EventId = 1803, Level = LogLevel.Debug, Message = "connection of {Peer} ended: {Why}")]
    private static partial void LogEnded(ILogger log, string peer, string why);
}
