using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Pipeline.Stories;

/// <summary>What one look at a unit found.</summary>
/// <param name="Now">The unit.</param>
/// <param name="Ends">How its processes ended since the last look, as systemd said it in the moment; none while nobody listened.</param>
/// <param name="Memory">Its control group; null when it is gone.</param>
/// <param name="HostKills">Kills for memory on this host since it booted.</param>
/// <param name="Boot">Which boot this is.</param>
/// <param name="At">Now.</param>
internal sealed record UnitLook(UnitState Now, IReadOnlyList<UnitEnd> Ends, MemoryFigures? Memory, long? HostKills, string Boot, DateTimeOffset At)
{
    /// <summary>See <see cref="IMemoryEvents.SystemdTells"/>.</summary>
    public bool SystemdTells { get; init; }

    /// <summary>Whether a job of ours was under way at some time of a span.</summary>
    public Func<DateTimeOffset, DateTimeOffset, bool> Ours { get; init; } = static (_, _) => false;

    /// <summary>Whether a job of ours that ends processes was under way at a time.</summary>
    public Func<DateTimeOffset, bool> OursEnded { get; init; } = static _ => false;

    /// <summary>When it was looked at last, which is later than the mark where nothing had changed; null = not by this daemon.</summary>
    public DateTimeOffset? Since { get; init; }

    /// <summary>A step of ours was open when the daemon ended: what the unit did meanwhile cannot be told apart from it.</summary>
    public bool Resumes { get; init; }
}

/// <summary>Compares two looks at a unit: what happened in between that was none of our steps. Pure.</summary>
internal static class UnitChanges
{
    /// <summary>A stop that takes no longer is told once, when it is over.</summary>
    private static readonly TimeSpan LongStop = TimeSpan.FromSeconds(2);

    private const int Sigkill = 9;
    private const string Somebody = "by hand or by another program";

    public static UnitMark Mark(UnitLook look, UnitMark? before) => new()
    {
        Boot = look.Boot,
        Invocation = look.Now.InvocationId,
        Active = IsBetween(look.Now) ? "activating" : look.Now.ActiveState,
        Result = look.Now.Result,
        Load = look.Now.LoadState,
        File = look.Now.UnitFileState,
        Restarts = look.Now.NRestarts,
        DropIns = [.. look.Now.DropInPaths],
        LastEndUs = look.Ends.Where(e => !IsOpen(look, e.Result)).Select(e => Us(e.At)).Append(look.Now.ExecMainExitAt is { } at && !IsOpen(look, look.Now.Result) ? Us(at) : 0).Append(before?.LastEndUs ?? 0).Max(),
        GroupKills = look.Memory?.Kills ?? 0,
        HostKills = look.HostKills,
        AtMs = look.At.ToUnixTimeMilliseconds(),
        Stopping = look.Now.ActiveState == "deactivating" && before is { Active: "deactivating" } && (before.Stopping || look.At - DateTimeOffset.FromUnixTimeMilliseconds(before.AtMs) >= LongStop),
    };

    public static ImmutableArray<Happening> Between(UnitMark before, UnitLook look)
    {
        var found = ImmutableArray.CreateBuilder<Happening>();
        var ours = look.Resumes || look.Ours(look.Since ?? DateTimeOffset.FromUnixTimeMilliseconds(before.AtMs), look.At);
        // What a boot ended and began is the boot's doing; files and masks outlive it.
        if (before.Boot == look.Boot)
        {
            var ends = Ends(before, look);
            found.AddRange(ends);
            if (ends.IsEmpty && !ours) found.AddRange(Unseen(before, look));
            // The group of one whose end is still being dealt with is there yet, and counts the kill that ended the server.
            if (ends.All(e => e.Cause != EndCause.KilledByKernel) && ChildKilled(before, look) is { } child) found.Add(child);
            if (!ours) found.AddRange(Jobs(before, look, ends));
        }
        if (!ours) found.AddRange(Files(before, look));
        return found.DrainToImmutable();
    }

    /// <summary>It ended in order and systemd is not done with it: whether it was stopped or restarted is seen by what it is next.</summary>
    private static bool IsOpen(UnitLook look, string result) => result == "success" && look.Now.ActiveState == "deactivating";

    /// <summary>Down, with a job that starts it: in the middle of a restart.</summary>
    private static bool IsBetween(UnitState now) => now is { ActiveState: "inactive", HasJob: true };

