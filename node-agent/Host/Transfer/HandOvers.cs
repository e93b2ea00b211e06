using System.Collections.Concurrent;
using AgentMetal.Runtime.Planning;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Host.Transfer;

/// <summary>
/// Machines that this host hands over and receives. Records survive the daemon; what runs beside the passes (the listener, reading, fetching) goes on
/// with them when it starts. The listener is open only while something is offered.
/// </summary>
internal sealed partial class HandOvers : IHandOverReader, IHandOverWriter, IAsyncDisposable
{
    /// <summary>A target that asks within this time learns that it was not let go.</summary>
    private static readonly TimeSpan ToldFor = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan ListenAgain = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private readonly TransferFiles _files;
    private readonly IPeerTransport _transport;
    private readonly TimeProvider _clock;
    private readonly ILogger<HandOvers> _log;
    private readonly ConcurrentDictionary<string, Outgoing> _outgoing = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Incoming> _incoming = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _broken;
    private readonly CancellationTokenSource _stopping = new();
    private CancellationTokenSource? _listening;
    private Task _listener = Task.CompletedTask;

    public HandOvers(TransferFiles files, IPeerTransport transport, TimeProvider clock, ILogger<HandOvers> log)
    {
        (_files, _transport, _clock, _log) = (files, transport, clock, log);
        (var offers, var receipts, _broken) = files.Load();
        foreach (var offer in offers) Begin(new Outgoing(offer, files));
        foreach (var receipt in receipts) _incoming[receipt.Machine] = new(receipt, files, transport, clock);
        Listen();
    }

    public OfferView? Offer(string machine) => Whole(machine) && Offering(machine) is { } outgoing ? outgoing.View : null;

    public ReceiptView? Receipt(string machine) => Whole(machine) && _incoming.TryGetValue(machine, out var incoming) ? incoming.View : null;

    public void Open(Offer offer)
    {
        Whole(offer.Machine);
        lock (_lock)
        {
            if (Offering(offer.Machine) is { } there)
            {
                if (there.Offer.Target == offer.Target && there.Offer.Phase == OfferPhase.Offered) return;
                throw new WorldException($"it is {there.Offer.Phase} to {there.Offer.TargetName} already");
            }
            if (_incoming.ContainsKey(offer.Machine)) throw new WorldException("it has not arrived here yet");
            _files.RemoveManifest(offer.Machine);
            _files.Save(offer);
            Begin(new Outgoing(offer, _files));
        }
        Listen();
    }

    public void Release(string machine)
    {
        var outgoing = Found(machine);
        lock (_lock) outgoing.Release();
    }

    public void Withdraw(string machine, OfferPhase phase)
    {
        lock (_lock)
        {
            if (Offering(machine) is not { } outgoing) return;
            if (outgoing.Offer.Phase != phase) throw new WorldException($"it is {outgoing.Offer.Phase} to {outgoing.Offer.TargetName} by now");
            if (phase == OfferPhase.Offered)
            {
                outgoing.Withdraw();
                _ = Task.Run(() => ForgetAsync(outgoing));
            }
            else Forget(outgoing);
        }
        Listen();
    }

    public void Receive(Receipt receipt)
    {
        Whole(receipt.Machine);
        lock (_lock)
        {
            if (_incoming.TryGetValue(receipt.Machine, out var there))
            {
                if (there.Receipt.Source == receipt.Source) return;
                throw new WorldException($"it comes from {there.Receipt.SourceName} already");
            }
            if (Offering(receipt.Machine) is not null) throw new WorldException("it was handed over, and that is not over yet");
            _files.RemoveIncoming(receipt.Machine);
            _files.Save(receipt);
            _incoming[receipt.Machine] = new(receipt, _files, _transport, _clock);
        }
    }

    public void Own(string machine) => Coming(machine).Own();

    public ValueTask DropAsync(string machine, ReceiptPhase phase, CancellationToken stop) => Coming(machine).DropAsync(phase, stop);

