using System.Collections.Concurrent;
using System.Globalization;
using AgentMetal.NodeAgent.Host.Processes;

namespace AgentMetal.NodeAgent.Host.Packages;

/// <summary>
/// Reads Debian's package database: its status file, and while dpkg is at work or where that file leaves a doubt, dpkg-query(1). The answer is kept
/// while the database's files are the same, because a host looks at each of its members.
/// </summary>
/// <param name="processes">Runs dpkg-query.</param>
/// <param name="database">Where the database is, such as /var/lib/dpkg; null = ask dpkg-query every time.</param>
internal sealed class DpkgReader(IProcessRunner processes, string? database = null) : IPackageReader
{
    private const int MaxKept = 256;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(10);

    private readonly ConcurrentDictionary<string, Lazy<Task<Observed<PackageState>>>> _kept = new(StringComparer.Ordinal);

    public async Task<Observed<PackageState>> GetAsync(string name, CancellationToken ct)
    {
        PackageName.Require(name);
        if (Stamp() is not { } stamp) return await AskAsync(name, ct).ConfigureAwait(false);
        if (_kept.Count >= MaxKept) _kept.Clear();
        var key = name + " " + stamp;
        // One question for all who ask meanwhile, for at a start every member does; its own deadline ends it, not that of who came first.
        var asked = _kept.GetOrAdd(key, static (_, of) => new(() => of.Reader.LookAsync(of.Name)), (Reader: this, Name: name));
        var isKept = false;
        try
        {
            var state = await asked.Value.WaitAsync(ct).ConfigureAwait(false);
            // Kept only if nothing moved meanwhile: otherwise it may be of before or after.
            isKept = state.IsSeen && Stamp() == stamp;
            return state;
        }
        finally
        {
            if (!isKept && asked.Value.IsCompleted) _kept.TryRemove(KeyValuePair.Create(key, asked));
        }
    }

    /// <summary>What changes whenever dpkg writes: the status file, which it replaces, and the directory of updates that are not merged into it yet (dpkg(1)).</summary>
    private string? Stamp()
    {
        if (database is null) return null;
        try
        {
            var (status, updates) = (new FileInfo(Path.Combine(database, "status")), new DirectoryInfo(Path.Combine(database, "updates")));
            return status.Exists ? string.Create(CultureInfo.InvariantCulture, $"{status.Length} {status.LastWriteTimeUtc.Ticks} {(updates.Exists ? updates.LastWriteTimeUtc.Ticks : 0)}") : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return null; }
    }

    private Task<Observed<PackageState>> LookAsync(string name)
    {
        try
        {
            if (DpkgStatusFile.IsWhole(database!) && DpkgStatusFile.Find(Path.Combine(database!, "status"), name) is { } state)
                return Task.FromResult(Observed<PackageState>.Seen(state));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { /* dpkg-query says what is wrong with it. */ }
        return AskAsync(name, CancellationToken.None);
    }

    private async Task<Observed<PackageState>> AskAsync(string name, CancellationToken ct)
    {
        var outcome = await processes.RunAsync(
            new ProcessRequest
            {
                Program = "/usr/bin/dpkg-query",
                Arguments = ["--show", "--showformat=${db:Status-Abbrev}\\t${Version}\\n", name],
                Deadline = Deadline,
                MaxOutputBytes = 4096,
            },
            ct).ConfigureAwait(false);
        if (outcome.IsSuccess)
            return Parse(name, outcome.Stdout);

        // Status 1 with these words is an answer; any other failure is not.
        return outcome is { Result: ProcessResult.Exited, ExitCode: 1 } && outcome.Stderr.Contains("no packages found matching", StringComparison.Ordinal)
            ? Observed<PackageState>.Seen(new PackageState { Name = name, Status = PackageStatus.NotInstalled, Version = "" })
            : Observed<PackageState>.Unseen($"the package database could not be read: {outcome.Detail}");
    }

    /// <summary>The second letter of dpkg-query's abbreviation is the package's status (dpkg-query(1)).</summary>
    internal static Observed<PackageState> Parse(string name, string output)
    {
        var line = output.AsSpan();
        line = line[..(line.IndexOf('\n') is var end and >= 0 ? end : line.Length)];
        var tab = line.IndexOf('\t');
        if (tab < 2)
            return Observed<PackageState>.Unseen($"dpkg-query answered in an unknown form about {name}");

        PackageStatus? status = line[1] switch
        {
            'n' => PackageStatus.NotInstalled,
            'c' => PackageStatus.ConfigFiles,
            'i' => PackageStatus.Installed,
            'H' or 'U' or 'F' or 'W' or 't' => PackageStatus.Broken,
            _ => null,
        };
        return status is { } known
            ? Observed<PackageState>.Seen(new PackageState { Name = name, Status = known, Version = known is PackageStatus.NotInstalled ? "" : line[(tab + 1)..].ToString() })
            : Observed<PackageState>.Unseen($"dpkg-query answered with the unknown status '{line[1]}' about {name}");
    }
}

/// <summary>Package names as Debian Policy 5.6.1 allows them, so that a name can never be an option of apt-get.</summary>
internal static class PackageName
{
    /// <exception cref="ArgumentException">It is not a package name.</exception>
    internal static void Require(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Length is < 2 or > 128 || !char.IsAsciiLetterOrDigit(name[0])
            || !name.All(static c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c) || c is '+' or '-' or '.'))
            throw new ArgumentException($"\"{name}\" is not a package name: use 2 to 128 of a-z, 0-9, +, - and ., beginning with a letter or digit.", nameof(name));
    }

    /// <exception cref="ArgumentException">It is not a Debian version (deb-version(7)).</exception>
    internal static void RequireVersion(string version)
    {
        if (version.Length is 0 or > 128 || !char.IsAsciiDigit(version[0])
            || !version.All(static c => char.IsAsciiLetterOrDigit(c) || c is '.' or '+' or '~' or ':' or '-'))
            throw new ArgumentException($"\"{version}\" is not a package version: it begins with a digit and has only letters, digits and . + ~ : -", nameof(version));
    }
}
