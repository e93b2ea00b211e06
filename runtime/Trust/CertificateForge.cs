using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>Fills a buffer with unpredictable bytes: <see cref="RandomNumberGenerator.Fill"/> in programs, anything repeatable in tests.</summary>
public delegate void RandomFill(Span<byte> buffer);

/// <summary>What every certificate of the fleet has in common.</summary>
internal static class CertificateForge
{
    /// <summary>A certificate begins a little before it is issued: clocks of a fleet differ before they are synchronised.</summary>
    internal static readonly TimeSpan Backdate = TimeSpan.FromMinutes(10);

    internal static CertificateRequest Request(string commonName, PublicKey key)
    {
        var subject = new X500DistinguishedNameBuilder();
        subject.AddCommonName(commonName);
        var request = new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(key, critical: false));
        return request;
    }

    internal static CertificateRequest Leaf(string commonName, PublicKey key, PeerRole role, string subject, IEnumerable<string> dnsNames, IEnumerable<IPAddress> addresses)
    {
        var request = Request(commonName, key);
        var names = new SubjectAlternativeNameBuilder();
        names.AddUri(TrustNames.Uri(role, subject));
        foreach (var dns in dnsNames)
            names.AddDnsName(dns);
        foreach (var address in addresses)
            names.AddIpAddress(address);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(Usages(role == PeerRole.Coordinator ? [TrustNames.ServerAuth] : [TrustNames.ClientAuth]));
        return request;
    }

    internal static void MarkAuthority(CertificateRequest request, int pathLength)
    {
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, pathLength, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, critical: true));
    }

    internal static X509EnhancedKeyUsageExtension Usages(string[] oids)
    {
        var usages = new OidCollection();
        foreach (var oid in oids)
            usages.Add(new Oid(oid));
        return new X509EnhancedKeyUsageExtension(usages, critical: true);
    }

    /// <summary>Signs the request. A certificate never outlives its issuer nor begins before it.</summary>
    internal static byte[] Issue(CertificateRequest request, X509Certificate2 issuer, ECDsa issuerKey, DateTimeOffset now, TimeSpan life, RandomFill random)
    {
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(issuer, includeKeyIdentifier: true, includeIssuerAndSerial: false));
        var issuerBegins = new DateTimeOffset(issuer.NotBefore.ToUniversalTime());
        var issuerEnds = new DateTimeOffset(issuer.NotAfter.ToUniversalTime());
        var begins = now - Backdate < issuerBegins ? issuerBegins : now - Backdate;
        var ends = now + life > issuerEnds ? issuerEnds : now + life;
        using var certificate = request.Create(issuer.SubjectName, X509SignatureGenerator.CreateForECDsa(issuerKey), begins, ends, Serial(random));
        return certificate.RawData;
    }

    /// <summary>127 random bits, positive (RFC 5280, 4.1.2.2).</summary>
    internal static byte[] Serial(RandomFill random)
    {
        var serial = new byte[16];
        random(serial);
        serial[0] = (byte)((serial[0] & 0x7f) | 0x40);
        return serial;
    }

    /// <summary>A private key from PEM: PKCS#8, encrypted when a passphrase is given. The caller disposes it.</summary>
    internal static Verdict<ECDsa> ImportPrivate(string pem, string? passphrase, string what)
    {
        var key = ECDsa.Create();
        try
        {
            if (passphrase is null)
                key.ImportFromPem(pem);
            else
                key.ImportFromEncryptedPem(pem, passphrase);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            return Verdict<ECDsa>.Refuse(TrustProblemCode.WrongKey, passphrase is null
                ? $"{what} cannot be read; if it is encrypted, give its passphrase"
                : $"{what} cannot be read; the passphrase is wrong, or the file is not an encrypted PKCS#8 key");
        }
        var spki = P256.ImportPublic(key.ExportSubjectPublicKeyInfo());
        if (spki.Problem is { } problem)
        {
            key.Dispose();
            return problem;
        }
        spki.Value.Dispose();
        return key;
    }

    /// <summary>A certificate from DER or PEM together with proof that the key is its key. The caller disposes it.</summary>
    internal static Verdict<X509Certificate2> ImportFor(ECDsa key, byte[] der, string what)
    {
        X509Certificate2 certificate;
        try
        {
            certificate = X509CertificateLoader.LoadCertificate(der);
        }
        catch (CryptographicException)
        {
            return Verdict<X509Certificate2>.Refuse(TrustProblemCode.Malformed, $"{what} cannot be read as a certificate");
        }
        if (certificate.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(key.ExportSubjectPublicKeyInfo()))
            return certificate;
        certificate.Dispose();
        return Verdict<X509Certificate2>.Refuse(TrustProblemCode.WrongKey, $"{what} belongs to another key");
    }
}
