using System.Collections.Concurrent;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>Where hosts and the store do not agree, as hosts say it. In memory only: they say it again whenever they attach.</summary>
internal sealed class HostStandings
{
    private const int MaxMembers = 1_000;

    private readonly ConcurrentDictionary<string, HostStanding> _byNode = new(StringComparer.Ordinal);

    /// <summary>Called with the node's uid when what it says changed.</summary>
    public Action<string>? Changed { get; set; }

    public HostStanding? Find(string node) => _byNode.GetValueOrDefault(node);

    /// <summary>Why this host does not follow the store; empty = it does, or has not said.</summary>
    public string RefusedBy(string node) => Find(node)?.StoreRefused ?? "";

    /// <summary>What runs there without being in the list.</summary>
    public IEnumerable<KnownMember> Orphans(string node) => (Find(node)?.Members ?? []).Where(m => m.Stand == "orphan");

    /// <summary>What is not a host's own is dropped: it says so of itself only.</summary>
    public void Put(string node, HostStanding standing)
    {
        var own = standing.Members.Where(m => m.Assignment is { } a && a.Key == Fleet.StoreKeys.AssignmentKey(node, a.Kind, a.ResourceUid, a.Ordinal)).Take(MaxMembers).ToList();
        standing.Members.Clear();
        standing.Members.AddRange(own);
        if (standing.StoreRefused.Length > 512) standing.StoreRefused = standing.StoreRefused[..512];
        _byNode[node] = standing;
        Changed?.Invoke(node);
    }

    /// <summary>A stream begins: what was said on the one before may be over.</summary>
    public void Forget(string node)
    {
        if (_byNode.TryRemove(node, out _)) Changed?.Invoke(node);
    }
}
