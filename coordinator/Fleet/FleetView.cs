using System.Collections.Immutable;
using System.Text.Json;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>A message as the store has it. The message is shared between threads: nobody writes to it, who wants another one clones.</summary>
/// <param name="Value">The message.</param>
/// <param name="ModifiedAt">The revision number that wrote it.</param>
internal sealed record Row<T>(T Value, long ModifiedAt)
    where T : class;

/// <summary>What a change touched.</summary>
internal sealed record FleetDelta
{
    /// <summary>Uids of resources that changed, or whose assignments did.</summary>
    public required ImmutableHashSet<string> Resources { get; init; }

    /// <summary>Uids of nodes whose record or assignments changed.</summary>
    public required ImmutableHashSet<string> Nodes { get; init; }

    /// <summary>Uids of nodes whose own record changed: labels, address, kinds, revocation.</summary>
    public required ImmutableHashSet<string> Hosts { get; init; }

    /// <summary>Keys of assignments that were put or deleted.</summary>
    public required ImmutableHashSet<string> Assignments { get; init; }

    /// <summary>"project/Kind/name" of resources that were put or deleted themselves: who refers to them must look again.</summary>
    public required ImmutableHashSet<string> Names { get; init; }

    /// <summary>"project/Kind/name" of what resources that changed refer to, or did.</summary>
    public required ImmutableHashSet<string> Referred { get; init; }
}

/// <summary>The desired state at one revision, indexed. Immutable: whoever holds one sees one moment.</summary>
internal sealed record FleetView
{
    private static readonly ImmutableSortedDictionary<string, ReadOnlyMemory<byte>> NoSecrets = ImmutableSortedDictionary.Create<string, ReadOnlyMemory<byte>>(StringComparer.Ordinal);
    private static readonly ImmutableSortedSet<string> None = ImmutableSortedSet.Create<string>(StringComparer.Ordinal);

    public required Revision At { get; init; }

    /// <summary>"project/Kind/name" of what a resource refers to; pure.</summary>
    public Func<Resource, IEnumerable<string>> ReferencesOf { get; init; } = static _ => [];

    /// <summary>By uid.</summary>
    public ImmutableDictionary<string, Row<Resource>> Resources { get; init; } = ImmutableDictionary.Create<string, Row<Resource>>(StringComparer.Ordinal);

    /// <summary>"project/Kind/name" to uid, ordered.</summary>
    public ImmutableSortedDictionary<string, string> Names { get; init; } = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>By {node-uid}/{kind}/{resource-uid}/{ordinal}.</summary>
    public ImmutableDictionary<string, Row<Assignment>> Assignments { get; init; } = ImmutableDictionary.Create<string, Row<Assignment>>(StringComparer.Ordinal);

    /// <summary>Who has joined, by uid: names, labels and revocations.</summary>
    public ImmutableSortedDictionary<string, NodeRecord> Joined { get; init; } = ImmutableSortedDictionary.Create<string, NodeRecord>(StringComparer.Ordinal);

    /// <summary>What nodes said of themselves when they attached last, by uid.</summary>
    public ImmutableSortedDictionary<string, Row<Node>> Nodes { get; init; } = ImmutableSortedDictionary.Create<string, Row<Node>>(StringComparer.Ordinal);

    private ImmutableDictionary<string, ImmutableSortedDictionary<string, ReadOnlyMemory<byte>>> Secrets { get; init; } =
        ImmutableDictionary.Create<string, ImmutableSortedDictionary<string, ReadOnlyMemory<byte>>>(StringComparer.Ordinal);

