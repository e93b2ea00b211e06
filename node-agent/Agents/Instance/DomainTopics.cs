using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>libvirt's events as topics to watch. Nothing is opened before the first instance is watched: a host without machines does not pay for them.</summary>
internal sealed class DomainTopics(ILibvirtReader domains) : ITopicSource
{
    private const string Prefix = "libvirt/";

    /// <summary>The topic of one domain, or of any for an empty uuid.</summary>
    public static string Of(string uuid) => Prefix + uuid;

    public string Name => "libvirt";

    public bool Covers(string topic) => topic.StartsWith(Prefix, StringComparison.Ordinal);

    public async IAsyncEnumerable<string> WatchAsync([System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken stop)
    {
        await foreach (var signal in domains.WatchAsync(stop))
            switch (signal.Kind)
            {
                case DomainSignalKind.Domain:
                    yield return Of(signal.Uuid);
                    yield return Of(""); // One that was taken over is known by its name, and there are few of them.
                    break;
                case DomainSignalKind.Resync:
                    yield return TopicWatches.All;
                    break;
            }
    }
}
