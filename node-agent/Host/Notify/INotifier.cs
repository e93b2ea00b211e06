namespace AgentMetal.NodeAgent.Host.Notify;

/// <summary>Tells systemd how the daemon is (sd_notify(3)). Without a supervisor every call does nothing.</summary>
internal interface INotifier
{
    /// <summary>How often <see cref="Watchdog"/> must be called, half of what systemd allows; null when it watches nothing.</summary>
    TimeSpan? WatchdogInterval { get; }

    /// <summary>READY=1 with a status line: the daemon serves.</summary>
    void Ready(string status);

    /// <summary>STATUS=: one line for a person, shown by `systemctl status`.</summary>
    void Status(string status);

    /// <summary>WATCHDOG=1: the daemon makes progress. Call it from where progress is made, not from a timer.</summary>
    void Watchdog();

    /// <summary>STOPPING=1: the daemon is on its way out.</summary>
    void Stopping();
}
