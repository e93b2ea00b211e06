using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>A certificate request whose signature was checked: whoever made it has the private key.</summary>
public sealed record SigningRequest
{
    private SigningRequest()
    {
    }

    /// <summary>SubjectPublicKeyInfo (DER), P-256.</summary>
    public required byte[] Spki { get; init; }

    public string KeyId => P256.KeyId(Spki);

    /// <summary>Reads PKCS#10 (DER, at most 8 KiB). Names and extensions asked for are not looked at: the issuer decides them.</summary>
    public static Verdict<SigningRequest> Parse(byte[] der)
    {
        ArgumentNullException.ThrowIfNull(der);
        if (der.Length is 0 or > 8192)
            return Verdict<SigningRequest>.Refuse(TrustProblemCode.Malformed, "csr: not between 1 and 8192 bytes");
        byte[] spki;
        try
        {
            spki = CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256, CertificateRequestLoadOptions.SkipSignatureValidation).PublicKey.ExportSubjectPublicKeyInfo();
        }
        catch (Exception e) when (IsBadInput(e))
        {
            return Verdict<SigningRequest>.Refuse(TrustProblemCode.Malformed, "csr: not a certificate request (PKCS#10, DER)");
        }
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem with { Message = "csr: " + problem.Message };
        key.Value.Dispose();
        try
        {
            // Now with the signature, which the first reading left out so that the two refusals can be told apart.
            CertificateRequest.LoadSigningRequest(der, HashAlgorithmName.SHA256);
        }
        catch (Exception e) when (IsBadInput(e))
        {
            return Verdict<SigningRequest>.Refuse(TrustProblemCode.BadSignature, "csr: its signature was not made with its own key");
        }
        return new SigningRequest { Spki = spki };
    }

    // An unknown signature algorithm is reported as "not supported"; it is the sender's mistake all the same.
    private static bool IsBadInput(Exception e) => e is CryptographicException or NotSupportedException or AsnContentException or ArgumentException;

    /// <summary>A request for this key, DER. The subject is only for people who look at the bytes.</summary>
    public static byte[] Create(ECDsa key, string name)
    {
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(name);
        return new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256).CreateSigningRequest();
    }
}

/// <summary>A coordinator's own authority: it certifies nodes and itself, within what the root permits.</summary>
public sealed class CoordinatorAuthority : IDisposable
{
    public static readonly TimeSpan ShortestNodeLife = TimeSpan.FromHours(24);
    public static readonly TimeSpan LongestNodeLife = TimeSpan.FromDays(7);

    private readonly ECDsa _key;
    private readonly X509Certificate2 _certificate;

    private CoordinatorAuthority(ECDsa key, X509Certificate2 certificate)
    {
        _key = key;
        _certificate = certificate;
    }

    /// <summary>The intermediate certificate, DER.</summary>
    public byte[] CertificateDer => _certificate.RawData;

    public DateTimeOffset Expires => new(_certificate.NotAfter.ToUniversalTime());

    /// <param name="keyPem">PKCS#8 PEM, not encrypted.</param>
    public static Verdict<CoordinatorAuthority> Load(string keyPem, byte[] intermediateDer)
    {
        var key = CertificateForge.ImportPrivate(keyPem, null, "the intermediate key");
        if (key.Problem is { } keyProblem)
            return keyProblem;
        var certificate = CertificateForge.ImportFor(key.Value, intermediateDer, "the intermediate certificate");
        if (certificate.Problem is not { } problem)
            return new CoordinatorAuthority(key.Value, certificate.Value);
        key.Value.Dispose();
        return problem;
    }

    /// <summary>A TLS server certificate for this coordinator. DER.</summary>
    /// <remarks>Names outside the intermediate's constraints are not refused here: every verifier refuses the certificate.</remarks>
    public Verdict<byte[]> IssueServer(CoordinatorNames names, ReadOnlySpan<byte> spki, DateTimeOffset now, TimeSpan life, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(names);
        if (names.Errors() is [var error, ..])
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, error);
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem;
        using var publicKey = key.Value;
        var request = CertificateForge.Leaf(names.Name, new PublicKey(publicKey), PeerRole.Coordinator, names.Name,
            [TrustNames.CoordinatorDomain, .. names.DnsNames], names.Addresses.Select(a => TrustNames.Normal(a)!));
        return CertificateForge.Issue(request, _certificate, _key, now, life, random);
    }

    /// <summary>A node's client certificate, for the key of the request and no other. DER.</summary>
    /// <param name="uid">From <see cref="NodeUid.From"/> at the first joining; from the certificate it renews later.</param>
    /// <param name="life">From <see cref="ShortestNodeLife"/> to <see cref="LongestNodeLife"/>.</param>
    public Verdict<byte[]> IssueNode(SigningRequest request, string uid, string name, DateTimeOffset now, TimeSpan life, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(request);
        if (!TrustNames.IsName(name))
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, $"name: \"{name}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        if (!NodeUid.IsValid(uid))
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, "node uid: not 32 lower-case hex characters");
        if (life < ShortestNodeLife || life > LongestNodeLife)
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, "life: not between 24 hours and 7 days");
        var certificate = CertificateForge.Leaf(name, PublicKey.CreateFromSubjectPublicKeyInfo(request.Spki, out _), PeerRole.Node, uid, [$"{uid}.{TrustNames.NodeDomain}"], []);
        return CertificateForge.Issue(certificate, _certificate, _key, now, life, random);
    }

    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
    }
}