    private static ImmutableArray<Happening> Ends(UnitMark before, UnitLook look)
    {
        IEnumerable<UnitEnd> all = look.Ends;
        // One that is down still says how it ended, also to a daemon that was away.
        if (look.Now is { MainPid: 0, ExecMainExitAt: { } at, ExecMainCode: > 0 } now) all = all.Where(e => e.At != at).Append(new(at, now.Result, now.ExecMainCode, now.ExecMainStatus, now.NRestarts));
        var kernel = look.SystemdTells ? 0 : look.HostKills - before.HostKills ?? 0;
        var found = ImmutableArray.CreateBuilder<Happening>();
        foreach (var end in all.Where(e => Us(e.At) > before.LastEndUs && !IsOpen(look, e.Result)).OrderBy(e => e.At))
        {
            var mine = look.Resumes || look.OursEnded(end.At);
            // Where systemd does not say it (cgroup v1), a SIGKILL of nobody's beside a kill that the kernel counted is the kernel's.
            var killed = end.Result == "oom-kill" || (!mine && end.Result != "timeout" && end.Code is 2 or 3 && end.Status == Sigkill && kernel-- > 0);
            var cause = killed ? EndCause.KilledByKernel : end.Result == "timeout" && end.Status == Sigkill ? EndCause.StopTimedOut : end.Result == "success" ? EndCause.Stopped : EndCause.Died;
            if (mine && cause is EndCause.Died or EndCause.Stopped) continue;
            var again = look.Now.IsActive || look.Now.ActiveState == "activating" || IsBetween(look.Now);
            // One whose end is still being dealt with (ExecStopPost=) says nothing yet of what systemd does next.
            var by = cause == EndCause.Stopped || look.Now.ActiveState == "deactivating" ? "" : again ? "; systemd starts it again" : "; systemd does not start it again";
            found.Add(new(end.At, cause == EndCause.Stopped ? again ? "RestartedOutside" : "StoppedOutside" : cause.ToString(), Words(cause, end, look, mine, again) + by, cause));
        }
        return found.DrainToImmutable();
    }

    private static string Words(EndCause cause, UnitEnd end, UnitLook look, bool mine, bool again) => cause switch
    {
        EndCause.KilledByKernel => "killed by the kernel: " + Limit(look),
        EndCause.StopTimedOut => $"a stop {(mine ? "of ours" : Somebody)} took longer than {Span(look.Now.TimeoutStop)}, and systemd ended it with SIGKILL: what it had not written is lost",
        EndCause.Stopped => $"{(again ? "restarted" : "stopped")} {Somebody}",
        _ when end.Code is 2 or 3 => $"killed by {SignalName(end.Status)}{(end.Code == 3 ? " (with a core dump)" : "")}{(end.Status == Sigkill ? ", and not for memory" : "")}",
        _ => $"ended by itself with status {end.Status.ToString(CultureInfo.InvariantCulture)}",
    };

    /// <summary>Both figures: what the limit is, and how far it got.</summary>
    private static string Limit(UnitLook look)
    {
        var limit = look.Now.MemoryMax is { } max ? (long)max : look.Memory?.Limit;
        // A group whose limit was reached had, at its peak, what the limit is; of the group that is there now the kernel says it.
        return limit is { } bytes ? $"memory limit {Amounts.Of(bytes)} reached, peak {Amounts.Of(Math.Max(bytes, look.Memory?.Peak ?? 0))}" : "the host ran out of memory, and it has no limit of its own";
    }

    private static Happening? ChildKilled(UnitMark before, UnitLook look)
    {
        if (before.Invocation != look.Now.InvocationId || look.Memory is not { } memory || memory.Kills <= before.GroupKills) return null;
        var count = (int)Math.Min(memory.Kills - before.GroupKills, 1000);
        return new(look.At, nameof(EndCause.KilledByKernel), $"the kernel killed {(count == 1 ? "a process" : $"{count} processes")} of it, and not the server: memory limit {(memory.Limit is { } l ? Amounts.Of(l) : "of the host")} reached, peak {(memory.Peak is { } p ? Amounts.Of(p) : "unknown")}",
            EndCause.KilledByKernel, count);
    }

