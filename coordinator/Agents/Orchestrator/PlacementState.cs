using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>Whether a host can be given members.</summary>
internal enum Standing
{
    /// <summary>Attached.</summary>
    Open,

    /// <summary>Not heard from: keeps what it has, is given nothing new.</summary>
    Away,

    /// <summary>Two streams claim to be it: keeps what it has, is given nothing new.</summary>
    Quarantined,

    /// <summary>It does not follow this store: keeps what it has, and does nothing that it is told.</summary>
    Refuses,
}

/// <summary>What placement sees of a host.</summary>
internal sealed record HostView
{
    public required string Uid { get; init; }

    public required string Name { get; init; }

    /// <summary>The address that peers use; empty until the host attached once.</summary>
    public required string Address { get; init; }

    public required Standing Standing { get; init; }

    public required ImmutableSortedDictionary<string, string> Labels { get; init; }

    /// <summary>What its build can run.</summary>
    public required ImmutableSortedSet<string> Kinds { get; init; }

    /// <summary>It says that nothing runs virtual machines there (the fact `hypervisor` is none); one that says nothing may.</summary>
    public bool NoHypervisor { get; init; }

    /// <summary>Where it can be reached by the host that takes a member from it; 0 = its build hands nothing over.</summary>
    public int TransferPort { get; init; }

    /// <summary>Ports taken by members, with the resource that takes it.</summary>
    public required ImmutableSortedDictionary<int, PortHolder> Ports { get; init; }

    /// <summary>What members can reserve in all; null = the host has not told what it has.</summary>
    public Capacity? Allocatable { get; init; }

    /// <summary>By "resource-uid/ordinal": members that reserve something, and those that listen nowhere.</summary>
    public ImmutableSortedDictionary<string, Hold> Holds { get; init; } = ImmutableSortedDictionary.Create<string, Hold>(StringComparer.Ordinal);

    /// <summary>How many members it has.</summary>
    public int Load => Ports.Count + (Holds.IsEmpty ? 0 : Holds.Count(h => !h.Value.Listens));

    /// <summary>What members reserve.</summary>
    public Capacity Held => Holds.IsEmpty ? Capacity.None : new(Holds.Sum(h => h.Value.MemoryBytes), Holds.Sum(h => h.Value.CpuMillis));

    /// <summary>What is left; null = not known. Below zero when the host has less than it had.</summary>
    public Capacity? Free => Allocatable is { } all && Held is var held ? new(all.MemoryBytes - held.MemoryBytes, all.CpuMillis - held.CpuMillis) : null;
}

/// <param name="MemoryBytes">Of memory.</param>
/// <param name="CpuMillis">Thousandths of a core.</param>
internal sealed record Capacity(long MemoryBytes, int CpuMillis)
{
    private const long KeptBack = 512L << 20;

    public static Capacity None { get; } = new(0, 0);

    /// <summary>
    /// What members may reserve of a host's memory and cores. The host keeps 512 MiB or a tenth for itself, whichever is more, and never more than a quarter;
    /// processor time is shared, so of that it keeps nothing.
    /// </summary>
    public static Capacity Allocatable(long memoryBytes, int cores) => new(memoryBytes - Math.Min(Math.Max(KeptBack, memoryBytes / 10), memoryBytes / 4), cores * 1000);
}

/// <summary>What one member takes of its host.</summary>
/// <param name="MemoryBytes">Reserved.</param>
/// <param name="CpuMillis">Reserved.</param>
/// <param name="Listens">It has a port too.</param>
internal sealed record Hold(long MemoryBytes, int CpuMillis, bool Listens)
{
    /// <summary>Null for a member that its port says everything of.</summary>
    public static Hold? Of(long memoryBytes, int cpuMillis, int port) => port == 0 || memoryBytes > 0 || cpuMillis > 0 ? new(memoryBytes, cpuMillis, port != 0) : null;

    public string AsFact() => string.Create(CultureInfo.InvariantCulture, $"memory={MemoryBytes} cpu={CpuMillis}");
}

/// <summary>Who takes a port.</summary>
/// <param name="Resource">Its uid.</param>
/// <param name="Ordinal">Which member.</param>
/// <param name="Key">"Redis default/sessions", for people.</param>
internal sealed record PortHolder(string Resource, int Ordinal, string Key);

/// <summary>What a member is told of another.</summary>
internal sealed record PeerView(int Ordinal, string Node, string NodeName, string Address, int Port);

/// <summary>One assignment of the resource.</summary>
internal sealed record MemberView
{
    public required string Node { get; init; }

    public required int Ordinal { get; init; }

    public required int Port { get; init; }

    public required long Generation { get; init; }

    public required string SpecHash { get; init; }

    /// <summary>Who signed what of it; see <see cref="PlacementGoal.Signed"/>.</summary>
    public string Signed { get; init; } = "";

    /// <summary>Bytes that are kept for it on its host.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Thousandths of a core that are kept for it.</summary>
    public int CpuMillis { get; init; }

    public required int Primary { get; init; }

    public required bool Protect { get; init; }

    public required string Adopt { get; init; }

    /// <summary>In the order of their ordinals.</summary>
    public required ImmutableArray<PeerView> Peers { get; init; }

