using System.Security.Cryptography;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Local;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;

namespace AgentMetal.Cli.Approve;

/// <summary>What an operator decided, and for how long it stands.</summary>
internal sealed record DecisionRequest(ApprovalDecision Decision, string Reason, TimeSpan Life, bool Yes)
{
    internal string Verb => Decision == ApprovalDecision.Approve ? "approve" : "deny";
}

/// <summary>Asks, and signs what was reviewed.</summary>
internal static class Signing
{
    /// <summary>Asks the person at the terminal: a Dangerous approval takes the resource's name, everything else y.</summary>
    internal static void Confirm(Session session, IReadOnlyList<ReviewedPlan> plans, DecisionRequest request)
    {
        if (request.Yes) return;
        var screen = session.Screen;
        var name = plans[0].Held.Plan.ResourceKey.Split('/')[^1];
        var typed = request.Decision == ApprovalDecision.Approve && plans.Any(p => p.IsDangerous);
        if (!screen.CanAsk)
        {
            throw new CommandFailedException(new(ExitCode.BadInput, "nobody can be asked: this is not a terminal",
                $"read it here, then: agentmetal {request.Verb} {plans[0].Held.Id} --yes"));
        }
        screen.Error.Write(typed ? $"Type the resource's name ({Plain.Clean(name)}) to approve, anything else to stop: " : $"{request.Verb} this? [y/N] ");
        screen.Error.Flush();
        var answer = screen.In.ReadLine()?.Trim() ?? "";
        if (typed ? answer != name : answer is not ("y" or "Y" or "yes"))
            throw new CommandFailedException(new(ExitCode.Failed, "stopped; nothing was signed", $"agentmetal {request.Verb} {plans[0].Held.Id}"));
    }

    /// <summary>One signature per host and resource, over the hashes that were computed here.</summary>
    internal static SignedApproval Sign(ECDsa key, ReviewedPlan plan, DecisionRequest request, DateTimeOffset now, long last)
    {
        var expires = now + (request.Life < SignedApproval.LongestLife ? request.Life : SignedApproval.LongestLife);
        if (plan.Held.ApprovalVersion < 2) return SignedApproval.Sign(key, request.Decision, plan.Asking, plan.Held.Plan.ResourceUid, plan.Node.Uid, expires, request.Reason);
        var issued = ApprovalRule.NextIssue(now.ToUnixTimeMilliseconds(), P256.KeyId(key), Own(key, plan, now),
            // What lies further ahead no host has taken: a clock that was years ahead must not order everything after it.
            last <= (now + SignedApproval.LongestLife).ToUnixTimeMilliseconds() ? last : 0);
        // A clock that is behind must not end it before it begins.
        if (expires.ToUnixTimeMilliseconds() <= issued) expires = DateTimeOffset.FromUnixTimeMilliseconds(issued) + request.Life;
        return SignedApproval.Sign(key, request.Decision, plan.Asking, plan.Held.Plan.ResourceUid, plan.Node.Uid, issued, expires, request.Reason);
    }

    /// <summary>The earlier decisions of this key that came with the plan. Who carried them is not believed: each must be this key's own signature.</summary>
    private static IEnumerable<SignedApproval> Own(ECDsa key, ReviewedPlan plan, DateTimeOffset now)
    {
        var self = new ApproverSet { Version = 1, NotAfterUnixMs = long.MaxValue, Threshold = 1, Keys = [new ApproverKey { Name = "self", Spki = key.ExportSubjectPublicKeyInfo() }] };
        var scope = new ApprovalScope(plan.Node.Uid, plan.Held.Plan.ResourceUid);
        return plan.Held.Decisions.Take(ApprovalRule.MaxApprovals).Select(TrustWire.Read).OfType<SignedApproval>().Where(a => a.VerifyAtAnyAge(scope, self, now).IsTrusted);
    }

    internal static LocalApproval ToLocal(SignedApproval a) =>
        new([.. a.StepHashes], a.ResourceUid, a.NodeUid, SignedApproval.Word(a.Decision), a.ExpiresUnixMs, a.Reason, a.KeyId, a.Signature, a.IssuedUnixMs);
}
