using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// A host's answer to an opening: the key that it made for the session, signed with its identity over everything that the operator signed. So an operator
/// types to the host that the certificate names and to nobody who only carries frames.
/// </summary>
public sealed record ConsoleAnswer
{
    private const string Domain = "agentmetal/console-answer/v1";

    /// <summary>SubjectPublicKeyInfo of the host's key for this session.</summary>
    public required byte[] SessionKey { get; init; }

    /// <summary>"Instance default/hello", in the host's words: a coordinator cannot lead a name to another machine of a host unseen.</summary>
    public required string ResourceKey { get; init; }

    /// <summary>64 bytes by the node's TLS key.</summary>
    public required byte[] Signature { get; init; }

    public static ConsoleAnswer Sign(ECDsa nodeKey, ConsoleOpening opening, byte[] sessionKey, string resourceKey)
    {
        var unsigned = new ConsoleAnswer { SessionKey = sessionKey, ResourceKey = resourceKey, Signature = [] };
        return unsigned with { Signature = P256.Sign(nodeKey, unsigned.BytesToSign(opening)) };
    }

    /// <summary>Checks that the node of this certificate gave this answer to this opening.</summary>
    /// <param name="node">What <see cref="ChainVerifier"/> said about <paramref name="certificate"/>.</param>
    /// <param name="certificate">The node's.</param>
    /// <param name="opening">What this operator signed.</param>
    public Verdict<ConsoleAnswer> Verify(PeerIdentity.Node node, X509Certificate2 certificate, ConsoleOpening opening)
    {
        ArgumentNullException.ThrowIfNull(node);
        ArgumentNullException.ThrowIfNull(certificate);
        ArgumentNullException.ThrowIfNull(opening);
        if (node.Uid != opening.NodeUid || node.KeyId != P256.KeyId(certificate.PublicKey.ExportSubjectPublicKeyInfo()))
            return Verdict<ConsoleAnswer>.Refuse(TrustProblemCode.WrongScope, "the answer is another node's than the one that was asked");
        if (ConsoleSessionKey.ProblemOf(SessionKey) is { } problem)
            return Verdict<ConsoleAnswer>.Refuse(TrustProblemCode.UnsupportedKey, "the host's session key: " + problem);
        using var key = certificate.GetECDsaPublicKey();
        return key is not null && P256.Verify(key, BytesToSign(opening), Signature)
            ? this
            : Verdict<ConsoleAnswer>.Refuse(TrustProblemCode.BadSignature, $"the answer was not signed by node {node.Name}: somebody between here and there changed it");
    }

    /// <summary>What both sides must have seen alike; the session's keys depend on it.</summary>
    internal byte[] BytesToSign(ConsoleOpening opening) => new SignedBytes(Domain).Add(opening.BytesToSign()).Add(opening.Signature).Add(SessionKey).Add(ResourceKey).ToArray();
}
