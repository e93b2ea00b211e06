using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Coordinator.Agents.Redis;

/// <summary>The fleet half of Redis: a primary and its replicas, one port, one generated password that all members share.</summary>
internal sealed class RedisFleet : IFleetKind
{
    /// <summary>The secret's name in an assignment.</summary>
    public const string Password = "password";

    public string Kind => RedisKind.Name;

    public FleetShape Read(ReadOnlyMemory<byte> spec)
    {
        var redis = RedisSpec.Parse(spec);
        return new()
        {
            Members = 1 + redis.Replicas,
            Port = redis.Port,
            Primary = redis.Primary,
            Labels = redis.PlacementLabels,
            SpreadOverHosts = redis.Spread == "host",
            MemoryBytes = redis.MemoryLimit,
            Adopt = redis.AdoptUnit,
            Secrets = redis.Auth ? [Password] : [],
        };
    }
}
