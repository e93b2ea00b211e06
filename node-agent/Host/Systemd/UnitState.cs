namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>
/// A unit as systemd sees it, from the properties of org.freedesktop.systemd1.Unit and .Service
/// (org.freedesktop.systemd1(5)). Strings are systemd's own words.
/// </summary>
internal sealed record UnitState
{
    /// <summary>Full unit name, "redis-server.service".</summary>
    public required string Name { get; init; }

    /// <summary>"loaded", "not-found", "masked", "bad-setting", "error", "merged" or "stub".</summary>
    public required string LoadState { get; init; }

    /// <summary>"active", "reloading", "inactive", "failed", "activating" or "deactivating".</summary>
    public required string ActiveState { get; init; }

    /// <summary>The finer state of the unit's type: "running", "dead", "auto-restart", "failed", ...</summary>
    public required string SubState { get; init; }

    /// <summary>"enabled", "disabled", "static", "masked", ... or empty when there is no unit file.</summary>
    public required string UnitFileState { get; init; }

    /// <summary>Absolute path of the unit file that was loaded, or empty.</summary>
    public required string FragmentPath { get; init; }

    /// <summary>Absolute paths of the drop-ins that were loaded, in the order they apply.</summary>
    public required IReadOnlyList<string> DropInPaths { get; init; }

    /// <summary>True when a file of the unit changed on disk since systemd loaded it.</summary>
    public required bool NeedDaemonReload { get; init; }

    /// <summary>32 hexadecimal digits that change with every start, or empty when it never ran.</summary>
    public required string InvocationId { get; init; }

    /// <summary>Main process in the host's PID namespace, 0 when there is none.</summary>
    public required int MainPid { get; init; }

    /// <summary>"success", "exit-code", "signal", "oom-kill", "timeout", "start-limit-hit", ...; empty for units without a service.</summary>
    public required string Result { get; init; }

    /// <summary>How often systemd itself restarted the service since it was last started by a job.</summary>
    public required uint NRestarts { get; init; }

    /// <summary>Exit status, or the signal number, of the last main process that ended; 0 before the first ended.</summary>
    public required int ExecMainStatus { get; init; }

    /// <summary>How the last main process ended (waitid(2), si_code): 1 exited, 2 killed, 3 dumped; 0 before the first ended.</summary>
    public int ExecMainCode { get; init; }

    /// <summary>When the last main process ended, by the host's clock; null before the first did.</summary>
    public DateTimeOffset? ExecMainExitAt { get; init; }

    /// <summary>When it became active last; null when it never was.</summary>
    public DateTimeOffset? ActiveEnterAt { get; init; }

    /// <summary>Its control group, "/system.slice/redis-server.service"; empty when it does not run.</summary>
    public string ControlGroup { get; init; } = "";

    /// <summary>Bytes of memory that it may have (MemoryMax=); null = as much as there is.</summary>
    public ulong? MemoryMax { get; init; }

    /// <summary>How long systemd waits for a stop before it ends it with SIGKILL; null = for ever.</summary>
    public TimeSpan? TimeoutStop { get; init; }

    /// <summary>Bytes of memory in the unit's cgroup, or null when accounting is off or the unit does not run.</summary>
    public required ulong? MemoryCurrent { get; init; }

    /// <summary>A job of systemd waits for it or is under way; one that is down and has one is being started.</summary>
    public bool HasJob { get; init; }

    /// <summary>True when systemd knows no unit file of this name. It says nothing about processes that others started.</summary>
    public bool IsAbsent => LoadState == "not-found";

    /// <summary>True when the unit is active and no longer on its way up or down.</summary>
    public bool IsActive => ActiveState is "active" or "reloading";
}
