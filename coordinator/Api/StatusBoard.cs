using System.Collections.Concurrent;
using System.Globalization;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Coordinator.Api;

/// <summary>
/// How resources stand: put together from placement, the nodes' reports and their liveness whenever it is read. Nothing of it is stored; only since when
/// a condition is as it is, is remembered.
/// </summary>
internal sealed class StatusBoard(FleetModel model, NodeRegistry registry, HostStandings standings, Reports reports, HeldPlans held, Orchestrator orchestrator, AgentCatalog catalog, TimeProvider clock)
{
    private sealed record Blocker(string Reason, string Message, DateTimeOffset? Since, long RetryUnixMs, string Next);

    private readonly ConcurrentDictionary<(string Uid, string Type), (string Status, string Reason, DateTimeOffset Since)> _since = new();

    /// <summary>The resource with its status as of now.</summary>
    public Resource Dressed(Row<Resource> row)
    {
        var resource = row.Value.Clone();
        var uid = resource.Metadata.Uid;
        var view = model.Current;
        var assignments = view.OfResource(uid).Select(r => r.Value).OrderBy(a => a.Ordinal).ThenBy(a => a.Key, StringComparer.Ordinal).ToList();
        var status = resource.Status = new();
        if (!catalog.HasMembers(resource.Kind)) return Entry(resource, view);
        // Read once: a report that arrives in between would make one resource Ready and its member not.
        var said = assignments.ToDictionary(a => a.Key, a => reports.Find(a.Key) ?? reports.Last?.Before(a.Key), StringComparer.Ordinal);
        foreach (var a in assignments) status.Members.Add(Member(a, said[a.Key]));
        status.ObservedGeneration = assignments.Count == 0 ? 0 : assignments.Min(a => said[a.Key]?.Report.Generation ?? 0);

        var placement = Placement(resource, assignments);
        Put(status, resource, "Placed", placement is null ? "True" : "False", placement ?? new("Placed", orchestrator.Report(uid)?.Report.Summary ?? "", null, 0, ""));
        var blocker = Deleting(resource, assignments) ?? placement ?? Root(assignments.Select(a => (a.Ordinal, Why: Why(resource, a, said[a.Key]))));
        var ready = blocker is null && assignments.Count > 0;
        Put(status, resource, "Ready", ready ? "True" : "False", blocker ?? new(ready ? "Converged" : "Pending",
            ready ? Members(assignments, said) + LastSeen(assignments, said) : "members are being placed", null, 0, ready ? "" : Events(resource)));
        // What its host leaves alone keeps nothing from being ready; people are to see it all the same.
        if (status.Members.SelectMany(m => m.Conditions.Where(c => c.Type == "Drifted").Select(c => $"{m.NodeName}: {c.Message}")).ToList() is { Count: > 0 } drifted)
            Put(status, resource, "Drifted", "True", new("ChangedByHand", string.Join("; ", drifted), null, 0, ""));
        else Drop(resource, "Drifted");
        // Nobody at the centre did it: people there are told who holds what, and that the next command is one of the host.
        if (status.Members.SelectMany(m => m.Conditions.Where(c => c.Type == "Paused").Select(c => (Member: m, Said: c))).ToList() is { Count: > 0 } paused)
            Put(status, resource, "Paused", "True", new(paused[0].Said.Reason, string.Join("; ", paused.Select(p => $"{p.Member.NodeName}: {p.Said.Message}")), DateTimeOffset.FromUnixTimeMilliseconds(paused[0].Said.SinceUnixMs), 0, paused[0].Said.NextCommand));
        else Drop(resource, "Paused");
        if (status.Members.SelectMany(m => m.Conditions.Where(c => c.Type == "Unsteady").Select(c => (c.Reason, Text: $"{m.NodeName}: {c.Message}"))).ToList() is { Count: > 0 } unsteady)
            Put(status, resource, "Unsteady", "True", new(unsteady[0].Reason, string.Join("; ", unsteady.Select(u => u.Text)), null, 0, ""));
        else Drop(resource, "Unsteady");
        Serving(status, resource, assignments, said);
        Waiting(status, resource, assignments);
        return resource;
    }

