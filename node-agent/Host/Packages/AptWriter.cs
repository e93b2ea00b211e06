using System.Text.RegularExpressions;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Host.Packages;

/// <summary>
/// Installs packages with apt-get(8). The package's own units are masked while it is installed and disabled afterwards.
/// Masking names exactly these units, survives a crash in between, and touches nobody else's installation; a temporary
/// policy-rc.d would hold back every other program's services, would stay behind after a crash, and would not keep the
/// unit from starting at the next boot.
/// </summary>
internal sealed partial class AptWriter(IProcessRunner processes, IPackageReader reader, IUnitWriter units, TimeProvider time) : IPackageWriter
{
    private const int MaxLastLines = 20;
    private static readonly TimeSpan UnitDeadline = TimeSpan.FromSeconds(30);

    public async Task<PackageOutcome> InstallAsync(PackageRequest request, CancellationToken ct)
    {
        PackageName.Require(request.Name);
        if (request.Version is { } version)
            PackageName.RequireVersion(version);

        var started = time.GetTimestamp();
        var before = await reader.GetAsync(request.Name, ct).ConfigureAwait(false);
        if (!before.IsSeen)
            return new PackageOutcome { Result = PackageResult.Failed, Detail = before.WhyUnseen! };
        if (IsWanted(before.Value, request))
            return new PackageOutcome { Result = PackageResult.Done };

        var fresh = before.Value.Status != PackageStatus.Installed;
        if (fresh && await QuietenAsync(request, ct).ConfigureAwait(false) is { } loud)
            return loud;

        var outcome = await RunAsync(request, before.Value, started, ct).ConfigureAwait(false);
        return fresh ? await ReleaseAsync(request, outcome).ConfigureAwait(false) : outcome;
    }

    private static bool IsWanted(PackageState state, PackageRequest request) =>
        state.Status == PackageStatus.Installed && (request.Version is null || request.Version == state.Version);

    private async Task<PackageOutcome?> QuietenAsync(PackageRequest request, CancellationToken ct)
    {
        if (request.QuietUnits.Count == 0)
            return null;

        var masked = await units.MaskAsync(request.QuietUnits, UnitDeadline, ct).ConfigureAwait(false);
        var reloaded = masked.IsDone ? await units.ReloadDaemonAsync(UnitDeadline, ct).ConfigureAwait(false) : masked;
        return reloaded.IsDone
            ? null
            : new PackageOutcome
            {
                Result = PackageResult.NotQuiet,
                Detail = $"{string.Join(", ", request.QuietUnits)} could not be masked, so {request.Name} was not installed: {reloaded.Detail}",
            };
    }

    private async Task<PackageOutcome> RunAsync(PackageRequest request, PackageState before, long started, CancellationToken ct)
    {
        if (before.Status == PackageStatus.Broken)
        {
            // An installation that was cut off must be completed first; apt-get refuses to do anything until then.
            var repaired = await RunToolAsync("/usr/bin/dpkg", ["--configure", "--pending", "--force-confold"], request, started, ct).ConfigureAwait(false);
            if (!repaired.IsDone)
                return repaired;
        }

        var what = request.Version is null ? request.Name : $"{request.Name}={request.Version}";
        string[] arguments =
        [
            "install", "--yes", "--no-install-recommends",
            // Without a terminal of its own dpkg stays in our process group, where the deadline reaches it.
            "-o", "Dpkg::Use-Pty=0",
            // A configuration file that someone changed stays as it is.
            "-o", "Dpkg::Options::=--force-confold",
            "-o", "DPkg::Lock::Timeout=5",
            "--", what,
        ];
        return await RunToolAsync("/usr/bin/apt-get", arguments, request, started, ct).ConfigureAwait(false);
    }

    private async Task<PackageOutcome> RunToolAsync(string program, string[] arguments, PackageRequest request, long started, CancellationToken ct)
    {
        var left = request.Deadline - time.GetElapsedTime(started);
        if (left <= TimeSpan.Zero)
            return new PackageOutcome { Result = PackageResult.DeadlinePassed, Detail = $"no time was left to run {program}" };

        var run = await processes.RunAsync(
            new ProcessRequest
            {
                Program = program,
                Arguments = arguments,
                Environment = new Dictionary<string, string> { ["DEBIAN_FRONTEND"] = "noninteractive", ["NEEDRESTART_SUSPEND"] = "1" },
                Deadline = left,
                MaxOutputBytes = 64 * 1024,
            },
            ct).ConfigureAwait(false);
        return Judge(request.Name, run);
    }

    /// <summary>Ends the quiet: after an installation the units are there, unmasked and disabled; after none, nothing is left.</summary>
    private async Task<PackageOutcome> ReleaseAsync(PackageRequest request, PackageOutcome outcome)
    {
        if (request.QuietUnits.Count == 0)
            return outcome;

        // Not cancellable: half of this would leave a service that starts at the next boot.
        var after = await reader.GetAsync(request.Name, CancellationToken.None).ConfigureAwait(false);
        if (!after.IsSeen || after.Value.Status == PackageStatus.Broken)
            return outcome;

        var done = await units.UnmaskAsync(request.QuietUnits, UnitDeadline, CancellationToken.None).ConfigureAwait(false);
        if (done.IsDone && after.Value.Status == PackageStatus.Installed)
            done = await units.DisableAsync(request.QuietUnits, UnitDeadline, CancellationToken.None).ConfigureAwait(false);
        if (done.IsDone)
            done = await units.ReloadDaemonAsync(UnitDeadline, CancellationToken.None).ConfigureAwait(false);
        return done.IsDone || !outcome.IsDone
            ? outcome
            : new PackageOutcome
            {
                Result = PackageResult.NotQuiet,
                Detail = $"{request.Name} is installed, but {string.Join(", ", request.QuietUnits)} could not be disabled: {done.Detail}",
                LastLines = outcome.LastLines,
            };
    }

    /// <summary>What apt-get's words mean. They are English, for the run has LANG=C.UTF-8.</summary>
    internal static PackageOutcome Judge(string name, ProcessOutcome run)
    {
        if (run.IsSuccess)
            return new PackageOutcome { Result = PackageResult.Done };

        var text = run.Stdout + "\n" + run.Stderr;
        var result = run.Result == ProcessResult.DeadlinePassed ? PackageResult.DeadlinePassed
            : Says(text, "Unable to locate package", "has no installation candidate", "was not found") ? PackageResult.NotFound
            : Says(text, "Could not get lock", "Unable to acquire the dpkg", "frontend lock was locked") ? PackageResult.Locked
            : Says(text, "No space left on device", "enough free space") ? PackageResult.NoSpace
            : Says(text, "Unable to fetch some archives", "Failed to fetch", "Could not resolve", "Could not connect") ? PackageResult.SourceAway
            : PackageResult.Failed;
        var lines = text.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return new PackageOutcome
        {
            Result = result,
            Detail = $"{name} was not installed: {run.Detail}",
            LastLines = [.. lines.TakeLast(MaxLastLines).Select(static line => Credentials().Replace(line, "//***@"))],
        };
    }

    private static bool Says(string text, params ReadOnlySpan<string> phrases)
    {
        foreach (var phrase in phrases)
        {
            if (text.Contains(phrase, StringComparison.Ordinal))
                return true;
        }

        return false;
    }

    // A source may have its user and password in its address, and apt-get prints addresses.
    [GeneratedRegex("//[^/@\\s]+@")]
    private static partial Regex Credentials();
}
