using System.Collections.Concurrent;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>A signed run that is under way on a node.</summary>
internal sealed record RunningPlan(DateTimeOffset Since, string Text, IReadOnlyList<string> Steps);

/// <summary>Plans whose steps wait for a signature, as the nodes that made them signed them. In memory: nodes send them again when they attach.</summary>
internal sealed class HeldPlans(TimeProvider clock)
{
    private readonly ConcurrentDictionary<string, Held> _byAssignment = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, RunningPlan> _running = new(StringComparer.Ordinal);

    /// <summary>Takes what a node holds; no steps = nothing any more. Returns whether it is news.</summary>
    public bool Put(NodeSession session, HeldPlan held, string resourceKey)
    {
        if (held.RunningSinceUnixMs > 0)
            _running[held.Assignment] = new(DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(held.RunningSinceUnixMs, 0, clock.GetUtcNow().ToUnixTimeMilliseconds())), Cut(held.Running), [.. held.RunningSteps.Take(1_000)]);
        else _running.TryRemove(held.Assignment, out _);
        if (held.Plan is null || held.Plan.Steps.Count == 0) return _byAssignment.TryRemove(held.Assignment, out _);
        var next = new Held
        {
            Id = HeldId.Of(held.Plan.Steps.Select(s => (s.Hash, s.Risk))),
            ApprovalVersion = held.ApprovalVersion,
            Standing = Cut(held.Standing),
            Assignment = held.Assignment,
            Plan = held.Plan,
            CreatedUnixMs = held.CreatedUnixMs,
            ExpiresUnixMs = held.ExpiresUnixMs,
            ResourceKey = resourceKey,
            NodeSignature = held.NodeSignature,
            NodeCertificate = session.Certificate,
        };
        next.Decisions.AddRange(held.Decisions.Take(ApprovalRule.MaxApprovals));
        var before = _byAssignment.GetValueOrDefault(held.Assignment);
        _byAssignment[held.Assignment] = next;
        return before?.Id != next.Id;
    }

    /// <summary>The signed run of this assignment that is under way, as its node says; null = none.</summary>
    public RunningPlan? Running(string assignment) => _running.GetValueOrDefault(assignment);

    private static string Cut(string text) => text.Length <= MaxText ? text : text[..MaxText];

    private const int MaxText = 1_000;

    public Held? Find(string assignment) => _byAssignment.TryGetValue(assignment, out var held) && !Over(held) ? held : null;

    /// <summary>All that still wait, oldest first.</summary>
    public IReadOnlyList<Held> All => [.. _byAssignment.Values.Where(h => !Over(h)).OrderBy(h => h.CreatedUnixMs).ThenBy(h => h.Assignment, StringComparer.Ordinal)];

    public void Forget(string assignment)
    {
        _byAssignment.TryRemove(assignment, out _);
        _running.TryRemove(assignment, out _);
    }

    /// <summary>A node attached: what it holds it says anew.</summary>
    public void ForgetNode(string uid)
    {
        foreach (var key in _byAssignment.Keys)
            if (key.StartsWith(uid + "/", StringComparison.Ordinal)) Forget(key);
        foreach (var key in _running.Keys)
            if (key.StartsWith(uid + "/", StringComparison.Ordinal)) Forget(key);
    }

    private bool Over(Held held) => held.ExpiresUnixMs > 0 && held.ExpiresUnixMs <= clock.GetUtcNow().ToUnixTimeMilliseconds();
}
