using System.Collections.Concurrent;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// A D-Bus connection that comes back when it is lost. One thread owns the bus: it alone touches libsystemd, sleeps in
/// poll(2) on the bus and on a wake-up of ours, and runs every callback. Callers hand it work and await the result.
/// </summary>
internal sealed class BusConnection : IAsyncDisposable
{
    /// <summary>Calls that may wait or be under way at once; more than this is a bug of a caller.</summary>
    internal const int MaxCalls = 256;

    private readonly SystemdOptions _options;
    private readonly TimeProvider _time;
    private readonly WakeUp _wakeUp = new();
    private readonly ConcurrentQueue<Action> _inbox = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Thread _thread;

    // Owned by the thread.
    private readonly List<PendingCall> _calls = [];
    private readonly List<BusMatch> _matches = [];
    private SdBusHandle? _bus;
    private bool _ready;
    private bool _broken;
    private string _whyAway = "the bus was not reached yet";

    // Read by everyone.
    private int _callCount;
    private volatile bool _stopping;

    internal BusConnection(SystemdOptions options, TimeProvider time)
    {
        _options = options;
        _time = time;
        _thread = new Thread(Run) { Name = "bus", IsBackground = true };
    }

    /// <summary>Called on the bus's thread when calls can be made, first or again. Set before <see cref="Start"/>.</summary>
    internal Action OnUp { get; set; } = () => { };

    /// <summary>Called on the bus's thread when the bus was lost or an attempt to reach it failed, with the reason.</summary>
    internal Action<string> OnDown { get; set; } = _ => { };

    /// <summary>Starts the thread. Calls made before wait for it.</summary>
    internal void Start() => _thread.Start();

    /// <summary>
    /// Calls a method and reads its reply on the bus's thread. A call made while the bus is away waits for it, within
    /// the deadline. <paramref name="read"/> must not block.
    /// </summary>
    /// <exception cref="SystemdException">An error reply, a passed deadline, or a lost bus.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; whether it was carried out is unknown.</exception>
    internal async Task<T> CallAsync<T>(BusCall call, Func<BusMessage, T> read, TimeSpan deadline, CancellationToken ct)
    {
        ct.ThrowIfCancellationRequested();
        if (Interlocked.Increment(ref _callCount) > MaxCalls)
        {
            Interlocked.Decrement(ref _callCount);
            throw new SystemdException("org.freedesktop.DBus.Error.LimitsExceeded", $"{MaxCalls} calls are under way", 0, BusFailure.Away);
        }

        var pending = new PendingCall<T>(call, read, _time, deadline);
        try
        {
            Post(() => Submit(pending));
            using var registration = ct.Register(() => Post(() => Abandon(pending, ct)));
            return await pending.Task.ConfigureAwait(false);
        }
        finally
        {
            Interlocked.Decrement(ref _callCount);
        }
    }

    /// <summary>Adds a match rule, now and after every reconnect. Only on the bus's thread, for instance in OnUp.</summary>
    internal void AddMatch(BusMatch match)
    {
        _matches.Add(match);
        if (_ready)
            _broken |= !match.Install(_bus!);
    }

    /// <summary>Takes a match rule away. Only on the bus's thread.</summary>
    internal void RemoveMatch(BusMatch match)
    {
        _matches.Remove(match);
        match.Uninstall();
    }

    /// <summary>True while calls can be made. Only on the bus's thread.</summary>
    internal bool IsUp => _ready;

    /// <summary>Why the bus is away. Only on the bus's thread.</summary>
    internal string WhyAway => _whyAway;

    /// <summary>Runs something on the bus's thread. After disposal it never runs.</summary>
    internal void Post(Action action)
    {
        _inbox.Enqueue(action);
        _wakeUp.Signal();
        // The thread may have drained the inbox for the last time just before: then it is ours to end what came late.
        if (_ended.Task.IsCompleted)
            DrainInbox();
    }

    public async ValueTask DisposeAsync()
    {
        _stopping = true;
        _wakeUp.Signal();
        if ((_thread.ThreadState & ThreadState.Unstarted) == 0)
            await _ended.Task.ConfigureAwait(false);
        _wakeUp.Dispose();
    }

    private void Run()
    {
        var backOff = _options.MinBackOff;
        while (!_stopping)
        {
            var opened = TryOpen();
            var wasUp = opened && Serve();
            CloseBus();
            if (_stopping)
                break;

            backOff = wasUp ? _options.MinBackOff : Min(backOff * 2, _options.MaxBackOff);
            OnDown(_whyAway);
            Pause(backOff * (0.5 + (Random.Shared.NextDouble() / 2)));
        }

        _whyAway = "the connection was closed";
        // A stop that came in a pause finds calls that waited for the next attempt.
        CloseBus();
        _ended.SetResult();
        DrainInbox();
    }

    private bool TryOpen()
    {
        var result = SdBus.New(out _bus);
        if (result >= 0)
            result = SdBus.SetAddress(_bus, _options.BusAddress);
        if (result >= 0)
            result = SdBus.SetBusClient(_bus, 1);
        if (result >= 0)
            result = SdBus.Start(_bus);
        if (result >= 0)
            return true;

        _whyAway = $"the bus at {_options.BusAddress} cannot be reached (errno {-result})";
        return false;
    }

