using System.Threading.Channels;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// Signals between the bus's thread and one reader: one per unit and kind, the latest wins, oldest first. It is bounded
/// by the number of watched units, whatever systemd sends and however slow the reader is.
/// </summary>
internal sealed class SignalBox
{
    private readonly Lock _lock = new();
    private readonly List<UnitSignal> _signals = [];
    private readonly Channel<bool> _bell = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    /// <summary>Adds a signal. Resync and Unseen make all that waits pointless: everything is read again, or nothing is known.</summary>
    internal void Put(UnitSignal signal)
    {
        lock (_lock)
        {
            if (signal.Kind is UnitSignalKind.Resync or UnitSignalKind.Unseen)
                _signals.Clear();
            var index = _signals.FindIndex(other => other.Kind == signal.Kind && other.Unit == signal.Unit);
            if (index < 0)
                _signals.Add(signal);
            else
                _signals[index] = signal;
        }

        _bell.Writer.TryWrite(true);
    }

    /// <summary>Waits until there is something, and takes all of it.</summary>
    internal async Task<IReadOnlyList<UnitSignal>> TakeAsync(CancellationToken ct)
    {
        while (true)
        {
            await _bell.Reader.ReadAsync(ct).ConfigureAwait(false);
            lock (_lock)
            {
                if (_signals.Count == 0)
                    continue;

                UnitSignal[] taken = [.. _signals];
                _signals.Clear();
                return taken;
            }
        }
    }
}
