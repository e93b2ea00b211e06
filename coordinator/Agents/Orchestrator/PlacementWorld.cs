using System.Collections.Immutable;
using System.Globalization;
using System.Security.Cryptography;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>Reads what placement plans with: the model, the hosts, the reports. All of it is in memory, so looking is free.</summary>
internal sealed class PlacementWorld(FleetModel model, HostBoard hosts, Reports reports, AgentCatalog catalog)
{
    /// <summary>What is wanted of a resource; null = teardown.</summary>
    /// <param name="resource">As it is, or as it would be.</param>
    /// <param name="brought">By "project/Kind/name", what stands above the store: resources of the same request.</param>
    /// <param name="placed">By "project/Kind/name", the uid of the host where one of the same request would be.</param>
    public PlacementGoal? Goal(Resource resource, IReadOnlyDictionary<string, Resource>? brought = null, IReadOnlyDictionary<string, string>? placed = null)
    {
        if (resource.Metadata.DeletedUnixMs != 0) return null;
        var referred = Look(resource, brought);
        return new()
        {
            Kind = resource.Kind,
            Generation = resource.Metadata.Generation,
            Shape = catalog.ShapeOf(resource),
            SpecHash = referred.SpecHash(resource),
            Signed = Referred.SignedBy(referred.Digests(resource)),
            Unresolved = referred.Missing,
            Beside = Neighbours(resource, placed),
            Protect = resource.Metadata.Protect,
        };
    }

    /// <summary>What a resource refers to, with the request's own resources first.</summary>
    public Referred Look(Resource resource, IReadOnlyDictionary<string, Resource>? brought = null)
    {
        var view = model.Current;
        return Referred.Look(catalog, resource, path => brought?.GetValueOrDefault(path) ?? view.Named(path)?.Value);
    }

    /// <summary>Hash of everything that makes up the goal.</summary>
    /// <param name="resource">Whose goal.</param>
    /// <param name="goal">Null = teardown.</param>
    public static string GoalHash(Resource resource, PlacementGoal? goal)
    {
        var hash = new FieldHash("agentmetal/placement-goal/v1").Add(resource.Metadata.Uid).Add(resource.Metadata.Generation)
            .Add(goal?.SpecHash ?? SpecHash(resource.Spec.Span)).Add(resource.Metadata.Protect ? 1 : 0).Add(resource.Metadata.DeletedUnixMs != 0 ? 1 : 0);
        if (goal is { Signed.Length: > 0 }) hash.Add(goal.Signed);
        foreach (var missing in goal?.Unresolved ?? []) hash.Add(missing);
        foreach (var other in goal?.Beside ?? []) hash.Add(other.Key).Add(other.Node);
        return hash.Hex();
    }

    public static PlanRequest Request(Resource resource, PlacementGoal? goal) => new(new(FleetJournal.Chain, resource.Metadata.Uid, resource.Metadata.Generation), GoalHash(resource, goal));

    /// <summary>The state of a resource that exists, or did.</summary>
    public PlacementState Observe(string uid) => model.Current.Resources.TryGetValue(uid, out var row)
        ? Observe(row.Value, exists: true)
        : new() { ResourceUid = uid, ResourceKey = uid, Generation = 0, Exists = false, Hosts = hosts.Current, Members = Members(uid) };

    /// <summary>The state as it would be seen were the resource this one.</summary>
    public PlacementState Observe(Resource resource, bool exists) => new()
    {
        ResourceUid = resource.Metadata.Uid,
        ResourceKey = Keys.Of(resource),
        Generation = resource.Metadata.Generation,
        Exists = exists,
        Hosts = hosts.Current,
        Members = Members(resource.Metadata.Uid),
    };

