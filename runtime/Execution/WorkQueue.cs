namespace AgentMetal.Runtime.Execution;

/// <summary>Bounds of a <see cref="WorkQueue"/>.</summary>
/// <param name="Capacity">Keys at most; a further one is refused and counted, and the periodic resync brings it back.</param>
/// <param name="BaseDelay">First back-off.</param>
/// <param name="MaxDelay">Cap of the back-off.</param>
public sealed record WorkQueueOptions(int Capacity = 65_536, TimeSpan? BaseDelay = null, TimeSpan? MaxDelay = null)
{
    internal TimeSpan Base => BaseDelay ?? TimeSpan.FromSeconds(1);
    internal TimeSpan Max => MaxDelay ?? TimeSpan.FromMinutes(2);
}

/// <summary>
/// Per-key work: deduplicated, latest wins, bounded, back-off with jitter. One worker a key: a key that is added while it is worked on is
/// handed out again afterwards. Pure: time and randomness are arguments; not thread-safe, the owner locks.
/// </summary>
public sealed class WorkQueue(WorkQueueOptions options)
{
    private sealed class Item
    {
        public DateTimeOffset Due;
        public bool Queued;
        public bool Working;
        public int Failures;
        public long Order;
    }

    private readonly Dictionary<string, Item> _items = new(StringComparer.Ordinal);
    private readonly PriorityQueue<(string Key, long Order), (DateTimeOffset, long)> _due = new();
    private long _order;

    /// <summary>Keys refused because the queue was full.</summary>
    public long Refused { get; private set; }

    /// <summary>Keys that wait.</summary>
    public int Count => _items.Values.Count(i => i.Queued);

    /// <summary>Entries of the heap, those that a later Add has overtaken included.</summary>
    internal int Entries => _due.Count;

    /// <summary>Adds a key, or brings it forward; an earlier time wins. False = full.</summary>
    public bool Add(string key, DateTimeOffset due)
    {
        if (!_items.TryGetValue(key, out var item))
        {
            if (_items.Count >= options.Capacity) { Refused++; return false; }
            _items[key] = item = new();
        }
        if (item.Queued && item.Due <= due) return true;
        (item.Queued, item.Due, item.Order) = (true, due, ++_order);
        if (!item.Working) Enqueue(key, item);
        return true;
    }

    /// <summary>The next key that is due and that nobody works on.</summary>
    public bool TryTake(DateTimeOffset now, out string key)
    {
        while (_due.TryPeek(out var head, out var at))
        {
            if (!_items.TryGetValue(head.Key, out var item) || !item.Queued || item.Working || item.Order != head.Order) { _due.Dequeue(); continue; }
            if (at.Item1 > now) break;
            _due.Dequeue();
            (item.Queued, item.Working) = (false, true);
            key = head.Key;
            return true;
        }
        key = "";
        return false;
    }

    /// <summary>When the next key is due; null = nothing waits.</summary>
    public DateTimeOffset? NextDue
    {
        get
        {
            while (_due.TryPeek(out var head, out var at))
            {
                if (_items.TryGetValue(head.Key, out var item) && item.Queued && !item.Working && item.Order == head.Order) return at.Item1;
                _due.Dequeue();
            }
            return null;
        }
    }

    /// <summary>The work ended well: back-off is forgotten; looked at again after <paramref name="again"/>, if given.</summary>
    public void Done(string key, DateTimeOffset now, TimeSpan? again = null)
    {
        if (!_items.TryGetValue(key, out var item)) return;
        item.Failures = 0;
        Finish(key, item, again is { } span ? now + span : null);
    }

    /// <summary>The work could not be done: again after a back-off with full jitter in its upper half.</summary>
    /// <param name="key">The key.</param>
    /// <param name="now">Now.</param>
    /// <param name="random">0..1.</param>
    /// <returns>When it is due again.</returns>
    public DateTimeOffset Retry(string key, DateTimeOffset now, double random)
    {
        if (!_items.TryGetValue(key, out var item)) return now;
        item.Failures = Math.Min(item.Failures + 1, 30);
        var cap = Math.Min(options.Max.TotalMilliseconds, options.Base.TotalMilliseconds * Math.Pow(2, item.Failures - 1));
        var due = now + TimeSpan.FromMilliseconds(cap * (0.5 + (random / 2)));
        Finish(key, item, due);
        return due;
    }

    /// <summary>Forgets a key that nobody works on.</summary>
    public void Remove(string key)
    {
        if (_items.TryGetValue(key, out var item) && !item.Working) _items.Remove(key);
        else if (item is not null) item.Queued = false;
    }

    private void Finish(string key, Item item, DateTimeOffset? due)
    {
        item.Working = false;
        if (item.Queued && (due is null || item.Due <= due)) due = item.Due; // Added while it was worked on.
        if (due is not { } at) { _items.Remove(key); return; }
        (item.Queued, item.Due, item.Order) = (true, at, ++_order);
        Enqueue(key, item);
    }

    private void Enqueue(string key, Item item)
    {
        _due.Enqueue((key, item.Order), (item.Due, item.Order));
        // What an earlier time has overtaken stays in the heap until its own time comes: a key that is woken often and put off for long would fill it.
        if (_due.Count <= 32 + (2 * _items.Count)) return;
        _due.Clear();
        foreach (var (name, waiting) in _items)
            if (waiting.Queued && !waiting.Working) _due.Enqueue((name, waiting.Order), (waiting.Due, waiting.Order));
    }
}
