using System.Collections.Immutable;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;
using RuntimeFact = AgentMetal.Runtime.Planning.Fact;
using RuntimeUndo = AgentMetal.Runtime.Planning.Undo;

namespace AgentMetal.Cli.Approve;

/// <summary>A held plan whose every signed field is what its host signed. Only this is ever shown for a signature, and only this is signed.</summary>
/// <param name="Held">As it came.</param>
/// <param name="Node">The host, by its verified certificate.</param>
/// <param name="StepHashes">Computed here from the fields, in the plan's order.</param>
internal sealed record ReviewedPlan(Held Held, PeerIdentity.Node Node, ImmutableArray<string> StepHashes)
{
    /// <summary>What needs the signature: the Dangerous steps; where a policy holds others only, those.</summary>
    internal ImmutableArray<string> Asking
    {
        get
        {
            ImmutableArray<string> dangerous = [.. StepHashes.Where((_, i) => Held.Plan.Steps[i].Risk == nameof(RiskLevel.Dangerous))];
            return dangerous.IsEmpty ? StepHashes : dangerous;
        }
    }

    internal bool IsDangerous => Held.Plan.Steps.Any(s => s.Risk == nameof(RiskLevel.Dangerous));
}

/// <summary>
/// Decides whether a held plan is really the host's. The coordinator carries it, so it is not believed in anything: the host's certificate must chain to
/// the pinned root, the host must have signed the step hashes, and each hash must follow from the fields that are shown.
/// </summary>
internal sealed class HeldReview(PinnedRoot root, IReadOnlyList<X509Certificate2> intermediates, DateTimeOffset now)
{
    internal Verdict<ReviewedPlan> Review(Held held)
    {
        var plan = held.Plan;
        if (plan is null || plan.Steps.Count == 0) return Refuse(TrustProblemCode.Malformed, "the held plan has no steps");
        var node = new NodeCertificates(root, intermediates, now).Read(held.NodeCertificate.Span, "the held plan", out var certificate);
        if (node.Problem is { } stranger) return stranger;
        using var leaf = certificate!;
        if (Scope(held, node.Value) is { } scope) return scope;
        var hashes = ImmutableArray.CreateBuilder<string>(plan.Steps.Count);
        for (var i = 0; i < plan.Steps.Count; i++)
        {
            var step = plan.Steps[i];
            if (HashOf(step) is not { } hash) return Refuse(TrustProblemCode.Malformed, $"step {i + 1} has a risk or an undo that this build does not know; update agentmetal");
            if (hash != step.Hash) return Refuse(TrustProblemCode.Tampered, $"step {i + 1} ({step.Tool}) is not what the host planned: its fields do not give its hash");
            if (step.NodeUid != node.Value.Uid || step.ResourceUid != plan.ResourceUid || step.Generation != plan.Generation)
                return Refuse(TrustProblemCode.WrongScope, $"step {i + 1} ({step.Tool}) is for another host, resource or generation than the plan");
            if (step.Nonce.Length == 0) return Refuse(TrustProblemCode.Malformed, $"step {i + 1} ({step.Tool}) has no nonce: no host showed it");
            hashes.Add(hash);
        }
        var claim = new HeldPlanClaim
        {
            NodeUid = plan.NodeUid,
            Assignment = held.Assignment,
            PlanHash = plan.Hash,
            StepHashes = hashes,
            CreatedUnixMs = held.CreatedUnixMs,
            ExpiresUnixMs = held.ExpiresUnixMs,
        };
        var signed = claim.Verify(node.Value, leaf, held.NodeSignature.Span, now);
        return signed.Problem is { } forged ? forged : new ReviewedPlan(held, node.Value, hashes.ToImmutable());
    }

    /// <summary>The step hash from the fields, as the host computes it; null when a closed word is none that is known.</summary>
    internal static string? HashOf(Proto.V1.Step s)
    {
        if (ParseRisk(s.Risk) is not { } level || ParseUndo(s.Undo?.Kind) is not { } undoKind) return null;
        var call = s.Undo!.Tool.Length > 0 || s.Undo.Args.Length > 0 ? new UndoCall(s.Undo.Tool, s.Undo.Args) : null;
        return Hashes.Step(new PlanSubject(s.NodeUid, s.ResourceUid, s.Generation), s.Nonce, s.Tool, s.ToolVersion, s.Args,
            [.. s.Basis.Select(f => new RuntimeFact(f.Key, f.Value))], [.. s.Expect.Select(f => new RuntimeFact(f.Key, f.Value))],
            new Assessment(level, [.. s.RiskReasons], s.LosesData), new RuntimeUndo(undoKind, call, s.Undo.Why));
    }

    private static RiskLevel? ParseRisk(string text) => text switch
    {
        nameof(RiskLevel.Safe) => RiskLevel.Safe,
        nameof(RiskLevel.Moderate) => RiskLevel.Moderate,
        nameof(RiskLevel.Dangerous) => RiskLevel.Dangerous,
        _ => null,
    };

    private static UndoKind? ParseUndo(string? text) => text switch
    {
        nameof(UndoKind.Call) => UndoKind.Call,
        nameof(UndoKind.Keep) => UndoKind.Keep,
        nameof(UndoKind.Impossible) => UndoKind.Impossible,
        _ => null,
    };

    // {node-uid}/{kind}/{resource-uid}/{ordinal}: the part of the claim that says what the plan is about, in the host's own words.
    private static TrustProblem? Scope(Held held, PeerIdentity.Node node)
    {
        var plan = held.Plan;
        if (plan.NodeUid != node.Uid) return new(TrustProblemCode.WrongScope, "the held plan is another host's than the certificate");
        if (held.Assignment.Split('/') is not [var uid, var kind, var resource, _] || uid != node.Uid || resource != plan.ResourceUid)
            return new(TrustProblemCode.WrongScope, "the held plan's assignment is not about its host and resource");
        var names = held.ResourceKey.Length > 0 ? held.ResourceKey : plan.ResourceKey;
        if (names != plan.ResourceKey || !names.StartsWith(kind + " ", StringComparison.OrdinalIgnoreCase))
            return new(TrustProblemCode.WrongScope, $"the held plan is about a {kind}, but is called {names}");
        return null;
    }

    private static Verdict<ReviewedPlan> Refuse(TrustProblemCode code, string message) => Verdict<ReviewedPlan>.Refuse(code, message);
}
