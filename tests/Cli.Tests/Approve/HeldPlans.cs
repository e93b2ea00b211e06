using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using AgentMetal.Cli.Approve;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;

namespace AgentMetal.Cli.Tests.Approve;

/// <summary>A host that holds a Dangerous plan, and signs it as agentmetald does.</summary>
internal sealed class HoldingHost : IDisposable
{
    private readonly ECDsa _key = P256.Generate();
    private readonly byte[] _certificate;

    internal HoldingHost(CoordinatorAuthority authority, string name = "edge-1")
    {
        var request = SigningRequest.Parse(SigningRequest.Create(_key, name)).Value;
        Uid = NodeUid.From(request.Spki);
        _certificate = authority.IssueNode(request, Uid, name, DateTimeOffset.UtcNow, TimeSpan.FromDays(1), RandomNumberGenerator.Fill).Value;
    }

    internal string Uid { get; }

    internal Held Hold(string name = "sessions")
    {
        var plan = new PlanSummary { Hash = Convert.ToHexStringLower(SHA256.HashData("plan"u8)), ResourceUid = Samples.Uid, ResourceKey = $"Redis default/{name}", Generation = 4, NodeUid = Uid, NodeName = "edge-1", Outcome = "Ready" };
        plan.Steps.Add(Step("stop", "Moderate"));
        var remove = Step("remove-data", "Dangerous");
        remove.LosesData = true;
        remove.RiskReasons.AddRange(["data-loss", "irreversible"]);
        remove.Undo = new Undo { Kind = "Impossible", Why = "no copy is left" };
        plan.Steps.Add(remove);
        var now = DateTimeOffset.UtcNow;
        var held = new Held
        {
            Id = plan.Hash[..8],
            Assignment = $"{Uid}/redis/{Samples.Uid}/0",
            Plan = plan,
            ResourceKey = plan.ResourceKey,
            NodeCertificate = ByteString.CopyFrom(_certificate),
            CreatedUnixMs = now.ToUnixTimeMilliseconds(),
            ExpiresUnixMs = now.AddMinutes(15).ToUnixTimeMilliseconds(),
        };
        foreach (var step in plan.Steps) step.Hash = HeldReview.HashOf(step)!;
        Sign(held);
        return held;
    }

    internal void Sign(Held held) => held.NodeSignature = ByteString.CopyFrom(new HeldPlanClaim
    {
        NodeUid = held.Plan.NodeUid,
        Assignment = held.Assignment,
        PlanHash = held.Plan.Hash,
        StepHashes = [.. held.Plan.Steps.Select(s => s.Hash)],
        CreatedUnixMs = held.CreatedUnixMs,
        ExpiresUnixMs = held.ExpiresUnixMs,
    }.Sign(_key));

    public void Dispose() => _key.Dispose();

    private Step Step(string tool, string risk)
    {
        var step = new Step
        {
            NodeUid = Uid,
            NodeName = "edge-1",
            ResourceUid = Samples.Uid,
            Generation = 4,
            Nonce = "nonce-1",
            Tool = tool,
            ToolVersion = 1,
            Args = """{"ordinal":0}""",
            Risk = risk,
            Text = tool + " sessions#0",
            Undo = new Undo { Kind = "Call", Tool = "start", Args = "{}" },
        };
        step.Basis.Add(new Fact { Key = "unit", Value = "active" });
        step.Expect.Add(new Fact { Key = "unit", Value = "-" });
        return step;
    }
}
