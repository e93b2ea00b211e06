using System.Security.Cryptography;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Approvals;

/// <summary>
/// Decisions of operators on their way to the hosts. The coordinator carries them and cannot make them: the host verifies the signature. What is stored
/// is sent again whenever the node attaches, until it expires; a host that has used an approval knows.
/// </summary>
internal sealed class ApprovalShelf(IStore store, FleetModel model, FleetWriter writer, NodeRegistry registry, Func<ApproverSet?> approvers, TimeProvider clock)
{
    private const int MaxPerNode = 1_000;

    public async Task<IReadOnlyList<(string Hash, Approval Approval)>> OfNodeAsync(string node, CancellationToken stop)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var found = new List<(string, Approval)>();
        foreach (var entry in (await store.ListAsync(StoreKeys.Approvals + node + "/", stop)).Entries)
        {
            var approval = Approval.Parser.ParseFrom(entry.Value.Span);
            if (approval.ExpiresUnixMs > now) found.Add((entry.Key[(entry.Key.LastIndexOf('/') + 1)..], approval));
        }
        return found;
    }

    /// <summary>Checks, stores and forwards one decision.</summary>
    public async Task<DecideResult> DecideAsync(Approval approval, CancellationToken stop)
    {
        if (Problem(approval) is { } problem) return new() { NodeUid = approval.NodeUid, Message = "refused: " + problem };
        var bytes = approval.ToByteArray();
        var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
        if ((await store.ListAsync(StoreKeys.Approvals + approval.NodeUid + "/", stop)).Entries.Count >= MaxPerNode)
            return new() { NodeUid = approval.NodeUid, Message = $"refused: {MaxPerNode} decisions wait for this node already; they go when they expire" };
        await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [StoreWrite.Put(StoreKeys.Approval(approval.NodeUid, hash), bytes)] }, stop);
        var name = model.Current.NodeName(approval.NodeUid);
        if (registry.Session(approval.NodeUid) is not { } session) return new() { NodeUid = approval.NodeUid, Message = $"will be delivered when {name} is back" };
        session.Put(approval, hash);
        return new() { NodeUid = approval.NodeUid, Delivered = true, Message = $"delivered to {name}" };
    }

    /// <summary>Forgets what has expired; at most 100 a call.</summary>
    public async Task PruneAsync(CancellationToken stop)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var over = (await store.ListAsync(StoreKeys.Approvals, stop)).Entries.Where(e => Approval.Parser.ParseFrom(e.Value.Span).ExpiresUnixMs <= now).Take(100).ToList();
        if (over.Count > 0) await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [.. over.Select(e => StoreWrite.Delete(e.Key))] }, stop);
    }

    /// <summary>Told early and in words; it decides nothing, because the host verifies by itself.</summary>
    private string? Problem(Approval approval)
    {
        if (!model.Current.Joined.ContainsKey(approval.NodeUid)) return $"there is no node {approval.NodeUid}";
        if (SignedApproval.ParseDecision(approval.Decision) is not { } decision) return $"decision: \"{approval.Decision}\" is neither approve nor deny";
        if (approvers() is not { } set) return null;
        var signed = new SignedApproval
        {
            StepHashes = [.. approval.StepHashes],
            ResourceUid = approval.ResourceUid,
            NodeUid = approval.NodeUid,
            Decision = decision,
            ExpiresUnixMs = approval.ExpiresUnixMs,
            Reason = approval.Reason,
            KeyId = approval.KeyId,
            Signature = approval.Signature.ToByteArray(),
        };
        return signed.Verify(new(approval.NodeUid, approval.ResourceUid), set, clock.GetUtcNow()).Problem?.Message;
    }
}
