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
    public CoordinatorMetrics(FleetModel model, NodeRegistry registry, HostStandings standings, StoreBook book, HeldPlans held, StatusBoard board, EventLog events, FleetJournal journal)
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
            waiting.Set(held.All.Count);
            putBack.Set(book.PutBack is null ? 0 : 1);
            refusing.Set(view.Joined.Values.Count(n => n.RevokedUnixMs is null && standings.RefusedBy(n.Uid).Length > 0));
            orphans.Set(view.Joined.Values.Where(n => n.RevokedUnixMs is null).Sum(n => standings.Orphans(n.Uid).Count()));
            revision.Set(view.At.Number);
            seq.Set(events.Last);
            audit.Set(journal.AuditSeq);
        });
    }

    public CollectorRegistry Registry { get; } = Metrics.NewCustomRegistry();
}
