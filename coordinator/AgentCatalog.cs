using System.Collections.Frozen;
using System.Text.Json;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Image;
using AgentMetal.Coordinator.Agents.Instance;
using AgentMetal.Coordinator.Agents.Redis;
using AgentMetal.Coordinator.Agents.Snapshot;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator;

/// <summary>Every fleet half that this coordinator hosts; nothing is found by looking for it.</summary>
internal sealed class AgentCatalog
{
    private readonly FrozenDictionary<string, IFleetKind> _kinds = new IFleetKind[]
    {
        new ImageFleet(),
        new InstanceFleet(),
        new RedisFleet(),
        new SnapshotFleet(),
        new VolumeFleet(),
    }.ToFrozenDictionary(k => k.Kind, StringComparer.Ordinal);

    public bool Has(string kind) => _kinds.ContainsKey(kind);

    /// <summary>What placement must know of a validated resource.</summary>
    public FleetShape ShapeOf(Resource resource) => _kinds[resource.Kind].Read(resource.Spec.Memory);

    /// <summary>Whether resources of this kind have members on hosts.</summary>
    public bool HasMembers(string kind) => !_kinds.TryGetValue(kind, out var fleet) || fleet.HasMembers;

    /// <summary>Whether one resource cannot do without another of its project.</summary>
    public bool Needs(Resource resource, Resource other) => ReferencesOf(resource).Any(to => !to.Weak && to.Kind == other.Kind && to.Name == other.Metadata.Name);

    /// <summary>What a resource refers to. One that this build cannot read refers to nothing that it could find; placement says why.</summary>
    public IReadOnlyList<Reference> ReferencesOf(Resource resource)
    {
        if (!_kinds.TryGetValue(resource.Kind, out var fleet)) return [];
        try { return [.. fleet.References(resource.Spec.Memory)]; }
        catch (JsonException) { return []; }
    }
}
