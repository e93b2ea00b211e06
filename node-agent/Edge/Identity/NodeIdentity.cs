using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Edge.Identity;

/// <summary>Key, chain and pinned root of this node, in use.</summary>
internal sealed class NodeIdentity : IDisposable
{
    private readonly ECDsa _key;
    private readonly X509Certificate2 _leaf;
    private readonly List<X509Certificate2> _intermediates;

    private NodeIdentity(ECDsa key, X509Certificate2 leaf, List<X509Certificate2> intermediates, PinnedRoot root, PeerIdentity.Node peer)
    {
        _key = key;
        _leaf = leaf;
        _intermediates = intermediates;
        Root = root;
        Peer = peer;
    }

    public PinnedRoot Root { get; }

    /// <summary>Uid, name and key of this node, as its certificate says.</summary>
    public PeerIdentity.Node Peer { get; }

    /// <summary>Signs held plans, see <see cref="HeldPlanClaim"/>.</summary>
    public ECDsa Key => _key;

    /// <summary>The certificate, DER; no secret.</summary>
    public byte[] CertificateDer => _leaf.RawData;

    public DateTimeOffset NotBefore => new(_leaf.NotBefore.ToUniversalTime());

    public DateTimeOffset NotAfter => new(_leaf.NotAfter.ToUniversalTime());

    /// <summary>For a client's TLS options: leaf, key and intermediate. A new one for each handler that is made after a renewal.</summary>
    public SslStreamCertificateContext TlsContext() => SslStreamCertificateContext.Create(_leaf, [.. _intermediates], offline: true, PeerValidation.Trust(Root));

    /// <summary>Takes over key and root.</summary>
    public static Verdict<NodeIdentity> FromParts(ECDsa key, IReadOnlyList<byte[]> chain, PinnedRoot root)
    {
        var certificates = new List<X509Certificate2>();
        Verdict<NodeIdentity> Refuse(string why)
        {
            foreach (var certificate in certificates)
                certificate.Dispose();
            key.Dispose();
            root.Dispose();
            return Verdict<NodeIdentity>.Refuse(TrustProblemCode.Malformed, why);
        }

        if (chain.Count is 0 or > ChainVerifier.MaxIntermediates)
            return Refuse($"the certificate chain has {chain.Count} certificates; join again");
        try
        {
            foreach (var der in chain)
                certificates.Add(X509CertificateLoader.LoadCertificate(der));
            var read = PeerIdentity.Read(certificates[0]);
            if (!read.IsTrusted || read.Value is not PeerIdentity.Node peer)
                return Refuse("the certificate is not a node's; join again");
            if (peer.KeyId != P256.KeyId(key))
                return Refuse("the certificate is for another key than this node's; join again");
            var bare = certificates[0];
            var leaf = bare.CopyWithPrivateKey(key);
            certificates.RemoveAt(0);
            bare.Dispose();
            return new NodeIdentity(key, leaf, certificates, root, peer);
        }
        catch (CryptographicException)
        {
            return Refuse("the certificate chain cannot be read; join again");
        }
    }

    /// <summary>Null when a coordinator would take this certificate now.</summary>
    public TrustProblem? Verify(DateTimeOffset now) => ChainVerifier.Verify(new ChainRequest
    {
        Leaf = _leaf,
        Intermediates = _intermediates,
        Root = Root,
        Now = now,
        Role = PeerRole.Node,
    }).Problem;

    /// <summary>What to do about the certificate now.</summary>
    /// <param name="jitter">0 to 1, drawn once per certificate; see <see cref="RenewalRule"/>.</param>
    public CertificateState StateAt(DateTimeOffset now, double jitter)
    {
        if (now >= NotAfter + RenewalRule.ExpiredGrace)
            return CertificateState.Lost;
        if (now >= NotAfter)
            return CertificateState.Expired;
        return now >= RenewalRule.DueAt(NotBefore, NotAfter, jitter) ? CertificateState.Due : CertificateState.Good;
    }

    public void Dispose()
    {
        foreach (var certificate in _intermediates)
            certificate.Dispose();
        _leaf.Dispose();
        _key.Dispose();
        Root.Dispose();
    }
}

/// <summary>Where in its life a certificate is.</summary>
internal enum CertificateState
{
    /// <summary>Attach with it.</summary>
    Good,

    /// <summary>Attach with it, and renew.</summary>
    Due,

    /// <summary>Renew first; nothing else is answered.</summary>
    Expired,

    /// <summary>Even Renew is over: a new join token is needed. What runs here keeps running.</summary>
    Lost,
}
