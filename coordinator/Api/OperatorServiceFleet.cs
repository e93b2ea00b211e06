using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Consoles;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Trust;
using Grpc.Core;

namespace AgentMetal.Coordinator.Api;

/// <summary>What people and their programs call: approvals, events, nodes, audit, tokens, secrets.</summary>
internal sealed partial class OperatorService
{
    private const int MaxAudit = 10_000;

    public override async Task<ListHeldReply> ListHeld(ListHeldRequest request, ServerCallContext context)
    {
        var reply = new ListHeldReply();
        foreach (var h in held.All.Where(h =>
            (request.Project.Length == 0 || request.Project == "-" || h.ResourceKey.Contains($" {request.Project}/", StringComparison.Ordinal))
            && (request.Name.Length == 0 || h.ResourceKey.EndsWith("/" + request.Name, StringComparison.Ordinal))))
        {
            reply.Held.Add(await approvals.WithDecisionsAsync(h, context.CancellationToken));
        }
        return reply;
    }

    public override async Task<DecideReply> Decide(DecideRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        if (request.Approvals.Count is 0 or > 1_000) throw Refusals.Invalid("approvals", $"has {request.Approvals.Count} entries; 1 to 1000 are allowed");
        var reply = new DecideReply();
        foreach (var approval in request.Approvals)
        {
            var result = await approvals.DecideAsync(approval, context.CancellationToken);
            var key = model.Current.Resources.TryGetValue(approval.ResourceUid, out var row) ? Keys.Of(row.Value) : "";
            journal.Audit(approval.Decision == "deny" ? "Denied" : "Approved", key, AuditBody.Of(("carriedFor", by), ("key", approval.KeyId), ("node", approval.NodeUid), ("resource", approval.ResourceUid),
                ("steps", string.Join('\n', approval.StepHashes.Take(1_000))), ("reason", approval.Reason), ("result", result.Message)));
            reply.Results.Add(result);
        }
        return reply;
    }

    public override Task<ListEventsReply> ListEvents(ListEventsRequest request, ServerCallContext context)
    {
        RequireKnown(request);
        var reply = new ListEventsReply();
        reply.Events.AddRange(events.List(request.AfterSeq, request.Limit, request.ResourceKey, request.Node));
        return Task.FromResult(reply);
    }

    public override async Task WatchEvents(ListEventsRequest request, IServerStreamWriter<Event> responseStream, ServerCallContext context)
    {
        RequireKnown(request);
        await foreach (var happened in events.WatchAsync(request.AfterSeq, request.ResourceKey, request.Node, context.CancellationToken))
            await responseStream.WriteAsync(happened, context.CancellationToken);
    }

    public override Task<ListNodesReply> ListNodes(ListNodesRequest request, ServerCallContext context)
    {
        var reply = new ListNodesReply();
        reply.Nodes.AddRange(model.Current.Joined.Values.Where(n => request.Name.Length == 0 ? n.RevokedUnixMs is null : n.Uid == request.Name || (n.Name == request.Name && n.RevokedUnixMs is null))
            .OrderBy(n => n.Name, StringComparer.Ordinal).Select(n => Describe(n.Uid)));
        if (request.Name.Length > 0 && reply.Nodes.Count == 0) throw Refusals.NotFound($"there is no node {request.Name}; see agentmetal nodes");
        return Task.FromResult(reply);
    }

    public override Task<ListAuditReply> ListAudit(ListAuditRequest request, ServerCallContext context)
    {
        var limit = request.Limit is > 0 and <= MaxAudit ? request.Limit : 1_000;
        var reply = new ListAuditReply();
        reply.Chains.Add(FleetJournal.Chain);
        reply.Chains.AddRange(audit.Chains);
        var chain = request.Chain.Length == 0 ? FleetJournal.Chain
            : model.Current.Joined.Values.FirstOrDefault(n => n.Name == request.Chain && n.RevokedUnixMs is null)?.Uid ?? request.Chain;
        if (!reply.Chains.Contains(chain)) throw Refusals.NotFound($"there is no audit chain {request.Chain}; there are {reply.Chains.Count}, listed by agentmetal audit");
        if (chain == FleetJournal.Chain) reply.Records.AddRange(journal.ReadAudit(request.AfterSeq, limit, request.ResourceKey).Select(AuditWire.Write));
        else
        {
            reply.Records.AddRange(audit.Read(chain, request.AfterSeq, limit, request.ResourceKey));
            foreach (var gap in audit.GapsOf(chain)) reply.Gaps.Add(new Proto.V1.AuditGap { From = gap.From, To = gap.To, Accepted = { statements.AcceptanceOf(chain, gap)?.Signed ?? [] } });
        }
        return Task.FromResult(reply);
    }

