namespace AgentMetal.NodeAgent.Host.Packages;

/// <summary>Reads the package database of the host; never changes it.</summary>
internal interface IPackageReader
{
    /// <summary>Status and version of a package (dpkg-query(1)). A package nobody ever installed is seen as NotInstalled.</summary>
    Task<Observed<PackageState>> GetAsync(string name, CancellationToken ct);
}

/// <summary>dpkg's states, as far as they lead to different steps (dpkg(1)).</summary>
internal enum PackageStatus
{
    /// <summary>No file of it is here.</summary>
    NotInstalled,

    /// <summary>Removed, configuration files remain.</summary>
    ConfigFiles,

    /// <summary>Installed and configured.</summary>
    Installed,

    /// <summary>Half-installed, unpacked, half-configured or waiting for triggers: an installation was cut off.</summary>
    Broken,
}

/// <summary>A package as dpkg sees it.</summary>
internal sealed record PackageState
{
    /// <summary>The name that was asked for.</summary>
    public required string Name { get; init; }

    /// <summary>Whether it can be used.</summary>
    public required PackageStatus Status { get; init; }

    /// <summary>Debian version ("5:7.0.15-1~deb12u1"), empty when not installed.</summary>
    public required string Version { get; init; }
}
