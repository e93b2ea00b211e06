using System.Globalization;

namespace AgentMetal.Runtime.Trust;

/// <summary>Where a step would run.</summary>
/// <param name="NodeUid">This node.</param>
/// <param name="ResourceUid">The resource whose plan is waiting.</param>
public sealed record ApprovalScope(string NodeUid, string ResourceUid);

/// <summary>What the decisions at hand say about one step.</summary>
public sealed record ApprovalOutcome
{
    public required bool IsApproved { get; init; }

    /// <summary>The approvals that count, one per approver; empty unless approved.</summary>
    public required IReadOnlyList<SignedApproval> Counted { get; init; }

    /// <summary>Why it is not approved; null when it is.</summary>
    public required TrustProblem? Problem { get; init; }

    /// <summary>Why single approvals did not count; for the audit.</summary>
    public required IReadOnlyList<TrustProblem> Ignored { get; init; }

    /// <summary>Until when a denial stands, unless whoever gave it takes it back; null = none stands.</summary>
    public DateTimeOffset? DeniedUntil { get; init; }

    /// <summary>A denial ran out and nobody had taken it back: whatever was signed for this step is void with it, and the step is asked anew under another hash.</summary>
    public bool AskAnew { get; init; }
}

/// <summary>What one more decision would do.</summary>
/// <param name="Counts">It changes or confirms how the step stands.</param>
/// <param name="Why">When it does not count: why, and until when.</param>
public sealed record DecisionEffect(bool Counts, string Why)
{
    /// <summary>It is recorded although it does not count: a denial that comes late still takes back what was signed before it.</summary>
    public bool Recorded { get; init; } = Counts;
}

/// <summary>
/// Decides whether a step is approved. The decisions of each approver are one ordered record, and the last one counts; equal places are the denial. One standing denial outweighs any
/// number of approvals, because stopping must be easier than starting. It ends in two ways. Its giver takes it back by a later approval: then what others signed while it stood does not count,
/// for they were told so, and what they had signed before does again. Or it runs out: then nothing signed for the step counts any more, and the host asks anew. So the outcome follows from the
/// signed records alone, in whatever order they came, and nothing fires when a denial ends.
/// Version 1 has no order: such an approval counts only where nobody gave an ordered denial; such a denial stands until it runs out.
/// </summary>
public static class ApprovalRule
{
    public const int MaxApprovals = 256;

    /// <summary>What the words of a standing denial hold after its giver's name.</summary>
    public const string DeniedUntil = " denied it until ";

    private sealed record Given(SignedApproval Signed, ApproverKey By)
    {
        public bool Denies => Signed.Decision == ApprovalDecision.Deny;
        public long At => Signed.IssuedUnixMs;
    }

    /// <summary>The place of a new decision: now, but after everything that this key is known to have decided, so that a wrong clock cannot order it wrongly.</summary>
    /// <param name="nowUnixMs">By the signer's clock.</param>
    /// <param name="keyId">The signer's key.</param>
    /// <param name="known">Decisions at hand; those of others, or not verified by the caller, do not count.</param>
    /// <param name="last">What the signer's home remembers as its last.</param>
    public static long NextIssue(long nowUnixMs, string keyId, IEnumerable<SignedApproval> known, long last = 0) =>
        known.Where(a => a.KeyId == keyId).Select(a => a.IssuedUnixMs + 1).Append(last + 1).Append(nowUnixMs).Append(1).Max();

    /// <summary>What all these decisions together say of one step. Pure; any order and any doubles give the same.</summary>
    public static ApprovalOutcome Judge(string stepHash, IReadOnlyList<SignedApproval> approvals, ApprovalScope scope, ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(approvals);
        ArgumentNullException.ThrowIfNull(set);
        var ignored = new List<TrustProblem>();
        var given = Verified(stepHash, approvals, scope, set, now, ignored);
        var live = new Dictionary<string, SignedApproval>(StringComparer.Ordinal);
        foreach (var last in given.Where(g => !g.Denies && !g.Signed.IsOver(now) && Ended(g, given) is null).OrderBy(g => g.Signed.ExpiresUnixMs))
        {
            if (Void(last, given) is { } why) ignored.Add(why);
            else live[last.By.KeyId] = last.Signed;
        }
        var standing = given.Where(g => Stands(g, given, now)).OrderByDescending(g => g.Signed.ExpiresUnixMs).ThenBy(g => g.By.KeyId, StringComparer.Ordinal).FirstOrDefault();
        var over = RanOut(given, now);
        if (standing is null && over is null && live.Count >= set.Threshold)
            return new() { IsApproved = true, Counted = [.. live.Values], Problem = null, Ignored = ignored };
        var names = string.Join(", ", live.Keys.Select(k => set.Find(k)!.Name).Order(StringComparer.Ordinal));
        return new()
        {
            IsApproved = false,
            Counted = [],
            Problem = standing is not null ? new(TrustProblemCode.Denied, Denial(standing, now))
                : over is not null ? new(TrustProblemCode.Expired, $"{over.By.Name}'s denial has run out; what was signed before is void, and it is asked anew")
                : new(TrustProblemCode.ThresholdNotMet, $"{live.Count} of {set.Threshold} approvers have approved{(names.Length > 0 ? $" ({names})" : "")}"),
            Ignored = ignored,
            DeniedUntil = standing is null ? null : DateTimeOffset.FromUnixTimeMilliseconds(standing.Signed.ExpiresUnixMs),
            AskAnew = standing is null && over is not null,
        };
    }