    public override async Task<CreateJoinTokenReply> CreateJoinToken(CreateJoinTokenRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        var life = TimeSpan.FromSeconds(request.TtlSeconds == 0 ? 3600 : Math.Clamp(request.TtlSeconds, 0, 10_000_000));
        var verdict = await tokens.CreateAsync(request.Name, request.Labels.ToDictionary(StringComparer.Ordinal), life, context.CancellationToken);
        if (verdict.Problem is { } problem)
        {
            var colon = problem.Message.IndexOf(": ", StringComparison.Ordinal);
            throw colon > 0 ? Refusals.Invalid(problem.Message[..colon], problem.Message[(colon + 2)..]) : Refusals.Invalid("", problem.Message);
        }
        journal.Audit("JoinTokenCreated", "", AuditBody.Of(("by", by), ("token", verdict.Value.Id), ("name", request.Name)));
        return new() { Token = verdict.Value.Reveal(), ExpiresUnixMs = (clock.GetUtcNow() + life).ToUnixTimeMilliseconds() };
    }

    public override async Task<Resource> AdoptOrphan(OrphanRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        RequireFollowed();
        var resource = await adoption.AdoptAsync(request.Project.Length == 0 ? Runtime.Resources.Metadata.DefaultProject : request.Project, KindOf(request.Kind), request.Name, request.Remove, context.CancellationToken);
        journal.Audit(request.Remove ? "OrphanRemoved" : "OrphanAdopted", Keys.Of(resource), AuditBody.Of(("by", by), ("uid", resource.Metadata.Uid), ("spec", PlacementWorld.SpecHash(resource.Spec.Span))));
        events.Note("", Keys.Of(resource), request.Remove ? "Deleted" : "Adopted", request.Remove ? $"{by} asked for the deletion of what no list named" : $"{by} made it known again as it runs, generation {resource.Metadata.Generation}");
        return board.Dressed(model.Current.Resources[resource.Metadata.Uid]);
    }

    /// <summary>What would be written to an older store would be lost, or would stand against what hosts have.</summary>
    private void RequireFollowed()
    {
        if (book.PutBack is { } why) throw Refusals.Precondition($"this store is not the one that was followed: {why}. Nothing is changed in it until an operator signs: agentmetal nodes accept-store");
    }

    /// <summary>A second one of the name would stand in the way of the first, and the first in its way.</summary>
    private void RequireNoOrphan(IReadOnlyList<Admitted> all)
    {
        foreach (var r in all.Where(a => a.Action == "created").Select(a => a.Resource))
            if (adoption.RunBy(r.Metadata.Project, r.Kind, r.Metadata.Name) is { } hosts)
                throw Refusals.Precondition($"{Keys.Of(r)} runs on {hosts} without being in any list: make it known again first (agentmetal nodes orphans adopt {Keys.Command(r)}), or remove it (agentmetal nodes orphans remove {Keys.Command(r)})");
    }

    public override async Task<StateReply> State(StateRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        var statement = request.Statement ?? throw Refusals.Invalid("statement", "is missing");
        var result = await statements.TakeAsync(statement, context.CancellationToken);
        journal.Audit("Stated", "", AuditBody.Of(("carriedFor", by), ("key", statement.KeyId), ("purpose", statement.Purpose), ("says", string.Join('\n', statement.Fields.Take(1_000))), ("reason", statement.Reason), ("result", result.Message)));
        if (result.Refused is { } why) throw Refusals.Precondition(why);
        var reply = new StateReply { Holds = result.By.Count > 0, Message = result.Message };
        reply.By.AddRange(result.By);
        return reply;
    }

    public override Task<SecretsReply> GetSecrets(GetRequest request, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        var row = Find(request.Project, request.Kind, request.Name);
        var values = secrets.Open(model.Current, row.Value.Metadata.Uid);
        // Written before the values leave: what cannot be recorded is not shown.
        journal.Audit("SecretsRead", Keys.Of(row.Value), AuditBody.Of(("by", by), ("names", string.Join(',', values.Keys))));
        var reply = new SecretsReply();
        foreach (var (name, value) in values) reply.Values[name] = value.ToStringUtf8();
        return Task.FromResult(reply);
    }

