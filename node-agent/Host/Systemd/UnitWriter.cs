namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Changes units over D-Bus.</summary>
internal sealed class UnitWriter(SystemdLink link) : IUnitWriter
{
    public Task<UnitOutcome> StartAsync(string name, TimeSpan deadline, CancellationToken ct) => RunJobAsync("StartUnit", name, deadline, ct);

    public async Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        var outcome = await RunJobAsync("StopUnit", name, deadline, ct).ConfigureAwait(false);
        // systemd refuses to stop what it has not loaded, and what is not loaded does not run.
        return outcome.ErrorName == "org.freedesktop.systemd1.NoSuchUnit" ? Done : outcome;
    }

    public Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct) => RunJobAsync("RestartUnit", name, deadline, ct);

    public Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct) => CallAsync("Reload", [], deadline, ct);

    public Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) =>
        CallAsync("EnableUnitFiles", [Names(names), false, false], deadline, ct);

    public Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) =>
        CallAsync("DisableUnitFiles", [Names(names), false], deadline, ct);

    public Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) =>
        CallAsync("MaskUnitFiles", [Names(names), false, false], deadline, ct);

    public Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) =>
        CallAsync("UnmaskUnitFiles", [Names(names), false], deadline, ct);

    public Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        UnitName.Require(name);
        return CallAsync("ResetFailedUnit", [name], deadline, ct);
    }

    public Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct)
    {
        UnitName.Require(name);
        ArgumentOutOfRangeException.ThrowIfLessThan(signal, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(signal, 64);
        var target = who switch
        {
            KillTarget.Main => "main",
            KillTarget.Control => "control",
            KillTarget.All => "all",
            _ => throw new ArgumentOutOfRangeException(nameof(who), who, "There is no such target."),
        };
        return CallAsync("KillUnit", [name, target, signal], deadline, ct);
    }

    private static UnitOutcome Done { get; } = new() { Result = UnitResult.Done };

    private async Task<UnitOutcome> RunJobAsync(string member, string name, TimeSpan deadline, CancellationToken ct)
    {
        UnitName.Require(name);
        try
        {
            // "replace": a change that a person or systemd queued before gives way; it ends as canceled for them.
            var result = await link.RunJobAsync(member, [name, "replace"], deadline, ct).ConfigureAwait(false);
            return new UnitOutcome { Result = ResultOf(result), Detail = result == "done" ? "" : $"the {member} job of {name} ended: {result}" };
        }
        catch (SystemdException error)
        {
            return OutcomeOf(error);
        }
    }

    private async Task<UnitOutcome> CallAsync(string member, BusArgument[] arguments, TimeSpan deadline, CancellationToken ct)
    {
        try
        {
            await link.CallManagerAsync(member, arguments, static _ => true, deadline, ct).ConfigureAwait(false);
            return Done;
        }
        catch (SystemdException error)
        {
            return OutcomeOf(error);
        }
    }

    /// <summary>systemd's words for the end of a job (org.freedesktop.systemd1(5), JobRemoved).</summary>
    internal static UnitResult ResultOf(string jobResult) => jobResult switch
    {
        "done" => UnitResult.Done,
        "failed" => UnitResult.Failed,
        "timeout" => UnitResult.Timeout,
        "canceled" => UnitResult.Canceled,
        "dependency" => UnitResult.Dependency,
        "skipped" => UnitResult.Skipped,
        // "invalid", "assert", "unsupported", "collected", "once", and whatever a later systemd adds: it did not happen.
        _ => UnitResult.Failed,
    };

    private static UnitOutcome OutcomeOf(SystemdException error) => new()
    {
        Result = error.Failure switch
        {
            BusFailure.Refused => UnitResult.Refused,
            BusFailure.DeadlinePassed => UnitResult.DeadlinePassed,
            BusFailure.Away => UnitResult.Unseen,
            _ => throw new ArgumentOutOfRangeException(nameof(error), error.Failure, "There is no such failure."),
        },
        ErrorName = error.ErrorName,
        Detail = error.Reason,
    };

    private static string[] Names(IReadOnlyCollection<string> names)
    {
        foreach (var name in names)
            UnitName.Require(name);
        return [.. names];
    }
}