    /// <summary>One without members is Ready as soon as it is declared, and says who uses it.</summary>
    private Resource Entry(Resource resource, FleetView view)
    {
        resource.Status.ObservedGeneration = resource.Metadata.Generation;
        var users = view.ReferrersOf(Keys.Path(resource)).Select(uid => view.Resources[uid].Value).Where(r => r.Metadata.DeletedUnixMs == 0 && catalog.Needs(r, resource)).Select(Keys.Of).Order(StringComparer.Ordinal).ToList();
        var gone = Deleting(resource, []);
        var used = users.Count == 0 ? "not used" : $"used by {string.Join(", ", users.Take(3))}{(users.Count > 3 ? $" and {users.Count - 3} more" : "")}";
        Put(resource.Status, resource, "Ready", gone is null ? "True" : "False", gone ?? new("Declared", used, null, 0, ""));
        return resource;
    }

    /// <summary>A resource is gone: what was remembered of it goes too.</summary>
    public void Forget(string uid)
    {
        foreach (var key in _since.Keys)
            if (key.Uid == uid) _since.TryRemove(key, out _);
    }

    private MemberStatus Member(Assignment a, Reported? reported)
    {
        var node = NodeOf(a);
        var status = reported?.Report.Status.Clone() ?? new() { Phase = "Unseen", Summary = "not reported yet" };
        (status.Ordinal, status.NodeUid, status.NodeName) = (a.Ordinal, node, model.Current.NodeName(node));
        if (a.Peers.FirstOrDefault(p => p.Ordinal == a.Ordinal) is { } self) status.Address = self.Port == 0 ? self.Address : $"{self.Address}:{self.Port}";
        if (reported is not null) status.ObservedGeneration = reported.Report.Generation;
        // What was reported last is no longer known to be so.
        if (Away(a) is not null) status.Phase = "Unseen";
        return status;
    }

    /// <summary>The reason that the others wait for; null = there is none.</summary>
    private static Blocker? Root(IEnumerable<(int Ordinal, Blocker? Why)> members)
    {
        var open = members.Where(m => m.Why is not null).ToList();
        return open.Count == 0 ? null : open[RootCause.Of([.. open.Select(m => new RootCause.Why(m.Ordinal, m.Why!.Reason, m.Why.Message))])].Why;
    }

    private Blocker? Placement(Resource resource, List<Assignment> assignments)
    {
        if (resource.Metadata.DeletedUnixMs != 0) return null;
        // A coordinator that has just started has not looked at it yet; where it was placed before, it still is.
        if (orchestrator.Report(resource.Metadata.Uid) is null && reports.Last is { Stands: true } && assignments.Count > 0 && assignments.All(a => a.Generation >= resource.Metadata.Generation)) return null;
        if (orchestrator.Report(resource.Metadata.Uid) is not { } last || last.Generation < resource.Metadata.Generation)
            return new("Planning", "members are being placed", null, 0, Events(resource));
        var report = last.Report;
        if (report.Phase == ReconcilePhase.Unseen) return new("StoreAway", report.Blocker, last.Since, Ms(last.RetryAt), Events(resource));
        if (report.Differences.Where(d => d.Kind == "unresolved").Select(d => d.Text).ToList() is { Count: > 0 } unresolved)
            return new("WaitsForReference", string.Join("; ", unresolved), last.Since, Ms(last.RetryAt), $"agentmetal get {catalog.ReferencesOf(resource).Select(to => to.Kind.ToLowerInvariant()).FirstOrDefault("all")}{(resource.Metadata.Project == "default" ? "" : " -p " + resource.Metadata.Project)}");
        var open = report.Differences.Where(d => d.Kind is "no-room" or "missing" or "misplaced" or "elsewhere").ToList();
        if (open.Count == 0 || report.Phase == ReconcilePhase.Converging) return open.Count == 0 ? null : new("Placing", open[0].Text, last.Since, 0, Events(resource));
        return new("NotPlaced", string.Join("; ", open.Select(d => d.Text)), last.Since, Ms(last.RetryAt), "agentmetal nodes");
    }