    public override async Task Console(IAsyncStreamReader<ConsoleMessage> requestStream, IServerStreamWriter<ConsoleMessage> responseStream, ServerCallContext context)
    {
        var by = PeerInterceptor.Of<PeerIdentity.Operator>(context).Name;
        bool any;
        try { any = await requestStream.MoveNext(context.CancellationToken).WaitAsync(ConsoleBridge.OpeningDeadline, clock, context.CancellationToken); }
        catch (TimeoutException) { any = false; }
        if (!any || requestStream.Current.Target is not { } target) throw Refusals.Invalid("target", "the first message of a console names a resource");
        await consoles.ServeOperatorAsync(Find(target.Project, target.Kind, target.Name).Value, by, new(requestStream, responseStream), context.CancellationToken);
    }

    public override Task<VersionReply> Version(VersionRequest request, ServerCallContext context) => Task.FromResult(new VersionReply
    {
        Version = Build.Version,
        Store = "sqlite",
        StoreId = model.Current.At.StoreId,
        Revision = model.Current.At.Number,
        Nodes = model.Current.Joined.Values.Count(n => n.RevokedUnixMs is null),
        Epoch = book.Current.Id,
        EpochFrom = book.Current.From,
        PutBack = book.PutBack ?? "",
    });

    /// <summary>"Nothing has happened yet" of what does not exist would be believed. What is gone and left events behind is known.</summary>
    private void RequireKnown(ListEventsRequest request)
    {
        if (request.Node.Length > 0 && model.Current.Joined.Values.All(n => n.Name != request.Node) && events.List(0, 1, "", request.Node).Count == 0)
            throw Refusals.NotFound($"there is no host {request.Node}, and no event names one; see agentmetal nodes");
        if (request.ResourceKey.Length > 0 && model.Current.Resources.Values.All(r => Keys.Of(r.Value) != request.ResourceKey) && events.List(0, 1, request.ResourceKey, "").Count == 0)
            throw Refusals.NotFound($"there is no {request.ResourceKey}, and no event names it; see agentmetal get all -A");
    }

    private Node Describe(string uid)
    {
        var view = model.Current;
        var joined = view.Joined[uid];
        var node = view.Nodes.TryGetValue(uid, out var said) ? said.Value.Clone() : new Node { Uid = uid };
        var live = registry.Live(uid);
        node.Name = joined.Name;
        foreach (var (key, value) in joined.Labels) node.Labels[key] = value;
        node.JoinedUnixMs = joined.JoinedUnixMs;
        node.Liveness = joined.RevokedUnixMs is not null ? "StruckOff" : live.Standing == Standing.Open ? "Attached" : live.Standing.ToString();
        node.LastSeenUnixMs = live.LastSeen?.ToUnixTimeMilliseconds() ?? 0;
        var mine = view.OfNode(uid).Select(r => r.Value).ToList();
        node.Members = mine.Count;
        node.Converged = mine.Count(a => reports.Find(a.Key) is { } r && r.Report.Status.Phase == Reports.Converged && r.Report.Generation >= a.Generation);
        node.Assignments.AddRange(mine.Select(a => a.Key));
        if (hosts.Current.GetValueOrDefault(uid) is { } host)
        {
            (node.MemoryAllocatable, node.CpuMillisAllocatable) = (host.Allocatable?.MemoryBytes ?? 0, host.Allocatable?.CpuMillis ?? 0);
            (node.MemoryReserved, node.CpuMillisReserved) = (host.Held.MemoryBytes, host.Held.CpuMillis);
        }
        Stand(node, uid);
        if (registry.Session(uid) is { } attached && NodeInbox.ClockWords(joined.Name, attached.ClockAhead) is { } wrong)
            node.Conditions.Add(Condition("ClockRight", false, "ClockWrong", wrong, live.Since, $"on {joined.Name}: timedatectl"));
        var chain = audit.Head(uid);
        node.AuditSeq = chain.Acked;
        node.Conditions.Add(Condition("Attached", live.Standing == Standing.Open, live.Standing.ToString(), live.Why, live.Since,
            live.Standing == Standing.Quarantined ? "stop one of the two hosts that use this key" : $"on {joined.Name}: agentmetal local status"));
        node.Conditions.Add(AuditWhole(uid, joined.Name, chain.Problem, live.Since));
        if (registry.Session(uid)?.Heartbeat?.Trouble is { Length: > 0 } trouble)
            node.Conditions.Add(Condition("TakesChanges", false, "HostTrouble", trouble, live.Since, $"on {joined.Name}: agentmetal local status"));
        if (joined.RevokedUnixMs is { } revoked)
            node.Conditions.Add(Condition("Admitted", false, "Revoked", joined.RevokedReason ?? "", DateTimeOffset.FromUnixTimeMilliseconds(revoked), "agentmetal join-token create"));
        return node;
    }

