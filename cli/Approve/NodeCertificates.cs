using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Approve;

/// <summary>Who a host is, from a certificate that somebody carried here: it must chain to the pinned root, and nothing else is believed.</summary>
internal sealed class NodeCertificates(PinnedRoot root, IReadOnlyList<X509Certificate2> intermediates, DateTimeOffset now)
{
    /// <param name="der">The certificate as it came.</param>
    /// <param name="what">What carries it, for people: "the held plan".</param>
    /// <param name="leaf">The certificate, which the caller disposes; null unless it is trusted.</param>
    internal Verdict<PeerIdentity.Node> Read(ReadOnlySpan<byte> der, string what, out X509Certificate2? leaf)
    {
        leaf = null;
        try
        {
            leaf = X509CertificateLoader.LoadCertificate(der);
        }
        catch (CryptographicException)
        {
            return Verdict<PeerIdentity.Node>.Refuse(TrustProblemCode.Malformed, $"{what} carries no certificate of its host");
        }
        var verdict = ChainVerifier.Verify(new ChainRequest { Leaf = leaf, Intermediates = [.. intermediates.DistinctBy(c => c.Thumbprint).Take(ChainVerifier.MaxIntermediates)], Root = root, Now = now, Role = PeerRole.Node });
        if (verdict.IsTrusted) return (PeerIdentity.Node)verdict.Value;
        leaf.Dispose();
        leaf = null;
        return verdict.Problem!;
    }
}
