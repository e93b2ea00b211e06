using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using Prometheus;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>What Prometheus scrapes from a host, on loopback only. Names follow the Prometheus conventions (base units, _total).</summary>
internal sealed class Metrics
{
    private readonly CollectorRegistry _registry = Prometheus.Metrics.NewCustomRegistry();
    private readonly Counter _passes;
    private readonly Histogram _duration;
    private readonly Gauge _members;
    private readonly Gauge _attached;
    private readonly Counter _steps;
    private readonly Gauge _held;
    private readonly Gauge _firstPass;
    private readonly Gauge _allPasses;
    private readonly Func<TimeSpan> _sinceExec;
    private int _lookedAt;

    /// <param name="version">Of this build.</param>
    /// <param name="sinceExec">How long this process has been running.</param>
    public Metrics(string version, Func<TimeSpan> sinceExec)
    {
        _sinceExec = sinceExec;
        var factory = Prometheus.Metrics.WithCustomRegistry(_registry);
        _passes = factory.CreateCounter("agentmetal_reconcile_total", "Passes of the pipeline, by the phase they ended in.", "kind", "phase");
        _duration = factory.CreateHistogram("agentmetal_reconcile_duration_seconds", "How long a pass took.", new HistogramConfiguration
        {
            LabelNames = ["kind"],
            Buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60],
        });
        _members = factory.CreateGauge("agentmetal_members", "Members on this host, by phase.", "phase");
        _attached = factory.CreateGauge("agentmetal_coordinator_attached", "1 while the stream to the coordinator stands.");
        _steps = factory.CreateCounter("agentmetal_events_total", "Events of members, by reason.", "reason");
        _held = factory.CreateGauge("agentmetal_steps_held", "Steps that wait for a signature.");
        var once = new GaugeConfiguration { SuppressInitialValue = true };
        _firstPass = factory.CreateGauge("agentmetal_first_pass_seconds", "From the start of the process to the end of the first pass over a member, within 5 ms.", once);
        _allPasses = factory.CreateGauge("agentmetal_all_passes_seconds", "From the start of the process until every member had been looked at, within 5 ms.", once);
        factory.CreateGauge("agentmetal_build_info", "Always 1; the version is a label.", "version").WithLabels(version).Set(1);
    }

    public void Observe(Controller controller, StoreGuard guard)
    {
        controller.PassEnded = (resource, phase, took) =>
        {
            var kind = resource.Split(' ')[0];
            _passes.WithLabels(kind, phase.ToString()).Inc();
            _duration.WithLabels(kind).Observe(took.TotalSeconds);
            if (Interlocked.CompareExchange(ref _lookedAt, 1, 0) == 0) _firstPass.Set(_sinceExec().TotalSeconds);
        };
        controller.LookedAtAll.ContinueWith(_ => _allPasses.Set(_sinceExec().TotalSeconds), TaskContinuationOptions.ExecuteSynchronously);
        var refused = Prometheus.Metrics.WithCustomRegistry(_registry).CreateGauge("agentmetal_store_refused", "1 while the coordinator's store is not followed, because this host has seen a newer or another one.");
        var orphans = Prometheus.Metrics.WithCustomRegistry(_registry).CreateGauge("agentmetal_orphans", "Members that run here and are in no list of the coordinator.");
        _registry.AddBeforeCollectCallback(() =>
        {
            refused.Set(guard.Refused.Length > 0 ? 1 : 0);
            orphans.Set(guard.Orphans);
            var members = controller.Members;
            foreach (var phase in Enum.GetNames<ReconcilePhase>()) _members.WithLabels(phase).Set(members.Count(m => m.Phase == phase));
            _held.Set(members.Sum(m => m.Held.Length));
        });
    }

    /// <summary>Numbers of the members themselves, where a kind has any; read only while there are members of it.</summary>
    public void Observe(Controller controller, IReadOnlyList<IMemberSeries> series)
    {
        var taken = new SeriesMetrics(Prometheus.Metrics.WithCustomRegistry(_registry));
        _registry.AddBeforeCollectCallback(async stop =>
        {
            var samples = new List<MemberSample>();
            foreach (var one in series)
                if (controller.Members.Where(m => m.Input.Key.Split('/')[1] == one.Kind).Select(m => m.Input).ToList() is { Count: > 0 } members) samples.AddRange(await one.ReadAsync(members, stop));
            lock (taken) taken.Take(samples);
        });
    }

    public void Attached(bool attached) => _attached.Set(attached ? 1 : 0);

    /// <summary>A flood is one line to people and as many events here as there were.</summary>
    public void Happened(MemberEvent e) => _steps.WithLabels(e.Reason).Inc(e.Count);

    /// <summary>Listens on a loopback address; nothing of a host listens in plaintext beyond it.</summary>
    public IDisposable Serve(System.Net.IPEndPoint endpoint)
    {
        if (!System.Net.IPAddress.IsLoopback(endpoint.Address)) throw new ArgumentException($"metrics address {endpoint} is not a loopback address", nameof(endpoint));
        var server = new MetricServer(endpoint.Address.ToString(), endpoint.Port, registry: _registry);
        return server.Start();
    }
}