    /// <summary>What one more decision does to one step that waits, beside those that are recorded. Pure.</summary>
    public static DecisionEffect Effect(string stepHash, SignedApproval one, IReadOnlyList<SignedApproval> recorded, ApprovalScope scope, ApproverSet set, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(one);
        var own = one.VerifyAtAnyAge(scope, set, now);
        if (own.Problem is { } problem) return new(false, problem.Message);
        if (!one.StepHashes.Contains(stepHash, StringComparer.Ordinal)) return new(false, "it is for other steps");
        var given = Verified(stepHash, [one, .. recorded], scope, set, now, []);
        var me = given.First(g => ReferenceEquals(g.Signed, one));
        if (Ended(me, given) is { } later)
        {
            return new(false, later.At == 0 ? $"{Denial(later, now)}; that denial is of the older form without an order, and stands until then"
                : $"{later.By.Name} {(later.Denies ? "denied" : "approved")} it later, {When(later.At, now)}; decide again, knowing of that")
            {
                Recorded = me.Denies,
            };
        }
        if (one.IsOver(now))
        {
            return new(false, $"it expired {When(one.ExpiresUnixMs, now)}{(me.Denies ? ", and the step is asked anew" : "")}; {SignedApproval.Word(one.Decision)} again, and look at the clock of the machine that signs")
            {
                Recorded = me.Denies,
            };
        }
        if (me.Denies) return new(true, "");
        if (given.FirstOrDefault(g => Stands(g, given, now)) is { } denial)
            return new(false, $"{Denial(denial, now)}; until then only {denial.By.Name} can take that back, by approving; this approval does not come into force then");
        if (Void(me, given) is { } over) return new(false, over.Message);
        return RanOut(given, now) is { } ended
            ? new(false, $"{ended.By.Name}'s denial has run out, and the step is asked anew") : new(true, "");
    }

    /// <summary>For people: 12:00:05 UTC, with the day where it is another one.</summary>
    public static string When(long unixMs, DateTimeOffset now)
    {
        var at = DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(unixMs, 0, 253_402_300_799_999));
        return at.ToString(at.UtcDateTime.Date == now.UtcDateTime.Date ? "HH:mm:ss 'UTC'" : "yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture);
    }

    private static string Denial(Given denial, DateTimeOffset now) =>
        $"{denial.By.Name}{DeniedUntil}{When(denial.Signed.ExpiresUnixMs, now)}{(denial.Signed.Reason.Length > 0 ? ": " + denial.Signed.Reason : "")}";

    private static List<Given> Verified(string stepHash, IReadOnlyList<SignedApproval> approvals, ApprovalScope scope, ApproverSet set, DateTimeOffset now, List<TrustProblem> ignored)
    {
        var given = new List<Given>();
        // Denials first: no number of approvals pushes one out.
        foreach (var approval in approvals.OrderBy(a => a.Decision == ApprovalDecision.Deny ? 0 : 1).Take(MaxApprovals))
        {
            if (!approval.StepHashes.Contains(stepHash, StringComparer.Ordinal))
            {
                ignored.Add(new TrustProblem(TrustProblemCode.WrongScope, "the approval is for other steps"));
                continue;
            }
            var verdict = approval.VerifyAtAnyAge(scope, set, now);
            if (verdict.Problem is { } problem) ignored.Add(problem);
            else
            {
                if (approval.IsOver(now)) ignored.Add(new(TrustProblemCode.Expired, "the approval has expired; approve again"));
                given.Add(new(approval, verdict.Value));
            }
        }
        return given;
    }

    /// <summary>
    /// What its own giver said later that ends it; null = it is the giver's last word, or says the same as that. At equal places the denial is the later one; a denial without an order comes after everything.
    /// An approval is not ended by a further one: the one that stands longest stands.
    /// </summary>
    private static Given? Ended(Given one, List<Given> given) => one.Denies ? TakenBack(one, given)
        : given.Where(g => g.By.KeyId == one.By.KeyId && g.Denies && (g.At >= one.At || g.At == 0)).MaxBy(g => g.At == 0 ? long.MaxValue : g.At);

    /// <summary>The approval by which its own giver took a denial back; null = nobody did, or it has no order.</summary>
    private static Given? TakenBack(Given denial, List<Given> given) => denial.At == 0 ? null
        : given.Where(g => g.By.KeyId == denial.By.KeyId && !g.Denies && g.At > denial.At).MinBy(g => g.At);

    private static Given? RanOut(List<Given> given, DateTimeOffset now) =>
        given.Where(g => g.Denies && g.Signed.IsOver(now) && TakenBack(g, given) is null).OrderByDescending(g => g.Signed.ExpiresUnixMs).ThenBy(g => g.By.KeyId, StringComparer.Ordinal).FirstOrDefault();

    private static bool Stands(Given g, List<Given> given, DateTimeOffset now) => g.Denies && !g.Signed.IsOver(now) && TakenBack(g, given) is null;

    /// <summary>Why an approval does not count although it is its giver's last word; null = it does.</summary>
    private static TrustProblem? Void(Given approval, List<Given> given)
    {
        if (approval.At == 0)
        {
            return given.Exists(g => g.Denies && g.At > 0) ? new(TrustProblemCode.Denied, $"{approval.By.Name}'s approval is of the older form without an order, and the step was denied; approve again") : null;
        }
        foreach (var denial in given.Where(g => g.Denies && g.By.KeyId != approval.By.KeyId && g.At <= approval.At))
        {
            if (TakenBack(denial, given) is { } back && approval.At <= back.At)
                return new(TrustProblemCode.Denied, $"{approval.By.Name} approved while {denial.By.Name} denied it; since {denial.By.Name} took that back, {approval.By.Name} has to approve again");
        }
        return null;
    }
}
