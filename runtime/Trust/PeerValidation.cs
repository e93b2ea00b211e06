using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>The one place where TLS asks whether to go on: <see cref="ChainVerifier"/> against the pinned root, and nothing of the system's.</summary>
public static class PeerValidation
{
    /// <summary>A callback for <see cref="SslStream"/>, Kestrel and SocketsHttpHandler.</summary>
    /// <param name="root">The pinned root, asked for at each handshake.</param>
    /// <param name="role">What the peer must be. A connection to a coordinator must also be to one of the names in its certificate.</param>
    /// <param name="now">Trusted time.</param>
    /// <param name="seen">Told every verdict, for the log; null when nobody wants to know.</param>
    public static RemoteCertificateValidationCallback For(Func<PinnedRoot> root, PeerRole role, Func<DateTimeOffset> now, Action<Verdict<PeerIdentity>>? seen = null)
    {
        ArgumentNullException.ThrowIfNull(root);
        ArgumentNullException.ThrowIfNull(now);
        return (_, certificate, chain, errors) =>
        {
            var verdict = Judge(certificate, chain, errors, root(), role, now());
            seen?.Invoke(verdict);
            return verdict.IsTrusted;
        };
    }

    /// <summary>
    /// For the options of TLS, so that TLS itself looks at nothing but the handshake: without it each handshake also asks the system's authorities, and
    /// fetches what the certificate of a peer that nobody knows yet says is to be fetched.
    /// </summary>
    /// <param name="root">Null where the verdict is not TLS's to give at all.</param>
    public static X509ChainPolicy ChainPolicy(PinnedRoot? root)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        if (root is not null) policy.CustomTrustStore.Add(root.Certificate);
        return policy;
    }

    /// <summary>The same for the own certificate of a peer, whose chain is otherwise looked for among the system's.</summary>
    public static SslCertificateTrust Trust(PinnedRoot root)
    {
        ArgumentNullException.ThrowIfNull(root);
        return SslCertificateTrust.CreateForX509Collection([root.Certificate], sendTrustInHandshake: false);
    }

    /// <summary>The certificates that the peer sent along, without its own: TLS leaves them in the chain's extra store.</summary>
    public static IReadOnlyList<X509Certificate2> Intermediates(X509Certificate2 leaf, X509Chain? chain)
    {
        ArgumentNullException.ThrowIfNull(leaf);
        if (chain is null)
            return [];
        var others = new List<X509Certificate2>();
        foreach (var certificate in chain.ChainPolicy.ExtraStore)
            if (!certificate.RawDataMemory.Span.SequenceEqual(leaf.RawDataMemory.Span))
                others.Add(certificate);
        return others;
    }

    private static Verdict<PeerIdentity> Judge(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors, PinnedRoot root, PeerRole role, DateTimeOffset now)
    {
        if (certificate is not X509Certificate2 leaf)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.Malformed, "the peer sent no certificate");
        // The system's own opinion of the chain is not asked, but only TLS knows which name was dialled.
        if (role == PeerRole.Coordinator && errors.HasFlag(SslPolicyErrors.RemoteCertificateNameMismatch))
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.WrongScope, "the coordinator's certificate does not carry the name or address that was dialled");
        return ChainVerifier.Verify(new ChainRequest { Leaf = leaf, Intermediates = Intermediates(leaf, chain), Root = root, Now = now, Role = role });
    }
}
