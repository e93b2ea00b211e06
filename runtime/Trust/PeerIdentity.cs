using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>What a certificate says its holder is.</summary>
public enum PeerRole
{
    Node,
    Operator,
    Coordinator,
}

/// <summary>Who a certificate names. Reading says nothing about trust: only <see cref="ChainVerifier"/> does.</summary>
public abstract record PeerIdentity
{
    private PeerIdentity()
    {
    }

    /// <summary>The holder's name (the certificate's common name).</summary>
    public required string Name { get; init; }

    /// <summary>Hex SHA-256 of the certificate's SubjectPublicKeyInfo.</summary>
    public required string KeyId { get; init; }

    public abstract PeerRole Role { get; }

    public sealed record Node : PeerIdentity
    {
        /// <summary>See <see cref="NodeUid"/>. After a renewal with another key it is no longer the hash of this certificate's key.</summary>
        public required string Uid { get; init; }

        public override PeerRole Role => PeerRole.Node;
    }

    public sealed record Operator : PeerIdentity
    {
        public override PeerRole Role => PeerRole.Operator;
    }

    public sealed record Coordinator : PeerIdentity
    {
        public override PeerRole Role => PeerRole.Coordinator;
    }

    /// <summary>Reads the one URI name, the common name and the key. A certificate that names two peers names none.</summary>
    public static Verdict<PeerIdentity> Read(X509Certificate2 certificate)
    {
        ArgumentNullException.ThrowIfNull(certificate);
        var uris = TrustNames.UrisOf(certificate);
        if (uris is not [var uri] || TrustNames.ParseUri(uri) is not var (role, subject))
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.WrongRole, "the certificate does not carry exactly one agentmetal:// name");
        if (CommonName(certificate) is not { } name)
            return Verdict<PeerIdentity>.Refuse(TrustProblemCode.Malformed, "the certificate's subject is not exactly one common name of a-z, 0-9, '-' and '.'");
        var spki = certificate.PublicKey.ExportSubjectPublicKeyInfo();
        var key = P256.ImportPublic(spki);
        if (key.Problem is { } problem)
            return problem;
        key.Value.Dispose();
        var keyId = P256.KeyId(spki);
        switch (role)
        {
            case PeerRole.Node when NodeUid.IsValid(subject):
                return new Node { Uid = subject, Name = name, KeyId = keyId };
            case PeerRole.Operator when subject == name:
                return new Operator { Name = name, KeyId = keyId };
            case PeerRole.Coordinator when subject == name:
                return new Coordinator { Name = name, KeyId = keyId };
            default:
                return Verdict<PeerIdentity>.Refuse(TrustProblemCode.Malformed, "the certificate's agentmetal:// name and its subject do not agree");
        }
    }

    private static string? CommonName(X509Certificate2 certificate)
    {
        string? name = null;
        foreach (var part in certificate.SubjectName.EnumerateRelativeDistinguishedNames())
        {
            if (name is not null || part.HasMultipleElements || part.GetSingleElementType().Value != "2.5.4.3")
                return null;
            name = part.GetSingleElementValue();
        }
        return TrustNames.IsName(name) ? name : null;
    }
}
