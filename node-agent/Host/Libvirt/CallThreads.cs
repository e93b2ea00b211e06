namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Threads for calls that block: so many at once and no more, made when needed and gone after a while without work. A call that is past its
/// deadline keeps its thread until it returns, and is counted until then; the thread pool never waits for libvirt.
/// </summary>
internal sealed class CallThreads(int max, TimeProvider time)
{
    /// <summary>Calls that may wait for a thread; more than this is a bug of a caller.</summary>
    internal const int MaxWaiting = 256;

    private static readonly TimeSpan IdleLimit = TimeSpan.FromSeconds(10);

    private readonly object _gate = new();
    private readonly List<Work> _waiting = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _threads;
    private int _idle;
    private int _busy;
    private bool _stopped;

    /// <summary>Calls that hold a thread now, those whose caller has gone included.</summary>
    internal int Busy
    {
        get
        {
            lock (_gate)
                return _busy;
        }
    }

    /// <summary>
    /// Runs a call on a thread of its own. A result that comes after the caller has gone is disposed of if it can be.
    /// </summary>
    /// <param name="what">The call, in words for a message.</param>
    /// <param name="call">What to run; it throws <see cref="LibvirtException"/> for what libvirt says.</param>
    /// <param name="deadline">From now; infinite waits for ever.</param>
    /// <param name="stop">Gives up waiting; a call that has not begun never begins.</param>
    /// <param name="always">True for what must be done even when too many wait, and before all ends: closing.</param>
    /// <exception cref="LibvirtException">What the call threw, or a passed deadline.</exception>
    /// <exception cref="OperationCanceledException">The caller gave up.</exception>
    internal async Task<T> RunAsync<T>(string what, Func<T> call, TimeSpan deadline, CancellationToken stop, bool always = false)
    {
        var work = new Work<T>(call) { Always = always };
        Submit(work);
        await using var timer = time.CreateTimer(_ => Expire(work, what, deadline), null, Clamp(deadline), Timeout.InfiniteTimeSpan).ConfigureAwait(false);
        await using var registration = stop.Register(() => Cancel(work, stop)).ConfigureAwait(false);
        return await work.Task.ConfigureAwait(false);
    }

    /// <summary>Begins nothing more but what must always be done, and waits until all threads have ended, or the limit has passed.</summary>
    internal async Task StopAsync(TimeSpan limit)
    {
        List<Work> waiting;
        lock (_gate)
        {
            _stopped = true;
            waiting = [.. _waiting.Where(static work => !work.Always)];
            _waiting.RemoveAll(static work => !work.Always);
            if (_threads == 0)
                _ended.TrySetResult();
            Monitor.PulseAll(_gate);
        }

        foreach (var work in waiting)
            work.Fail(LibvirtException.Away("the connection was closed"));
        try
        {
            await _ended.Task.WaitAsync(limit, time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            // A call that never returns keeps its thread, which ends with the process.
        }
    }

    private void Submit(Work work)
    {
        lock (_gate)
        {
            if (_stopped)
                throw LibvirtException.Away("the connection was closed");
            if (!work.Always && _waiting.Count >= MaxWaiting)
                throw LibvirtException.Away($"{MaxWaiting} calls wait for libvirt already");

            _waiting.Add(work);
            if (_waiting.Count <= _idle)
            {
                Monitor.Pulse(_gate);
            }
            else if (_threads < max)
            {
                _threads++;
                new Thread(Run) { Name = "libvirt", IsBackground = true }.Start();
            }
        }
    }

    private void Run()
    {
        while (Next() is { } work)
        {
            work.Run();
            lock (_gate)
                _busy--;
        }
    }

    private Work? Next()
    {
        lock (_gate)
        {
            while (_waiting.Count == 0)
            {
                _idle++;
                var woken = !_stopped && Monitor.Wait(_gate, IdleLimit);
                _idle--;
                if (woken || _waiting.Count > 0)
                    continue;

                if (--_threads == 0 && _stopped)
                    _ended.TrySetResult();
                return null;
            }

            var work = _waiting[0];
            _waiting.RemoveAt(0);
            _busy++;
            return work;
        }
    }

    private void Expire(Work work, string what, TimeSpan deadline)
    {
        var seconds = deadline.TotalSeconds;
        work.Fail(LibvirtException.DeadlinePassed(Forget(work)
            ? $"{what} was not begun within {seconds:0.###} s: all {max} threads for libvirt are held by other calls"
            : $"{what} was not answered within {seconds:0.###} s and may still happen"));
    }

    private void Cancel(Work work, CancellationToken stop)
    {
        Forget(work);
        work.Cancel(stop);
    }

    /// <summary>Takes a call back that has not begun.</summary>
    private bool Forget(Work work)
    {
        lock (_gate)
            return _waiting.Remove(work);
    }

    private static TimeSpan Clamp(TimeSpan deadline) =>
        deadline == Timeout.InfiniteTimeSpan || deadline > TimeSpan.Zero ? deadline : TimeSpan.Zero;

    private abstract class Work
    {
        internal bool Always { get; init; }

        internal abstract void Run();

        internal abstract void Fail(Exception error);

        internal abstract void Cancel(CancellationToken stop);
    }

    private sealed class Work<T>(Func<T> call) : Work
    {
        private readonly TaskCompletionSource<T> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

        internal Task<T> Task => _result.Task;

        internal override void Run()
        {
            try
            {
                var value = call();
                if (!_result.TrySetResult(value))
                    (value as IDisposable)?.Dispose();
            }
            catch (Exception error)
            {
                _result.TrySetException(error);
            }
        }

        internal override void Fail(Exception error) => _result.TrySetException(error);

        internal override void Cancel(CancellationToken stop) => _result.TrySetCanceled(stop);
    }
}
