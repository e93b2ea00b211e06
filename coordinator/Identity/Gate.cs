using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Identity;

/// <summary>
/// Who may call what. TLS lets in whoever has a certificate of this fleet (<see cref="MayConnect"/>), also one that has just ended, so that Renew can be
/// called; each service then asks for the role it serves, now and unrevoked.
/// </summary>
internal sealed class Gate(IStore store, IdentityBundle bundle, TimeProvider clock)
{
    /// <summary>For the handshake: any role, nodes also within the grace of Renew.</summary>
    public bool MayConnect(X509Certificate2 certificate)
    {
        var identity = PeerIdentity.Read(certificate);
        if (!identity.IsTrusted || identity.Value.Role == PeerRole.Coordinator)
            return false;
        var grace = identity.Value.Role == PeerRole.Node ? RenewalRule.ExpiredGrace : TimeSpan.Zero;
        var verdict = Verify(bundle, certificate, identity.Value.Role, clock.GetUtcNow(), grace);
        if (verdict.Problem is { Code: TrustProblemCode.Expired or TrustProblemCode.NotYetValid } problem && identity.Value is PeerIdentity.Node node
            // Anybody can write a name into a certificate: only one that was this fleet's at its time speaks for the host.
            && Verify(bundle, certificate, PeerRole.Node, new DateTimeOffset(certificate.NotBefore.ToUniversalTime()).AddSeconds(1), TimeSpan.Zero).IsTrusted) Refused?.Invoke(node.Uid, problem.Message);
        return verdict.IsTrusted;
    }

    /// <summary>Called with the uid of a host whose certificate has ended, or has not begun by this clock, and what is wrong.</summary>
    public Action<string, string>? Refused { get; set; }

    /// <summary>For calls of people and their programs.</summary>
    public Verdict<PeerIdentity> Operator(X509Certificate2? certificate) => certificate is null
        ? Verdict<PeerIdentity>.Refuse(TrustProblemCode.WrongRole, "this call needs an operator's client certificate")
        : Verify(bundle, certificate, PeerRole.Operator, clock.GetUtcNow(), TimeSpan.Zero);

    /// <summary>For a node's stream: valid now, known and not revoked. Ask again while the stream lives: it must not outlive its certificate.</summary>
    public async ValueTask<Verdict<PeerIdentity>> NodeAsync(X509Certificate2? certificate, CancellationToken cancel)
    {
        if (certificate is null)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.WrongRole, "this call needs a node's client certificate");
        var peer = Verify(bundle, certificate, PeerRole.Node, clock.GetUtcNow(), TimeSpan.Zero);
        if (!peer.IsTrusted)
            return peer;
        var node = (PeerIdentity.Node)peer.Value;
        var stored = await Stored<NodeRecord>.ReadAsync(store, IdentityKeys.Node(node.Uid), IdentityJson.Default.NodeRecord, cancel);
        return WhyNotKnown(stored.Record, node) is { } problem ? problem : peer;
    }

    /// <summary>What a host that was struck off is told beside the refusal, by its uid; null = nothing.</summary>
    public Func<string, CancellationToken, Task<byte[]?>>? Farewell { get; set; }

    /// <summary>The signatures by which the host of this certificate was struck off: it need not take a coordinator's word for that. Also of one whose certificate has ended meanwhile.</summary>
    public async ValueTask<Grpc.Core.Metadata> FarewellAsync(X509Certificate2? certificate, CancellationToken cancel)
    {
        var trailers = new Grpc.Core.Metadata();
        if (certificate is null || Farewell is not { } farewell || Verify(bundle, certificate, PeerRole.Node, clock.GetUtcNow(), RenewalRule.ExpiredGrace) is not { IsTrusted: true } peer) return trailers;
        var node = (PeerIdentity.Node)peer.Value;
        var stored = await Stored<NodeRecord>.ReadAsync(store, IdentityKeys.Node(node.Uid), IdentityJson.Default.NodeRecord, cancel);
        if (stored.Record is { StruckOffBy: not null } && await farewell(node.Uid, cancel) is { } said) trailers.Add(StrikeOff.Trailer, said);
        return trailers;
    }

    internal static Verdict<PeerIdentity> Verify(IdentityBundle bundle, X509Certificate2 certificate, PeerRole role, DateTimeOffset now, TimeSpan grace)
    {
        using var intermediate = X509CertificateLoader.LoadCertificate(bundle.Authority.CertificateDer);
        return ChainVerifier.Verify(new ChainRequest { Leaf = certificate, Intermediates = [intermediate], Root = bundle.Root, Now = now, Role = role, ExpiredGrace = grace });
    }

    internal static TrustProblem? WhyNotKnown(NodeRecord? record, PeerIdentity.Node peer)
    {
        if (record is null)
            return new TrustProblem(TrustProblemCode.UnknownKey, $"node {peer.Uid} is not known here; join it with a new token");
        if (record.RevokedUnixMs is not null)
            return new TrustProblem(TrustProblemCode.UnknownKey, record.WhyRevoked);
        if (record.KeyId != peer.KeyId && record.PreviousKeyId != peer.KeyId)
            return new TrustProblem(TrustProblemCode.UnknownKey, $"node {record.Name} has replaced this key");
        return null;
    }
}
