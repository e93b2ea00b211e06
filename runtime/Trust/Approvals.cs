using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>What an operator says about a step.</summary>
public enum ApprovalDecision
{
    Approve,
    Deny,
}

/// <summary>An operator's signature over step hashes, for one resource on one node, until a time, for a reason.</summary>
public sealed record SignedApproval
{
    public const int MaxSteps = 1024;
    public const int MaxReason = 1024;

    /// <summary>An approval is an answer to a question that is open now: nobody signs for longer than this.</summary>
    public static readonly TimeSpan LongestLife = TimeSpan.FromDays(7);

    private const string Domain = "agentmetal/approval/v1";

    /// <summary>Lower-case hex SHA-256 each, in ordinal order, none twice, 1 to <see cref="MaxSteps"/>.</summary>
    public required IReadOnlyList<string> StepHashes { get; init; }

    public required string ResourceUid { get; init; }

    public required string NodeUid { get; init; }

    public required ApprovalDecision Decision { get; init; }

    public required long ExpiresUnixMs { get; init; }

    /// <summary>For people and the audit; at most <see cref="MaxReason"/> characters; may be empty.</summary>
    public required string Reason { get; init; }

    /// <summary>See <see cref="P256.KeyId(ReadOnlySpan{byte})"/>.</summary>
    public required string KeyId { get; init; }

    /// <summary>64 bytes, see <see cref="P256"/>.</summary>
    public required byte[] Signature { get; init; }

    /// <summary>Signs. Hashes are sorted and their doubles dropped; the key's id is filled in.</summary>
    public static SignedApproval Sign(ECDsa key, ApprovalDecision decision, IEnumerable<string> stepHashes, string resourceUid, string nodeUid, DateTimeOffset expires, string reason)
    {
        var unsigned = new SignedApproval
        {
            StepHashes = [.. stepHashes.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)],
            ResourceUid = resourceUid,
            NodeUid = nodeUid,
            Decision = decision,
            ExpiresUnixMs = expires.ToUnixTimeMilliseconds(),
            Reason = reason,
            KeyId = P256.KeyId(key),
            Signature = [],
        };
        if (unsigned.FormError() is { } error)
            throw new ArgumentException("approval: " + error);
        return unsigned with { Signature = P256.Sign(key, unsigned.BytesToSign()) };
    }

    /// <summary>The wire's word for a decision.</summary>
    public static string Word(ApprovalDecision decision) => decision switch
    {
        ApprovalDecision.Approve => "approve",
        ApprovalDecision.Deny => "deny",
        _ => throw new ArgumentOutOfRangeException(nameof(decision)),
    };

    /// <summary>A decision from the wire's word; null when it is neither.</summary>
    public static ApprovalDecision? ParseDecision(string? word) => word switch
    {
        "approve" => ApprovalDecision.Approve,
        "deny" => ApprovalDecision.Deny,
        _ => null,
    };

    /// <summary>Checks this one approval: form, scope, time, key, signature. Says nothing about the threshold.</summary>
    public Verdict<ApproverKey> Verify(ApprovalScope scope, ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(scope);
        ArgumentNullException.ThrowIfNull(set);
        if (FormError() is { } error)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Malformed, "approval: " + error);
        if (NodeUid != scope.NodeUid)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.WrongScope, $"the approval is for node {NodeUid}");
        if (ResourceUid != scope.ResourceUid)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.WrongScope, $"the approval is for resource {ResourceUid}");
        var nowMs = now.ToUnixTimeMilliseconds();
        if (ExpiresUnixMs <= nowMs)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.Expired, "the approval has expired; approve again");
        if (ExpiresUnixMs - nowMs > (long)LongestLife.TotalMilliseconds)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.NotYetValid, $"the approval would be valid for more than {LongestLife.Days} days from now; sign it for less, and check this machine's clock");
        var holder = set.Holder(KeyId, now);
        return holder.Problem is { } stranger ? stranger : holder.Value.Signed(BytesToSign(), Signature, "this approval");
    }

    private byte[] BytesToSign() => new SignedBytes(Domain)
        .Add(Word(Decision)).Add(StepHashes).Add(ResourceUid).Add(NodeUid).Add(ExpiresUnixMs).Add(Reason).Add(KeyId).ToArray();

    private string? FormError()
    {
        if (StepHashes.Count is < 1 or > MaxSteps)
            return $"stepHashes: {StepHashes.Count}, not between 1 and {MaxSteps}";
        for (var i = 0; i < StepHashes.Count; i++)
        {
            if (StepHashes[i].Length != 64 || !TrustNames.IsLowerHex(StepHashes[i]))
                return $"stepHashes[{i}]: not 64 lower-case hex characters";
            if (i > 0 && string.CompareOrdinal(StepHashes[i - 1], StepHashes[i]) >= 0)
                return $"stepHashes[{i}]: not in ordinal order, or there twice";
        }
        if (ResourceUid.Length is 0 or > 128)
            return "resourceUid: not between 1 and 128 characters";
        if (!Trust.NodeUid.IsValid(NodeUid))
            return "nodeUid: not 32 lower-case hex characters";
        if (!Enum.IsDefined(Decision))
            return "decision: neither approve nor deny";
        if (ExpiresUnixMs < 0)
            return "expires: before 1970";
        if (Reason.Length > MaxReason || HasLoneSurrogate(Reason))
            return $"reason: longer than {MaxReason} characters, or not valid Unicode";
        if (KeyId.Length != 64 || !TrustNames.IsLowerHex(KeyId))
            return "keyId: not 64 lower-case hex characters";
        return null;
    }

    // UTF-8 turns every lone surrogate into the same three bytes: two reasons would have one signature.
    private static bool HasLoneSurrogate(string text)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i]))
                continue;
            if (i + 1 >= text.Length || !char.IsSurrogatePair(text[i], text[i + 1]))
                return true;
            i++;
        }
        return false;
    }
}

