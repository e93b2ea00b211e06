namespace AgentMetal.Testing;

/// <summary>What a lab is made of.</summary>
public sealed record LabOptions
{
    /// <summary>Names of the hosts: a lower-case letter, then up to 30 of a-z, 0-9 and '-'. Addresses follow this order.</summary>
    public IReadOnlyList<string> HostNames { get; init; } = ["edge-1", "edge-2", "edge-3"];

    /// <summary>Directories of this machine that every host sees read-only, as the built programs under test.</summary>
    public IReadOnlyList<LabBind> Binds { get; init; } = [];

    /// <summary>The lab may be swept once this process has died. Default: the process that calls.</summary>
    public int OwnerProcessId { get; init; } = Environment.ProcessId;
}

/// <summary>A directory of this machine, at an absolute path on every host, read-only.</summary>
public sealed record LabBind(string Source, string Destination);
