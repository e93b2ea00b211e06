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
    internal IDisposable Begin(string? unit)
    {
        var job = new Job(this, unit, clock.GetUtcNow());
        lock (_lock)
        {
            if (_jobs.Count >= Most) _jobs.RemoveAt(0);
            _jobs.Add(job);
        }
        return job;
    }

    /// <summary>Whether one was under way at some time of this span.</summary>
    internal bool Any(string unit, DateTimeOffset from, DateTimeOffset until)
    {
        lock (_lock) return _jobs.Any(j => (j.Unit is null || j.Unit == unit) && j.From - Slack <= until && (j.Until ?? DateTimeOffset.MaxValue - Slack) + Slack >= from);
    }

    private sealed class Job(OwnJobs jobs, string? unit, DateTimeOffset from) : IDisposable
    {
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
    public Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.StopAsync(name, deadline, ct));
    public Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.RestartAsync(name, deadline, ct));
    public Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.ReloadDaemonAsync(deadline, ct));
    public Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.EnableAsync(names, deadline, ct));
    public Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.DisableAsync(names, deadline, ct));
    public Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.MaskAsync(names, deadline, ct));
    public Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => Noted(null, () => inner.UnmaskAsync(names, deadline, ct));
    public Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.ResetFailedAsync(name, deadline, ct));
    public Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct) => Noted(name, () => inner.KillAsync(name, who, signal, deadline, ct));

    private async Task<UnitOutcome> Noted(string? unit, Func<Task<UnitOutcome>> call)
    {
        using var job = jobs.Begin(unit);
        return await call().ConfigureAwait(false);
    }
}
