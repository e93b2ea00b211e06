using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>The root certificate that a peer was told to trust, out of band.</summary>
public sealed class PinnedRoot : IDisposable
{
    private PinnedRoot(X509Certificate2 certificate)
    {
        Certificate = certificate;
        Sha256 = PinOf(certificate.RawData);
    }

    public X509Certificate2 Certificate { get; }

    /// <summary>Lower-case hex SHA-256 of the DER bytes: what join tokens carry.</summary>
    public string Sha256 { get; }

    public static string PinOf(ReadOnlySpan<byte> der) => Convert.ToHexStringLower(SHA256.HashData(der));

    /// <summary>From bytes that are already trusted, such as the host's own pinned file.</summary>
    public static Verdict<PinnedRoot> FromTrustedBytes(byte[] der)
    {
        X509Certificate2? certificate = null;
        try
        {
            certificate = X509CertificateLoader.LoadCertificate(der);
            var key = P256.ImportPublic(certificate.PublicKey.ExportSubjectPublicKeyInfo());
            if (key.Problem is { } problem)
            {
                certificate.Dispose();
                return problem;
            }
            key.Value.Dispose();
            return new PinnedRoot(certificate);
        }
        catch (CryptographicException)
        {
            certificate?.Dispose();
            return Verdict<PinnedRoot>.Refuse(TrustProblemCode.Malformed, "the root certificate cannot be read");
        }
    }

    /// <summary>From bytes that anybody may have sent, held against a pin from a join token.</summary>
    public static Verdict<PinnedRoot> FromPin(string sha256, byte[] der) =>
        PinOf(der) == sha256
            ? FromTrustedBytes(der)
            : Verdict<PinnedRoot>.Refuse(TrustProblemCode.UntrustedRoot,
                "the root certificate is not the one the join token pins; the coordinator is another one, or somebody sits in between");

    public void Dispose() => Certificate.Dispose();
}

/// <summary>What to verify, against what, and when.</summary>
public sealed record ChainRequest
{
    public required X509Certificate2 Leaf { get; init; }

    /// <summary>What the peer sent along, at most <see cref="ChainVerifier.MaxIntermediates"/>; order and extras do not matter.</summary>
    public IReadOnlyList<X509Certificate2> Intermediates { get; init; } = [];

    public required PinnedRoot Root { get; init; }

    /// <summary>Trusted time, see <see cref="TrustedTime"/>.</summary>
    public required DateTimeOffset Now { get; init; }

    public required PeerRole Role { get; init; }

    /// <summary>How long after its end a certificate is still taken. Zero everywhere but in Renew.</summary>
    public TimeSpan ExpiredGrace { get; init; } = TimeSpan.Zero;
}

/// <summary>
/// Verifies a peer's certificate against the pinned root and nothing else: no system store, no downloads, no revocation servers (revoked nodes are a
/// list that the coordinator holds). Beside the path rules of RFC 5280 it asks for the fleet's own shape: an operator is issued by the root itself, a
/// node and a coordinator by an intermediate, everything on P-256.
/// </summary>
public static class ChainVerifier
{
    public const int MaxIntermediates = 4;

    private const string EcdsaWithSha256 = "1.2.840.10045.4.3.2";

