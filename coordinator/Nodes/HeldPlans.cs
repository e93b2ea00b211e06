using System.Collections.Concurrent;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Plans whose steps wait for a signature, as the nodes that made them signed them. In memory: nodes send them again when they attach.</summary>
internal sealed class HeldPlans(TimeProvider clock)
{
    private readonly ConcurrentDictionary<string, Held> _byAssignment = new(StringComparer.Ordinal);

    /// <summary>Takes what a node holds; no steps = nothing any more. Returns whether it is news.</summary>
    public bool Put(NodeSession session, HeldPlan held, string resourceKey)
    {
        if (held.Plan is null || held.Plan.Steps.Count == 0) return _byAssignment.TryRemove(held.Assignment, out _);
        var next = new Held
        {
            Id = held.Plan.Hash.Length >= 8 ? held.Plan.Hash[..8] : held.Plan.Hash,
            Assignment = held.Assignment,
            Plan = held.Plan,
            CreatedUnixMs = held.CreatedUnixMs,
            ExpiresUnixMs = held.ExpiresUnixMs,
            ResourceKey = resourceKey,
            NodeSignature = held.NodeSignature,
            NodeCertificate = session.Certificate,
        };
        var before = _byAssignment.GetValueOrDefault(held.Assignment);
        _byAssignment[held.Assignment] = next;
        return before?.Plan.Hash != next.Plan.Hash;
    }

    public Held? Find(string assignment) => _byAssignment.TryGetValue(assignment, out var held) && !Over(held) ? held : null;

    /// <summary>All that still wait, oldest first.</summary>
    public IReadOnlyList<Held> All => [.. _byAssignment.Values.Where(h => !Over(h)).OrderBy(h => h.CreatedUnixMs).ThenBy(h => h.Assignment, StringComparer.Ordinal)];

    public void Forget(string assignment) => _byAssignment.TryRemove(assignment, out _);

    /// <summary>A node attached: what it holds it says anew.</summary>
    public void ForgetNode(string uid)
    {
        foreach (var key in _byAssignment.Keys)
            if (key.StartsWith(uid + "/", StringComparison.Ordinal)) _byAssignment.TryRemove(key, out _);
    }

    private bool Over(Held held) => held.ExpiresUnixMs > 0 && held.ExpiresUnixMs <= clock.GetUtcNow().ToUnixTimeMilliseconds();
}
