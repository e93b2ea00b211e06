using AgentMetal.Coordinator.Nodes;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>
/// Uids and secrets of resources that were planned and do not exist yet. A step's hash covers both, so the plan that a person looked at is only then the
/// plan that runs if the apply uses the same ones. In memory, bounded, for as long as plans are kept.
/// </summary>
internal sealed class PlanReservations(TimeProvider clock)
{
    public static readonly TimeSpan Life = TimeSpan.FromMinutes(15);
    private const int Capacity = 10_000;

    private sealed record Reserved(string Uid, DateTimeOffset Until);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Reserved> _uids = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Uid, string Name), (byte[] Value, DateTimeOffset Until)> _secrets = [];

    /// <summary>The uid for a resource that is to be made.</summary>
    /// <param name="key">"project/Kind/name".</param>
    public string Uid(string key)
    {
        lock (_lock)
        {
            Prune();
            var until = clock.GetUtcNow() + Life;
            var uid = _uids.TryGetValue(key, out var reserved) ? reserved.Uid : Guid.NewGuid().ToString("N");
            _uids[key] = new(uid, until);
            return uid;
        }
    }

    /// <summary>The resource exists now: the name's next resource is another one.</summary>
    public void Used(string key)
    {
        lock (_lock) _uids.Remove(key);
    }

    /// <summary>The value that was shown to hosts in a plan, or a new one.</summary>
    public byte[] Secret(string uid, string name)
    {
        lock (_lock)
        {
            Prune();
            var value = _secrets.TryGetValue((uid, name), out var reserved) ? reserved.Value : SecretShelf.Mint();
            _secrets[(uid, name)] = (value, clock.GetUtcNow() + Life);
            return value;
        }
    }

    private void Prune()
    {
        var now = clock.GetUtcNow();
        foreach (var (key, reserved) in _uids.Where(r => r.Value.Until < now).ToList()) _uids.Remove(key);
        foreach (var (key, reserved) in _secrets.Where(r => r.Value.Until < now).ToList()) _secrets.Remove(key);
        // More names than anybody plans in a quarter of an hour: forgetting costs a plan that must be made again.
        if (_uids.Count > Capacity) _uids.Clear();
        if (_secrets.Count > Capacity) _secrets.Clear();
    }
}
