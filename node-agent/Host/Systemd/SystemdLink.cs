using System.Text;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// systemd's manager on a bus: what reader and writer of units share. It keeps the subscription to systemd's signals
/// through a lost bus and through `systemctl daemon-reexec`, and hands signals to watches and job results to waiters.
/// State is owned by the bus's thread. Source: org.freedesktop.systemd1(5).
/// </summary>
internal sealed class SystemdLink : IAsyncDisposable
{
    internal const string Service = "org.freedesktop.systemd1";
    internal const string ManagerPath = "/org/freedesktop/systemd1";
    internal const string ManagerInterface = "org.freedesktop.systemd1.Manager";
    private const string UnitPathPrefix = "/org/freedesktop/systemd1/unit/";

    /// <summary>Results kept for jobs whose signal overtakes the reply that names them.</summary>
    private const int MaxEarlyResults = 64;

    private readonly BusConnection _bus;
    private readonly List<UnitWatch> _watches = [];
    private readonly Dictionary<string, JobWaiter> _jobs = [];
    private readonly Queue<(string Job, string Result)> _early = new();
    private int _subscription;

    internal SystemdLink(SystemdOptions options, TimeProvider time)
    {
        Options = options;
        _bus = new BusConnection(options, time) { OnUp = Subscribe, OnDown = Down };
        _bus.Post(AddManagerMatches);
        _bus.Start();
    }

    internal SystemdOptions Options { get; }

    /// <summary>How watched units ended.</summary>
    internal UnitEnds Ends { get; } = new();

    /// <summary>Calls a method of the manager object.</summary>
    internal Task<T> CallManagerAsync<T>(string member, BusArgument[] arguments, Func<BusMessage, T> read, TimeSpan deadline, CancellationToken ct) =>
        _bus.CallAsync(ManagerCall(member, arguments), read, deadline, ct);

