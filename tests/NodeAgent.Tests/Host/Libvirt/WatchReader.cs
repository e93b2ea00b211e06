using System.Threading.Channels;
using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>A watch that is always read, and a test that waits for what it says.</summary>
internal sealed class WatchReader : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Channel<DomainSignal> _signals = Channel.CreateUnbounded<DomainSignal>();
    private readonly List<string> _seen = [];
    private readonly Task _reading;

    internal WatchReader(ILibvirtReader reader) => _reading = Task.Run(() => ReadAsync(reader));

    internal async Task<DomainSignal> NextAsync()
    {
        using var limit = new CancellationTokenSource(TestHost.Patience);
        try
        {
            var signal = await _signals.Reader.ReadAsync(limit.Token);
            _seen.Add($"{signal.Kind} {signal.Name} {signal.Event} {signal.Detail}");
            return signal;
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException($"no further signal came after: {string.Join("; ", _seen)}");
        }
    }

    internal async Task<DomainSignal> UntilAsync(Func<DomainSignal, bool> wanted)
    {
        while (true)
        {
            var signal = await NextAsync();
            if (wanted(signal))
                return signal;
        }
    }

    internal Task<DomainSignal> UntilAsync(DomainSignalKind kind) => UntilAsync(signal => signal.Kind == kind);

    /// <summary>True when the watch has ended by itself.</summary>
    internal async Task<bool> HasEndedAsync()
    {
        await _reading.WaitAsync(TestHost.Patience);
        return !_stop.IsCancellationRequested;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _reading.WaitAsync(TestHost.Patience);
        _stop.Dispose();
    }

    private async Task ReadAsync(ILibvirtReader reader)
    {
        try
        {
            await foreach (var signal in reader.WatchAsync(_stop.Token))
                _signals.Writer.TryWrite(signal);
        }
        catch (OperationCanceledException)
        {
            // The test has seen enough.
        }
    }
}
