namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Where the bus is and how long to wait for it.</summary>
internal sealed record SystemdOptions
{
    /// <summary>D-Bus address of the bus on which systemd is org.freedesktop.systemd1.</summary>
    public string BusAddress { get; init; } = "unix:path=/run/dbus/system_bus_socket";

    /// <summary>How long one method call may wait for its reply, and for a bus that is away to come back.</summary>
    public TimeSpan CallDeadline { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>First pause before the bus is tried again; doubles up to <see cref="MaxBackOff"/>, each with jitter.</summary>
    public TimeSpan MinBackOff { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>Longest pause between two attempts to reach the bus.</summary>
    public TimeSpan MaxBackOff { get; init; } = TimeSpan.FromSeconds(5);
}
