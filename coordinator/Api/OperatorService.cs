using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Approvals;
using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Consoles;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Identity;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Coordinator.Api;

/// <summary>What people and their programs call: resources.</summary>
internal sealed partial class OperatorService(FleetModel model, FleetWriter writer, Admission admission, PlanMaker plans, SavedPlans saved, PlanReservations reservations, StatusBoard board,
    ChangeHub hub, HeldPlans held, ApprovalShelf approvals, StatementShelf statements, StoreBook book, HostStandings standings, OrphanAdoption adoption, EventLog events, NodeRegistry registry, HostBoard hosts, Reports reports, AuditSegments audit, FleetJournal journal, JoinTokens tokens,
    SecretShelf secrets, AgentCatalog catalog, ConsoleBridge consoles, DiskWatch disk, TimeProvider clock) : Operator.OperatorBase
{
    private const int MaxEventsPerApply = 100;

    public override async Task<ApplyReply> Apply(ApplyRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        if (request.DryRun) return DryRun(request);
        RequireFollowed();
        if (request.PlanHash.Length > 0) await RequireSamePlanAsync(request, context.CancellationToken);
        var admitted = await writer.ChangeAsync(view =>
        {
            var (all, errors) = admission.Check(view, request.Resources);
            if (errors.Count > 0) throw Refusals.Invalid(errors);
            RequireNoOrphan(all);
            var writes = all.Where(a => a.Action != "unchanged").ToList();
            return new FleetChange<IReadOnlyList<Admitted>>(all)
            {
                Writes = [.. writes.Select(a => StoreWrite.Put(KeyOf(a.Resource), a.Resource.ToByteArray()))],
                Compares = [.. writes.Select(a => new StoreCompare(KeyOf(a.Resource), a.Before?.ModifiedAt ?? 0))],
            };
        }, context.CancellationToken);
        Record(admitted, by);
        var reply = new ApplyReply();
        foreach (var one in admitted)
        {
            if (one.Action == "created") reservations.Used(Keys.Path(one.Resource));
            reply.Results.Add(new ApplyResult { Action = one.Action, Resource = model.Current.Resources.TryGetValue(one.Resource.Metadata.Uid, out var row) ? board.Dressed(row) : one.Resource });
        }
        return reply;
    }

    public override async Task<PlanReply> Plan(ApplyRequest request, ServerCallContext context)
    {
        var plan = await PlanAsync(request, context.CancellationToken);
        saved.Save(plan);
        return plan;
    }

    public override Task<Resource> Get(GetRequest request, ServerCallContext context) => Task.FromResult(board.Dressed(Find(request.Project, request.Kind, request.Name)));

    public override Task<ListReply> List(ListRequest request, ServerCallContext context)
    {
        var view = model.Current;
        var reply = new ListReply { Revision = view.At.Number };
        var matches = Matching(request);
        if (disk.Problem is { } full) reply.Notes.Add(full);
        reply.Resources.AddRange(view.Names.Values.Select(uid => view.Resources[uid]).Where(r => matches(r.Value)).Select(board.Dressed));
        return Task.FromResult(reply);
    }

    public override async Task<Resource> Delete(DeleteRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        RequireFollowed();
        var (deleted, news) = await writer.ChangeAsync(_ =>
        {
            var row = Find(request.Project, request.Kind, request.Name);
            var resource = row.Value.Clone();
            if (resource.Metadata.DeletedUnixMs != 0) return new FleetChange<(Resource, bool)>((resource, false));
            if (resource.Metadata.Protect)
                throw Refusals.Precondition($"{Keys.Of(resource)} is protected; set metadata.protect to false, apply it, and delete it then");
            if (UsersOf(resource) is { Count: > 0 } users)
                throw Refusals.Precondition($"{Keys.Of(resource)} is used by {string.Join(", ", users.Take(5).Select(Keys.Of))}{(users.Count > 5 ? $" and {users.Count - 5} more" : "")}; delete them first, or let them name another");
            (resource.Metadata.DeletedUnixMs, resource.Metadata.Generation, resource.Revision, resource.Status) = (clock.GetUtcNow().ToUnixTimeMilliseconds(), resource.Metadata.Generation + 1, 0, null);
            return new FleetChange<(Resource, bool)>((resource, true))
            {
                Writes = [StoreWrite.Put(KeyOf(resource), resource.ToByteArray())],
                Compares = [new StoreCompare(KeyOf(resource), row.ModifiedAt)],
            };
        }, context.CancellationToken);
        if (news)
        {
            journal.Audit("Deleted", Keys.Of(deleted), AuditBody.Of(("by", by), ("uid", deleted.Metadata.Uid)));
            events.Note("", Keys.Of(deleted), "Deleting", $"{by} asked to delete it; it goes when every host has said that its member is gone");
        }
        // One without members may be gone before anybody looks.
        return model.Current.Resources.TryGetValue(deleted.Metadata.Uid, out var row) ? board.Dressed(row) : deleted;
    }

    /// <summary>Takes a deletion back while nothing was destroyed. What hosts have done already they undo as they converge.</summary>
    public override async Task<Resource> Undelete(DeleteRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        RequireFollowed();
        var kept = await writer.ChangeAsync(_ =>
        {
            var row = Find(request.Project, request.Kind, request.Name);
            var resource = row.Value.Clone();
            if (resource.Metadata.DeletedUnixMs == 0) throw Refusals.Precondition($"{Keys.Of(resource)} is not being deleted");
            if (WhyNotKept(resource) is { } why) throw Refusals.Precondition(why);
            (resource.Metadata.DeletedUnixMs, resource.Metadata.Generation, resource.Revision, resource.Status) = (0, resource.Metadata.Generation + 1, 0, null);
            return new FleetChange<Resource>(resource)
            {
                Writes = [StoreWrite.Put(KeyOf(resource), resource.ToByteArray())],
                Compares = [new StoreCompare(KeyOf(resource), row.ModifiedAt)],
            };
        }, context.CancellationToken);
        journal.Audit("Undeleted", Keys.Of(kept), AuditBody.Of(("by", by), ("uid", kept.Metadata.Uid)));
        events.Note("", Keys.Of(kept), "Undeleted", $"{by} took the deletion back, generation {kept.Metadata.Generation}; nothing was destroyed, and what hosts have done of it they undo");
        return model.Current.Resources.TryGetValue(kept.Metadata.Uid, out var row) ? board.Dressed(row) : kept;
    }

    /// <summary>Why a deletion cannot be taken back any more, or not now; null = it can.</summary>
    private string? WhyNotKept(Resource resource)
    {
        if (resource.Metadata.Destroyed is { Length: > 0 } first)
            return $"{first}, and its data with it; what is gone cannot be taken back. Let the deletion go through (agentmetal approve {Keys.Command(resource)}), and apply it again";
        foreach (var a in model.Current.OfResource(resource.Metadata.Uid).Select(r => r.Value).OrderBy(a => a.Ordinal))
        {
            var node = a.Key[..a.Key.IndexOf('/', StringComparison.Ordinal)];
            var (name, short_) = (model.Current.NodeName(node), Keys.Command(resource));
            // A host that was never told of it has destroyed nothing for it, whether it is there or not.
            if (!a.Absent) continue;
            if (reports.Find(a.Key)?.Report.Destroyed is { Length: > 0 } gone)
                return $"{name} has already begun to {gone}; what is gone cannot be taken back. Let the deletion go through (agentmetal approve {short_}), and apply it again";
            if (registry.Live(node).Standing != Standing.Open) return $"{name} cannot be reached, and whether anything was destroyed there is not known; take it back when it is there again: agentmetal nodes describe {name}";
            if (reports.Find(a.Key)?.Report is not { } said || said.Generation < a.Generation)
                return $"{name} has not said yet whether it has begun; look again in a moment: agentmetal describe {short_}";
            if (held.Running(a.Key) is { } running)
                return $"{name} has been carrying out what was signed since {ApprovalRule.When(running.Since.ToUnixTimeMilliseconds(), clock.GetUtcNow())}; stop what of it has not begun first: agentmetal deny {short_}";
        }
        return null;
    }

    public override async Task Watch(ListRequest request, IServerStreamWriter<ResourceChange> responseStream, ServerCallContext context)
    {
        using var watcher = hub.Watch();
        var matches = Matching(request);
        var sent = new Dictionary<string, Resource>(StringComparer.Ordinal);
        foreach (var row in model.Current.Names.Values.Select(uid => model.Current.Resources.GetValueOrDefault(uid)).Where(r => r is not null && matches(r.Value)))
        {
            var resource = sent[row!.Value.Metadata.Uid] = board.Dressed(row);
            await responseStream.WriteAsync(new() { Type = "added", Resource = resource }, context.CancellationToken);
        }
        await responseStream.WriteAsync(new() { Type = "bookmark" }, context.CancellationToken);
        while (true)
        {
            foreach (var uid in await watcher.TakeAsync(context.CancellationToken))
            {
                var row = model.Current.Resources.GetValueOrDefault(uid);
                var now = row is not null && matches(row.Value) ? board.Dressed(row) : null;
                var before = sent.GetValueOrDefault(uid);
                if (now is null && before is null || now is not null && now.Equals(before)) continue;
                if (now is null) sent.Remove(uid);
                else sent[uid] = now;
                await responseStream.WriteAsync(new() { Type = now is null ? "deleted" : before is null ? "added" : "modified", Resource = now ?? before }, context.CancellationToken);
            }
        }
    }

    private ApplyReply DryRun(ApplyRequest request)
    {
        var (all, placings) = Placed(request);
        var reply = new ApplyReply();
        for (var i = 0; i < request.Resources.Count; i++) reply.Results.Add(new ApplyResult { Action = all[i].Action, Resource = all[i].Resource });
        return placings.Count == all.Count ? reply : throw new InvalidOperationException("a resource was not placed");
    }

    private async Task<PlanReply> PlanAsync(ApplyRequest request, CancellationToken cancel)
    {
        var (all, placings) = Placed(request);
        return await plans.MakeAsync(all, placings, cancel);
    }

    private (IReadOnlyList<Admitted> All, IReadOnlyList<Placing?> Placings) Placed(ApplyRequest request)
    {
        var (all, errors) = admission.Check(model.Current, request.Resources);
        if (errors.Count > 0) throw Refusals.Invalid(errors);
        all = [.. all, .. Touched(all)];
        var placings = plans.Place(all);
        var notPlaced = PlanMaker.NotPlaced(all, placings);
        return notPlaced.Count > 0 ? throw Refusals.Invalid(notPlaced) : (all, placings);
    }

    /// <summary>What is not in the request and has something to do all the same, because it refers to something that changes.</summary>
    private List<Admitted> Touched(IReadOnlyList<Admitted> all)
    {
        var view = model.Current;
        var here = all.Select(a => a.Resource.Metadata.Uid).ToHashSet(StringComparer.Ordinal);
        return [.. all.Where(a => a.Action != "unchanged").SelectMany(a => view.ReferrersOf(Keys.Path(a.Resource))).Distinct(StringComparer.Ordinal)
            .Where(uid => !here.Contains(uid)).Select(uid => view.Resources[uid]).Where(r => r.Value.Metadata.DeletedUnixMs == 0).Select(r => new Admitted(r.Value, r, "unchanged"))];
    }

    private async Task RequireSamePlanAsync(ApplyRequest request, CancellationToken cancel)
    {
        if (saved.Find(request.PlanHash) is not { } shown)
            throw Refusals.Precondition($"plan {Short(request.PlanHash)} is not known: plans are kept for 15 minutes; plan again and look at it");
        var now = await PlanAsync(request, cancel);
        if (now.Hash != shown.Hash)
            throw Refusals.Precondition($"plan {Short(shown.Hash)} is no longer what would happen: {SavedPlans.WhatMoved(shown, now)}. Nothing was changed; plan again and look at it");
    }

    private void Record(IReadOnlyList<Admitted> admitted, string by)
    {
        var changed = admitted.Where(a => a.Action != "unchanged").ToList();
        if (changed.Count == 0) return;
        var what = string.Join('\n', changed.Take(1_000).Select(a => $"{a.Action} {Keys.Of(a.Resource)} generation {a.Resource.Metadata.Generation} spec {PlacementWorld.SpecHash(a.Resource.Spec.Span)}"));
        journal.Audit("Applied", changed.Count == 1 ? Keys.Of(changed[0].Resource) : "", AuditBody.Of(("by", by), ("resources", what)));
        foreach (var one in changed.Take(MaxEventsPerApply))
            events.Note("", Keys.Of(one.Resource), one.Action == "created" ? "Created" : "Changed", $"{by} {(one.Action == "created" ? "created" : "changed")} it, generation {one.Resource.Metadata.Generation}");
    }

    /// <summary>Who refers to it and stays, in the order of their names.</summary>
    private List<Resource> UsersOf(Resource resource)
    {
        var view = model.Current;
        return [.. view.ReferrersOf(Keys.Path(resource)).Select(uid => view.Resources[uid].Value).Where(r => r.Metadata.DeletedUnixMs == 0 && catalog.Needs(r, resource)).OrderBy(Keys.Of, StringComparer.Ordinal)];
    }

    private Row<Resource> Find(string project, string kind, string name)
    {
        var spelt = KindOf(kind);
        var where = project.Length == 0 ? Runtime.Resources.Metadata.DefaultProject : project;
        return model.Current.Find(where, spelt, name) ?? throw Refusals.NotFound($"there is no {spelt} {where}/{name}; see agentmetal get {spelt.ToLowerInvariant()}{(where == "default" ? "" : " -p " + where)}");
    }

    private static string KindOf(string kind) => KindCatalog.Find(kind)?.Kind
        ?? throw Refusals.Invalid("kind", $"\"{(kind.Length <= 63 ? kind : kind[..63])}\" is not a kind of this build", "kinds: " + string.Join(", ", KindCatalog.All.Select(k => k.Kind)));

    private static Func<Resource, bool> Matching(ListRequest request)
    {
        var kind = request.Kind is "" or "all" ? "" : KindOf(request.Kind);
        var project = request.Project.Length == 0 ? Runtime.Resources.Metadata.DefaultProject : request.Project;
        return r => (project == "-" || r.Metadata.Project == project) && (kind.Length == 0 || r.Kind == kind) && (request.Name.Length == 0 || r.Metadata.Name == request.Name)
            && request.Labels.All(l => r.Metadata.Labels.TryGetValue(l.Key, out var value) && value == l.Value);
    }

    private static string KeyOf(Resource r) => StoreKeys.Resource(r.Metadata.Project, r.Kind, r.Metadata.Name);

    private static string Short(string hash) => hash.Length > 8 ? hash[..8] : hash;
}