    /// <summary>Where those are on whose host its members belong. One that has members on two hosts is on its way from one to the other.</summary>
    private ImmutableArray<Neighbour> Neighbours(Resource resource, IReadOnlyDictionary<string, string>? placed)
    {
        var view = model.Current;
        var found = ImmutableArray.CreateBuilder<Neighbour>();
        foreach (var to in catalog.ReferencesOf(resource).Where(r => r.Bond != Bond.None))
        {
            var (path, key) = (Keys.Path(resource.Metadata.Project, to), $"{to.Kind} {resource.Metadata.Project}/{to.Name}");
            string[] nodes = placed?.GetValueOrDefault(path) is { } planned ? [planned]
                : view.Named(path) is { } row ? [.. view.OfResource(row.Value.Metadata.Uid).Where(a => !a.Value.Absent).Select(a => a.Value.Key[..a.Value.Key.IndexOf('/', StringComparison.Ordinal)]).Distinct(StringComparer.Ordinal)] : [];
            found.Add(nodes is [var node] ? new(key, to.Bond, node, "") : new(key, to.Bond, "", nodes.Length == 0 ? "has no host yet" : "is on its way to another host"));
        }
        return found.DrainToImmutable();
    }

    public static string SpecHash(ReadOnlySpan<byte> spec) => Convert.ToHexStringLower(SHA256.HashData(spec));

    private ImmutableSortedDictionary<string, MemberView> Members(string uid)
    {
        var members = ImmutableSortedDictionary.CreateBuilder<string, MemberView>(StringComparer.Ordinal);
        foreach (var row in model.Current.OfResource(uid))
        {
            var member = Read(row.Value);
            members[member.Key] = member;
        }
        return members.ToImmutable();
    }

    private static PeerView? View(Peer? p) => p is null ? null : new(p.Ordinal, p.NodeUid, p.NodeName, p.Address, p.Port);

    private MemberView Read(Assignment a)
    {
        var report = reports.Find(a.Key);
        return new()
        {
            Node = a.Key[..a.Key.IndexOf('/', StringComparison.Ordinal)],
            Ordinal = a.Ordinal,
            Port = a.Peers.FirstOrDefault(p => p.Ordinal == a.Ordinal)?.Port ?? 0,
            Generation = a.Generation,
            SpecHash = Referred.SpecHash(a),
            Signed = Referred.SignedBy(a.Digests),
            MemoryBytes = a.ReserveMemory,
            CpuMillis = a.ReserveCpuMillis,
            Primary = a.PrimaryOrdinal,
            Protect = a.Protect,
            Adopt = a.Adopt,
            Peers = [.. a.Peers.Select(p => new PeerView(p.Ordinal, p.NodeUid, p.NodeName, p.Address, p.Port))],
            Absent = a.Absent,
            Teardown = a.Teardown,
            Acknowledged = a.Absent && report is { Report.AbsentAcknowledged: true } && report.Report.Generation >= a.Generation,
            Served = report?.Served ?? 0,
            MoveFrom = View(a.MoveFrom),
            MoveTo = View(a.MoveTo),
            HandedOver = report?.Report.HandedOver ?? "",
            Received = report?.Report.Received ?? "",
        };
    }
}

/// <summary>How resources are named to people.</summary>
internal static class Keys
{
    public static string Of(Resource resource) => $"{resource.Kind} {resource.Metadata.Project}/{resource.Metadata.Name}";

    public static string Of(Assignment assignment) => $"{assignment.Kind} {assignment.Project}/{assignment.Name}";

    /// <summary>"project/Kind/name" of what a resource of this project refers to.</summary>
    public static string Path(string project, Reference to) => $"{project}/{to.Kind}/{to.Name}";

    public static string Path(Resource resource) => $"{resource.Metadata.Project}/{resource.Kind}/{resource.Metadata.Name}";

    /// <summary>As it is typed after a verb: "redis sessions", with the project where it is not the default one.</summary>
    public static string Command(Resource resource) => string.Create(CultureInfo.InvariantCulture,
        $"{resource.Kind.ToLowerInvariant()} {resource.Metadata.Name}{(resource.Metadata.Project == "default" ? "" : " -p " + resource.Metadata.Project)}");
}
