using System.Security.Cryptography;

namespace AgentMetal.Runtime.Trust;

/// <summary>What an operator says about a step.</summary>
public enum ApprovalDecision
{
    Approve,
    Deny,
}

/// <summary>
/// An operator's signature over step hashes, for one resource on one node, until a time, for a reason. Since version 2 the signed bytes carry when it was given, which is its place among
/// the decisions of the same approver; what has no such time (version 1) has no place in any order, and <see cref="ApprovalRule"/> says what becomes of it.
/// </summary>
public sealed record SignedApproval
{
    public const int MaxSteps = 1024;
    public const int MaxReason = 1024;

    /// <summary>An approval is an answer to a question that is open now: nobody signs for longer than this.</summary>
    public static readonly TimeSpan LongestLife = TimeSpan.FromDays(7);

    private const string Unordered = "agentmetal/approval/v1", Domain = "agentmetal/approval/v2";

    /// <summary>Lower-case hex SHA-256 each, in ordinal order, none twice, 1 to <see cref="MaxSteps"/>.</summary>
    public required IReadOnlyList<string> StepHashes { get; init; }

    public required string ResourceUid { get; init; }

    public required string NodeUid { get; init; }

    public required ApprovalDecision Decision { get; init; }

    public required long ExpiresUnixMs { get; init; }

    /// <summary>
    /// When it was given, Unix milliseconds: the order of one approver's decisions. It is later than every decision of that approver which the signer could know of, whatever the clocks say.
    /// 0 = version 1, without an order.
    /// </summary>
    public long IssuedUnixMs { get; init; }

    /// <summary>For people and the audit; at most <see cref="MaxReason"/> characters; may be empty.</summary>
    public required string Reason { get; init; }

    /// <summary>See <see cref="P256.KeyId(ReadOnlySpan{byte})"/>.</summary>
    public required string KeyId { get; init; }

    /// <summary>64 bytes, see <see cref="P256"/>.</summary>
    public required byte[] Signature { get; init; }

    /// <summary>Signs version 1, for hosts that know no other. Hashes are sorted and their doubles dropped; the key's id is filled in.</summary>
    public static SignedApproval Sign(ECDsa key, ApprovalDecision decision, IEnumerable<string> stepHashes, string resourceUid, string nodeUid, DateTimeOffset expires, string reason) =>
        Sign(key, decision, stepHashes, resourceUid, nodeUid, 0, expires, reason);

    /// <summary>Signs with its place in the order of this key's decisions; see <see cref="ApprovalRule.NextIssue"/>.</summary>
    public static SignedApproval Sign(ECDsa key, ApprovalDecision decision, IEnumerable<string> stepHashes, string resourceUid, string nodeUid, long issuedUnixMs, DateTimeOffset expires, string reason)
    {
        var unsigned = new SignedApproval
        {
            StepHashes = [.. stepHashes.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)],
            ResourceUid = resourceUid,
            NodeUid = nodeUid,
            Decision = decision,
            IssuedUnixMs = issuedUnixMs,
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

    /// <summary>Checks this one approval: form, scope, time, key, signature. Says nothing about the threshold, nor about other decisions.</summary>
    public Verdict<ApproverKey> Verify(ApprovalScope scope, ApproverSet set, DateTimeOffset now)
    {
        var signed = VerifyAtAnyAge(scope, set, now);
        return signed.IsTrusted && IsOver(now) ? Verdict<ApproverKey>.Refuse(TrustProblemCode.Expired, "the approval has expired; approve again") : signed;
    }

    /// <summary>Whether its time is over.</summary>
    public bool IsOver(DateTimeOffset now) => ExpiresUnixMs <= now.ToUnixTimeMilliseconds();

    /// <summary>The same for what may have run out: it is still its approver's decision, and came before or after others.</summary>
    public Verdict<ApproverKey> VerifyAtAnyAge(ApprovalScope scope, ApproverSet set, DateTimeOffset now)
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
        if (ExpiresUnixMs - nowMs > (long)LongestLife.TotalMilliseconds)
            return Verdict<ApproverKey>.Refuse(TrustProblemCode.NotYetValid, $"the approval would be valid for more than {LongestLife.Days} days from now; sign it for less, and check this machine's clock");
        var holder = set.Holder(KeyId, now);
        return holder.Problem is { } stranger ? stranger : holder.Value.Signed(BytesToSign(), Signature, "this approval");
    }

    private byte[] BytesToSign()
    {
        var bytes = new SignedBytes(IssuedUnixMs == 0 ? Unordered : Domain).Add(Word(Decision)).Add(StepHashes).Add(ResourceUid).Add(NodeUid);
        if (IssuedUnixMs != 0) bytes.Add(IssuedUnixMs);
        return bytes.Add(ExpiresUnixMs).Add(Reason).Add(KeyId).ToArray();
    }

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
        if (ExpiresUnixMs < 0 || IssuedUnixMs < 0)
            return "expires, issued: before 1970";
        if (IssuedUnixMs != 0 && IssuedUnixMs >= ExpiresUnixMs)
            return "issued: not before it expires";
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