    private Blocker? Deleting(Resource resource, List<Assignment> assignments)
    {
        if (resource.Metadata.DeletedUnixMs == 0) return null;
        var since = DateTimeOffset.FromUnixTimeMilliseconds(resource.Metadata.DeletedUnixMs);
        if (assignments.Where(a => held.Running(a.Key) is null).Select(a => held.Find(a.Key)).FirstOrDefault(h => h is not null) is { } waiting)
        {
            var denied = waiting.Standing.Contains(ApprovalRule.DeniedUntil, StringComparison.Ordinal);
            return new(denied ? "Denied" : "AwaitingApproval", $"is being deleted; {waiting.Plan.NodeName} waits for a signature: {waiting.Plan.Steps[0].Text}{(denied ? $" ({waiting.Standing})" : "")}; it is kept as it is meanwhile", since, 0,
                denied ? "agentmetal undelete " + Keys.Command(resource) : "agentmetal approve " + waiting.Id);
        }
        if (assignments.Where(a => held.Running(a.Key) is not null).Select(a => model.Current.NodeName(NodeOf(a))).Distinct().ToList() is { Count: > 0 } busy)
            return new("Deleting", $"is being deleted; what was signed is carried out on {string.Join(", ", busy)}", since, 0, Events(resource));
        if (assignments.Select(a => Away(a)).FirstOrDefault(b => b is not null) is { } away) return away with { Message = "is being deleted; " + away.Message };
        return new("Deleting", assignments.Count == 0 ? "is being deleted" : "is being deleted; waits for " + string.Join(", ", assignments.Select(a => model.Current.NodeName(NodeOf(a))).Distinct()), since, 0, Events(resource));
    }

    /// <summary>Why a member is not as it should be; null = it is.</summary>
    private Blocker? Why(Resource resource, Assignment a, Reported? reported)
    {
        var name = model.Current.NodeName(NodeOf(a));
        if (Away(a) is { } away) return away;
        if (a.Absent) return null; // A member on its way out does not keep the resource from being ready.
        var doing = reported?.Report.Status.Details.GetValueOrDefault("progress") is { Length: > 0 } p ? $"{name}: {p}" : null;
        if (reported is not { } last || last.Report.Generation < a.Generation)
            return new("Converging", doing ?? $"{name} has not reported generation {a.Generation} of member {a.Ordinal} yet", null, 0, Events(resource));
        if (a.Generation < resource.Metadata.Generation) return new("Converging", $"{name} has not been told generation {resource.Metadata.Generation} yet", null, 0, Events(resource));
        var status = last.Report.Status;
        if (status.Phase == Reports.Converged) return null;
        var said = status.Conditions.FirstOrDefault(c => c.Type == "Ready" && c.Status != "True");
        var next = held.Running(a.Key) is null && held.Find(a.Key) is { } h ? "agentmetal approve " + h.Id : said?.NextCommand is { Length: > 0 } theirs ? theirs : Events(resource);
        return new(status.Phase.Length > 0 ? status.Phase : "Unknown", doing ?? $"{name}: {(said?.Message is { Length: > 0 } m ? m : status.Summary)}", last.Since, said?.RetryUnixMs ?? 0, next);
    }

