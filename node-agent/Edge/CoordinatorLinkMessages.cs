using AgentMetal.NodeAgent.Pipeline;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

internal sealed partial class CoordinatorLink
{
    private async Task HandleAsync(V1.CoordinatorMessage message, string storeId, CancellationToken stop)
    {
        // First who may speak, then what they said, then what follows from it: an assignment may rest on a host that is gone.
        if (message.ApproverSet.Length > 0) ApproverSet?.Invoke(message.ApproverSet.ToByteArray());
        foreach (var wire in message.Statements)
            if (Statement is { } take) await take(Wire.Read(wire), stop);
        if (message.Assignments.Count > 0 || message.Full || message.Revision > 0) await TakeAssignmentsAsync(message, storeId, stop);
        foreach (var wire in message.Approvals)
        {
            if (Wire.Read(wire) is not { } approval) { LogIgnored(_log, "an approval whose decision is neither approve nor deny"); continue; }
            if (Decide is null) await _state.AddApprovalAsync(approval, stop);
            else
            {
                var answer = await Decide(approval, stop);
                // What is on record is sent again whenever the stream begins anew; that is no news, whatever has become of it.
                _outbox.Put(new V1.DecisionAnswer { Id = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(wire.ToByteArray())), Accepted = answer.Accepted || answer.Known, Message = answer.Message });
            }
            _controller.WakeResource(approval.ResourceUid);
        }
        foreach (var request in message.Previews) _ = PreviewAsync(request, stop);
        foreach (var grant in message.Turns)
            if (_asked.TryRemove(grant.Id, out var asked)) asked.TrySetResult(grant);
            else if (grant.Granted) LogIgnored(_log, "a turn that nobody waits for any more");
        if (message.AuditAcked > 0) await _state.AuditAckedAsync(message.AuditAcked, stop);
        foreach (var call in message.Consoles) Console?.Invoke(call);
        if (message.Pause is { } pause) _controller.SetPaused(pause.Paused);
    }

    /// <summary>
    /// Stored first, then acted on. What a full list does not name is not deleted: absence never means delete. A member that was asked to go
    /// and is gone is dropped; anything else is orphaned and keeps running.
    /// </summary>
    private async Task TakeAssignmentsAsync(V1.CoordinatorMessage message, string storeId, CancellationToken stop)
    {
        List<(V1.Assignment Wire, MemberInput Input)> taken = [];
        foreach (var a in message.Assignments)
        {
            var (input, refusal) = Wire.Read(a, _options.Uid);
            if (input is null) LogIgnored(_log, refusal!);
            else taken.Add((a, input));
        }
        List<string> dropped = [];
        if (message.Full)
        {
            var named = taken.Select(t => t.Input.Key).ToHashSet(StringComparer.Ordinal);
            foreach (var view in _controller.Members.Where(v => !named.Contains(v.Input.Key)))
            {
                if (view.Input.Absent && view.Gone) { dropped.Add(view.Input.Key); continue; }
                _outbox.Put(new V1.Event
                {
                    AtUnixMs = _clock.GetUtcNow().ToUnixTimeMilliseconds(),
                    NodeName = _options.Name,
                    ResourceKey = view.Input.ResourceKey,
                    Type = "Warning",
                    Reason = "Orphaned",
                    Message = $"#{view.Input.Ordinal} is not in the coordinator's list; it keeps running as declared last",
                });
            }
        }
        await _state.SaveAsync([.. taken.Select(t => t.Wire)], dropped, new(storeId, message.Revision), stop);
        foreach (var key in dropped) _controller.Forget(key);
        foreach (var (_, input) in taken) _controller.Assign(input);
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
                else reply.Plan = Wire.ToProto(result.Report, input, _options.Name, result.Report.Steps);
            }
        }
        catch (OperationCanceledException) { reply.Plan.Error = $"the host could not look within {PreviewDeadline.TotalSeconds:0} s"; }
        catch (Exception e) when (e is not OutOfMemoryException) { reply.Plan.Error = e.Message; }
        _outbox.Put(reply);
    }
}
