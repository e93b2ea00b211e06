using System.Collections.Frozen;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Redis;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator;

/// <summary>Every fleet half that this coordinator hosts; nothing is found by looking for it.</summary>
internal sealed class AgentCatalog
{
    private readonly FrozenDictionary<string, IFleetKind> _kinds = new IFleetKind[]
    {
        new RedisFleet(),
    }.ToFrozenDictionary(k => k.Kind, StringComparer.Ordinal);

    public bool Has(string kind) => _kinds.ContainsKey(kind);

    /// <summary>What placement must know of a validated resource.</summary>
    public FleetShape ShapeOf(Resource resource) => _kinds[resource.Kind].Read(resource.Spec.Memory);
}
