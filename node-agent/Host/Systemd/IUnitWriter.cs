namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// Changes units. Every call returns an outcome; none throws because systemd said no. Deadlines run from the call.
/// </summary>
internal interface IUnitWriter
{
    /// <summary>Starts a unit and waits for the job to end. An already active unit is <see cref="UnitResult.Done"/>.</summary>
    Task<UnitOutcome> StartAsync(string name, TimeSpan deadline, CancellationToken ct);

    /// <summary>Stops a unit and waits for the job to end. A stopped unit is <see cref="UnitResult.Done"/>.</summary>
    Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct);

    /// <summary>Restarts a unit, or starts it when it does not run, and waits for the job to end.</summary>
    Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct);

    /// <summary>Makes systemd read all unit files again (Manager.Reload). Returns when it has.</summary>
    Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct);

    /// <summary>Enables unit files persistently (Manager.EnableUnitFiles without force). Reload systemd afterwards.</summary>
    Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct);

    /// <summary>Disables unit files persistently (Manager.DisableUnitFiles). Reload systemd afterwards.</summary>
    Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct);

    /// <summary>Masks unit files persistently (Manager.MaskUnitFiles without force). Reload systemd afterwards.</summary>
    Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct);

    /// <summary>Takes persistent masks away (Manager.UnmaskUnitFiles). Reload systemd afterwards.</summary>
    Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct);

    /// <summary>Forgets a failed state and the start limit's count. A unit that is not loaded is <see cref="UnitResult.Refused"/>.</summary>
    Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct);

    /// <summary>Sends a signal (signal(7) number) to processes of a unit.</summary>
    Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct);
}

/// <summary>Which processes of a unit a signal goes to (Manager.KillUnit).</summary>
internal enum KillTarget
{
    /// <summary>The main process only.</summary>
    Main,

    /// <summary>The control process (ExecStop= and the like) only.</summary>
    Control,

    /// <summary>Every process in the unit's cgroup.</summary>
    All,
}

/// <summary>How a change ended. The first six are systemd's job results (Manager.JobRemoved).</summary>
internal enum UnitResult
{
    /// <summary>It happened, or there was nothing to do.</summary>
    Done,

    /// <summary>The job ran and failed; the unit's Result says how.</summary>
    Failed,

    /// <summary>systemd's own job timeout passed.</summary>
    Timeout,

    /// <summary>Another job replaced or cancelled this one.</summary>
    Canceled,

    /// <summary>A unit that this one requires failed.</summary>
    Dependency,

    /// <summary>A condition of the unit does not hold, or the job does not apply to its state.</summary>
    Skipped,

    /// <summary>systemd did not accept the request; <see cref="UnitOutcome.ErrorName"/> says why. Nothing was changed.</summary>
    Refused,

    /// <summary>The caller's deadline passed first. The job goes on: observe before doing anything else.</summary>
    DeadlinePassed,

    /// <summary>The bus was away or was lost meanwhile. Whether it happened is unknown: observe.</summary>
    Unseen,
}

/// <summary>The outcome of a change, with words for a person.</summary>
internal sealed record UnitOutcome
{
    /// <summary>How it ended.</summary>
    public required UnitResult Result { get; init; }

    /// <summary>The D-Bus error name when refused, "org.freedesktop.systemd1.NoSuchUnit" and the like.</summary>
    public string? ErrorName { get; init; }

    /// <summary>One sentence: what systemd or the bus said.</summary>
    public string Detail { get; init; } = "";

    /// <summary>True when the change is known to have happened.</summary>
    public bool IsDone => Result == UnitResult.Done;
}
