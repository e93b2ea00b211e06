namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Connections for calls, with one call at a time on each. Clients of libvirt before 10.4 may crash when two threads call through one connection
/// (CVE-2024-4418: the thread that waits for the socket leaves a watch on its stack behind when another one wakes it), and Debian 12 has 9.0.
/// The first connection, which also hears the events, serves whoever comes alone; further ones are opened for calls that come together, and
/// closed when nobody needed them for a while. A connection without a socket (the test driver) has no such bound.
/// </summary>
internal sealed class LibvirtLanes(LibvirtSession main, Func<LibvirtSession> open, Action<LibvirtSession> close, TimeProvider time)
{
    /// <summary>A further connection that nobody needed for so long is closed.</summary>
    internal static readonly TimeSpan IdleLimit = TimeSpan.FromSeconds(20);

    private readonly Lock _gate = new();
    private readonly List<(LibvirtSession Session, long Since)> _idle = [];
    private ITimer? _sweeper;
    private bool _isMainBusy;
    private bool _isClosed;

    /// <summary>The connection that hears the events.</summary>
    internal LibvirtSession Main => main;

    /// <summary>False when the library knows that the first connection's socket is closed, or it was closed here.</summary>
    internal bool IsMainAlive
    {
        get
        {
            lock (_gate)
                return !_isClosed && main.IsAlive;
        }
    }

    /// <summary>Runs a call on a connection that nobody else uses meanwhile. On a thread for calls.</summary>
    /// <param name="call">The call.</param>
    /// <param name="isWanted">False once the caller has gone: then a connection that had to be opened first is not used for it any more.</param>
    /// <exception cref="LibvirtException">No connection could be had, or what the call threw.</exception>
    internal T Run<T>(Func<LibvirtSession, T> call, Func<bool> isWanted)
    {
        if (!main.IsRemote)
            return call(main);

        var session = Rent();
        try
        {
            return isWanted() ? call(session) : throw LibvirtException.Away("the caller had gone before it began");
        }
        finally
        {
            Return(session);
        }
    }

    /// <summary>Closes all connections: those that nobody uses now, the others when their call has returned.</summary>
    internal void Close()
    {
        List<LibvirtSession> closing;
        lock (_gate)
        {
            if (_isClosed)
                return;

            _isClosed = true;
            closing = [.. _idle.Select(static one => one.Session)];
            _idle.Clear();
            if (!_isMainBusy)
                closing.Add(main);
            _sweeper?.Dispose();
        }

        closing.ForEach(close);
    }

    private LibvirtSession Rent()
    {
        List<LibvirtSession> dead = [];
        try
        {
            lock (_gate)
            {
                if (_isClosed)
                    throw LibvirtException.Away(main.LostWhy ?? "the connection was closed");
                if (!_isMainBusy)
                {
                    _isMainBusy = true;
                    return main;
                }

                while (_idle.Count > 0)
                {
                    var (session, _) = _idle[^1];
                    _idle.RemoveAt(_idle.Count - 1);
                    if (session.IsAlive)
                        return session;
                    dead.Add(session);
                }
            }

            return open();
        }
        finally
        {
            dead.ForEach(static session => session.Dispose());
        }
    }

    private void Return(LibvirtSession session)
    {
        lock (_gate)
        {
            if (session == main)
                _isMainBusy = false;
            if (!_isClosed && session == main)
                return;

            if (!_isClosed && session.IsAlive)
            {
                _idle.Add((session, time.GetTimestamp()));
                _sweeper ??= time.CreateTimer(_ => Sweep(), null, IdleLimit, Timeout.InfiniteTimeSpan);
                return;
            }
        }

        session.Dispose();
    }

    /// <summary>Closes what was idle for long, and comes again only while something is left.</summary>
    private void Sweep()
    {
        var closing = new List<LibvirtSession>();
        lock (_gate)
        {
            foreach (var (session, since) in _idle)
            {
                if (time.GetElapsedTime(since) >= IdleLimit)
                    closing.Add(session);
            }

            _idle.RemoveAll(one => closing.Contains(one.Session));
            _sweeper?.Dispose();
            _sweeper = _idle.Count > 0 && !_isClosed ? time.CreateTimer(_ => Sweep(), null, IdleLimit, Timeout.InfiniteTimeSpan) : null;
        }

        closing.ForEach(close);
    }
}
