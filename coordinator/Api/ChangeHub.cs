using System.Threading.Channels;

namespace AgentMetal.Coordinator.Api;

/// <summary>Tells watchers which resources to look at again. Each watcher has a set, not a queue: a slow one looks once at what changed often.</summary>
internal sealed class ChangeHub
{
    private readonly Lock _lock = new();
    private readonly HashSet<Watcher> _watchers = [];

    public void Touch(string uid)
    {
        lock (_lock)
            foreach (var watcher in _watchers) watcher.Add(uid);
    }

    public Watcher Watch()
    {
        var watcher = new Watcher(this);
        lock (_lock) _watchers.Add(watcher);
        return watcher;
    }

    internal sealed class Watcher(ChangeHub hub) : IDisposable
    {
        private readonly Lock _lock = new();
        private readonly Channel<bool> _signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        private HashSet<string> _dirty = new(StringComparer.Ordinal);

        public void Add(string uid)
        {
            lock (_lock) _dirty.Add(uid);
            _signal.Writer.TryWrite(true);
        }

        /// <summary>Waits until something changed and takes what did.</summary>
        public async ValueTask<IReadOnlyCollection<string>> TakeAsync(CancellationToken cancel)
        {
            await _signal.Reader.ReadAsync(cancel);
            lock (_lock)
            {
                var taken = _dirty;
                _dirty = new(StringComparer.Ordinal);
                return taken;
            }
        }

        public void Dispose()
        {
            lock (hub._lock) hub._watchers.Remove(this);
        }
    }
}
