using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Approval;

/// <summary>An operator's signature over step hashes, as it travels and is stored.</summary>
/// <param name="StepHashes">Sorted, hex.</param>
/// <param name="ResourceUid">Scope.</param>
/// <param name="NodeUid">Scope.</param>
/// <param name="Decision">"approve" or "deny".</param>
/// <param name="Expires">After this it is void.</param>
/// <param name="Reason">The operator's words.</param>
/// <param name="KeyId">Hex SHA-256 of the approver's SubjectPublicKeyInfo.</param>
/// <param name="Signature">ECDSA P-256, IEEE P1363, 64 bytes.</param>
public sealed record SignedApproval(ImmutableArray<string> StepHashes, string ResourceUid, string NodeUid, string Decision, DateTimeOffset Expires,
    string Reason, string KeyId, ImmutableArray<byte> Signature);

/// <param name="Allowed">Whether the step may run.</param>
/// <param name="By">Names of the approvers, for the audit.</param>
/// <param name="Why">When refused: what is wrong with what was found.</param>
public sealed record ApprovalVerdict(bool Allowed, string By, string Why);

/// <summary>Decides whether signatures allow a step; the host's own, never the coordinator's.</summary>
public interface IApprovalVerifier
{
    /// <summary>Verifies against the approver set that the pinned root signed. Pure.</summary>
    ApprovalVerdict Verify(PlanSubject subject, Step step, ImmutableArray<SignedApproval> found, DateTimeOffset now);
}
