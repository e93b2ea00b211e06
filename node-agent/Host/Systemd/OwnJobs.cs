namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>What this daemon asked systemd for, and when: what a unit does meanwhile is ours, everything else somebody else did.</summary>
internal sealed class OwnJobs(TimeProvider clock)
{
    /// <summary>A unit's last states follow its job by moments.</summary>
    internal static readonly TimeSpan Slack = TimeSpan.FromSeconds(2);

    private const int Most = 64;

    private readonly Lock _lock = new();
    private readonly List<Job> _jobs = [];

    /// <summary>Begins a job; disposing of it ends it.</summary>
    /// <param name="unit">Null = all units: systemd reads its files again.</param>
    /// <param name="ends">It ends processes of the unit.</param>
    internal IDisposable Begin(string? unit, bool ends = false)
    {
        var job = new Job(this, unit, ends, clock.GetUtcNow());
        lock (_lock)
        {
            if (_jobs.Count >= Most) _jobs.RemoveAt(0);
            _jobs.Add(job);
        }
        return job;
    }

    /// <summary>Whether one was under way at some time of this span.</summary>
    internal bool Any(string unit, DateTimeOffset from, DateTimeOffset until) => Any(unit, from, until, endsOnly: false);

    /// <summary>Whether one that ends processes was under way then: a server that dies a moment after we started it did not die of us.</summary>
    internal bool Ended(string unit, DateTimeOffset at) => Any(unit, at, at, endsOnly: true);

    private bool Any(string unit, DateTimeOffset from, DateTimeOffset until, bool endsOnly)
    {
        // What is told of an end is its very moment; what is told of a state is when somebody looked.
        var slack = endsOnly ? Slack / 4 : Slack;
        lock (_lock) return _jobs.Any(j => (j.Ends || !endsOnly) && (j.Unit is null || j.Unit == unit) && j.From - slack <= until && (j.Until ?? DateTimeOffset.MaxValue - slack) + slack >= from);
    }

    private sealed class Job(OwnJobs jobs, string? unit, bool ends, DateTimeOffset from) : IDisposable
    {
        internal bool Ends => ends;
        internal string? Unit => unit;
        internal DateTimeOffset From => from;
        internal DateTimeOffset? Until { get; private set; }

        public void Dispose()
        {
            lock (jobs._lock) Until = jobs.Now;
        }
    }

    private DateTimeOffset Now => clock.GetUtcNow();
}

/// <summary>Changes units, and notes that it was us.</summary>
internal sealed class OwnUnitWriter(IUnitWriter inner, OwnJobs jobs) : IUnitWriter
{
    public Task<UnitOutcome> StartAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.StartAsync(name, deadline, ct));
    public Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.StopAsync(name, deadline, ct), ends: true);
    public Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.RestartAsync(name, deadline, ct), ends: true);
    public Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.ReloadDaemonAsync(deadline, ct));
    public Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.EnableAsync(names, deadline, ct));
    public Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.DisableAsync(names, deadline, ct));
    public Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.MaskAsync(names, deadline, ct));
    public Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.UnmaskAsync(names, deadline, ct));
    public Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.ResetFailedAsync(name, deadline, ct));
    public Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.KillAsync(name, who, signal, deadline, ct), ends: true);

    private async Task<UnitOutcome> Noted(string? unit, Func<Task<UnitOutcome>> call, bool ends = false)
    {
        using var job = jobs.Begin(unit, ends);
        return await call().ConfigureAwait(false);
    }
}
