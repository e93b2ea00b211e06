using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.NodeAgent.Edge;

/// <param name="Accepted">It has an effect here, or is on record already.</param>
/// <param name="Message">When not: why, and until when.</param>
internal sealed record DecisionAnswer(bool Accepted, string Message)
{
    /// <summary>This very decision was on record before.</summary>
    public bool Known { get; init; }
}

/// <summary>What the desk works with.</summary>
internal sealed record DecisionSources
{
    public required LocalStore Store { get; init; }
    public required string NodeUid { get; init; }
    public required Func<ApproverSet?> Approvers { get; init; }

    /// <summary>Trusted time.</summary>
    public required Func<DateTimeOffset> Now { get; init; }
    public required Func<ImmutableArray<MemberView>> Members { get; init; }

    /// <summary>Called with the resource's uid when a decision was recorded.</summary>
    public required Action<string> Decided { get; init; }

    /// <summary>Writes to the host's chain: resource, kind, body.</summary>
    public required Func<string, string, string, ValueTask> Audit { get; init; }
}

/// <summary>
/// Takes the decisions of operators, whichever way they come, and says at once what becomes of each. One without an effect is refused with the reason and is not recorded, so that nothing
/// acts later whose giver was told that it does not count; that it was refused is remembered. Whether a step may run is judged by the executor, anew each time.
/// </summary>
internal sealed class DecisionDesk(DecisionSources sources) : IDisposable
{
    private readonly SemaphoreSlim _one = new(1, 1);

    public async Task<DecisionAnswer> TakeAsync(SignedApproval decision, CancellationToken stop)
    {
        await _one.WaitAsync(stop);
        try { return await TakeOneAsync(decision, stop); }
        finally { _one.Release(); }
    }

    public void Dispose() => _one.Dispose();

    private async Task<DecisionAnswer> TakeOneAsync(SignedApproval decision, CancellationToken stop)
    {
        var now = sources.Now();
        if (sources.Approvers() is not { } set) return new(false, "this host has no approver set that the root signed");
        var signed = decision.VerifyAtAnyAge(new(sources.NodeUid, decision.ResourceUid), set, now);
        if (signed.Problem is { } problem) return new(false, problem.Message);
        var (recorded, refusal) = await sources.Store.DecisionAsync(decision, stop);
        if (refusal is not null) return new(false, $"it was refused before: {refusal}");
        List<(bool Counts, bool Recorded, string Why)> steps = [];
        foreach (var step in decision.StepHashes) steps.Add(await EffectAsync(step, decision, set, now, stop));
        var why = string.Join("; ", steps.Where(s => !s.Counts).Select(s => s.Why).Distinct(StringComparer.Ordinal));
        var answer = steps.Any(s => s.Counts) ? new DecisionAnswer(true, why.Length == 0 ? "" : $"{steps.Count(s => s.Counts)} of {steps.Count} steps; of the rest: {why}") : new(false, why);
        if (recorded) return answer with { Known = true };
        if (steps.Any(s => s.Recorded)) await sources.Store.AddApprovalAsync(decision, stop);
        else await sources.Store.RefuseAsync(decision, answer.Message, now, stop);
        await sources.Audit(sources.Members().FirstOrDefault(m => m.Input.ResourceUid == decision.ResourceUid)?.Input.ResourceKey ?? "",
            !answer.Accepted ? "DecisionRefused" : decision.Decision == ApprovalDecision.Deny ? "Denied" : "Approved",
            AuditBody.Of(("by", signed.Value.Name), ("key", decision.KeyId), ("decision", SignedApproval.Word(decision.Decision)), ("issued", $"{decision.IssuedUnixMs}"), ("expires", $"{decision.ExpiresUnixMs}"),
                ("steps", string.Join('\n', decision.StepHashes)), ("reason", decision.Reason), ("why", answer.Message)));
        if (steps.Any(s => s.Recorded)) sources.Decided(decision.ResourceUid);
        return answer;
    }

    private async Task<(bool Counts, bool Recorded, string Why)> EffectAsync(string step, SignedApproval decision, ApproverSet set, DateTimeOffset now, CancellationToken stop)
    {
        var standing = await sources.Store.StandingAsync(step, stop);
        var views = sources.Members().Where(m => m.Input.ResourceUid == decision.ResourceUid).ToList();
        if (standing.ConsumedAt is { } used)
        {
            return (false, false, views.Any(v => v.Running?.StepHashes.Contains(step) == true) ? $"it has been running since {At(used)}; what has begun is not decided any more"
                : $"it was carried out at {At(used)}, or tried; what is held now is another question");
        }
        if (standing.VoidAt is { } moved) return (false, false, $"what was shown is no question any more since {At(moved)}: what it rests on has moved, or it was asked anew; look again: agentmetal local why");
        if (standing.AskedAt is null && !views.Any(v => v.Held.Any(s => s.Hash == step))) return (false, false, $"no step {step[..8]} waits here; see what does: agentmetal local status");
        if (decision.Decision == ApprovalDecision.Approve && views.FirstOrDefault(v => v.Running?.StepHashes.Contains(step) == true)?.Running is { } running)
            return (false, false, $"it was approved, and its run has been under way since {At(running.Since)}");
        var effect = ApprovalRule.Effect(step, decision, await sources.Store.ApprovalsForAsync(step, stop), new(sources.NodeUid, decision.ResourceUid), set, now);
        return (effect.Counts, effect.Recorded, effect.Why);

        string At(DateTimeOffset at) => ApprovalRule.When(at.ToUnixTimeMilliseconds(), now);
    }
}
