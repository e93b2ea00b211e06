using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Api;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Coordinator.Nodes;
using Prometheus;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>What Prometheus reads. Put together when it asks, so that nothing is counted twice or forgotten.</summary>
internal sealed class CoordinatorMetrics
{
    public CoordinatorMetrics(FleetModel model, NodeRegistry registry, HostStandings standings, StoreBook book, HeldPlans held, StatusBoard board, EventLog events, FleetJournal journal, DiskWatch disk)
    {
        var metrics = Metrics.WithCustomRegistry(Registry);
        var info = metrics.CreateGauge("agentmetal_coordinator_info", "This program; always 1.", "version");
        var nodes = metrics.CreateGauge("agentmetal_nodes", "Nodes by liveness.", "liveness");
        var resources = metrics.CreateGauge("agentmetal_resources", "Resources by kind and readiness.", "kind", "ready");
        var members = metrics.CreateGauge("agentmetal_members", "Members by phase.", "phase");
        var waiting = metrics.CreateGauge("agentmetal_held_plans", "Plans that wait for a signature.");
        var revision = metrics.CreateGauge("agentmetal_store_revision", "The store's revision.");
        var seq = metrics.CreateGauge("agentmetal_events_last_seq", "Sequence number of the newest event.");
        var audit = metrics.CreateGauge("agentmetal_audit_last_seq", "Sequence number of the coordinator's newest audit record.");
        var putBack = metrics.CreateGauge("agentmetal_store_put_back", "1 while the store is not the one that was followed, and no operator has signed for it.");
        var refusing = metrics.CreateGauge("agentmetal_nodes_refusing_store", "Hosts that do not follow this store.");
        var orphans = metrics.CreateGauge("agentmetal_orphans", "Members that run on hosts and are in no list.");
        var ready = metrics.CreateGauge("agentmetal_resource_ready", "1 while the resource is Ready, else 0.", "kind", "project", "name");
        var serving = metrics.CreateGauge("agentmetal_resource_serving", "1 while the resource serves, 0 while it does not or nobody knows.", "kind", "project", "name");
        var free = metrics.CreateGauge("agentmetal_coordinator_disk_free_bytes", "Free space of the disk that holds the coordinator's data.");
        info.WithLabels(Build.Version).Set(1);
        Registry.AddBeforeCollectCallback(() =>
        {
            var view = model.Current;
            foreach (var standing in Enum.GetValues<Standing>())
                nodes.WithLabels(standing == Standing.Open ? "Attached" : standing.ToString()).Set(view.Joined.Values.Count(n => n.RevokedUnixMs is null && registry.Live(n.Uid).Standing == standing));
            var all = view.Resources.Values.Select(board.Dressed).ToList();
            foreach (var labels in resources.GetAllLabelValues()) resources.RemoveLabelled(labels);
            foreach (var group in all.GroupBy(r => (r.Kind, Ready: r.Status.Conditions.First(c => c.Type == "Ready").Status)))
                resources.WithLabels(group.Key.Kind, group.Key.Ready).Set(group.Count());
            foreach (var labels in members.GetAllLabelValues()) members.RemoveLabelled(labels);
            foreach (var group in all.SelectMany(r => r.Status.Members).GroupBy(m => m.Phase.Length is > 0 and <= 32 ? m.Phase : "Unknown").Take(32)) members.WithLabels(group.Key).Set(group.Count());
            Set(ready, all, "Ready");
            Set(serving, all, "Serving");
            free.Set(disk.Free);
            waiting.Set(held.All.Count);
            putBack.Set(book.PutBack is null ? 0 : 1);
            refusing.Set(view.Joined.Values.Count(n => n.RevokedUnixMs is null && standings.RefusedBy(n.Uid).Length > 0));
            orphans.Set(view.Joined.Values.Where(n => n.RevokedUnixMs is null).Sum(n => standings.Orphans(n.Uid).Count()));
            revision.Set(view.At.Number);
            seq.Set(events.Last);
            audit.Set(journal.AuditSeq);
        });
    }

    private static void Set(Gauge gauge, List<Proto.V1.Resource> all, string type)
    {
        foreach (var labels in gauge.GetAllLabelValues()) gauge.RemoveLabelled(labels);
        foreach (var r in all)
            if (r.Status.Conditions.FirstOrDefault(c => c.Type == type) is { } condition) gauge.WithLabels(r.Kind, r.Metadata.Project, r.Metadata.Name).Set(condition.Status == "True" ? 1 : 0);
    }

    public CollectorRegistry Registry { get; } = Metrics.NewCustomRegistry();
}