    /// <summary>All properties of a unit, of all its interfaces; the object need not have been loaded before.</summary>
    internal Task<UnitState> GetPropertiesAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        var call = new BusCall
        {
            Destination = Service,
            Path = UnitPath(name),
            Interface = "org.freedesktop.DBus.Properties",
            Member = "GetAll",
            Arguments = [""],
        };
        return _bus.CallAsync(call, reply => UnitProperties.Read(name, reply), deadline, ct);
    }

    /// <summary>Calls a method that queues a job, and completes with the job's result once systemd has removed it.</summary>
    /// <exception cref="SystemdException">Refused, a passed deadline, or a lost bus.</exception>
    internal async Task<string> RunJobAsync(string member, BusArgument[] arguments, TimeSpan deadline, CancellationToken ct)
    {
        var waiter = new JobWaiter();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(deadline);
        try
        {
            await _bus.CallAsync(ManagerCall(member, arguments), reply => Track(waiter, reply.ReadPath()), deadline, ct).ConfigureAwait(false);
            return await waiter.Result.Task.WaitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw SystemdException.DeadlinePassed(member);
        }
        finally
        {
            _bus.Post(() => Forget(waiter));
        }
    }

    /// <summary>Adds a watch; it is told Resync or Unseen as soon as either is known.</summary>
    internal void Add(UnitWatch watch) => _bus.Post(() =>
    {
        _watches.Add(watch);
        foreach (var name in watch.Names)
        {
            var unit = name;
            var match = new BusMatch(
                $"type='signal',sender='{Service}',path='{UnitPath(unit)}',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'",
                signal => Changed(watch, unit, signal));
            watch.Matches.Add(match);
            _bus.AddMatch(match);
        }

        if (_bus.IsUp)
            Subscribe();
        else
            watch.Box.Put(new UnitSignal { Kind = UnitSignalKind.Unseen });
    });

    private void Changed(UnitWatch watch, string unit, BusMessage signal)
    {
        // The signal is a reason to look even where it is not of the shape that is promised.
        try { if (UnitProperties.ReadEnd(signal) is { } end) Ends.Put(unit, end); }
        finally { watch.Box.Put(new UnitSignal { Kind = UnitSignalKind.Changed, Unit = unit }); }
    }

    internal void Remove(UnitWatch watch) => _bus.Post(() =>
    {
        _watches.Remove(watch);
        watch.Matches.ForEach(_bus.RemoveMatch);
    });

    public ValueTask DisposeAsync() => _bus.DisposeAsync();

    /// <summary>The object path of a unit: sd_bus_path_encode(3) escapes all but letters and digits, and a leading digit.</summary>
    internal static string UnitPath(string name)
    {
        var path = new StringBuilder(UnitPathPrefix, UnitPathPrefix.Length + (name.Length * 2));
        for (var i = 0; i < name.Length; i++)
        {
            var c = name[i];
            if (char.IsAsciiLetter(c) || (char.IsAsciiDigit(c) && i > 0))
                path.Append(c);
            else
                path.Append('_').Append(((int)c).ToString("x2", null));
        }

        return path.ToString();
    }

    private static BusCall ManagerCall(string member, BusArgument[] arguments) => new()
    {
        Destination = Service,
        Path = ManagerPath,
        Interface = ManagerInterface,
        Member = member,
        Arguments = arguments,
    };

    private void AddManagerMatches()
    {
        var prefix = $"type='signal',sender='{Service}',path='{ManagerPath}',interface='{ManagerInterface}',member=";
        _bus.AddMatch(new BusMatch(prefix + "'JobRemoved'", OnJobRemoved));
        _bus.AddMatch(new BusMatch(prefix + "'UnitRemoved'", OnUnitRemoved));
        _bus.AddMatch(new BusMatch(prefix + "'Reloading'", OnReloading));
        _bus.AddMatch(new BusMatch(
            $"type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{Service}'", OnOwnerChanged));
    }

    /// <summary>
    /// Asks systemd for its signals. Only when it has agreed does a watch stand; until then nothing may be taken as seen.
    /// A newer attempt makes an older one's answer meaningless.
    /// </summary>
    private void Subscribe() => _ = SubscribeAsync(++_subscription);

    private async Task SubscribeAsync(int subscription)
    {
        string? why = null;
        try
        {
            await CallManagerAsync("Subscribe", [], static _ => true, Options.CallDeadline, CancellationToken.None).ConfigureAwait(false);
        }
        catch (SystemdException error) when (error.ErrorName != "org.freedesktop.systemd1.AlreadySubscribed")
        {
            why = error.Message;
        }
        catch (SystemdException)
        {
            // Subscribed is what we wanted to be.
        }

        _bus.Post(() =>
        {
            if (subscription != _subscription || !_bus.IsUp)
                return;

            Broadcast(why is null ? UnitSignalKind.Resync : UnitSignalKind.Unseen);
            if (why is null)
                _ = RecheckJobsAsync([.. _jobs.Keys]);
        });
    }

    private void Down(string why)
    {
        _subscription++;
        Broadcast(UnitSignalKind.Unseen);
        foreach (var waiter in _jobs.Values)
            waiter.Result.TrySetException(SystemdException.Away(why));
        _jobs.Clear();
        _early.Clear();
    }

    private void OnOwnerChanged(BusMessage signal)
    {
        signal.ReadString();
        signal.ReadString();
        if (signal.ReadString().Length == 0)
        {
            _subscription++;
            Broadcast(UnitSignalKind.Unseen);
        }
        else
        {
            Subscribe();
        }
    }

    /// <summary>
    /// Jobs outlive a daemon-reexec, but the signal of their end may fall into the gap. A job that systemd no longer
    /// knows ended unseen.
    /// </summary>
    private async Task RecheckJobsAsync(string[] jobs)
    {
        foreach (var job in jobs)
        {
            if (!uint.TryParse(job.AsSpan(job.LastIndexOf('/') + 1), out var id))
                continue;

            try
            {
                await CallManagerAsync("GetJob", [id], static reply => reply.ReadPath(), Options.CallDeadline, CancellationToken.None).ConfigureAwait(false);
            }
            catch (SystemdException error) when (error.Failure == BusFailure.Refused)
            {
                _bus.Post(() => End(job, null));
            }
            catch (SystemdException)
            {
                // The waiter's own deadline decides.
            }
        }
    }

    private bool Track(JobWaiter waiter, string job)
    {
        waiter.Job = job;
        _jobs[job] = waiter;
        foreach (var (early, result) in _early)
        {
            if (early == job)
                End(job, result);
        }

        return true;
    }

    private void Forget(JobWaiter waiter)
    {
        if (waiter.Job is { } job)
            _jobs.Remove(job);
    }

    private void End(string job, string? result)
    {
        if (!_jobs.Remove(job, out var waiter))
            return;

        if (result is null)
            waiter.Result.TrySetException(SystemdException.Away("the job ended while systemd was executing itself again"));
        else
            waiter.Result.TrySetResult(result);
    }

    private void OnJobRemoved(BusMessage signal)
    {
        signal.ReadUInt32();
        var job = signal.ReadPath();
        var unit = signal.ReadString();
        var result = signal.ReadString();
        if (_jobs.ContainsKey(job))
        {
            End(job, result);
        }
        else
        {
            _early.Enqueue((job, result));
            if (_early.Count > MaxEarlyResults)
                _early.Dequeue();
        }

        Tell(unit, new UnitSignal { Kind = UnitSignalKind.JobRemoved, Unit = unit, JobResult = result });
    }

    private void OnUnitRemoved(BusMessage signal)
    {
        var unit = signal.ReadString();
        Tell(unit, new UnitSignal { Kind = UnitSignalKind.Removed, Unit = unit });
    }

    private void OnReloading(BusMessage signal)
    {
        // true announces the reload, false its end; only after it is there anything new to see.
        if (!signal.ReadBoolean())
            Broadcast(UnitSignalKind.Reloaded);
    }

    private void Tell(string unit, UnitSignal signal)
    {
        foreach (var watch in _watches)
        {
            if (watch.Names.Contains(unit))
                watch.Box.Put(signal);
        }
    }

    private void Broadcast(UnitSignalKind kind)
    {
        foreach (var watch in _watches)
            watch.Box.Put(new UnitSignal { Kind = kind });
    }

    private sealed class JobWaiter
    {
        internal string? Job { get; set; }

        internal TaskCompletionSource<string> Result { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>One watch: its units, their match rules, and the signals not yet taken.</summary>
internal sealed class UnitWatch(IReadOnlyCollection<string> names)
{
    internal IReadOnlySet<string> Names { get; } = names.ToHashSet(StringComparer.Ordinal);

    internal SignalBox Box { get; } = new();

    internal List<BusMatch> Matches { get; } = [];
}