    /// <summary>Restarts that nobody saw: the daemon was away, or the bus was.</summary>
    private static IEnumerable<Happening> Unseen(UnitMark before, UnitLook look)
    {
        if (before.Invocation == look.Now.InvocationId || !before.Ran) yield break;
        var restarts = look.Now.NRestarts >= before.Restarts ? look.Now.NRestarts - before.Restarts : look.Now.NRestarts;
        if (restarts > 0)
        {
            // Of ends that nobody saw, systemd says only how the last one was.
            var (count, killed) = ((int)Math.Min(restarts, 1000), look.SystemdTells ? 0 : look.HostKills - before.HostKills ?? 0);
            yield return new(look.At, killed > 0 ? nameof(EndCause.KilledByKernel) : nameof(EndCause.Died),
                $"ended {Times(count)} while nobody looked, and systemd started it again{(killed > 0 ? $"; the kernel killed for memory {Times((int)Math.Min(killed, 1000))} on this host meanwhile ({Limit(look)})" : "; how is in its log (journalctl -u " + look.Now.Name + ")")}",
                killed > 0 ? EndCause.KilledByKernel : EndCause.Unknown, count);
        }
        else if (look.Now.IsActive) yield return new(look.Now.ActiveEnterAt ?? look.At, "RestartedOutside", $"restarted {Somebody} while nobody looked", EndCause.Stopped);
    }

    private static IEnumerable<Happening> Jobs(UnitMark before, UnitLook look, ImmutableArray<Happening> ends)
    {
        var now = look.Now;
        if (Mark(look, before).Stopping && !before.Stopping)
            yield return new(look.At, "StopAsked", $"is being stopped {Somebody}; systemd ends it with SIGKILL after {Span(now.TimeoutStop)}");
        if (now.Result == "start-limit-hit" && before.Result != "start-limit-hit")
            yield return new(look.At, "StartLimitHit", "ended so often that systemd no longer starts it (start-limit-hit)");
        if (!ends.IsEmpty) yield break;
        if (before.Active is "inactive" or "failed" && now.IsActive) yield return new(now.ActiveEnterAt ?? look.At, "StartedOutside", $"started {Somebody}") { Warning = false };
        // A start that was held back by a condition of the unit is no end of a server: who held it back tells it.
        if (!before.Ran || now.ActiveState is not ("inactive" or "failed") || now.Result == "exec-condition") yield break;
        yield return now.Result == "success" ? new(look.At, "StoppedOutside", $"stopped {Somebody}", EndCause.Stopped) : new(look.At, nameof(EndCause.Died), $"ended with {now.Result}", EndCause.Died);
    }

    private static IEnumerable<Happening> Files(UnitMark before, UnitLook look)
    {
        var now = look.Now;
        if (now.LoadState == "masked" && before.Load != "masked") yield return Changed(look, $"the unit was masked {Somebody}");
        else if (before.Load == "masked" && now.LoadState != "masked") yield return Changed(look, $"the unit was unmasked {Somebody}");
        else if (now.UnitFileState != before.File && before.File.Length > 0 && now.UnitFileState is "enabled" or "disabled" or "masked")
            yield return Changed(look, $"the unit was {now.UnitFileState} {Somebody} (it was {before.File})");
        else if (before.Load == "loaded" && now.IsAbsent) yield return Changed(look, $"the unit's file was removed {Somebody}");
        foreach (var path in now.DropInPaths.Except(before.DropIns, StringComparer.Ordinal)) yield return Changed(look, $"an override of the unit was added {Somebody}: {path}");
        foreach (var path in before.DropIns.Except(now.DropInPaths, StringComparer.Ordinal)) yield return Changed(look, $"an override of the unit was removed {Somebody}: {path}");
    }

    private static Happening Changed(UnitLook look, string text) => new(look.At, "UnitChangedOutside", text);

    private static string Times(int count) => count == 1 ? "once" : string.Create(CultureInfo.InvariantCulture, $"{count} times");

    private static string Span(TimeSpan? span) => span is { } s ? string.Create(CultureInfo.InvariantCulture, $"{s.TotalSeconds:0.#} s") : "any time";

    private static long Us(DateTimeOffset at) => (at - DateTimeOffset.UnixEpoch).Ticks / 10;

    /// <summary>signal(7), those that people meet.</summary>
    private static string SignalName(int number) => number switch
    {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        31 => "SIGSYS",
        _ => string.Create(CultureInfo.InvariantCulture, $"signal {number}"),
    };
}