    private Blocker? Away(Assignment a)
    {
        var node = NodeOf(a);
        var live = registry.Live(node);
        var name = model.Current.NodeName(node);
        if (standings.Find(node) is { StoreRefused.Length: > 0 } refuses)
            return new("StoreRefused", $"{name} does not follow this store: {refuses.StoreRefused}; it goes on as it was", DateTimeOffset.FromUnixTimeMilliseconds(refuses.SinceUnixMs), 0, "agentmetal nodes accept-store");
        if (standings.Find(node)?.Members.FirstOrDefault(m => m.Assignment.Key == a.Key && m.Stand != "orphan") is { } kept)
            return new("AssignmentRefused", $"{name}: {kept.Why}", DateTimeOffset.FromUnixTimeMilliseconds(kept.SinceUnixMs), 0, "agentmetal nodes describe " + name);
        if (live.Standing == Standing.Open) return null;
        // It had no time yet to call again: what it said last stands for a while.
        if (live is { Standing: Standing.Away, LastSeen: null } && reports.Last?.Before(a.Key) is not null) return null;
        var seen = (live.LastSeen ?? reports.Last?.SeenBefore(node)) is { } at ? "last seen " + at.ToString("HH:mm:ss", CultureInfo.InvariantCulture) : "not seen since this coordinator started";
        return live.Standing == Standing.Quarantined
            ? new("NodeQuarantined", live.Why, live.Since, 0, "agentmetal nodes describe " + name)
            : new("NodeAway", $"{name} cannot be reached; {seen}", live.Since, 0, "agentmetal nodes describe " + name);
    }

    private void Serving(Status status, Resource resource, List<Assignment> assignments, Dictionary<string, Reported?> reported)
    {
        // Of one that moves, its source is asked: what the target says of it, it says when it has it. Another that leads counts where the declared primary is on no host.
        var present = assignments.Where(a => !a.Absent || a.Teardown).ToList();
        var wanted = present.Where(a => a.Ordinal == a.PrimaryOrdinal).OrderBy(a => a.MoveFrom is not null && reported[a.Key]?.Report.Received.Length is null or 0 ? 1 : a.MoveTo is not null ? 2 : 0).FirstOrDefault()
            ?? present.FirstOrDefault(a => reported[a.Key]?.Report.Status.Conditions.Any(c => c is { Type: "Serving", Status: "True" }) == true);
        if (wanted is null)
        {
            Put(status, resource, "Serving", "False", new("NoPrimary", assignments.Count == 0 ? "it is placed on no host" : "no member is placed that could be primary", null, 0, Events(resource)));
            return;
        }
        var member = status.Members.First(m => m.Ordinal == wanted.Ordinal && m.NodeUid == NodeOf(wanted));
        var said = member.Conditions.FirstOrDefault(c => c.Type == "Serving")?.Status;
        if (Away(wanted) is { } away) Put(status, resource, "Serving", "Unknown", away);
        else if (said == "True" || (said is null && member.Phase == Reports.Converged && !wanted.Absent))
        {
            Put(status, resource, "Serving", "True", new("Serving", Members(assignments, reported), null, 0, ""));
            // Of a member that listens nowhere the address is its host's, which nobody can connect to it by.
            if (wanted.Peers.Any(p => p.Ordinal == wanted.Ordinal && p.Port > 0)) status.Outputs["address"] = member.Address;
        }
        else Put(status, resource, "Serving", said == "False" || (wanted.Absent && said is null) ? "False" : "Unknown", wanted.Absent ? new("Deleting", said is null ? "it is being deleted"
            : member.Conditions.First(c => c.Type == "Serving").Message, null, 0, Events(resource)) : Why(resource, wanted, reported[wanted.Key]) ?? new("Unknown", member.Summary, null, 0, Events(resource)));
    }