    private ImmutableDictionary<string, ImmutableSortedSet<string>> ByReference { get; init; } = ImmutableDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal);

    private ImmutableDictionary<string, ImmutableSortedSet<string>> ByResource { get; init; } = ImmutableDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal);

    private ImmutableDictionary<string, ImmutableSortedSet<string>> ByNode { get; init; } = ImmutableDictionary.Create<string, ImmutableSortedSet<string>>(StringComparer.Ordinal);

    /// <summary>The assignments of a resource, in the order of their keys.</summary>
    public IEnumerable<Row<Assignment>> OfResource(string uid) => ByResource.GetValueOrDefault(uid, None).Select(k => Assignments[k]);

    /// <summary>The assignments of a node, in the order of their keys.</summary>
    public IEnumerable<Row<Assignment>> OfNode(string uid) => ByNode.GetValueOrDefault(uid, None).Select(k => Assignments[k]);

    /// <summary>Uids of the resources that refer to this one, which need not exist.</summary>
    /// <param name="path">"project/Kind/name".</param>
    public ImmutableSortedSet<string> ReferrersOf(string path) => ByReference.GetValueOrDefault(path, None);

    /// <summary>The sealed secrets of a resource by name.</summary>
    public ImmutableSortedDictionary<string, ReadOnlyMemory<byte>> SecretsOf(string uid) => Secrets.GetValueOrDefault(uid, NoSecrets);

    public Row<Resource>? Find(string project, string kind, string name) =>
        Named($"{project}/{kind}/{name}");

    /// <summary>By "project/Kind/name".</summary>
    public Row<Resource>? Named(string path) => Names.TryGetValue(path, out var uid) ? Resources[uid] : null;

    public string NodeName(string uid) => Joined.TryGetValue(uid, out var node) ? node.Name : uid;

    /// <summary>The view after one transaction of the store.</summary>
    public FleetView After(Revision at, IEnumerable<StoreChange> changes, out FleetDelta delta)
    {
        var (resources, nodes, assignments) = (ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal), ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal), ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal));
        var hosts = ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal);
        var (names, referred) = (ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal), ImmutableHashSet.CreateBuilder<string>(StringComparer.Ordinal));
        var view = this with { At = at };
        foreach (var change in changes)
        {
            if (change.Key.StartsWith(StoreKeys.Resources, StringComparison.Ordinal)) view = view.WithResource(change, at.Number, resources, names, referred);
            else if (change.Key.StartsWith(StoreKeys.Nodes, StringComparison.Ordinal)) view = view.WithNode(change, at.Number, hosts);
            else if (change.Key.StartsWith(IdentityKeys.Nodes, StringComparison.Ordinal)) view = view.WithJoined(change, hosts);
            else if (change.Key.StartsWith(StoreKeys.Secrets, StringComparison.Ordinal)) view = view.WithSecret(change);
            else if (change.Key.StartsWith(StoreKeys.Assignments, StringComparison.Ordinal))
            {
                var key = change.Key[StoreKeys.Assignments.Length..];
                view = view.WithAssignment(key, change, at.Number);
                assignments.Add(key);
                var parts = key.Split('/');
                nodes.Add(parts[0]);
                resources.Add(parts[2]);
            }
        }
        nodes.UnionWith(hosts);
        delta = new()
        {
            Resources = resources.ToImmutable(),
            Nodes = nodes.ToImmutable(),
            Hosts = hosts.ToImmutable(),
            Assignments = assignments.ToImmutable(),
            Names = names.ToImmutable(),
            Referred = referred.ToImmutable(),
        };
        return view;
    }

    private FleetView WithResource(StoreChange change, long at, ImmutableHashSet<string>.Builder touched, ImmutableHashSet<string>.Builder names, ImmutableHashSet<string>.Builder referred)
    {
        var name = change.Key[StoreKeys.Resources.Length..];
        names.Add(name);
        var view = this;
        // A name that was deleted and made again has another uid.
        if (Names.TryGetValue(name, out var old))
        {
            touched.Add(old);
            foreach (var path in ReferencesOf(Resources[old].Value))
            {
                referred.Add(path);
                view = view with { ByReference = Set(view.ByReference, path, view.ReferrersOf(path).Remove(old)) };
            }
            view = view with { Names = view.Names.Remove(name), Resources = view.Resources.Remove(old) };
        }
        if (change.Value is not { } bytes) return view;
        var resource = Resource.Parser.ParseFrom(bytes.Span);
        resource.Revision = at;
        touched.Add(resource.Metadata.Uid);
        foreach (var path in ReferencesOf(resource))
        {
            referred.Add(path);
            view = view with { ByReference = Set(view.ByReference, path, view.ReferrersOf(path).Add(resource.Metadata.Uid)) };
        }
        return view with { Names = view.Names.SetItem(name, resource.Metadata.Uid), Resources = view.Resources.SetItem(resource.Metadata.Uid, new(resource, at)) };
    }

    private FleetView WithNode(StoreChange change, long at, ImmutableHashSet<string>.Builder touched)
    {
        var uid = change.Key[StoreKeys.Nodes.Length..];
        touched.Add(uid);
        return this with { Nodes = change.Value is { } bytes ? Nodes.SetItem(uid, new(Node.Parser.ParseFrom(bytes.Span), at)) : Nodes.Remove(uid) };
    }

    private FleetView WithJoined(StoreChange change, ImmutableHashSet<string>.Builder touched)
    {
        var uid = change.Key[IdentityKeys.Nodes.Length..];
        touched.Add(uid);
        return this with
        {
            Joined = change.Value is { } bytes ? Joined.SetItem(uid, JsonSerializer.Deserialize(bytes.Span, IdentityJson.Default.NodeRecord)!) : Joined.Remove(uid),
        };
    }

    private FleetView WithSecret(StoreChange change)
    {
        var parts = change.Key.Split('/');
        var all = SecretsOf(parts[1]);
        all = change.Value is { } box ? all.SetItem(parts[2], box) : all.Remove(parts[2]);
        return this with { Secrets = all.IsEmpty ? Secrets.Remove(parts[1]) : Secrets.SetItem(parts[1], all) };
    }

    private FleetView WithAssignment(string key, StoreChange change, long at)
    {
        var parts = key.Split('/');
        var (node, resource) = (parts[0], parts[2]);
        var (ofNode, ofResource) = (ByNode.GetValueOrDefault(node, None), ByResource.GetValueOrDefault(resource, None));
        if (change.Value is not { } bytes)
        {
            return this with { Assignments = Assignments.Remove(key), ByNode = Set(ByNode, node, ofNode.Remove(key)), ByResource = Set(ByResource, resource, ofResource.Remove(key)) };
        }
        var assignment = Assignment.Parser.ParseFrom(bytes.Span);
        assignment.Revision = at;
        return this with
        {
            Assignments = Assignments.SetItem(key, new(assignment, at)),
            ByNode = Set(ByNode, node, ofNode.Add(key)),
            ByResource = Set(ByResource, resource, ofResource.Add(key)),
        };
    }

    private static ImmutableDictionary<string, ImmutableSortedSet<string>> Set(ImmutableDictionary<string, ImmutableSortedSet<string>> index, string key, ImmutableSortedSet<string> values) =>
        values.IsEmpty ? index.Remove(key) : index.SetItem(key, values);
}
