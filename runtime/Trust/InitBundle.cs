using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace AgentMetal.Runtime.Trust;

/// <summary>A file to write: a path below the directory that is being filled, the bytes, and the mode (octal 600 for secrets, 644 else).</summary>
public sealed record BundleFile(string Path, byte[] Bytes, UnixFileMode Mode)
{
    /// <summary>Without the bytes: some are keys.</summary>
    public override string ToString() => $"{Path} ({Bytes.Length} bytes)";
}

/// <summary>What a new fleet is made from.</summary>
public sealed record InitRequest
{
    public required string Fleet { get; init; }

    public required CoordinatorNames Coordinator { get; init; }

    public required string OperatorName { get; init; }

    /// <summary>Encrypts the root key; null leaves it as it is.</summary>
    public string? RootPassphrase { get; init; }

    /// <summary>How long hosts take approvals of the first approver set.</summary>
    public TimeSpan ApproverSetLife { get; init; } = TimeSpan.FromDays(365);
}

/// <summary>
/// Everything <c>agentmetal init</c> writes, in memory. Two sets of files: the operator's home, with the root key, and the coordinator's bundle, in
/// which the root key never is. Certificates are PEM files, the pinned form everywhere else is their DER.
/// </summary>
public sealed record InitBundle
{
    public const string RootKey = "root.key";
    public const string RootCertificate = "root.crt";
    public const string OperatorKey = "operator.key";
    public const string OperatorCertificate = "operator.crt";
    public const string ApproverSetFile = "approver-set.json";
    public const string IntermediateKey = "intermediate.key";
    public const string IntermediateCertificate = "intermediate.crt";
    public const string KeyEncryptionKey = "kek";
    public const string NamesFile = "names";

    private const UnixFileMode Secret = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Public = Secret | UnixFileMode.GroupRead | UnixFileMode.OtherRead;

    public required IReadOnlyList<BundleFile> OperatorHome { get; init; }

    public required IReadOnlyList<BundleFile> Coordinator { get; init; }

    /// <summary>See <see cref="PinnedRoot.Sha256"/>.</summary>
    public required string RootSha256 { get; init; }

    public static Verdict<InitBundle> Create(InitRequest request, RandomFill random, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(random);
        if (!TrustNames.IsName(request.Fleet))
            return Verdict<InitBundle>.Refuse(TrustProblemCode.Malformed, $"fleet: \"{request.Fleet}\" is not 1 to 63 of a-z, 0-9, '-' and '.'");
        if (request.RootPassphrase is { Length: < 8 })
            return Verdict<InitBundle>.Refuse(TrustProblemCode.Malformed, "passphrase: shorter than 8 characters");
        using var root = RootAuthority.Create(request.Fleet, now, random);
        using var operatorKey = P256.Generate();
        using var intermediateKey = P256.Generate();
        var intermediate = root.IssueCoordinator(request.Coordinator, intermediateKey.ExportSubjectPublicKeyInfo(), now, RootAuthority.IntermediateLife, random);
        if (intermediate.Problem is { } badNames)
            return badNames;
        var person = root.IssueOperator(request.OperatorName, operatorKey.ExportSubjectPublicKeyInfo(), now, RootAuthority.OperatorLife, random);
        if (person.Problem is { } badName)
            return badName;
        var approvers = root.Sign(new ApproverSet
        {
            Version = 1,
            NotAfterUnixMs = (now + request.ApproverSetLife).ToUnixTimeMilliseconds(),
            Threshold = 1,
            Keys = [new ApproverKey { Name = request.OperatorName, Spki = operatorKey.ExportSubjectPublicKeyInfo() }],
        });
        var keyEncryptionKey = new byte[SecretBox.KeyLength];
        random(keyEncryptionKey);
        var rootCertificate = new BundleFile(RootCertificate, Pem(root.CertificateDer), Public);
        var approverSet = new BundleFile(ApproverSetFile, approvers, Public);
        return new InitBundle
        {
            RootSha256 = PinnedRoot.PinOf(root.CertificateDer),
            OperatorHome =
            [
                new(RootKey, Encoding.ASCII.GetBytes(root.ExportKeyPem(request.RootPassphrase) + "\n"), Secret),
                rootCertificate,
                new(OperatorKey, Encoding.ASCII.GetBytes(operatorKey.ExportPkcs8PrivateKeyPem() + "\n"), Secret),
                new(OperatorCertificate, Pem(person.Value), Public),
                approverSet,
            ],
            Coordinator =
            [
                new(IntermediateKey, Encoding.ASCII.GetBytes(intermediateKey.ExportPkcs8PrivateKeyPem() + "\n"), Secret),
                new(IntermediateCertificate, Pem(intermediate.Value), Public),
                rootCertificate,
                approverSet,
                new(KeyEncryptionKey, Encoding.ASCII.GetBytes(Convert.ToBase64String(keyEncryptionKey) + "\n"), Secret),
                new(NamesFile, Encoding.ASCII.GetBytes(WriteNames(request.Coordinator)), Public),
            ],
        };
    }

    /// <summary>One DER certificate from a PEM file.</summary>
    public static Verdict<byte[]> ReadCertificate(string pem, string what)
    {
        try
        {
            using var certificate = X509Certificate2.CreateFromPem(pem);
            return certificate.RawData;
        }
        catch (CryptographicException)
        {
            return Verdict<byte[]>.Refuse(TrustProblemCode.Malformed, $"{what} is not a certificate in PEM");
        }
    }

    /// <summary>Reads what <c>names</c> holds: lines of <c>name …</c>, <c>dns …</c>, <c>ip …</c>.</summary>
    public static Verdict<CoordinatorNames> ReadNames(string text)
    {
        string? name = null;
        var dns = new List<string>();
        var addresses = new List<IPAddress>();
        foreach (var line in (text ?? "").Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            switch (line.Split(' '))
            {
                case ["name", var value] when name is null:
                    name = value;
                    break;
                case ["dns", var value]:
                    dns.Add(value);
                    break;
                case ["ip", var value] when IPAddress.TryParse(value, out var address):
                    addresses.Add(address);
                    break;
                default:
                    return Verdict<CoordinatorNames>.Refuse(TrustProblemCode.Malformed, $"{NamesFile}: cannot read the line \"{line}\"; lines are: name N, dns N, ip A");
            }
        }
        var names = new CoordinatorNames { Name = name ?? "", DnsNames = dns, Addresses = addresses };
        return names.Errors() is [var error, ..] ? Verdict<CoordinatorNames>.Refuse(TrustProblemCode.Malformed, $"{NamesFile}: {error}") : names;
    }

    private static string WriteNames(CoordinatorNames names)
    {
        var text = new StringBuilder($"name {names.Name}\n");
        foreach (var dns in names.DnsNames)
            text.Append("dns ").Append(dns).Append('\n');
        foreach (var address in names.Addresses)
            text.Append("ip ").Append(TrustNames.Normal(address)).Append('\n');
        return text.ToString();
    }

    private static byte[] Pem(byte[] der) => Encoding.ASCII.GetBytes(PemEncoding.WriteString("CERTIFICATE", der) + "\n");
}
