namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// libvirt as reader and writer share it: connections, opened at the first use and opened again when they are lost, threads for calls, and
/// the watches. While somebody watches, a lost connection is tried again with a growing pause; else the next call tries it. A call
/// is never made twice.
/// </summary>
internal sealed class LibvirtLink : IAsyncDisposable
{
    private static readonly TimeSpan CloseLimit = TimeSpan.FromSeconds(5);

    private readonly TimeProvider _time;
    private readonly CallThreads _threads;
    private readonly Lock _gate = new();
    private readonly List<DomainBox> _boxes = [];
    private LibvirtLanes? _lanes;
    private Task<LibvirtLanes>? _opening;
    private TaskCompletionSource _changed = NewSource();
    private Task _keeper = Task.CompletedTask;
    private bool _keeping;
    private string? _whyAway;
    private volatile bool _disposed;

    internal LibvirtLink(LibvirtOptions options, TimeProvider time)
    {
        Options = options;
        _time = time;
        _threads = new CallThreads(options.MaxThreads, time);
    }

    internal LibvirtOptions Options { get; }

    /// <summary>Calls that hold a thread now, those past their deadline included.</summary>
    internal int BusyThreads => _threads.Busy;

    /// <summary>Runs a call on a thread for calls, connecting first if need be. The deadline covers both.</summary>
    /// <exception cref="LibvirtException">What libvirt said, a passed deadline, or no way to it.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up; whether it was carried out is unknown.</exception>
    internal async ValueTask<T> CallAsync<T>(string what, Func<LibvirtSession, T> call, TimeSpan deadline, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        deadline = AtLeastZero(deadline);
        var started = _time.GetTimestamp();
        LibvirtLanes lanes;
        try
        {
            lanes = await LanesAsync().WaitAsync(deadline, _time, stop).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            throw LibvirtException.DeadlinePassed($"{what} was not begun: libvirt at {Options.Uri} took no connection within {deadline.TotalSeconds:0.###} s");
        }

        var left = AtLeastZero(deadline - _time.GetElapsedTime(started));
        var isWanted = true;
        try
        {
            return await _threads.RunAsync(what, () => Guard(lanes, call, () => Volatile.Read(ref isWanted)), left, stop).ConfigureAwait(false);
        }
        finally
        {
            Volatile.Write(ref isWanted, false);
        }
    }

    /// <summary>Runs something that blocks on a thread for calls, without a connection of ours.</summary>
    /// <exception cref="LibvirtException">What it threw, or a passed deadline.</exception>
    internal Task<T> RunAsync<T>(string what, Func<T> call, TimeSpan deadline, CancellationToken stop) => _threads.RunAsync(what, call, AtLeastZero(deadline), stop);

    /// <summary>Adds a watch; it is told Resync or Unseen as soon as either is known.</summary>
    internal void Add(DomainBox box)
    {
        lock (_gate)
        {
            if (_disposed)
            {
                box.Complete();
                return;
            }

            _boxes.Add(box);
            if (_lanes is not null)
                box.PutResync();
            else if (_whyAway is not null)
                box.PutUnseen(_whyAway);
            if (_keeping)
                return;

            _keeping = true;
            _keeper = Task.Run(KeepAsync);
        }
    }

    /// <summary>Takes a watch away.</summary>
    internal void Remove(DomainBox box)
    {
        lock (_gate)
        {
            _boxes.Remove(box);
            Change();
        }
    }

