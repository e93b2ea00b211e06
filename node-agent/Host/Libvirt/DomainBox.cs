using System.Threading.Channels;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Signals between libvirt's event thread and one reader: one per domain and event, the latest wins and moves to the end. More than
/// <see cref="Capacity"/> become one Resync: a reader that is too slow reads everything again and misses nothing.
/// </summary>
internal sealed class DomainBox
{
    /// <summary>Signals that wait at most.</summary>
    internal const int Capacity = 512;

    private static readonly DomainSignal Again = new(DomainSignalKind.Resync, "", "", "", "");

    private readonly Lock _lock = new();
    private readonly List<DomainSignal> _signals = [];
    private readonly Channel<bool> _bell = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private bool _isUnseen;

    /// <summary>Signals that wait now.</summary>
    internal int Count
    {
        get
        {
            lock (_lock)
                return _signals.Count;
        }
    }

    /// <summary>Something happened to a domain.</summary>
    internal void Put(DomainSignal signal)
    {
        lock (_lock)
        {
            // Everything is read again anyway.
            if (_signals is [{ Kind: DomainSignalKind.Resync }])
                return;

            var index = _signals.FindIndex(other => other.Uuid == signal.Uuid && other.Event == signal.Event);
            if (index >= 0)
                _signals.RemoveAt(index);
            _signals.Add(signal);
            if (_signals.Count > Capacity)
                Replace(Again);
        }

        _bell.Writer.TryWrite(true);
    }

    /// <summary>The watch stands, first or again.</summary>
    internal void PutResync()
    {
        lock (_lock)
        {
            _isUnseen = false;
            Replace(Again);
        }

        _bell.Writer.TryWrite(true);
    }

    /// <summary>libvirt is away. Said once until it is back: an attempt that fails again is no news.</summary>
    internal void PutUnseen(string why)
    {
        lock (_lock)
        {
            if (_isUnseen)
                return;

            _isUnseen = true;
            Replace(new DomainSignal(DomainSignalKind.Unseen, "", "", "", why));
        }

        _bell.Writer.TryWrite(true);
    }

    /// <summary>Nothing will ever come again.</summary>
    internal void Complete() => _bell.Writer.TryComplete();

    /// <summary>Waits until there is something, and takes all of it; null when nothing will come any more.</summary>
    internal async ValueTask<IReadOnlyList<DomainSignal>?> TakeAsync(CancellationToken stop)
    {
        while (await _bell.Reader.WaitToReadAsync(stop).ConfigureAwait(false))
        {
            _bell.Reader.TryRead(out _);
            lock (_lock)
            {
                if (_signals.Count == 0)
                    continue;

                DomainSignal[] taken = [.. _signals];
                _signals.Clear();
                return taken;
            }
        }

        return null;
    }

    private void Replace(DomainSignal signal)
    {
        _signals.Clear();
        _signals.Add(signal);
    }
}
