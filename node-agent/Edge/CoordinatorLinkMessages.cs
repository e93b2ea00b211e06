using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.WireMaps;
using Google.Protobuf;
using Microsoft.Extensions.Logging;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

internal sealed partial class CoordinatorLink
{
    private string _toldRefusal = "";
    private V1.HostStanding? _stands;

    /// <summary>Called when a store is refused, with why; for the audit.</summary>
    public Func<string, Task>? StoreRefused { get; set; }

    private async Task HandleAsync(V1.CoordinatorMessage message, string storeId, CancellationToken stop)
    {
        // First who may speak, then what they said, then what follows from it: an assignment may rest on a host that is gone.
        if (message.ApproverSet.Length > 0) ApproverSet?.Invoke(message.ApproverSet.ToByteArray());
        foreach (var wire in message.Statements)
            if (Statement is { } take) await take(TrustWire.Read(wire), stop);
        if (Guard.Accepted) throw new IOException("operators signed for the coordinator's store: attaching anew");
        if (message.Assignments.Count > 0 || message.Full || message.Revision > 0) await TakeAssignmentsAsync(message, storeId, stop);
        foreach (var wire in message.Approvals)
        {
            if (TrustWire.Read(wire) is not { } approval) { LogIgnored(_log, "an approval whose decision is neither approve nor deny"); continue; }
            if (Decide is not { } decide) await KeptAsync(async () => await _state.AddApprovalAsync(approval, stop), stop);
            else
            {
                var answer = new DecisionAnswer(false, "");
                await KeptAsync(async () => answer = await decide(approval, stop), stop);
                if (!answer.Accepted && !answer.Known && answer.Message.Length > 0) LogDecisionRefused(_log, approval.ResourceUid, answer.Message);
                // What is on record is sent again whenever the stream begins anew; that is no news, whatever has become of it.
                _outbox.Put(new V1.DecisionAnswer { Id = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(wire.ToByteArray())), Accepted = answer.Accepted || answer.Known, Message = answer.Message });
            }
            _controller.WakeResource(approval.ResourceUid);
        }
        foreach (var request in message.Previews) _ = PreviewAsync(request, stop);
        foreach (var grant in message.Turns)
            if (_asked.TryRemove(grant.Id, out var asked)) asked.TrySetResult(grant);
            else if (grant.Granted) LogIgnored(_log, "a turn that nobody waits for any more");
        if (message.AuditAcked > 0) await KeptAsync(async () => await _state.AuditAckedAsync(message.AuditAcked, stop), stop);
        foreach (var call in message.Consoles) Console?.Invoke(call);
        if (message.Pause is { } pause) _controller.SetPaused(pause.Paused);
    }

    /// <summary>This host was struck off: the coordinator's refusal has the signatures with it.</summary>
    public async Task FarewellAsync(Grpc.Core.Metadata trailers, CancellationToken stop)
    {
        if (OwnStrikeOff.Read(trailers, _options.Uid) is not { } said) return;
        if (said.ApproverSet.Length > 0) ApproverSet?.Invoke(said.ApproverSet.ToByteArray());
        try
        {
            foreach (var wire in said.Statements)
                if (Statement is { } take) await take(TrustWire.Read(wire), stop);
        }
        catch (LocalStoreException e) { LogIgnored(_log, "that this host was struck off cannot be kept: " + e.Message); } // It is told again at each call.
    }

    /// <summary>
    /// Stored first, then acted on. What is older than this host has seen is refused for that member. What a full list does not name is not deleted: absence never means delete. A member that was asked to go
    /// and is gone is dropped; anything else is orphaned and keeps running.
    /// </summary>
    private async Task TakeAssignmentsAsync(V1.CoordinatorMessage message, string storeId, CancellationToken stop)
    {
        Guard.Hear(message);
        if (Guard.Refused.Length > 0)
        {
            // As it was: the list says only in what the store differs.
            await StandAsync(stop);
            return;
        }
        List<(V1.Assignment Wire, MemberInput Input)> taken = [];
        foreach (var a in message.Assignments)
        {
            var (input, refusal) = Wire.Read(a, _options.Uid);
            if (input is null) LogIgnored(_log, refusal!);
            else if (Guard.Take(a) is (false, var news))
            {
                if (news) Tell(input.ResourceKey, "AssignmentRefused", Guard.RefusedOf(a.Key)!.Why + "; see: agentmetal nodes describe " + _options.Name);
            }
            else taken.Add((a, input));
        }
        List<string> dropped = [];
        List<MemberView> left = [];
        var named = message.Assignments.Select(a => a.Key).ToHashSet(StringComparer.Ordinal);
        if (message.Full)
            foreach (var view in _controller.Members.Where(v => !named.Contains(v.Input.Key)))
                if (view.Input.Absent && view.Gone) dropped.Add(view.Input.Key);
                else left.Add(view);
        var mark = Guard.At(message.Revision);
        await KeptAsync(async () => await _state.SaveAsync([.. taken.Select(t => t.Wire)], dropped, new(storeId, message.Revision), mark, stop), stop);
        Guard.Saved(taken.Select(t => t.Wire), mark);
        foreach (var view in await Guard.OrphanAsync(left, named, message.Full, stop))
            Tell(view.Input.ResourceKey, "Orphaned", $"{view.Input.ResourceKey} #{view.Input.Ordinal} is not in the coordinator's list; it keeps running as declared last; see: agentmetal nodes orphans");
        foreach (var key in dropped) _controller.Forget(key);
        foreach (var (_, input) in taken) _controller.Assign(input);
        await StandAsync(stop);
    }

    private void Tell(string resource, string reason, string message) => _outbox.Put(new V1.Event
    {
        AtUnixMs = _clock.GetUtcNow().ToUnixTimeMilliseconds(),
        NodeName = _options.Name,
        ResourceKey = resource,
        Type = "Warning",
        Reason = reason,
        Message = message,
    });

    /// <summary>A store that is not followed is told on both sides, once for each reason.</summary>
    private async Task TellStoreAsync(CancellationToken stop)
    {
        var why = Guard.Refused;
        if (why.Length > 0 && why != _toldRefusal)
        {
            Tell("", "StoreRefused", $"{_options.Name} does not follow the coordinator's store: {why}. It goes on as it was until an operator signs: agentmetal nodes accept-store");
            LogStoreRefused(_log, why);
            if (StoreRefused is { } audit) await audit(why);
        }
        _toldRefusal = why;
        await StandAsync(stop);
    }

    private async Task StandAsync(CancellationToken stop)
    {
        var standing = await Guard.StandingAsync(_controller.Members, stop);
        if (standing.Equals(_stands ?? new())) return;
        _stands = standing;
        _outbox.Put(standing);
    }

    private async Task PreviewAsync(V1.PreviewRequest request, CancellationToken stop)
    {
        var reply = new V1.PreviewReply { Id = request.Id, Plan = new() { NodeUid = _options.Uid, NodeName = _options.Name } };
        try
        {
            var (input, refusal) = Wire.Read(request.Assignment, _options.Uid);
            if (input is null) reply.Plan.Error = refusal;
            else
            {
                using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
                deadline.CancelAfter(PreviewDeadline);
                var result = await _controller.PreviewAsync(input, deadline.Token);
                if (result is null) reply.Plan.Error = $"kind {request.Assignment.Kind} is not in this build of agentmetald";
                else if (!result.Errors.IsEmpty) reply.Plan.Error = string.Join("; ", result.Errors.Select(e => $"{e.Path}: {e.Message}"));
                else
                {
                    reply.Plan = Wire.ToProto(result.Report, input, _options.Name, result.Report.Steps);
                    reply.Plan.Notes.AddRange(result.PlanNotes);
                }
            }
        }
        catch (OperationCanceledException) { reply.Plan.Error = $"the host could not look within {PreviewDeadline.TotalSeconds:0} s"; }
        catch (Exception e) when (e is not OutOfMemoryException) { reply.Plan.Error = e.Message; }
        _outbox.Put(reply);
    }

    [LoggerMessage(EventId = 1106, Level = LogLevel.Warning, Message = "a decision about {Resource} that came from the coordinator does not count here: {Why}")]
    private static partial void LogDecisionRefused(ILogger log, string resource, string why);

    [LoggerMessage(EventId = 1105, Level = LogLevel.Error, Message = "the coordinator's store is not followed: {Why}; members are kept as they were declared last. An operator can sign: agentmetal nodes accept-store")]
    private static partial void LogStoreRefused(ILogger log, string why);
}
