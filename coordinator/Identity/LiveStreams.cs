namespace AgentMetal.Coordinator.Identity;

/// <summary>What to do with a node's new stream.</summary>
internal enum StreamRuling
{
    /// <summary>The only one: serve it.</summary>
    Serve,

    /// <summary>The same boot of the same host came again: serve it, close the one before.</summary>
    Replace,

    /// <summary>Another boot, while the stream before may live: hold back assignments until <see cref="LiveStreams.Heard"/> or <see cref="LiveStreams.Settle"/> rules.</summary>
    Wait,

    /// <summary>Two hosts have one key: serve neither until an operator has looked.</summary>
    Quarantine,
}

/// <summary>
/// One key, one host. A host that rebooted leaves a stream behind that nobody has noticed to be dead; a copied key leaves two that both speak. They are
/// told apart by listening: if the older one says anything after the newer one came, both are alive. Pure: time is an argument. Not thread-safe.
/// </summary>
internal sealed class LiveStreams
{
    /// <summary>A stream that is silent for this long is dead.</summary>
    public static readonly TimeSpan Silence = TimeSpan.FromSeconds(15);

    /// <summary>Taking turns is what two hosts with a copied boot id do; a host with a bad line backs off instead.</summary>
    public const int MaxReplacements = 10;

    public static readonly TimeSpan ReplacementWindow = TimeSpan.FromMinutes(1);

    private readonly Dictionary<string, Entry> _nodes = new(StringComparer.Ordinal);

    public bool IsQuarantined(string uid) => _nodes.TryGetValue(uid, out var entry) && entry.Quarantined;

    public StreamRuling Attach(string uid, long stream, string bootId, DateTimeOffset now)
    {
        if (!_nodes.TryGetValue(uid, out var entry))
            _nodes[uid] = entry = new Entry();
        if (entry.Quarantined)
            return StreamRuling.Quarantine;
        if (entry.Waiting is { } waiting && waiting.BootId != bootId)
        {
            // A third boot before the second was settled.
            entry.Quarantined = true;
            return StreamRuling.Quarantine;
        }
        if (entry.Serving is not { } serving || (serving.BootId != bootId && now - serving.HeardAt >= Silence))
        {
            entry.Serving = new Live(stream, bootId, now);
            return StreamRuling.Serve;
        }
        if (serving.BootId != bootId)
        {
            entry.Waiting = new Live(stream, bootId, now);
            return StreamRuling.Wait;
        }
        entry.Serving = new Live(stream, bootId, now);
        return entry.CountReplacement(now) > MaxReplacements ? Quarantine(entry) : StreamRuling.Replace;
    }

    /// <summary>A stream said something.</summary>
    public StreamRuling Heard(string uid, long stream, DateTimeOffset now)
    {
        if (!_nodes.TryGetValue(uid, out var entry))
            return StreamRuling.Serve;
        if (entry.Quarantined)
            return StreamRuling.Quarantine;
        if (entry.Serving?.Stream == stream)
        {
            entry.Serving = entry.Serving with { HeardAt = now };
            return entry.Waiting is null ? StreamRuling.Serve : Quarantine(entry);
        }
        return entry.Waiting?.Stream == stream ? Settle(uid, now) : StreamRuling.Replace;
    }

    /// <summary>Whether the one that waits may be served now: Replace when the other has been silent for long enough, or is gone.</summary>
    public StreamRuling Settle(string uid, DateTimeOffset now)
    {
        if (!_nodes.TryGetValue(uid, out var entry) || entry.Quarantined)
            return entry is null ? StreamRuling.Serve : StreamRuling.Quarantine;
        if (entry.Waiting is not { } waiting)
            return StreamRuling.Serve;
        if (entry.Serving is { } serving && now - serving.HeardAt < Silence)
            return StreamRuling.Wait;
        entry.Serving = waiting with { HeardAt = now };
        entry.Waiting = null;
        return StreamRuling.Replace;
    }

    /// <summary>A stream ended. A quarantine outlives its streams.</summary>
    public void Detach(string uid, long stream)
    {
        if (!_nodes.TryGetValue(uid, out var entry))
            return;
        if (entry.Serving?.Stream == stream)
            entry.Serving = null;
        if (entry.Waiting?.Stream == stream)
            entry.Waiting = null;
        if (entry is { Serving: null, Waiting: null, Quarantined: false, HasReplacements: false })
            _nodes.Remove(uid);
    }

    /// <summary>An operator has looked.</summary>
    public void Release(string uid) => _nodes.Remove(uid);

    private static StreamRuling Quarantine(Entry entry)
    {
        entry.Quarantined = true;
        return StreamRuling.Quarantine;
    }

    private sealed record Live(long Stream, string BootId, DateTimeOffset HeardAt);

    private sealed class Entry
    {
        private readonly Queue<DateTimeOffset> _replacements = new();

        public Live? Serving { get; set; }

        public Live? Waiting { get; set; }

        public bool Quarantined { get; set; }

        public bool HasReplacements => _replacements.Count > 0;

        public int CountReplacement(DateTimeOffset now)
        {
            _replacements.Enqueue(now);
            while (now - _replacements.Peek() > ReplacementWindow)
                _replacements.Dequeue();
            return _replacements.Count;
        }
    }
}