    public static Verdict<PeerIdentity> Verify(ChainRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (request.Intermediates.Count > MaxIntermediates)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.Malformed, $"the peer sent more than {MaxIntermediates} intermediate certificates");
        var identity = PeerIdentity.Read(request.Leaf);
        if (!identity.IsTrusted)
            return identity;
        if (identity.Value.Role != request.Role)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.WrongRole, $"a certificate of a {TrustNames.RoleHost(identity.Value.Role)} where one of a {TrustNames.RoleHost(request.Role)} is needed");

        var now = request.Now.UtcDateTime;
        var ends = request.Leaf.NotAfter.ToUniversalTime();
        var over = now >= ends;
        if (over && now - ends >= request.ExpiredGrace)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.Expired, $"the certificate of {identity.Value.Name} ended {ends:yyyy-MM-dd HH:mm:ss}Z; renew it, or join again");
        if (now < request.Leaf.NotBefore.ToUniversalTime())
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.NotYetValid, $"the certificate of {identity.Value.Name} is valid from {request.Leaf.NotBefore.ToUniversalTime():yyyy-MM-dd HH:mm:ss}Z on; check this machine's clock");
        // Within the grace the chain is judged as of the last second in which the leaf was valid.
        return BuildChain(request, over ? ends.AddSeconds(-1) : now) is { } problem ? problem : identity;
    }

    private static TrustProblem? BuildChain(ChainRequest request, DateTime at)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.Add(request.Root.Certificate);
        foreach (var intermediate in request.Intermediates)
            chain.ChainPolicy.ExtraStore.Add(intermediate);
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.DisableCertificateDownloads = true;
        chain.ChainPolicy.VerificationTime = at;
        chain.ChainPolicy.VerificationTimeIgnored = false;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(request.Role == PeerRole.Coordinator ? TrustNames.ServerAuth : TrustNames.ClientAuth));
        var good = chain.Build(request.Leaf);
        try
        {
            return good ? Shape(request, chain.ChainElements) : Explain(chain);
        }
        finally
        {
            foreach (var element in chain.ChainElements)
                element.Certificate.Dispose();
        }
    }

    private static TrustProblem? Shape(ChainRequest request, X509ChainElementCollection elements)
    {
        if (!elements[^1].Certificate.RawDataMemory.Span.SequenceEqual(request.Root.Certificate.RawDataMemory.Span))
            return new TrustProblem(TrustProblemCode.UntrustedRoot, "the chain does not end at the pinned root");
        var expected = request.Role == PeerRole.Operator ? 2 : 3;
        if (elements.Count != expected)
            return new TrustProblem(TrustProblemCode.WrongRole, request.Role == PeerRole.Operator
                ? "an operator's certificate must be issued by the root itself"
                : $"the certificate of a {TrustNames.RoleHost(request.Role)} must be issued by an intermediate of the root");
        foreach (var element in elements)
        {
            if (element.Certificate.SignatureAlgorithm.Value != EcdsaWithSha256)
                return new TrustProblem(TrustProblemCode.UnsupportedKey, "a certificate of the chain is not signed with ECDSA and SHA-256");
            var key = P256.ImportPublic(element.Certificate.PublicKey.ExportSubjectPublicKeyInfo());
            if (key.Problem is { } problem)
                return problem;
            key.Value.Dispose();
        }
        if (elements[0].Certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(e => e.CertificateAuthority))
            return new TrustProblem(TrustProblemCode.WrongRole, "a certificate authority's certificate is not a peer's");
        return null;
    }

    private static TrustProblem Explain(X509Chain chain)
    {
        var flags = X509ChainStatusFlags.NoError;
        foreach (var status in chain.ChainStatus)
            flags |= status.Status;
        const X509ChainStatusFlags names = X509ChainStatusFlags.HasNotPermittedNameConstraint | X509ChainStatusFlags.HasExcludedNameConstraint
            | X509ChainStatusFlags.InvalidNameConstraints | X509ChainStatusFlags.HasNotDefinedNameConstraint | X509ChainStatusFlags.HasNotSupportedNameConstraint;
        if ((flags & names) != 0)
            return new TrustProblem(TrustProblemCode.NameConstraint, "the issuer named something its own certificate does not permit");
        if ((flags & X509ChainStatusFlags.NotSignatureValid) != 0)
            return new TrustProblem(TrustProblemCode.BadSignature, "a signature in the certificate chain is wrong");
        if ((flags & (X509ChainStatusFlags.UntrustedRoot | X509ChainStatusFlags.PartialChain)) != 0)
            return new TrustProblem(TrustProblemCode.UntrustedRoot, "no chain from the certificate to the pinned root");
        if ((flags & X509ChainStatusFlags.NotTimeValid) != 0)
            return new TrustProblem(TrustProblemCode.Expired, "a certificate of the chain is not valid at this time");
        if ((flags & (X509ChainStatusFlags.NotValidForUsage | X509ChainStatusFlags.InvalidBasicConstraints)) != 0)
            return new TrustProblem(TrustProblemCode.WrongRole, "a certificate of the chain is used for what it was not issued for");
        return new TrustProblem(TrustProblemCode.UntrustedRoot, $"the certificate chain is not valid ({flags})");
    }
}
