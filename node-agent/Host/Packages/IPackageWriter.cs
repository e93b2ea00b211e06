namespace AgentMetal.NodeAgent.Host.Packages;

/// <summary>Installs packages. A member runs its own unit, so an installation must never start the package's.</summary>
internal interface IPackageWriter
{
    /// <summary>Installs a package, or does nothing when it is installed in the version asked for.</summary>
    Task<PackageOutcome> InstallAsync(PackageRequest request, CancellationToken ct);
}

/// <summary>What to install.</summary>
internal sealed record PackageRequest
{
    /// <summary>Debian package name.</summary>
    public required string Name { get; init; }

    /// <summary>Exact version, or null for the candidate of the host's own sources.</summary>
    public string? Version { get; init; }

    /// <summary>
    /// Units that the package brings and that must neither start now nor at the next boot ("redis-server.service").
    /// Ignored for a package that is installed already: its service may be someone's.
    /// </summary>
    public required IReadOnlyList<string> QuietUnits { get; init; }

    /// <summary>How long all of it may take.</summary>
    public required TimeSpan Deadline { get; init; }
}

/// <summary>How an installation ended.</summary>
internal enum PackageResult
{
    /// <summary>It is installed.</summary>
    Done,

    /// <summary>No source of the host offers the package, or that version.</summary>
    NotFound,

    /// <summary>The sources cannot be reached now.</summary>
    SourceAway,

    /// <summary>Another program holds dpkg's lock: try again later.</summary>
    Locked,

    /// <summary>The file system has no room.</summary>
    NoSpace,

    /// <summary>apt-get or dpkg failed; the last lines say how.</summary>
    Failed,

    /// <summary>The deadline passed and apt-get was ended: observe, the package may be half-installed.</summary>
    DeadlinePassed,

    /// <summary>The service could not be kept from starting, so nothing was installed.</summary>
    NotQuiet,
}

/// <summary>The outcome of an installation, with words for a person.</summary>
internal sealed record PackageOutcome
{
    /// <summary>How it ended.</summary>
    public required PackageResult Result { get; init; }

    /// <summary>One sentence.</summary>
    public string Detail { get; init; } = "";

    /// <summary>The last lines apt-get wrote, at most 20.</summary>
    public IReadOnlyList<string> LastLines { get; init; } = [];

    /// <summary>True when it is installed.</summary>
    public bool IsDone => Result == PackageResult.Done;
}
