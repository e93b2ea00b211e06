using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Store;
using Google.Protobuf;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Coordinator.Api;

/// <summary>
/// Makes what runs on hosts without being in any list known again: the resource has the uid, the spec and the generation that its hosts have, and its
/// members stay where they are, so that no host has anything to do.
/// </summary>
internal sealed class OrphanAdoption(FleetModel model, FleetWriter writer, HostStandings standings, SecretShelf secrets, TimeProvider clock)
{
    /// <summary>Who runs a resource of this name in no list; null = nobody that is attached.</summary>
    public string? RunBy(string project, string kind, string name, string exceptUid = "")
    {
        var hosts = Of(project, kind, name).Where(o => o.Member.Assignment.ResourceUid != exceptUid).Select(o => model.Current.NodeName(o.Node)).Distinct(StringComparer.Ordinal).ToList();
        return hosts.Count == 0 ? null : string.Join(", ", hosts.Take(4));
    }

    public async Task<Resource> AdoptAsync(string project, string kind, string name, bool remove, CancellationToken stop)
    {
        var found = Of(project, kind, name).ToList();
        if (found.Count == 0) throw Refusals.NotFound($"nothing that runs in no list is called {kind} {project}/{name}; see: agentmetal nodes orphans");
        if (found.Select(o => o.Member.Assignment.ResourceUid).Distinct().Count() > 1)
            throw Refusals.Precondition($"there are two of {kind} {project}/{name} with different uids on {string.Join(", ", found.Select(o => model.Current.NodeName(o.Node)))}: they cannot both have the name. Take one off its host first");
        if (found.Find(o => standings.RefusedBy(o.Node).Length > 0) is { Node: not null } refuses)
            throw Refusals.Precondition($"{model.Current.NodeName(refuses.Node)} does not follow this store: agentmetal nodes accept-store comes first");
        var newest = found.Select(o => o.Member.Assignment).OrderByDescending(a => a.Generation).First();
        if (found.Any(o => o.Member.Assignment.Spec.IsEmpty)) throw Refusals.Precondition($"{kind} {project}/{name} has not been told whole yet, because its host has so many of them: adopt or remove others first");
        if (found.Any(o => o.Member.Assignment.MoveFrom is not null || o.Member.Assignment.MoveTo is not null)) throw Refusals.Precondition($"{kind} {project}/{name} is on its way between two hosts: it can be adopted where it has arrived");
        if (remove && newest.Protect) throw Refusals.Precondition($"{kind} {project}/{name} is protected: adopt it, set metadata.protect to false, and delete it then");
        // A host says what it runs, and is not believed in more than what a person could have applied.
        var (_, errors) = KindCatalog.Find(kind)!.Validate(newest.Spec.Memory);
        if (!errors.IsEmpty) throw Refusals.Precondition($"what {model.Current.NodeName(found[0].Node)} says of {kind} {project}/{name} is no spec of this build: {errors[0].Path}: {errors[0].Message}");
        var resource = Build(newest, remove);
        return await writer.ChangeAsync(view =>
        {
            var other = view.Find(project, kind, name);
            if (other is not null && !remove && other.Value.Metadata.Uid == newest.ResourceUid && other.Value.Metadata.DeletedUnixMs == 0)
                return new FleetChange<Resource>(resource) { Writes = [.. Writes(resource, newest, found), .. Elsewhere(view, found)] };
            if (other is not null) throw Refusals.Precondition($"{Keys.Of(other.Value)} is declared, with uid {other.Value.Metadata.Uid}; the one that runs has {newest.ResourceUid}: delete the declared one first");
            return new FleetChange<Resource>(resource) { Writes = Writes(resource, newest, found) };
        }, stop);
    }

    /// <summary>A store that went back has a member where it was before it moved. Only its host's own word that it handed it over takes it off there.</summary>
    private List<StoreWrite> Elsewhere(FleetView view, List<(string Node, KnownMember Member)> found)
    {
        List<StoreWrite> writes = [];
        foreach (var (node, member) in found)
            foreach (var row in view.OfResource(member.Assignment.ResourceUid).Where(r => r.Value.Ordinal == member.Assignment.Ordinal && !r.Value.Key.StartsWith(node + "/", StringComparison.Ordinal)))
            {
                var host = row.Value.Key[..row.Value.Key.IndexOf('/', StringComparison.Ordinal)];
                if (!row.Value.Absent && standings.Find(host)?.Members.Any(m => m.Assignment.Key == row.Value.Key && m.Stand == "handed-over") != true)
                    throw Refusals.Precondition($"{model.Current.NodeName(host)} has member {row.Value.Ordinal} too, or has not said that it handed it over: there would be two of it");
                writes.Add(StoreWrite.Delete(StoreKeys.Assignment(row.Value.Key)));
            }
        return writes;
    }

    private List<StoreWrite> Writes(Resource resource, Assignment newest, List<(string Node, KnownMember Member)> found)
    {
        List<StoreWrite> writes = [StoreWrite.Put(StoreKeys.Resource(resource.Metadata.Project, resource.Kind, resource.Metadata.Name), resource.ToByteArray())];
        writes.AddRange(newest.Secrets.Select(s => StoreWrite.Put(StoreKeys.Secret(newest.ResourceUid, s.Key), secrets.Seal(newest.ResourceUid, s.Key, s.Value.Span))));
        var put = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (_, member) in found) Put(member.Assignment);
        // Hosts that are away have their members too: placed elsewhere, there would be two of each.
        foreach (var peer in newest.Peers.Where(p => model.Current.Joined.GetValueOrDefault(p.NodeUid) is { RevokedUnixMs: null } && model.Current.OfResource(newest.ResourceUid).All(r => r.Value.Ordinal != p.Ordinal)))
        {
            var theirs = newest.Clone();
            (theirs.Ordinal, theirs.Key) = (peer.Ordinal, StoreKeys.AssignmentKey(peer.NodeUid, newest.Kind, newest.ResourceUid, peer.Ordinal));
            if (found.All(o => o.Member.Assignment.Ordinal != peer.Ordinal)) Put(theirs);
        }
        return writes;

        void Put(Assignment a)
        {
            if (!put.Add(a.Key)) return;
            var stored = a.Clone();
            stored.Secrets.Clear();
            stored.Revision = 0;
            writes.Add(StoreWrite.Put(StoreKeys.Assignment(stored.Key), stored.ToByteArray()));
        }
    }

    private Resource Build(Assignment newest, bool remove)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var resource = new Resource
        {
            ApiVersion = "agentmetal.io/v1",
            Kind = newest.Kind,
            Metadata = new() { Project = newest.Project, Name = newest.Name, Uid = newest.ResourceUid, Generation = newest.Generation, Protect = newest.Protect, CreatedUnixMs = now },
            Spec = newest.Spec,
        };
        resource.Digests.AddRange(newest.Digests.Take(Admission.MaxDigests));
        // Known again and deleted in one: hosts tear it down as they do any other, and hold what loses data for a signature.
        if (remove) (resource.Metadata.DeletedUnixMs, resource.Metadata.Generation) = (now, newest.Generation + 1);
        return resource;
    }

    private IEnumerable<(string Node, KnownMember Member)> Of(string project, string kind, string name) =>
        model.Current.Joined.Values.Where(n => n.RevokedUnixMs is null).SelectMany(n => standings.Orphans(n.Uid).Select(m => (n.Uid, m)))
            .Where(o => o.m.Assignment.Project == project && o.m.Assignment.Kind == kind && o.m.Assignment.Name == name);
}
