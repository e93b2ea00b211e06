using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>A source of signals beside systemd and the file system, such as a hypervisor. It is opened when the first member watches one of its topics.</summary>
internal interface ITopicSource
{
    /// <summary>For logs.</summary>
    string Name { get; }

    /// <summary>Whether this source signals the topic.</summary>
    bool Covers(string topic);

    /// <summary>Topics of which something happened, until cancelled; <see cref="TopicWatches.All"/> when anything may have.</summary>
    IAsyncEnumerable<string> WatchAsync(CancellationToken stop);
}

/// <summary>Wakes the members that watch a topic when its source signals it.</summary>
internal sealed partial class TopicWatches(IReadOnlyList<ITopicSource> sources, Action<string?> wake, ILogger log, CancellationToken stop)
{
    /// <summary>Stands for every topic of the source.</summary>
    public const string All = "*";

    private static readonly TimeSpan Again = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, IReadOnlyList<string>> _byKey = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Task> _loops = new(StringComparer.Ordinal);

    public void Set(string key, IReadOnlyList<string> topics)
    {
        if (topics.Count == 0) return;
        lock (_lock)
        {
            _byKey[key] = topics;
            foreach (var source in sources)
                if (!_loops.ContainsKey(source.Name) && topics.Any(source.Covers)) _loops[source.Name] = Task.Run(() => LoopAsync(source), CancellationToken.None);
        }
    }

    public void Clear(string key)
    {
        lock (_lock) _byKey.Remove(key);
    }

    /// <summary>Ended once the token that was given is cancelled.</summary>
    public Task Ended { get { lock (_lock) return Task.WhenAll(_loops.Values); } }

    private async Task LoopAsync(ITopicSource source)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await foreach (var topic in source.WatchAsync(stop))
                {
                    foreach (var key in KeysOf(source, topic)) wake(key);
                    if (topic == All) _ = LookAgainAsync(source);
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
            catch (Exception e) when (e is IOException or InvalidOperationException or TimeoutException) { LogEnded(log, source.Name, e.Message); }
            try { await Task.Delay(Again, stop); }
            catch (OperationCanceledException) { return; }
        }
    }

    /// <summary>A server that has just come back may not know all of its own yet, and tell nothing of what ends until it does (libvirtd with its guests).</summary>
    private async Task LookAgainAsync(ITopicSource source)
    {
        try { await Task.Delay(Settled, stop); }
        catch (OperationCanceledException) { return; }
        foreach (var key in KeysOf(source, All)) wake(key);
    }

    private List<string> KeysOf(ITopicSource source, string topic)
    {
        lock (_lock) return [.. _byKey.Where(m => topic == All ? m.Value.Any(source.Covers) : m.Value.Contains(topic)).Select(m => m.Key)];
    }

    [LoggerMessage(EventId = 1011, Level = LogLevel.Warning, Message = "watch of {Source} ended and begins anew: {Why}")]
    private static partial void LogEnded(ILogger log, string source, string why);
}