    /// <summary>Processes the bus until it is lost or we stop. True when it was usable at any time.</summary>
    private bool Serve()
    {
        var wasUp = false;
        // A daemon that accepts but never answers would hold us in the handshake for the library's 90 seconds.
        var handshakeEnds = _time.GetTimestamp() + (long)(_options.CallDeadline.TotalSeconds * _time.TimestampFrequency);
        while (!_stopping)
        {
            var result = SdBus.Process(_bus!, 0);
            if (result < 0 || _broken)
            {
                _whyAway = result < 0
                    ? $"the bus at {_options.BusAddress} was lost (errno {-result})"
                    : $"the bus at {_options.BusAddress} took no match rule";
                return wasUp;
            }

            if (!_ready && SdBus.IsReady(_bus!) > 0)
            {
                _ready = wasUp = true;
                BecomeUp();
            }

            DrainInbox();
            ExpireCalls();
            if (!_ready && _time.GetTimestamp() > handshakeEnds)
            {
                _whyAway = $"the bus at {_options.BusAddress} does not answer";
                return false;
            }

            if (result == 0)
                Sleep(_ready ? long.MaxValue : handshakeEnds);
        }

        return wasUp;
    }

    private void BecomeUp()
    {
        foreach (var match in _matches)
            _broken |= !match.Install(_bus!);
        OnUp();
        // What OnUp asked for goes first, so that a call which waited for the bus finds the signals it needs enabled.
        DrainInbox();
        foreach (var call in _calls)
            call.Send(_bus!);
    }

    private void Submit(PendingCall call)
    {
        if (_ended.Task.IsCompleted)
        {
            call.Fail(SystemdException.Away(_whyAway));
            return;
        }

        _calls.Add(call);
        if (_ready)
            call.Send(_bus!);
    }

    private void Abandon(PendingCall call, CancellationToken ct)
    {
        if (_calls.Remove(call))
            call.Cancel(ct);
    }

    private void ExpireCalls()
    {
        // Calls that were answered leave the list here, so that a callback never changes the list it is called from.
        foreach (var call in _calls)
        {
            if (!call.IsEnded && call.IsExpired)
                call.Fail(call.WasSent ? SystemdException.DeadlinePassed(call.Call.Member) : SystemdException.Away(_whyAway));
        }

        _calls.RemoveAll(static call => call.IsEnded);
    }

    private void CloseBus()
    {
        var wasReady = _ready;
        _ready = false;
        _broken = false;
        foreach (var match in _matches)
            match.Uninstall();
        // What was sent may or may not have happened. What still waits may wait on for the next connection.
        if (wasReady || _stopping)
        {
            foreach (var call in _calls)
                call.Fail(SystemdException.Away(_stopping ? "the connection was closed" : _whyAway));
        }

        _calls.RemoveAll(static call => call.IsEnded);
        _bus?.Dispose();
        _bus = null;
    }

    private void Pause(TimeSpan pause)
    {
        var ends = _time.GetTimestamp() + (long)(pause.TotalSeconds * _time.TimestampFrequency);
        while (!_stopping && _time.GetTimestamp() < ends)
        {
            Sleep(ends);
            DrainInbox();
            ExpireCalls();
        }
    }

    /// <summary>Sleeps until the bus or a caller has something, the next deadline passes, or a time is reached.</summary>
    private void Sleep(long untilTimestamp)
    {
        var until = untilTimestamp;
        foreach (var call in _calls)
            until = Math.Min(until, call.ExpiresAt);

        Span<Polling.Entry> entries = stackalloc Polling.Entry[2];
        entries[0] = new Polling.Entry { Fd = _wakeUp.Fd, Events = Polling.In };
        entries[1] = new Polling.Entry { Fd = -1 };
        var milliseconds = MillisecondsUntil(until);
        if (_bus is not null)
        {
            entries[1] = new Polling.Entry { Fd = SdBus.GetFd(_bus), Events = (short)Math.Max(0, SdBus.GetEvents(_bus)) };
            // Before the handshake ends the library has deadlines of its own; once it is up the calls above are all.
            if (SdBus.GetTimeout(_bus, out var library) > 0 && library == 0)
                milliseconds = 0;
        }

        Polling.Wait(entries, milliseconds);
        if (entries[0].Returned != 0)
            _wakeUp.Clear();
    }

    private int MillisecondsUntil(long timestamp)
    {
        if (timestamp == long.MaxValue)
            return -1;

        var left = _time.GetElapsedTime(_time.GetTimestamp(), timestamp).TotalMilliseconds;
        return (int)Math.Clamp(Math.Ceiling(left), 0, 60_000);
    }

    private void DrainInbox()
    {
        while (_inbox.TryDequeue(out var action))
            action();
    }

    private static TimeSpan Min(TimeSpan left, TimeSpan right) => left < right ? left : right;
}
