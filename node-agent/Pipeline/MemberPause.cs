using System.Collections.Immutable;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>A person at the host asked that nothing is done to a member until it is resumed.</summary>
/// <param name="Since">When.</param>
/// <param name="Uid">Of the process that asked, as the kernel says.</param>
/// <param name="By">Who that is, for people: "root (uid 0), logged in as ann (uid 1000)".</param>
/// <param name="Reason">Their words; may be empty.</param>
/// <param name="Stop">It was to be stopped as well.</param>
internal sealed record MemberPause(DateTimeOffset Since, long Uid, string By, string Reason, bool Stop)
{
    /// <summary>How far a stop is: "is being stopped", "was stopped at 12:00:00 UTC", or why it was not; empty = none was asked for.</summary>
    public string Progress { get; init; } = "";

    /// <summary>Of the whole host, which was struck off: why nothing is done to its members any more. Null = a person at the host paused this member.</summary>
    public string? StruckOff { get; init; }

    /// <summary>For people.</summary>
    public string Text => StruckOff ?? $"paused on this host by {By}{(Reason.Length > 0 ? $" ({Reason})" : "")}{(Progress.Length > 0 ? $"; it {Progress}" : "")}: nothing is done to it until it is resumed";
}

/// <summary>How a member is stopped in order for a person at the host.</summary>
/// <param name="Runs">There is something to stop.</param>
/// <param name="Text">What is done, in words.</param>
/// <param name="Lost">What goes with the stop, in words; empty = nothing.</param>
/// <param name="Apply">Does it, and returns when it is done.</param>
/// <exception cref="Runtime.Planning.WorldException">From Apply: it does not stop.</exception>
internal sealed record MemberStop(bool Runs, string Text, string Lost, Func<CancellationToken, ValueTask> Apply);

/// <summary>A pass ended between two steps because a person at the host paused the member; its journal says where it was.</summary>
internal sealed class PausedException : Exception;

/// <summary>Pauses that are kept on the disk.</summary>
internal interface IMemberPauses
{
    ValueTask<ImmutableSortedDictionary<string, MemberPause>> PausesAsync(CancellationToken stop);

    /// <summary>Null = it is resumed.</summary>
    ValueTask SetPauseAsync(string key, MemberPause? pause, CancellationToken stop);
}
