using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>
/// The store's content in memory, kept by a watch: reads cost nothing, and what another writer does is seen too. Who wrote waits until the model has
/// caught up, so nobody reads less than it wrote.
/// </summary>
internal sealed partial class FleetModel(IStore store, ILogger<FleetModel> log, TimeProvider clock)
{
    private static readonly TimeSpan RetryWatch = TimeSpan.FromSeconds(1);

    private readonly Lock _lock = new();
    private readonly List<(long Number, TaskCompletionSource Reached)> _waiting = [];
    private volatile FleetView? _current;
    private bool _ended;

    /// <summary>The newest view.</summary>
    /// <exception cref="InvalidOperationException">Before <see cref="LoadAsync"/>.</exception>
    public FleetView Current => _current ?? throw new InvalidOperationException("the model is not loaded");

    /// <summary>Called by the watch, in commit order, once the view is current. Must not block.</summary>
    public Action<FleetView, FleetDelta>? Changed { get; set; }

    /// <summary>"project/Kind/name" of what a resource refers to; set before <see cref="LoadAsync"/>.</summary>
    public Func<Proto.V1.Resource, IEnumerable<string>> ReferencesOf { get; init; } = static _ => [];

    /// <summary>Reads everything.</summary>
    /// <exception cref="StoreAwayException">The store cannot answer.</exception>
    public async Task LoadAsync(CancellationToken stop)
    {
        var listing = await store.ListAsync("", stop);
        var view = new FleetView { At = listing.At, ReferencesOf = ReferencesOf };
        // Each entry keeps the revision that wrote it, so a node that has seen it is not sent it again.
        foreach (var entries in listing.Entries.GroupBy(e => e.ModifiedAt))
            view = view.After(new(listing.At.StoreId, entries.Key), entries.Select(e => new StoreChange(e.Key, e.Value, e.CreatedAt)), out _);
        Publish(view with { At = listing.At });
    }

    /// <summary>Follows the store until stopped.</summary>
    /// <exception cref="StoreReplacedException">The store is another one than it was, or lost history: only a restart sorts that out.</exception>
    public async Task FollowAsync(CancellationToken stop)
    {
        try { await FollowUntilAsync(stop); }
        finally { End(); }
    }

    private async Task FollowUntilAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await foreach (var seen in store.WatchAsync("", Current.At, stop))
                {
                    switch (seen)
                    {
                        case WatchEvent.Changed changed:
                            var view = Current.After(changed.At, changed.Changes, out var delta);
                            Publish(view);
                            Changed?.Invoke(view, delta);
                            break;
                        case WatchEvent.ReList { Reason: ReListReason.Compacted }:
                            await ReloadAsync(stop);
                            break;
                        case WatchEvent.ReList other:
                            throw new StoreReplacedException($"the store at revision {other.Current} is not the one this coordinator read before ({other.Reason})");
                        default:
                            throw new InvalidOperationException($"unexpected {seen.GetType().Name}");
                    }
                }
            }
            catch (StoreAwayException e)
            {
                // Away is never empty: the last view stands until the store answers again.
                LogAway(log, e.Reason);
                await Task.Delay(RetryWatch, clock, stop);
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
        }
    }

    /// <summary>Completes once the model has seen this revision.</summary>
    /// <exception cref="StoreAwayException">The watch has ended: this coordinator stops, and will not see it. What was written is stored.</exception>
    public Task CaughtUpAsync(long number, CancellationToken cancel)
    {
        lock (_lock)
        {
            if (Current.At.Number >= number) return Task.CompletedTask;
            if (_ended) return Task.FromException(Stopping());
            var reached = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _waiting.Add((number, reached));
            return reached.Task.WaitAsync(cancel);
        }
    }

    /// <summary>Who waits for a revision would otherwise keep a coordinator that stops from ever ending.</summary>
    private void End()
    {
        lock (_lock)
        {
            _ended = true;
            foreach (var (_, reached) in _waiting) reached.TrySetException(Stopping());
            _waiting.Clear();
        }
    }

    private static StoreAwayException Stopping() => new("this coordinator stops; what was written is stored");

    private async Task ReloadAsync(CancellationToken stop)
    {
        var before = Current;
        await LoadAsync(stop);
        var after = Current;
        Changed?.Invoke(after, new()
        {
            Resources = [.. before.Resources.Keys, .. after.Resources.Keys],
            Nodes = [.. before.Joined.Keys, .. after.Joined.Keys],
            Hosts = [.. before.Joined.Keys, .. after.Joined.Keys],
            Assignments = [.. before.Assignments.Keys, .. after.Assignments.Keys],
            Names = [.. before.Names.Keys, .. after.Names.Keys],
            Referred = [.. after.Names.Keys],
        });
    }

    private void Publish(FleetView view)
    {
        lock (_lock)
        {
            _current = view;
            for (var i = _waiting.Count - 1; i >= 0; i--)
            {
                if (_waiting[i].Number > view.At.Number) continue;
                _waiting[i].Reached.TrySetResult();
                _waiting.RemoveAt(i);
            }
        }
    }

    [LoggerMessage(EventId = 2001, Level = LogLevel.Error, Message = "The store is away: {Why}. Hosts keep running; the watch is tried again every second")]
    private static partial void LogAway(ILogger log, string why);
}

/// <summary>The store under a running coordinator was replaced.</summary>
internal sealed class StoreReplacedException(string message) : Exception(message);