    public async ValueTask DisposeAsync()
    {
        LibvirtLanes? lanes;
        Task? opening;
        Task keeper;
        lock (_gate)
        {
            if (_disposed)
                return;

            _disposed = true;
            (lanes, _lanes) = (_lanes, null);
            opening = _opening;
            keeper = _keeper;
            foreach (var box in _boxes)
                box.Complete();
            Change();
        }

        lanes?.Close();
        var ends = Task.WhenAll(keeper, opening ?? Task.CompletedTask);
        await ends.WaitAsync(CloseLimit, _time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await _threads.StopAsync(CloseLimit).ConfigureAwait(false);
    }

    private T Guard<T>(LibvirtLanes lanes, Func<LibvirtSession, T> call, Func<bool> isWanted)
    {
        try
        {
            return lanes.Run(call, isWanted);
        }
        catch (LibvirtException error) when (error.Result == DomainResult.Unreachable)
        {
            // The close callback may be late, or not come at all where the connection has none.
            if (lanes.Main.LostWhy is not null || !lanes.IsMainAlive)
                Lose(lanes, error.Message);
            throw;
        }
    }

    /// <summary>The connections, or the one attempt to open the first that all callers share.</summary>
    private Task<LibvirtLanes> LanesAsync()
    {
        lock (_gate)
        {
            if (_disposed)
                return Task.FromException<LibvirtLanes>(LibvirtException.Away("the connection was closed"));
            if (_lanes is not null)
                return Task.FromResult(_lanes);

            return _opening ??= Task.Run(OpenAsync);
        }
    }

    private async Task<LibvirtLanes> OpenAsync()
    {
        LibvirtLanes lanes;
        try
        {
            // The library has no limit of its own for this; callers have theirs, and the attempt goes on for the next of them.
            lanes = await _threads.RunAsync("connecting", Open, Timeout.InfiniteTimeSpan, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception error)
        {
            lock (_gate)
            {
                _opening = null;
                _whyAway = error.Message;
                foreach (var box in _boxes)
                    box.PutUnseen(error.Message);
            }

            throw;
        }

        bool late;
        lock (_gate)
        {
            _opening = null;
            late = _disposed;
            if (!late)
            {
                _lanes = lanes;
                foreach (var box in _boxes)
                    box.PutResync();
                Change();
            }
        }

        if (late)
        {
            lanes.Close();
            throw LibvirtException.Away("the connection was closed");
        }

        // It may have been lost before anybody here knew of it.
        if (lanes.Main.LostWhy is { } why)
            Lose(lanes, why);
        return lanes;
    }

    /// <summary>Called on a thread for calls. An attempt that outlived us is ended where it began.</summary>
    private LibvirtLanes Open()
    {
        var main = LibvirtSession.Open(Options, Tell, Lose);
        if (!_disposed)
            return new LibvirtLanes(main, () => LibvirtSession.Open(Options, null, null), Close, _time);

        main.Dispose();
        throw LibvirtException.Away("the connection was closed");
    }

    /// <summary>Called on libvirt's event thread.</summary>
    private void Tell(DomainSignal signal)
    {
        lock (_gate)
        {
            foreach (var box in _boxes)
                box.Put(signal);
        }
    }

    /// <summary>Called on libvirt's event thread.</summary>
    private void Lose(LibvirtSession session, string why)
    {
        LibvirtLanes? lanes;
        lock (_gate)
            lanes = _lanes?.Main == session ? _lanes : null;
        if (lanes is not null)
            Lose(lanes, why);
    }

    private void Lose(LibvirtLanes lanes, string why)
    {
        lock (_gate)
        {
            if (_lanes != lanes)
                return;

            _lanes = null;
            _whyAway = $"libvirt at {Options.Uri} was lost: {why}";
            foreach (var box in _boxes)
                box.PutUnseen(_whyAway);
            Change();
        }

        lanes.Close();
    }

    private void Close(LibvirtSession session) => _ = _threads.RunAsync(
        "closing",
        () =>
        {
            session.Dispose();
            return true;
        },
        Timeout.InfiniteTimeSpan,
        CancellationToken.None,
        always: true);

    /// <summary>Keeps the connection for as long as somebody watches.</summary>
    private async Task KeepAsync()
    {
        var backOff = Options.MinBackOff;
        while (true)
        {
            Task changed;
            bool isUp;
            lock (_gate)
            {
                if (_disposed || _boxes.Count == 0)
                {
                    _keeping = false;
                    return;
                }

                changed = _changed.Task;
                isUp = _lanes is not null;
            }

            if (isUp)
            {
                backOff = Options.MinBackOff;
                await changed.ConfigureAwait(false);
                continue;
            }

            var attempt = LanesAsync();
            await ((Task)attempt).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (attempt.IsCompletedSuccessfully)
                continue;

            await changed.WaitAsync(backOff * (0.5 + (Random.Shared.NextDouble() / 2)), _time).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            backOff = backOff * 2 < Options.MaxBackOff ? backOff * 2 : Options.MaxBackOff;
        }
    }

    private void Change()
    {
        var before = _changed;
        _changed = NewSource();
        before.SetResult();
    }

    private static TimeSpan AtLeastZero(TimeSpan time) => time > TimeSpan.Zero ? time : TimeSpan.Zero;

    private static TaskCompletionSource NewSource() => new(TaskCreationOptions.RunContinuationsAsynchronously);
}
