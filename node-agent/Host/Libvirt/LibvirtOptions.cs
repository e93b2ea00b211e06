namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>Where libvirt is and how long to wait for it.</summary>
internal sealed record LibvirtOptions
{
    /// <summary>The connection (libvirt.org/uri.html). "test:///default" is a host in memory that all connections of a process share, "test:///FILE" one that each has for itself.</summary>
    public string Uri { get; init; } = "qemu:///system";

    /// <summary>The library that is loaded at the first use, by name or path (dlopen(3)); the first that could be loaded serves the whole process.</summary>
    public string Library { get; init; } = LibvirtLibrary.DefaultFile;

    /// <summary>How long one read may take, with waiting for its turn and for the connection.</summary>
    public TimeSpan CallDeadline { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Seconds between two questions whether the daemon is still there (virConnectSetKeepAlive).</summary>
    public int KeepAliveSeconds { get; init; } = 5;

    /// <summary>Questions in a row that may stay without an answer before the connection is given up.</summary>
    public int KeepAliveCount { get; init; } = 3;

    /// <summary>First pause before a lost connection is tried again; doubles up to <see cref="MaxBackOff"/>, each with jitter.</summary>
    public TimeSpan MinBackOff { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Longest pause between two attempts to connect while somebody watches.</summary>
    public TimeSpan MaxBackOff { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Calls into libvirt at once; each holds a thread while it lasts.</summary>
    public int MaxThreads { get; init; } = 8;
}
