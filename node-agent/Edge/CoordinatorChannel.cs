using System.Net.Security;
using AgentMetal.NodeAgent.Edge.Identity;
using AgentMetal.Runtime.Trust;
using Grpc.Net.Client;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>gRPC channels to a coordinator: the pinned root and nothing else decides who it is.</summary>
internal static class CoordinatorChannel
{
    /// <param name="address">https://host:port.</param>
    /// <param name="root">Null only while the root itself is asked for; nothing is sent on such a channel.</param>
    /// <param name="identity">Null until this host has one.</param>
    /// <param name="now">Trusted time.</param>
    /// <param name="verdict">Told what this side thinks of the peer's certificate; null where nobody wants to know.</param>
    public static GrpcChannel Open(Uri address, PinnedRoot? root, NodeIdentity? identity, Func<DateTimeOffset> now, PeerVerdict? verdict = null)
    {
        verdict?.Begin();
        var handler = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,
            KeepAlivePingDelay = TimeSpan.FromSeconds(15),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            UseProxy = false,
            UseCookies = false,
            SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificateContext = identity?.TlsContext(),
                CertificateChainPolicy = PeerValidation.ChainPolicy(root),
#pragma warning disable CA5359 // Any certificate only while the root is asked for: nothing is sent, and the answer is held against its hash.
                RemoteCertificateValidationCallback = root is null ? static (_, _, _, _) => true : PeerValidation.For(() => root, PeerRole.Coordinator, now, verdict is null ? null : verdict.Saw),
#pragma warning restore CA5359
            },
        };
        return GrpcChannel.ForAddress(address, new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, MaxReceiveMessageSize = 16 * 1024 * 1024 });
    }
}
