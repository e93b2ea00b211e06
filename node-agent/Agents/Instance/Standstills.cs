using System.Collections.Concurrent;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// Machines of which this process makes a snapshot. libvirt holds them meanwhile and lets them go on by itself: whoever looks at them is told the power that
/// they have otherwise, and does not let them go on in the middle.
/// </summary>
internal sealed class Standstills
{
    private readonly ConcurrentDictionary<string, string> _power = new(StringComparer.Ordinal);

    /// <summary>The power that the machine has otherwise; null when no snapshot of it is being made.</summary>
    public string? Of(string uuid) => _power.GetValueOrDefault(uuid);

    /// <summary>Until it is disposed of.</summary>
    public IDisposable Begin(string uuid, string power)
    {
        _power[uuid] = power;
        return new Standstill(this, uuid);
    }

    private sealed class Standstill(Standstills all, string uuid) : IDisposable
    {
        public void Dispose() => all._power.TryRemove(uuid, out _);
    }
}
