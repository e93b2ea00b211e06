using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Local;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>
/// What a person at the host may do by hand without being fought: pause a member, stop it in order and pause it, let it go on. It is root of this host who asks, so nothing is gained for whoever could not
/// do worse; but it is written down who it was, and the coordinator is told, also later.
/// </summary>
/// <param name="controller">Keeps and shows pauses.</param>
/// <param name="clock">Trusted time.</param>
/// <param name="audit">Writes to the host's chain: resource, kind, body.</param>
/// <param name="stopping">Ends a stop that is under way with the daemon.</param>
internal sealed class LocalHands(Controller controller, TimeProvider clock, Func<string, string, string, ValueTask> audit, CancellationToken stopping)
{
    private const int MaxReason = 1_000;

    /// <summary>An answer only where it is refused.</summary>
    public async Task<LocalAnswer?> TakeAsync(ImmutableArray<MemberInput> members, LocalRequest request, SocketPeer by, CancellationToken stop)
    {
        var reason = request.Reason ?? "";
        if (reason.Length > MaxReason || reason.Any(char.IsControl)) return new() { Error = $"--reason: longer than {MaxReason} characters, or more than a line", Refused = true };
        if (request.Call == "resume" && controller.StruckOff is { } struck) return new() { Error = struck.Text, Refused = true };
        if (request.Call == "resume") return await ResumeAsync(members, by, stop);
        List<(MemberInput Member, MemberStop How)> stops = [];
        foreach (var member in request.Call == "stop" ? members : [])
        {
            if (await controller.StopOfAsync(member.Key, stop) is { Runs: true } how) stops.Add((member, how));
        }
        var lost = string.Join("; ", stops.Where(s => s.How.Lost.Length > 0).Select(s => s.How.Lost));
        if (lost.Length > 0 && request.Confirmed != true) return new() { Error = $"Dangerous: {lost}", Refused = true, Confirm = true };
        foreach (var member in members)
        {
            await audit(member.ResourceKey, request.Call == "stop" ? "StoppedByHand" : "PausedByHand", AuditBody.Of(("by", by.Text), ("uid", $"{by.Uid}"), ("pid", $"{by.Pid}"), ("member", $"{member.Ordinal}"), ("reason", reason), ("lost", lost)));
            await controller.PauseAsync(member.Key, new(clock.GetUtcNow(), by.Uid, by.Text, reason, request.Call == "stop")
            {
                Progress = request.Call != "stop" ? "" : stops.Exists(s => s.Member.Key == member.Key) ? "is being stopped" : "does not run",
            }, stop);
        }
        // A guest may take minutes: whoever asked looks on, and it goes on when they leave.
        foreach (var (member, how) in stops) _ = Task.Run(() => controller.StopAsync(member.Key, how, stopping), CancellationToken.None);
        return null;
    }

    private async Task<LocalAnswer?> ResumeAsync(ImmutableArray<MemberInput> members, SocketPeer by, CancellationToken stop)
    {
        var any = false;
        foreach (var member in members)
        {
            if (!await controller.ResumeAsync(member.Key, by.Text, stop)) continue;
            any = true;
            await audit(member.ResourceKey, "ResumedByHand", AuditBody.Of(("by", by.Text), ("uid", $"{by.Uid}"), ("pid", $"{by.Pid}"), ("member", $"{member.Ordinal}")));
        }
        return any ? null : new() { Error = $"{members[0].ResourceKey} is not paused on this host", Refused = true };
    }
}