/// <summary>Where a step would run.</summary>
/// <param name="NodeUid">This node.</param>
/// <param name="ResourceUid">The resource whose plan is waiting.</param>
public sealed record ApprovalScope(string NodeUid, string ResourceUid);

/// <summary>What the approvals at hand say about one step.</summary>
public sealed record ApprovalOutcome
{
    public required bool IsApproved { get; init; }

    /// <summary>The approvals that count, one per approver; empty unless approved.</summary>
    public required IReadOnlyList<SignedApproval> Counted { get; init; }

    /// <summary>Why it is not approved; null when it is.</summary>
    public required TrustProblem? Problem { get; init; }

    /// <summary>Why single approvals did not count; for the audit.</summary>
    public required IReadOnlyList<TrustProblem> Ignored { get; init; }
}

/// <summary>Decides whether a step is approved: enough distinct approvers, nobody against.</summary>
public static class ApprovalRule
{
    public const int MaxApprovals = 256;

    /// <summary>A denial counts from one approver, whatever the threshold: stopping must be easier than starting.</summary>
    public static ApprovalOutcome Judge(string stepHash, IReadOnlyList<SignedApproval> approvals, ApprovalScope scope, ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(approvals);
        ArgumentNullException.ThrowIfNull(set);
        var ignored = new List<TrustProblem>();
        var counted = new Dictionary<string, SignedApproval>(StringComparer.Ordinal);
        TrustProblem? denied = null;
        foreach (var approval in approvals.Take(MaxApprovals))
        {
            if (!approval.StepHashes.Contains(stepHash, StringComparer.Ordinal))
            {
                ignored.Add(new TrustProblem(TrustProblemCode.WrongScope, "the approval is for other steps"));
                continue;
            }
            var verdict = approval.Verify(scope, set, now);
            if (verdict.Problem is { } problem)
                ignored.Add(problem);
            else if (approval.Decision == ApprovalDecision.Deny)
                denied ??= new TrustProblem(TrustProblemCode.Denied, $"{verdict.Value.Name} denied it: {approval.Reason}");
            else
                counted[verdict.Value.KeyId] = approval;
        }
        if (denied is null && counted.Count >= set.Threshold)
            return new ApprovalOutcome { IsApproved = true, Counted = [.. counted.Values], Problem = null, Ignored = ignored };
        return new ApprovalOutcome
        {
            IsApproved = false,
            Counted = [],
            Problem = denied ?? new TrustProblem(TrustProblemCode.ThresholdNotMet, $"{counted.Count} of {set.Threshold} approvers have approved"),
            Ignored = ignored,
        };
    }
}
