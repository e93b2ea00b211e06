using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Fleet;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>The hosts as placement sees them, kept as things change: one pass over one resource must not cost a look at every assignment.</summary>
internal sealed class HostBoard(FleetModel model, NodeRegistry registry, HostStandings standings)
{
    private readonly Lock _lock = new();
    private ImmutableSortedDictionary<string, HostView> _hosts = ImmutableSortedDictionary.Create<string, HostView>(StringComparer.Ordinal);

    public ImmutableSortedDictionary<string, HostView> Current { get { lock (_lock) return _hosts; } }

    public void Load()
    {
        foreach (var uid in model.Current.Joined.Keys) Refresh(uid);
    }

    /// <summary>Something about this node changed.</summary>
    public void Refresh(string uid)
    {
        lock (_lock)
        {
            var view = model.Current;
            _hosts = Build(view, uid) is { } host ? _hosts.SetItem(uid, host) : _hosts.Remove(uid);
        }
    }

    private HostView? Build(FleetView view, string uid)
    {
        // One that was struck off is no host any more: another one may have its name.
        if (!view.Joined.TryGetValue(uid, out var joined) || joined.RevokedUnixMs is not null) return null;
        var said = view.Nodes.GetValueOrDefault(uid)?.Value;
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        // What the join token granted stands above what a host says of itself.
        if (said is not null)
            foreach (var (key, value) in said.Labels) labels[key] = value;
        foreach (var (key, value) in joined.Labels) labels[key] = value;
        var ports = ImmutableSortedDictionary.CreateBuilder<int, PortHolder>();
        var holds = ImmutableSortedDictionary.CreateBuilder<string, Hold>(StringComparer.Ordinal);
        // What runs there without being known takes its room and its port as well.
        foreach (var a in standings.Orphans(uid).Select(o => o.Assignment).Concat(view.OfNode(uid).Select(r => r.Value)))
        {
            var port = a.Peers.FirstOrDefault(p => p.Ordinal == a.Ordinal)?.Port ?? 0;
            if (Hold.Of(a.ReserveMemory, a.ReserveCpuMillis, port) is { } hold) holds[Placement.KeyOf(a.ResourceUid, a.Ordinal)] = hold;
            if (port > 0) ports[port] = new(a.ResourceUid, a.Ordinal, $"{a.Kind} {a.Project}/{a.Name}");
        }
        return new()
        {
            Uid = uid,
            Name = joined.Name,
            Address = said?.Addresses.FirstOrDefault() ?? "",
            Standing = registry.Live(uid).Standing is var standing && standing == Standing.Open && standings.RefusedBy(uid).Length > 0 ? Standing.Refuses : standing,
            Labels = labels.ToImmutable(),
            Kinds = said is null ? ImmutableSortedSet.Create<string>(StringComparer.Ordinal) : said.Kinds.ToImmutableSortedSet(StringComparer.Ordinal),
            NoHypervisor = said?.Facts.GetValueOrDefault("hypervisor") == "none",
            TransferPort = said is not null && said.Facts.TryGetValue("transfer_port", out var transfer) && int.TryParse(transfer, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is > 0 and <= 65535 ? number : 0,
            Ports = ports.ToImmutable(),
            Holds = holds.ToImmutable(),
            Allocatable = said is null ? null : AllocatableOf(said),
        };
    }

    /// <summary>Null when the host does not tell its memory and cores, or tells no numbers: then nothing can be reserved there.</summary>
    private static Capacity? AllocatableOf(Proto.V1.Node said) =>
        said.Facts.TryGetValue("memory_mib", out var memory) && int.TryParse(memory, NumberStyles.None, CultureInfo.InvariantCulture, out var mib) && mib > 0
        && said.Facts.TryGetValue("cpus", out var cpus) && int.TryParse(cpus, NumberStyles.None, CultureInfo.InvariantCulture, out var cores) && cores is > 0 and <= 1_000_000
            ? Capacity.Allocatable((long)mib << 20, cores) : null;
}
