using System.Security.Cryptography;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.TestKit;

/// <summary>One operator with a key, alone in the approver set.</summary>
public sealed class Approver : IDisposable
{
    private readonly ECDsa _key = P256.Generate();

    /// <summary>An operator of this name.</summary>
    public Approver(string name, DateTimeOffset notAfter) => Set = new()
    {
        Version = 1,
        NotAfterUnixMs = notAfter.ToUnixTimeMilliseconds(),
        Threshold = 1,
        Keys = [new ApproverKey { Name = name, Spki = _key.ExportSubjectPublicKeyInfo() }],
    };

    /// <summary>The set with this one key.</summary>
    public ApproverSet Set { get; }

    /// <summary>The engine's own verifier over that set.</summary>
    public ApprovalVerifier Verifier => new(() => Set);

    /// <summary>Signs steps as they were shown; 0 = in the form without an order.</summary>
    public SignedApproval Sign(PlanSubject subject, IEnumerable<Step> steps, DateTimeOffset expires, ApprovalDecision decision = ApprovalDecision.Approve, long issuedUnixMs = 0)
    {
        ArgumentNullException.ThrowIfNull(subject);
        return SignedApproval.Sign(_key, decision, steps.Select(s => s.Hash), subject.ResourceUid, subject.NodeUid, issuedUnixMs, expires, "");
    }

    /// <inheritdoc />
    public void Dispose() => _key.Dispose();
}