    /// <summary>Desired absent.</summary>
    public bool Absent { get; init; }

    /// <summary>The whole resource goes.</summary>
    public bool Teardown { get; init; }

    /// <summary>The node said that it is gone.</summary>
    public bool Acknowledged { get; init; }

    /// <summary>The newest generation at which the node reported it converged; 0 = none that we know of.</summary>
    public long Served { get; init; }

    /// <summary>Where it is told to take the member from; null = it is its own.</summary>
    public PeerView? MoveFrom { get; init; }

    /// <summary>Where it is told to hand the member over to; null = it keeps it.</summary>
    public PeerView? MoveTo { get; init; }

    /// <summary>The node that it said to have let go of the member for; empty = none.</summary>
    public string HandedOver { get; init; } = "";

    /// <summary>The node that it said to have the member from; empty = none.</summary>
    public string Received { get; init; } = "";

    /// <summary>"node-uid/ordinal".</summary>
    public string Key => Placement.KeyOf(Node, Ordinal);

    /// <summary>All that the assignment says, as one fact.</summary>
    public string AsFact() => Absent
        ? string.Create(CultureInfo.InvariantCulture, $"absent gen={Generation}{(Teardown ? " teardown" : "")}")
        : string.Create(CultureInfo.InvariantCulture,
            $"present gen={Generation} spec={SpecHash}{(Port > 0 ? $" port={Port}" : "")} primary={Primary}{(Protect ? " protected" : "")}{(Adopt.Length > 0 ? " adopt=" + Adopt : "")}{Extras} peers={Placement.Text(Peers)}");

    /// <summary>What it takes of its host beside its port; null = nothing.</summary>
    public Hold? Hold => Hold.Of(MemoryBytes, CpuMillis, Port);

    private string Extras => string.Create(CultureInfo.InvariantCulture,
        $"{(MemoryBytes > 0 || CpuMillis > 0 ? $" reserves={MemoryBytes}/{CpuMillis}" : "")}{(Signed.Length > 0 ? " signed=" + Signed : "")}{Moved(" from=", MoveFrom)}{Moved(" to=", MoveTo)}");

    private static string Moved(string word, PeerView? peer) => peer is null ? "" : word + Placement.Text([peer]);
}

/// <summary>The hosts, and one resource's members on them.</summary>
internal sealed record PlacementState
{
    public required string ResourceUid { get; init; }

    /// <summary>"Redis default/sessions".</summary>
    public required string ResourceKey { get; init; }

    /// <summary>The resource's generation as the store has it.</summary>
    public required long Generation { get; init; }

    /// <summary>Whether the store has the resource.</summary>
    public required bool Exists { get; init; }

    /// <summary>By uid.</summary>
    public required ImmutableSortedDictionary<string, HostView> Hosts { get; init; }

    /// <summary>By "node-uid/ordinal".</summary>
    public required ImmutableSortedDictionary<string, MemberView> Members { get; init; }

    /// <summary>The state with this member, what it takes of its host taken.</summary>
    public PlacementState Put(MemberView member)
    {
        var old = Members.GetValueOrDefault(member.Key);
        var hosts = Hosts;
        if (old is not null && old.Port != member.Port) hosts = WithoutPort(hosts, old);
        if (hosts.TryGetValue(member.Node, out var host))
        {
            var key = Placement.KeyOf(ResourceUid, member.Ordinal);
            hosts = hosts.SetItem(member.Node, host with
            {
                Ports = member.Port == 0 ? host.Ports : host.Ports.SetItem(member.Port, new(ResourceUid, member.Ordinal, ResourceKey)),
                Holds = member.Hold is { } hold ? host.Holds.SetItem(key, hold) : host.Holds.Remove(key),
            });
        }
        return this with { Hosts = hosts, Members = Members.SetItem(member.Key, member) };
    }

    /// <summary>The state without it, what it took free.</summary>
    public PlacementState Remove(string key)
    {
        if (!Members.TryGetValue(key, out var old)) return this;
        var hosts = WithoutPort(Hosts, old);
        if (hosts.TryGetValue(old.Node, out var host))
            hosts = hosts.SetItem(old.Node, host with { Holds = host.Holds.Remove(Placement.KeyOf(ResourceUid, old.Ordinal)) });
        return this with { Hosts = hosts, Members = Members.Remove(key) };
    }

    private ImmutableSortedDictionary<string, HostView> WithoutPort(ImmutableSortedDictionary<string, HostView> hosts, MemberView member) =>
        hosts.TryGetValue(member.Node, out var host) && host.Ports.TryGetValue(member.Port, out var holder) && holder.Resource == ResourceUid && holder.Ordinal == member.Ordinal
            ? hosts.SetItem(member.Node, host with { Ports = host.Ports.Remove(member.Port) })
            : hosts;
}

/// <summary>The words of placement's facts.</summary>
internal static class Placement
{
    public static string KeyOf(string node, int ordinal) => string.Create(CultureInfo.InvariantCulture, $"{node}/{ordinal}");

    public static string Text(ImmutableArray<PeerView> peers) =>
        string.Join(',', peers.Select(p => string.Create(CultureInfo.InvariantCulture, $"{p.Ordinal}={p.Node}:{p.NodeName}:{p.Address}:{p.Port}")));
}
