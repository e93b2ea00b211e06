using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>The identities in a real TLS 1.3 handshake, both ways, over pipes in memory.</summary>
public sealed class TlsTests : IDisposable
{
    // Handshakes are judged by the machine's clock, so this fleet is as old as the test.
    private static readonly DateTimeOffset s_now = DateTimeOffset.UtcNow;

    private readonly RootAuthority _root = RootAuthority.Create("lab", s_now, Fleet.Random);
    private readonly ECDsa _intermediateKey = P256.Generate();
    private readonly ECDsa _serverKey = P256.Generate();
    private readonly ECDsa _nodeKey = P256.Generate();
    private readonly PinnedRoot _pinned;
    private readonly X509Certificate2 _intermediate;
    private readonly X509Certificate2 _server;
    private readonly X509Certificate2 _node;

    public TlsTests()
    {
        _pinned = PinnedRoot.FromTrustedBytes(_root.CertificateDer).Value;
        var der = _root.IssueCoordinator(Fleet.Names, _intermediateKey.ExportSubjectPublicKeyInfo(), s_now, RootAuthority.IntermediateLife, Fleet.Random).Value;
        _intermediate = Fleet.Certificate(der);
        using var authority = CoordinatorAuthority.Load(_intermediateKey.ExportPkcs8PrivateKeyPem(), der).Value;
        using var server = Fleet.Certificate(authority.IssueServer(Fleet.Names, _serverKey.ExportSubjectPublicKeyInfo(), s_now, TimeSpan.FromDays(7), Fleet.Random).Value);
        _server = server.CopyWithPrivateKey(_serverKey);
        var request = SigningRequest.Parse(SigningRequest.Create(_nodeKey, "edge-1")).Value;
        using var node = Fleet.Certificate(authority.IssueNode(request, NodeUid.From(request.Spki), "edge-1", s_now, TimeSpan.FromDays(1), Fleet.Random).Value);
        _node = node.CopyWithPrivateKey(_nodeKey);
    }

    [Fact]
    public async Task Handshake_NodeAndCoordinator_KnowEachOther()
    {
        var (server, client) = await Handshake(_pinned, _pinned);
        Assert.Equal("edge-1", Assert.IsType<PeerIdentity.Node>(server?.Value).Name);
        Assert.Equal("control", Assert.IsType<PeerIdentity.Coordinator>(client?.Value).Name);
    }

    [Fact]
    public async Task Handshake_CoordinatorOfAnotherFleet_IsRefusedByTheNode()
    {
        using var other = new Fleet();
        await Assert.ThrowsAsync<AuthenticationException>(() => Handshake(_pinned, other.Pinned));
    }

    [Fact]
    public void ChainPolicy_CertificateThatSaysWhereItsIssuerIs_FetchesNothing()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var key = P256.Generate();
        var request = new CertificateRequest("CN=stranger", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509AuthorityInformationAccessExtension(null, [$"http://{listener.LocalEndpoint}/issuer.crt"]));
        using var stranger = request.Create(new X500DistinguishedName("CN=nobody"), X509SignatureGenerator.CreateForECDsa(_nodeKey), s_now, s_now.AddDays(1), [1]);
        using var chain = new X509Chain { ChainPolicy = PeerValidation.ChainPolicy(_pinned) };
        Assert.False(chain.Build(stranger));
        Assert.False(listener.Pending());
    }

    [Fact]
    public void ChainPolicy_RootOfAnotherFleet_IsNotTrusted()
    {
        using var other = new Fleet();
        using var ours = new X509Chain { ChainPolicy = PeerValidation.ChainPolicy(_pinned) };
        using var theirs = new X509Chain { ChainPolicy = PeerValidation.ChainPolicy(other.Pinned) };
        Assert.Equal((true, false), (ours.Build(_intermediate), theirs.Build(_intermediate)));
    }

    private async Task<(Verdict<PeerIdentity>? Server, Verdict<PeerIdentity>? Client)> Handshake(PinnedRoot serverTrusts, PinnedRoot clientTrusts)
    {
        var up = new Pipe();
        var down = new Pipe();
        await using var server = new SslStream(new Duplex(up.Reader, down.Writer));
        await using var client = new SslStream(new Duplex(down.Reader, up.Writer));
        Verdict<PeerIdentity>? seenByServer = null;
        Verdict<PeerIdentity>? seenByClient = null;
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        var serving = server.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(_server, [_intermediate], offline: true, PeerValidation.Trust(serverTrusts)),
            ClientCertificateRequired = true,
            CertificateChainPolicy = PeerValidation.ChainPolicy(serverTrusts),
            RemoteCertificateValidationCallback = PeerValidation.For(() => serverTrusts, PeerRole.Node, () => s_now, verdict => seenByServer = verdict),
        }, deadline.Token);
        var connecting = client.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "control.example",
            ClientCertificateContext = SslStreamCertificateContext.Create(_node, [_intermediate], offline: true, PeerValidation.Trust(clientTrusts)),
            CertificateChainPolicy = PeerValidation.ChainPolicy(clientTrusts),
            RemoteCertificateValidationCallback = PeerValidation.For(() => clientTrusts, PeerRole.Coordinator, () => s_now, verdict => seenByClient = verdict),
        }, deadline.Token);
        try
        {
            await connecting;
        }
        finally
        {
            if (connecting.IsFaulted)
                await up.Writer.CompleteAsync();
        }
        await serving;
        return (seenByServer, seenByClient);
    }

    public void Dispose()
    {
        _root.Dispose();
        _intermediateKey.Dispose();
        _serverKey.Dispose();
        _nodeKey.Dispose();
        _pinned.Dispose();
        _intermediate.Dispose();
        _server.Dispose();
        _node.Dispose();
    }

    private sealed class Duplex(PipeReader reader, PipeWriter writer) : Stream
    {
        private readonly Stream _read = reader.AsStream();
        private readonly Stream _write = writer.AsStream();

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => true;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
        public override void Flush() => _write.Flush();
        public override Task FlushAsync(CancellationToken cancellationToken) => _write.FlushAsync(cancellationToken);
        public override int Read(byte[] buffer, int offset, int count) => _read.Read(buffer, offset, count);
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => _read.ReadAsync(buffer, cancellationToken);
        public override void Write(byte[] buffer, int offset, int count) => _write.Write(buffer, offset, count);
        public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await _write.WriteAsync(buffer, cancellationToken);
            await _write.FlushAsync(cancellationToken);
        }
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                _read.Dispose();
                _write.Dispose();
            }
            base.Dispose(disposing);
        }
    }
}
