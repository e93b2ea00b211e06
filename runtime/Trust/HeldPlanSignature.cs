using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace AgentMetal.Runtime.Trust;

/// <summary>What a node says is waiting for a signature; the node signs it, so that an operator never signs what only the coordinator made up.</summary>
public sealed record HeldPlanClaim
{
    private const string Domain = "agentmetal/held/v1";

    public required string NodeUid { get; init; }

    /// <summary><c>{node-uid}/{kind}/{resource-uid}/{ordinal}</c>.</summary>
    public required string Assignment { get; init; }

    public required string PlanHash { get; init; }

    /// <summary>The hashes of the steps, in the plan's order.</summary>
    public required IReadOnlyList<string> StepHashes { get; init; }

    public required long CreatedUnixMs { get; init; }

    public required long ExpiresUnixMs { get; init; }

    /// <summary>64 bytes by the node's TLS key.</summary>
    public byte[] Sign(ECDsa nodeKey) => P256.Sign(nodeKey, BytesToSign());

    /// <summary>Checks that the node of this certificate signed this claim, and that the claim is still open.</summary>
    /// <param name="node">What <see cref="ChainVerifier"/> said about <paramref name="certificate"/>.</param>
    public Verdict<HeldPlanClaim> Verify(PeerIdentity.Node node, X509Certificate2 certificate, ReadOnlySpan<byte> signature, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(node);
        ArgumentNullException.ThrowIfNull(certificate);
        if (node.Uid != NodeUid || node.KeyId != P256.KeyId(certificate.PublicKey.ExportSubjectPublicKeyInfo()))
            return Verdict<HeldPlanClaim>.Refuse(TrustProblemCode.WrongScope, "the held plan is another node's than the certificate");
        using var key = certificate.GetECDsaPublicKey();
        if (key is null || !P256.Verify(key, BytesToSign(), signature))
            return Verdict<HeldPlanClaim>.Refuse(TrustProblemCode.BadSignature, $"the held plan was not signed by node {node.Name}; do not approve it");
        if (ExpiresUnixMs <= now.ToUnixTimeMilliseconds())
            return Verdict<HeldPlanClaim>.Refuse(TrustProblemCode.Expired, "the held plan has expired; the node will make a new one");
        return this;
    }

    private byte[] BytesToSign() => new SignedBytes(Domain)
        .Add(NodeUid).Add(Assignment).Add(PlanHash).Add(StepHashes).Add(CreatedUnixMs).Add(ExpiresUnixMs).ToArray();
}
