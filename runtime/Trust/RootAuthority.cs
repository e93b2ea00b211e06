using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>What a coordinator's intermediate may name.</summary>
public sealed record CoordinatorNames
{
    /// <summary>Its name, see <see cref="TrustNames.IsName"/>.</summary>
    public required string Name { get; init; }

    /// <summary>DNS names under which peers reach it; a name permits its subdomains too.</summary>
    public IReadOnlyList<string> DnsNames { get; init; } = [];

    /// <summary>Addresses under which peers reach it, each alone.</summary>
    public IReadOnlyList<IPAddress> Addresses { get; init; } = [];

    /// <summary>Every error at once, each naming its field; empty when there is none.</summary>
    public IReadOnlyList<string> Errors()
    {
        var errors = new List<string>();
        if (!TrustNames.IsName(Name))
            errors.Add($"name: \"{Name}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        foreach (var dns in DnsNames)
            if (!TrustNames.IsDnsName(dns))
                errors.Add($"dnsNames: \"{dns}\" is not a DNS name in lower case (addresses go to addresses)");
        foreach (var address in Addresses)
            if (TrustNames.Normal(address) is null)
                errors.Add($"addresses: {address} has a scope; give the address without %…");
        if (DnsNames.Count + Addresses.Count > 64)
            errors.Add("dnsNames, addresses: more than 64 in all");
        return errors;
    }
}

/// <summary>
/// The root of trust. It lives on an operator's machine, and never on a coordinator: it makes a coordinator's intermediate, operators' certificates,
/// and signs the set of keys that may approve.
/// </summary>
public sealed class RootAuthority : IDisposable
{
    public static readonly TimeSpan RootLife = TimeSpan.FromDays(20 * 365);
    public static readonly TimeSpan IntermediateLife = TimeSpan.FromDays(5 * 365);
    public static readonly TimeSpan OperatorLife = TimeSpan.FromDays(365);

    private readonly ECDsa _key;
    private readonly X509Certificate2 _certificate;

    private RootAuthority(ECDsa key, X509Certificate2 certificate)
    {
        _key = key;
        _certificate = certificate;
    }

    /// <summary>The self-signed root certificate, DER.</summary>
    public byte[] CertificateDer => _certificate.RawData;

    /// <summary>A new root with a new key.</summary>
    /// <param name="fleet">The fleet's name, for people; see <see cref="TrustNames.IsName"/>.</param>
    public static RootAuthority Create(string fleet, DateTimeOffset now, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(random);
        if (!TrustNames.IsName(fleet))
            throw new ArgumentException("not a fleet name", nameof(fleet));
        var key = P256.Generate();
        var request = CertificateForge.Request($"{fleet} root", new PublicKey(key));
        // Root, one intermediate, leaf: an intermediate can never make another one.
        CertificateForge.MarkAuthority(request, pathLength: 1);
        var certificate = request.Create(request.SubjectName, X509SignatureGenerator.CreateForECDsa(key), now - TimeSpan.FromDays(1), now + RootLife, CertificateForge.Serial(random));
        return new RootAuthority(key, certificate);
    }

    /// <param name="keyPem">What <see cref="ExportKeyPem"/> gave.</param>
    /// <param name="passphrase">Null when the key is not encrypted.</param>
    public static Verdict<RootAuthority> Load(string keyPem, string? passphrase, byte[] certificateDer)
    {
        var key = CertificateForge.ImportPrivate(keyPem, passphrase, "the root key");
        if (key.Problem is { } keyProblem)
            return keyProblem;
        var certificate = CertificateForge.ImportFor(key.Value, certificateDer, "the root certificate");
        if (certificate.Problem is not { } problem)
            return new RootAuthority(key.Value, certificate.Value);
        key.Value.Dispose();
        return problem;
    }

    /// <summary>PKCS#8 PEM; encrypted (PBES2, AES-256-CBC, PBKDF2-SHA256 with 600,000 rounds) when a passphrase is given.</summary>
    public string ExportKeyPem(string? passphrase) => passphrase is null
        ? _key.ExportPkcs8PrivateKeyPem()
        : _key.ExportEncryptedPkcs8PrivateKeyPem(passphrase, new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 600_000));

    /// <summary>An intermediate that can name nodes and this coordinator, and nothing else. DER.</summary>
    /// <param name="spki">The coordinator's own key; its private half need not be here.</param>
    public Verdict<byte[]> IssueCoordinator(CoordinatorNames names, ReadOnlySpan<byte> spki, DateTimeOffset now, TimeSpan life, RandomFill random)
    {
        ArgumentNullException.ThrowIfNull(names);
        if (names.Errors() is [var error, ..])
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, error);
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem;
        using var publicKey = key.Value;
        var request = CertificateForge.Request($"{names.Name} intermediate", new PublicKey(publicKey));
        CertificateForge.MarkAuthority(request, pathLength: 0);
        request.CertificateExtensions.Add(CertificateForge.Usages([TrustNames.ServerAuth, TrustNames.ClientAuth]));
        request.CertificateExtensions.Add(TrustNames.Constraints(
            [TrustNames.NodeDomain, TrustNames.CoordinatorDomain, .. names.DnsNames],
            [TrustNames.RoleHost(PeerRole.Node), TrustNames.RoleHost(PeerRole.Coordinator)],
            [.. names.Addresses.Select(a => TrustNames.Normal(a)!)]));
        return CertificateForge.Issue(request, _certificate, _key, now, life, random);
    }

    /// <summary>A client certificate for a person. DER.</summary>
    public Verdict<byte[]> IssueOperator(string name, ReadOnlySpan<byte> spki, DateTimeOffset now, TimeSpan life, RandomFill random)
    {
        if (!TrustNames.IsName(name))
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, $"operator name: \"{name}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem;
        using var publicKey = key.Value;
        var request = CertificateForge.Leaf(name, new PublicKey(publicKey), PeerRole.Operator, name, [], []);
        return CertificateForge.Issue(request, _certificate, _key, now, life, random);
    }

    /// <summary>The set of keys that may approve, signed. The bytes to give to hosts.</summary>
    public byte[] Sign(ApproverSet set)
    {
        ArgumentNullException.ThrowIfNull(set);
        return set.SignWith(_key);
    }

    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
    }
}