    public void Close(string machine)
    {
        lock (_lock)
        {
            if (!_incoming.TryGetValue(machine, out var incoming)) return;
            if (incoming.Receipt.Phase is not (ReceiptPhase.Owned or ReceiptPhase.Dropped)) throw new WorldException($"what comes from {incoming.Receipt.SourceName} is {incoming.Receipt.Phase}");
            _files.Remove(incoming.Receipt);
            _incoming.TryRemove(machine, out _);
            _ = incoming.EndAsync();
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_stopping.IsCancellationRequested) return;
        await _stopping.CancelAsync();
        foreach (var incoming in _incoming.Values) await incoming.DisposeAsync();
        if (_listening is { } listening) await listening.CancelAsync();
        await _listener;
        _stopping.Dispose();
    }

    /// <summary>One that is withdrawn is only remembered for its target.</summary>
    private Outgoing? Offering(string machine) => _outgoing.TryGetValue(machine, out var outgoing) && outgoing.Offer.Phase != OfferPhase.Withdrawn ? outgoing : null;

    private void Forget(Outgoing outgoing)
    {
        lock (_lock)
        {
            if (_outgoing.GetValueOrDefault(outgoing.Offer.Machine) != outgoing) return;
            _files.Remove(outgoing.Offer);
            _outgoing.TryRemove(outgoing.Offer.Machine, out _);
        }
    }

    private async Task ForgetAsync(Outgoing outgoing)
    {
        try { await Task.Delay(ToldFor, _clock, _stopping.Token); }
        catch (OperationCanceledException) { return; }
        try { Forget(outgoing); }
        catch (WorldException e) { LogNotForgotten(_log, e.Message); }
        Listen();
    }

    private void Begin(Outgoing outgoing)
    {
        _outgoing[outgoing.Offer.Machine] = outgoing;
        _ = Task.Run(() => outgoing.Offer.Phase == OfferPhase.Withdrawn ? ForgetAsync(outgoing) : ReadAsync(outgoing));
    }

    /// <summary>What could not be read is tried again, for as long as it is offered.</summary>
    private async Task ReadAsync(Outgoing outgoing)
    {
        try
        {
            while (!_stopping.IsCancellationRequested && _outgoing.GetValueOrDefault(outgoing.Offer.Machine) == outgoing && outgoing.Offer.Phase == OfferPhase.Offered)
            {
                await outgoing.MakeManifestAsync(_stopping.Token);
                await Task.Delay(ListenAgain, _clock, _stopping.Token);
            }
        }
        catch (OperationCanceledException) { /* The daemon stops. */ }
    }

    private void Listen()
    {
        lock (_lock)
        {
            var wanted = !_outgoing.IsEmpty && !_stopping.IsCancellationRequested;
            if (wanted && _listening is null)
            {
                _listening = CancellationTokenSource.CreateLinkedTokenSource(_stopping.Token);
                var (stop, before) = (_listening.Token, _listener);
                _listener = Task.Run(() => ListenAsync(before, stop));
            }
            else if (!wanted && _listening is { } listening)
            {
                _listening = null;
                listening.Cancel();
            }
        }
    }

    private async Task ListenAsync(Task before, CancellationToken stop)
    {
        await before;
        var server = new OutgoingServer(machine => _outgoing.GetValueOrDefault(machine));
        while (!stop.IsCancellationRequested)
        {
            try { await _transport.ServeAsync(server.ServeAsync, stop); }
            catch (OperationCanceledException) when (stop.IsCancellationRequested) { return; }
            catch (IOException e) { LogNotListening(_log, e.Message, ListenAgain.TotalSeconds); }
            try { await Task.Delay(ListenAgain, _clock, stop); }
            catch (OperationCanceledException) { return; }
        }
    }

    private Outgoing Found(string machine) => Whole(machine) && Offering(machine) is { } outgoing ? outgoing : throw new WorldException("it is not offered to any host");

    private Incoming Coming(string machine) => Whole(machine) && _incoming.TryGetValue(machine, out var incoming) ? incoming : throw new WorldException("it does not come from any host");

    /// <summary>A record that cannot be read may say anything: nothing is done until a person has looked.</summary>
    private bool Whole(string machine) => _broken.TryGetValue(machine, out var why) ? throw new WorldException(why) : true;

    [LoggerMessage(EventId = 1804, Level = LogLevel.Warning, Message = "the record of an offer was not removed: {Why}")]
    private static partial void LogNotForgotten(ILogger log, string why);

    [LoggerMessage(EventId = 1801, Level = LogLevel.Warning, Message = "nothing can be handed over: {Why}; tried again in {Seconds} s")]
    private static partial void LogNotListening(ILogger log, string why, double seconds);
}
