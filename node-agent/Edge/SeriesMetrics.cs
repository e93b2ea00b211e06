using AgentMetal.NodeAgent.Pipeline;
using Prometheus;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>Numbers of members as Prometheus series: those of a member that is gone go with it, and a counter that began anew begins anew here.</summary>
internal sealed class SeriesMetrics(MetricFactory factory)
{
    private static readonly string[] s_labels = ["project", "name", "device"];

    private readonly Dictionary<string, (Gauge? Gauge, Counter? Counter)> _metrics = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Name, string Project, string Resource, string Device), double> _last = [];

    public void Take(IReadOnlyList<MemberSample> samples)
    {
        var seen = new HashSet<(string, string, string, string)>();
        foreach (var sample in samples)
        {
            var key = (sample.Name, sample.Project, sample.Resource, sample.Device);
            seen.Add(key);
            var (gauge, counter) = Metric(sample);
            gauge?.WithLabels(sample.Project, sample.Resource, sample.Device).Set(sample.Value);
            if (counter is null) { _last[key] = sample.Value; continue; }
            if (sample.Value < _last.GetValueOrDefault(key)) counter.RemoveLabelled(sample.Project, sample.Resource, sample.Device);
            counter.WithLabels(sample.Project, sample.Resource, sample.Device).IncTo(sample.Value);
            _last[key] = sample.Value;
        }
        foreach (var gone in _last.Keys.Where(k => !seen.Contains(k)).ToList())
        {
            var (gauge, counter) = _metrics[gone.Name];
            gauge?.RemoveLabelled(gone.Project, gone.Resource, gone.Device);
            counter?.RemoveLabelled(gone.Project, gone.Resource, gone.Device);
            _last.Remove(gone);
        }
    }

    private (Gauge? Gauge, Counter? Counter) Metric(MemberSample sample)
    {
        if (_metrics.TryGetValue(sample.Name, out var known)) return known;
        return _metrics[sample.Name] = sample.IsCounter ? (null, factory.CreateCounter(sample.Name, sample.Help, s_labels)) : (factory.CreateGauge(sample.Name, sample.Help, s_labels), null);
    }
}
