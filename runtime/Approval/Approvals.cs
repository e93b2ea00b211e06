using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Runtime.Approval;

/// <param name="Allowed">Whether the step may run.</param>
/// <param name="By">Names of the approvers, for the audit.</param>
/// <param name="Why">When refused: what is wrong with what was found.</param>
public sealed record ApprovalVerdict(bool Allowed, string By, string Why)
{
    /// <summary>Until when a denial stands: then the step is asked anew.</summary>
    public DateTimeOffset? DeniedUntil { get; init; }

    /// <summary>A denial ran out: what was signed is void, and the step needs another nonce.</summary>
    public bool AskAnew { get; init; }
}

/// <summary>Decides whether signatures allow a step; the host's own, never the coordinator's.</summary>
public interface IApprovalVerifier
{
    /// <summary>Verifies against the approver set that the pinned root signed. Pure.</summary>
    /// <param name="subject">Where the step would run: the scope of the signatures.</param>
    /// <param name="step">With its nonce; the hash is computed anew here, never taken from the step.</param>
    /// <param name="found">What is stored; hostile.</param>
    /// <param name="now">Trusted time.</param>
    ApprovalVerdict Verify(PlanSubject subject, Step step, ImmutableArray<SignedApproval> found, DateTimeOffset now);
}

/// <summary>The rule of the fleet: enough distinct approvers of the current set whose last word is yes, nobody against, none of it expired.</summary>
/// <param name="current">The approver set in force, verified against the pinned root; null = none is known, and nothing Dangerous runs.</param>
public sealed class ApprovalVerifier(Func<ApproverSet?> current) : IApprovalVerifier
{
    /// <inheritdoc />
    public ApprovalVerdict Verify(PlanSubject subject, Step step, ImmutableArray<SignedApproval> found, DateTimeOffset now)
    {
        if (step.Nonce.Length == 0) return new(false, "", "the step has no nonce: it was not shown by this host");
        if (found.IsDefaultOrEmpty) return new(false, "", "nobody has signed it yet");
        if (current() is not { } set) return new(false, "", "this host has no approver set that the root signed");
        var outcome = ApprovalRule.Judge(Hashes.Of(subject, step), found, new(subject.NodeUid, subject.ResourceUid), set, now);
        if (!outcome.IsApproved)
        {
            return new(false, "", string.Join("; ", outcome.Ignored.Prepend(outcome.Problem!).Select(p => p.Message).Distinct(StringComparer.Ordinal)))
            {
                DeniedUntil = outcome.DeniedUntil,
                AskAnew = outcome.AskAnew,
            };
        }
        return new(true, string.Join(", ", outcome.Counted.Select(a => set.Find(a.KeyId)?.Name ?? a.KeyId).Order(StringComparer.Ordinal)), "");
    }
}
