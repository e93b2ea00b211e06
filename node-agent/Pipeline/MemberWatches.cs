using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Systemd;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>One systemd watch and one inotify instance for all members; a changed set of units renews the systemd watch.</summary>
internal sealed partial class MemberWatches : IAsyncDisposable
{
    private static readonly TimeSpan Settle = TimeSpan.FromMilliseconds(50);

    private readonly Lock _lock = new();
    private readonly Dictionary<string, MemberWatch> _byKey = new(StringComparer.Ordinal);
    private readonly IUnitReader _units;
    private readonly PathWatcher _paths;
    private readonly Action<string?> _wake;
    private readonly ILogger _log;
    private readonly CancellationToken _stop;
    private readonly Task _loop;
    private Dictionary<string, List<string>> _keysByUnit = new(StringComparer.Ordinal);
    private CancellationTokenSource _renew = new();

    public MemberWatches(IUnitReader units, PathWatcher paths, Action<string?> wake, ILogger log, CancellationToken stop)
    {
        (_units, _paths, _wake, _log, _stop) = (units, paths, wake, log, stop);
        _loop = Task.Run(LoopAsync, CancellationToken.None);
    }

    public void Set(string key, MemberWatch watch)
    {
        lock (_lock)
        {
            var units = _byKey.TryGetValue(key, out var old) ? old.Units : [];
            _byKey[key] = watch;
            if (!units.SequenceEqual(watch.Units)) Renew();
        }
        // Set again after every pass: a path that did not exist before may exist now.
        _paths.Set(key, watch.Paths, () => _wake(key));
    }

    public void Clear(string key)
    {
        lock (_lock)
            if (_byKey.Remove(key, out var old) && !old.Units.IsEmpty) Renew();
        _paths.Clear(key);
    }

    public async ValueTask DisposeAsync()
    {
        lock (_lock) _renew.Cancel();
        try { await _loop.WaitAsync(TimeSpan.FromSeconds(5)); }
        catch (Exception e) when (e is OperationCanceledException or TimeoutException) { LogEnded(_log, e.GetType().Name); }
        _renew.Dispose();
    }

    private void Renew()
    {
        var map = new Dictionary<string, List<string>>(StringComparer.Ordinal);
        foreach (var (key, watch) in _byKey)
            foreach (var unit in watch.Units)
            {
                if (!map.TryGetValue(unit, out var keys)) map[unit] = keys = [];
                keys.Add(key);
            }
        _keysByUnit = map;
        _renew.Cancel();
    }

    private async Task LoopAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            string[] units;
            CancellationTokenSource renew;
            lock (_lock)
            {
                units = [.. _keysByUnit.Keys];
                _renew = renew = CancellationTokenSource.CreateLinkedTokenSource(_stop);
            }
            try
            {
                if (units.Length == 0) await Task.Delay(Timeout.Infinite, renew.Token);
                else await WatchAsync(units, renew.Token);
            }
            catch (OperationCanceledException) { /* A changed set, or the end. */ }
            // Members are set one after another at start: one renewal for all of them.
            if (!_stop.IsCancellationRequested) await Task.Delay(Settle, CancellationToken.None);
        }
    }

    private async Task WatchAsync(string[] units, CancellationToken stop)
    {
        await foreach (var signal in _units.WatchAsync(units, stop))
        {
            if (signal.Kind == UnitSignalKind.Unseen) continue; // The Resync that follows makes everybody look.
            if (signal.Unit is null) { _wake(null); continue; }
            List<string>? keys;
            lock (_lock) _keysByUnit.TryGetValue(signal.Unit, out keys);
            foreach (var key in keys ?? []) _wake(key);
        }
    }

    [LoggerMessage(EventId = 1010, Level = LogLevel.Debug, Message = "unit watch ended: {Why}")]
    private static partial void LogEnded(ILogger log, string why);
}
