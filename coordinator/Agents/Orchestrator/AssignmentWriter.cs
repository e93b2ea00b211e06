using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Store;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>Carries placement's calls out in the store.</summary>
internal sealed class AssignmentWriter(FleetWriter writer, AgentCatalog catalog, SecretShelf secrets, PlanReservations reservations) : IAssignmentWriter
{
    public async ValueTask PutAsync(MemberArgs args, CancellationToken stop) => await TryAsync(view =>
    {
        var resource = Resource(view, args.Resource, args.Generation);
        if (resource.Metadata.DeletedUnixMs != 0) throw new WorldException($"{Keys.Of(resource)} is being deleted");
        var referred = Referred.Look(catalog, resource, path => view.Named(path)?.Value);
        if (!referred.Missing.IsEmpty) throw new WorldException(string.Join("; ", referred.Missing));
        if (referred.SpecHash(resource) != args.SpecHash || Referred.SignedBy(referred.Digests(resource)) != args.Signed) throw new WorldException($"what {Keys.Of(resource)} refers to, or who signed it, changed meanwhile");
        var assignment = Build(resource, args, referred);
        var key = StoreKeys.Assignment(assignment.Key);
        var writes = new List<StoreWrite> { StoreWrite.Put(key, assignment.ToByteArray()) };
        foreach (var name in catalog.ShapeOf(resource).Secrets)
        {
            if (view.SecretsOf(args.Resource).ContainsKey(name)) continue;
            // What a plan was shown with is what is used, or the plan that was agreed to would not be the one that runs.
            var value = reservations.Secret(resource.Metadata.Uid, name);
            writes.Add(StoreWrite.Put(StoreKeys.Secret(args.Resource, name), secrets.Seal(args.Resource, name, value)));
        }
        return Same(view, assignment) && writes.Count == 1 ? [] : writes;
    }, stop);

    public async ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop) => await TryAsync(view =>
    {
        var resource = Resource(view, args.Resource, args.Generation);
        var key = StoreKeys.AssignmentKey(args.Node, resource.Kind, args.Resource, args.Ordinal);
        if (!view.Assignments.TryGetValue(key, out var row)) return [];
        var released = row.Value.Clone();
        (released.Absent, released.Teardown, released.Generation, released.Protect, released.Revision) = (true, args.Teardown, args.Generation, resource.Metadata.Protect, 0);
        return Same(view, released) ? [] : [StoreWrite.Put(StoreKeys.Assignment(key), released.ToByteArray())];
    }, stop);

    public async ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop) => await TryAsync(view =>
    {
        if (view.OfResource(args.Resource).FirstOrDefault(r => r.Value.Ordinal == args.Ordinal && r.Value.Key.StartsWith(args.Node + "/", StringComparison.Ordinal)) is not { } row) return [];
        if (!row.Value.Absent) throw new WorldException($"member {args.Ordinal} on {args.NodeName} is wanted again");
        var forget = StoreWrite.Delete(StoreKeys.Assignment(row.Value.Key));
        // With its assignment goes all that is known of the member: that its data is gone is kept with the resource, for whoever would take the deletion back.
        if (!row.Value.Teardown || !view.Resources.TryGetValue(args.Resource, out var of) || of.Value.Metadata is not { DeletedUnixMs: not 0, Destroyed: "" }) return [forget];
        var resource = of.Value.Clone();
        (resource.Metadata.Destroyed, resource.Revision, resource.Status) = ($"member {args.Ordinal} is gone from {args.NodeName}", 0, null);
        return [forget, StoreWrite.Put(StoreKeys.Resource(resource.Metadata.Project, resource.Kind, resource.Metadata.Name), resource.ToByteArray())];
    }, stop);

    public async ValueTask DropAsync(DropArgs args, CancellationToken stop) => await TryAsync(view =>
    {
        if (!view.Resources.TryGetValue(args.Resource, out var row)) return [];
        if (row.Value.Metadata.DeletedUnixMs == 0 || view.OfResource(args.Resource).Any()) throw new WorldException($"{args.ResourceKey} is still in use");
        var at = row.Value.Metadata;
        return
        [
            StoreWrite.Delete(StoreKeys.Resource(at.Project, row.Value.Kind, at.Name)),
            .. view.SecretsOf(args.Resource).Keys.Select(name => StoreWrite.Delete(StoreKeys.Secret(args.Resource, name))),
        ];
    }, stop);

    /// <summary>The assignment as it goes to the store and the host; secrets are put in on the way to the host only.</summary>
    public static Assignment Build(Resource resource, MemberArgs args, Referred referred)
    {
        var assignment = new Assignment
        {
            Key = StoreKeys.AssignmentKey(args.Node, resource.Kind, args.Resource, args.Ordinal),
            Kind = resource.Kind,
            Project = resource.Metadata.Project,
            Name = resource.Metadata.Name,
            ResourceUid = args.Resource,
            Ordinal = args.Ordinal,
            Generation = args.Generation,
            Spec = resource.Spec,
            Protect = args.Protect,
            PrimaryOrdinal = args.Primary,
            Adopt = args.Adopt,
            ReserveMemory = args.MemoryBytes,
            ReserveCpuMillis = args.CpuMillis,
        };
        foreach (var (name, to) in referred.Found) assignment.References[name] = to.Spec;
        assignment.Digests.AddRange(referred.Digests(resource));
        assignment.Peers.AddRange(args.Peers.Select(p => new Peer { Ordinal = p.Ordinal, NodeUid = p.Node, NodeName = p.NodeName, Address = p.Address, Port = p.Port }));
        (assignment.MoveFrom, assignment.MoveTo) = (PeerOf(args.MoveFrom), PeerOf(args.MoveTo));
        return assignment;
    }

    private static Peer? PeerOf(PeerArgs? p) => p is null ? null : new() { Ordinal = p.Ordinal, NodeUid = p.Node, NodeName = p.NodeName, Address = p.Address, Port = p.Port };

    private static bool Same(FleetView view, Assignment assignment)
    {
        if (!view.Assignments.TryGetValue(assignment.Key, out var row)) return false;
        var now = row.Value.Clone();
        now.Revision = 0;
        return now.Equals(assignment);
    }

    private static Resource Resource(FleetView view, string uid, long generation)
    {
        if (!view.Resources.TryGetValue(uid, out var row)) throw new WorldException($"resource {uid} is no longer there");
        if (row.Value.Metadata.Generation != generation) throw new WorldException($"{Keys.Of(row.Value)} is at generation {row.Value.Metadata.Generation} now, the step is for {generation}");
        return row.Value;
    }

    private async Task TryAsync(Func<FleetView, IReadOnlyList<StoreWrite>> writes, CancellationToken stop)
    {
        try { await writer.ChangeAsync(view => new FleetChange<bool>(true) { Writes = writes(view) }, stop); }
        catch (Exception e) when (e is StoreAwayException or NotLeaderException or TooLargeException) { throw new WorldException(e.Message, e); }
    }
}
