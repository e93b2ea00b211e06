using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Home;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Grpc.Net.Client;

namespace AgentMetal.Cli.Link;

/// <summary>gRPC to the coordinator over mTLS: the operator's certificate there, the pinned root and nothing else here.</summary>
internal sealed class CoordinatorLink : IDisposable
{
    private readonly SocketsHttpHandler _handler;
    private readonly GrpcChannel _channel;
    private readonly X509Certificate2 _identity;
    private readonly TimeProvider _clock;
    private readonly Lock _lock = new();
    private IReadOnlyList<X509Certificate2> _intermediates = [];

    private CoordinatorLink(PinnedRoot root, X509Certificate2 identity, string address, TimeProvider clock)
    {
        Root = root;
        Address = address;
        _identity = identity;
        _clock = clock;
        _handler = new SocketsHttpHandler
        {
            ConnectTimeout = TimeSpan.FromSeconds(5),
            // A watch is quiet for hours; a dead peer is noticed by HTTP/2 pings, not by silence.
            KeepAlivePingDelay = TimeSpan.FromSeconds(20),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(10),
            UseProxy = false,
            SslOptions = new SslClientAuthenticationOptions
            {
                ClientCertificateContext = SslStreamCertificateContext.Create(identity, null, offline: true, PeerValidation.Trust(root)),
                CertificateChainPolicy = PeerValidation.ChainPolicy(root),
                RemoteCertificateValidationCallback = IsCoordinator,
            },
        };
        _channel = GrpcChannel.ForAddress("https://" + address, new GrpcChannelOptions
        {
            HttpHandler = _handler,
            MaxReceiveMessageSize = 64 * 1024 * 1024,
            DisposeHttpClient = false,
        });
        Client = new Operator.OperatorClient(_channel);
    }

    internal Operator.OperatorClient Client { get; }

    /// <summary>HOST:PORT.</summary>
    internal string Address { get; }

    internal PinnedRoot Root { get; }

    /// <summary>Why the last handshake was refused here; null when it was not.</summary>
    internal string? Refusal { get; private set; }

    /// <summary>What the coordinator sent along with its own certificate; the certificates of its nodes hang below the same.</summary>
    internal IReadOnlyList<X509Certificate2> Intermediates
    {
        get
        {
            lock (_lock) return _intermediates;
        }
    }

    internal static CoordinatorLink Open(OperatorHome home, string? coordinator, TimeProvider clock)
    {
        var root = home.LoadRoot();
        var address = home.AddressOf(coordinator);
        return new CoordinatorLink(root, home.LoadIdentity(), address, clock);
    }

    public void Dispose()
    {
        _channel.Dispose();
        _handler.Dispose();
        _identity.Dispose();
        Root.Dispose();
    }

    // The verdict is PeerValidation's; kept beside it are why it refused, and the intermediates: the coordinator's nodes hang below the same.
    private bool IsCoordinator(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        if (certificate is X509Certificate2 leaf)
        {
            X509Certificate2[] sent = [.. PeerValidation.Intermediates(leaf, chain).Select(c => X509CertificateLoader.LoadCertificate(c.RawData))];
            lock (_lock) _intermediates = sent;
        }
        return PeerValidation.For(() => Root, PeerRole.Coordinator, () => TrustedTime.Now(_clock.GetUtcNow(), null), verdict => Refusal = verdict.Problem?.Message)(sender, certificate, chain, errors);
    }
}
