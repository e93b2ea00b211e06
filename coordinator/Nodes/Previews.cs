using System.Collections.Concurrent;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Asks a host what it would do, and waits for its answer.</summary>
internal sealed class Previews(NodeRegistry registry, TimeProvider clock)
{
    public static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<string, (string Node, TaskCompletionSource<PlanSummary> Answer)> _asked = new(StringComparer.Ordinal);

    /// <summary>The host's plan, or one whose error says why there is none.</summary>
    public async Task<PlanSummary> AskAsync(string node, string nodeName, Assignment assignment, CancellationToken cancel)
    {
        if (registry.Session(node) is not { } session) return Error($"{nodeName} is away since {registry.Live(node).Since:u}; it will plan when it is back");
        var id = Guid.NewGuid().ToString("N");
        var answer = new TaskCompletionSource<PlanSummary>(TaskCreationOptions.RunContinuationsAsynchronously);
        _asked[id] = (node, answer);
        try
        {
            if (!session.Put(new PreviewRequest { Id = id, Assignment = assignment })) return Error($"{nodeName} has too many plans to make; try again");
            return await answer.Task.WaitAsync(Deadline, clock, cancel);
        }
        catch (TimeoutException) { return Error($"{nodeName} did not answer within {Deadline.TotalSeconds:0} s"); }
        finally { _asked.TryRemove(id, out _); }

        PlanSummary Error(string why) => new() { NodeUid = node, NodeName = nodeName, Ordinal = assignment.Ordinal, ResourceUid = assignment.ResourceUid, Generation = assignment.Generation, Error = why };
    }

    /// <summary>An answer; one that this node was not asked for is nobody's.</summary>
    public void Answer(string node, PreviewReply reply)
    {
        if (reply.Plan is not null && _asked.TryGetValue(reply.Id, out var asked) && asked.Node == node) asked.Answer.TrySetResult(reply.Plan);
    }
}
