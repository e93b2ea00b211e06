using System.Collections.Concurrent;
using System.Security.Cryptography;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Approvals;

/// <summary>
/// Decisions of operators on their way to the hosts. The coordinator carries them and cannot make them: the host verifies the signature, and says what became of each. What is stored
/// is sent again whenever the node attaches, until it expires; a host that has used an approval knows. What is known to have no effect is refused here and not carried, by the rule that hosts
/// judge by; what the host itself refuses is taken back off the shelf, so that nothing whose giver was told so is ever sent again.
/// </summary>
internal sealed class ApprovalShelf(IStore store, FleetModel model, FleetWriter writer, NodeRegistry registry, HeldPlans held, EventLog events, Func<ApproverSet?> approvers, TimeProvider clock)
{
    private const int MaxPerNode = 1_000;
    private static readonly TimeSpan AnswerDeadline = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<string, TaskCompletionSource<DecisionAnswer>> _asked = new(StringComparer.Ordinal);

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

    /// <summary>Checks, stores and forwards one decision, and waits a moment for what its host makes of it.</summary>
    public async Task<DecideResult> DecideAsync(Approval approval, CancellationToken stop)
    {
        if (await ProblemAsync(approval, stop) is { } problem) return Refused(approval, problem);
        var bytes = approval.ToByteArray();
        var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
        if ((await store.ListAsync(StoreKeys.Approvals + approval.NodeUid + "/", stop)).Entries.Count >= MaxPerNode)
            return Refused(approval, $"{MaxPerNode} decisions wait for this node already; they go when they expire");
        await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [StoreWrite.Put(StoreKeys.Approval(approval.NodeUid, hash), bytes)] }, stop);
        var name = model.Current.NodeName(approval.NodeUid);
        if (registry.Session(approval.NodeUid) is not { } session)
            return new() { NodeUid = approval.NodeUid, Message = $"will be delivered when {name} is back; the host judges it then, and an event tells if it does not count" };
        var answer = await AskAsync(session, approval, hash, stop);
        if (answer is null) return new() { NodeUid = approval.NodeUid, Delivered = true, Message = session.ApprovalVersion < 2 ? $"delivered to {name}" : $"sent to {name}, which has not said yet what becomes of it" };
        return answer.Accepted ? new() { NodeUid = approval.NodeUid, Delivered = true, Message = $"delivered to {name}{(answer.Message.Length > 0 ? ": " + answer.Message : "")}" }
            : Refused(approval, answer.Message);
    }

    /// <summary>A node says what became of a decision: one that it refuses is never sent again, and if nobody waits for the answer an event tells.</summary>
    public async Task AnsweredAsync(NodeSession session, DecisionAnswer answer)
    {
        var message = answer.Message.Length <= MaxMessage ? answer.Message : answer.Message[..MaxMessage];
        var key = StoreKeys.Approval(session.Uid, answer.Id);
        if (!answer.Accepted && answer.Id.Length == 64 && answer.Id.All(char.IsAsciiHexDigitLower) && (await store.ListAsync(key, CancellationToken.None)).Entries is [var entry, ..])
        {
            var refused = Approval.Parser.ParseFrom(entry.Value.Span);
            await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [StoreWrite.Delete(key)] }, CancellationToken.None);
            if (!_asked.ContainsKey(answer.Id))
            {
                var of = model.Current.Resources.TryGetValue(refused.ResourceUid, out var row) ? Agents.Orchestrator.Keys.Of(row.Value) : "";
                events.Warn(session.Name, of, "DecisionRefused", $"{session.Name} does not take {(refused.Decision == "deny" ? "a denial" : "an approval")} that waited for it: {message}");
            }
        }
        if (_asked.TryRemove(answer.Id, out var asked)) asked.TrySetResult(new() { Id = answer.Id, Accepted = answer.Accepted, Message = message });
    }

    /// <summary>What waits for a signature, with the decisions that have not reached the host, and in words how all of them stand.</summary>
    public async Task<Held> WithDecisionsAsync(Held waiting, CancellationToken stop)
    {
        var underWay = (await OfNodeAsync(waiting.Plan.NodeUid, stop)).Select(a => a.Approval)
            .Where(a => a.ResourceUid == waiting.Plan.ResourceUid && a.StepHashes.Any(h => waiting.Plan.Steps.Any(s => s.Hash == h)) && !waiting.Decisions.Contains(a)).ToList();
        if (underWay.Count == 0 || approvers() is not { } set) return waiting;
        var all = waiting.Clone();
        all.Decisions.AddRange(underWay);
        List<SignedApproval> given = [.. all.Decisions.Select(TrustWire.Read).OfType<SignedApproval>()];
        all.Standing = string.Join("; ", all.Plan.Steps.Where(s => s.Risk == "Dangerous").Select(s => ApprovalRule.Judge(s.Hash, given, new(all.Plan.NodeUid, all.Plan.ResourceUid), set, clock.GetUtcNow()))
            .Select(o => o.IsApproved ? $"approved; {all.Plan.NodeName} has yet to take it" : o.Problem!.Message).Distinct(StringComparer.Ordinal));
        return all;
    }

    /// <summary>Forgets what has expired; at most 100 a call.</summary>
    public async Task PruneAsync(CancellationToken stop)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var over = (await store.ListAsync(StoreKeys.Approvals, stop)).Entries.Where(e => Approval.Parser.ParseFrom(e.Value.Span).ExpiresUnixMs <= now).Take(100).ToList();
        if (over.Count > 0) await writer.ChangeAsync(_ => new FleetChange<bool>(true) { Writes = [.. over.Select(e => StoreWrite.Delete(e.Key))] }, stop);
    }

    private const int MaxMessage = 1_000;

    private static DecideResult Refused(Approval approval, string why) => new() { NodeUid = approval.NodeUid, Refused = true, Message = "refused: " + why };

    private async Task<DecisionAnswer?> AskAsync(NodeSession session, Approval approval, string hash, CancellationToken stop)
    {
        if (session.ApprovalVersion < 2)
        {
            session.Put(approval, hash);
            return null;
        }
        var asked = _asked.GetOrAdd(hash, _ => new(TaskCreationOptions.RunContinuationsAsynchronously));
        session.Put(approval, hash);
        try { return await asked.Task.WaitAsync(AnswerDeadline, clock, stop); }
        catch (TimeoutException) { return null; }
        finally { _asked.TryRemove(hash, out _); }
    }

    /// <summary>Told early and in words; it decides nothing, because the host judges by itself.</summary>
    private async Task<string?> ProblemAsync(Approval approval, CancellationToken stop)
    {
        if (!model.Current.Joined.ContainsKey(approval.NodeUid)) return $"there is no node {approval.NodeUid}";
        if (TrustWire.Read(approval) is not { } signed) return $"decision: \"{approval.Decision}\" is neither approve nor deny";
        if (approvers() is not { } set) return null;
        var (scope, now) = (new ApprovalScope(approval.NodeUid, approval.ResourceUid), clock.GetUtcNow());
        if (signed.VerifyAtAnyAge(scope, set, now).Problem is { } problem) return problem.Message;
        // The host answers for itself; of one that is away, what is known here is the best there is.
        if (registry.Session(approval.NodeUid) is { ApprovalVersion: >= 2 }) return null;
        List<SignedApproval> recorded = [.. held.All.Where(h => h.Plan.NodeUid == approval.NodeUid && h.Plan.ResourceUid == approval.ResourceUid).SelectMany(h => h.Decisions)
            .Concat((await OfNodeAsync(approval.NodeUid, stop)).Select(a => a.Approval)).Where(a => !a.Equals(approval)).Select(TrustWire.Read).OfType<SignedApproval>()];
        var effects = signed.StepHashes.Select(s => ApprovalRule.Effect(s, signed, recorded, scope, set, now)).ToList();
        return effects.Any(e => e.Recorded) ? null : string.Join("; ", effects.Select(e => e.Why).Distinct(StringComparer.Ordinal));
    }
}