    /// <summary>A gap that people signed to know of is no alarm any more, and is still said.</summary>
    private Condition AuditWhole(string uid, string name, string? broken, DateTimeOffset since)
    {
        var gaps = audit.GapsOf(uid).Select(g => (Gap: g, Known: statements.AcceptanceOf(uid, g))).ToList();
        var open = gaps.Where(g => g.Known is null).Select(g => g.Gap.Text).ToList();
        if (broken is not null) return Condition("AuditWhole", false, "ChainBroken", broken, since, $"agentmetal audit --chain {name} --verify");
        if (open.Count > 0) return Condition("AuditWhole", false, "CoordinatorWentBack", string.Join("; ", open), since, $"agentmetal audit accept-gap {name}");
        var whole = Condition("AuditWhole", true, "", "", since, "");
        if (gaps.Count > 0) (whole.Reason, whole.Message) = ("GapAccepted", string.Join("; ", gaps.Select(g => $"records {g.Gap.From} to {g.Gap.To} are missing here, which {g.Known!.By} signed to know")));
        return whole;
    }

    private void Stand(Node node, string uid)
    {
        if (standings.Find(uid) is not { } standing) return;
        (node.StoreRefused, node.StoreRefusedSinceUnixMs) = (standing.StoreRefused, standing.SinceUnixMs);
        (node.StoreSeenId, node.StoreSeenRevision) = (standing.Seen?.StoreId ?? "", standing.Seen?.Revision ?? 0);
        foreach (var m in standing.Members.OrderBy(m => m.Assignment.Key, StringComparer.Ordinal))
        {
            node.Known.Add(new NodeMember
            {
                Assignment = m.Assignment.Key,
                ResourceKey = Keys.Of(m.Assignment),
                ResourceUid = m.Assignment.ResourceUid,
                Ordinal = m.Assignment.Ordinal,
                Generation = m.Stand == "returns" ? 0 : m.Assignment.Generation,
                ToldGeneration = m.ToldGeneration,
                Stand = m.Stand,
                Why = m.Why,
                Summary = m.Summary,
                SinceUnixMs = m.SinceUnixMs,
                Spec = m.Assignment.Spec,
            });
        }
        if (standing.StoreRefused.Length > 0)
            node.Conditions.Add(Condition("FollowsStore", false, "StoreRefused", $"{standing.StoreRefused}; it goes on as it was", DateTimeOffset.FromUnixTimeMilliseconds(standing.SinceUnixMs), "agentmetal nodes accept-store"));
        if (standing.Members.Any(m => m.Stand == "orphan") && standing.StoreRefused.Length == 0)
            node.Conditions.Add(Condition("NoOrphans", false, "Orphaned", $"{standing.Members.Count(m => m.Stand == "orphan")} members run there and are in no list", DateTimeOffset.FromUnixTimeMilliseconds(standing.Members.Min(m => m.SinceUnixMs)), "agentmetal nodes orphans"));
        foreach (var m in standing.Members.Where(m => m.Stand != "orphan" && standing.StoreRefused.Length == 0))
            node.Conditions.Add(Condition("DoesAsTold", false, "AssignmentRefused", m.Why, DateTimeOffset.FromUnixTimeMilliseconds(m.SinceUnixMs), $"agentmetal describe {m.Assignment.Kind.ToLowerInvariant()} {m.Assignment.Name}"));
    }

    private static Condition Condition(string type, bool good, string reason, string message, DateTimeOffset since, string next) => new()
    {
        Type = type,
        Status = good ? "True" : "False",
        Reason = good ? type : reason,
        Message = good ? "" : message,
        SinceUnixMs = since.ToUnixTimeMilliseconds(),
        NextCommand = good ? "" : next,
    };
}