    private void Waiting(Status status, Resource resource, List<Assignment> assignments)
    {
        var waits = assignments.Select(a => held.Find(a.Key)).Where(h => h is not null).Select(h => h!).ToList();
        if (assignments.Select(a => (Of: a, Run: held.Running(a.Key))).Where(r => r.Run is not null).ToList() is { Count: > 0 } running)
        {
            Put(status, resource, "Approved", "True", new("Running", string.Join("; ", running.Select(r => $"running since {ApprovalRule.When(r.Run!.Since.ToUnixTimeMilliseconds(), clock.GetUtcNow())} on {model.Current.NodeName(NodeOf(r.Of))}: {r.Run.Text}")),
                running[0].Run!.Since, 0, ""));
        }
        else if (waits.Count > 0)
            Put(status, resource, "Approved", "False", new("AwaitingApproval", string.Join("; ", waits.Select(h => $"{h.Plan.NodeName}: {string.Join(", ", h.Plan.Steps.Select(s => s.Text))}{(h.Standing.Length > 0 ? $" ({h.Standing})" : "")}")),
                DateTimeOffset.FromUnixTimeMilliseconds(waits[0].CreatedUnixMs), 0, "agentmetal approve " + waits[0].Id));
        else Drop(resource, "Approved");
        var waiting = status.Members.FirstOrDefault(m => m.Phase == "Waiting");
        if (waiting is null) { Drop(resource, "Waiting"); return; }
        var why = waiting.Conditions.FirstOrDefault(c => c.Type == "Ready");
        Put(status, resource, "Waiting", "True", new("Waiting", $"{waiting.NodeName}: {why?.Message ?? waiting.Summary}", null, why?.RetryUnixMs ?? 0, why?.NextCommand is { Length: > 0 } next ? next : Events(resource)));
    }

    /// <summary>Of hosts that have not called since the start: when they were seen last.</summary>
    private string LastSeen(List<Assignment> assignments, Dictionary<string, Reported?> said)
    {
        var old = assignments.Where(a => reports.Find(a.Key) is null && said[a.Key] is not null).ToList();
        return old.Count == 0 ? "" : $"; as last seen at {old.Max(a => said[a.Key]!.At).ToString("HH:mm:ss", CultureInfo.InvariantCulture)} UTC: this coordinator has just started, and waits for {string.Join(", ", old.Select(a => model.Current.NodeName(NodeOf(a))).Distinct(StringComparer.Ordinal))}";
    }

    private string Members(List<Assignment> assignments, Dictionary<string, Reported?> reported) => string.Join(", ", assignments.Where(a => !a.Absent || a.Teardown).Select(a =>
        $"{(reported[a.Key]?.Report.Status.Summary is { Length: > 0 } s ? s : "member " + a.Ordinal.ToString(CultureInfo.InvariantCulture))} on {model.Current.NodeName(NodeOf(a))}"));

    private void Put(Status status, Resource resource, string type, string value, Blocker b)
    {
        var now = clock.GetUtcNow();
        var since = _since.AddOrUpdate((resource.Metadata.Uid, type), _ => (value, b.Reason, b.Since ?? now), (_, old) => old.Status == value && old.Reason == b.Reason ? old : (value, b.Reason, b.Since ?? now)).Since;
        status.Conditions.Add(new Condition
        {
            Type = type,
            Status = value,
            Reason = b.Reason,
            Message = b.Message,
            SinceUnixMs = since.ToUnixTimeMilliseconds(),
            RetryUnixMs = b.RetryUnixMs,
            NextCommand = value == "True" && type is not ("Waiting" or "Paused") ? "" : b.Next,
        });
    }

    private void Drop(Resource resource, string type) => _since.TryRemove((resource.Metadata.Uid, type), out _);

    private static string NodeOf(Assignment a) => a.Key[..a.Key.IndexOf('/', StringComparison.Ordinal)];

    private static string Events(Resource resource) => $"agentmetal events --for {new Runtime.Resources.ResourceKey(resource.Kind, resource.Metadata.Project, resource.Metadata.Name).Short}";

    private static long Ms(DateTimeOffset? at) => at?.ToUnixTimeMilliseconds() ?? 0;
}
