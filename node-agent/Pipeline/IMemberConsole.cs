using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Pipeline;

/// <summary>The serial console of members of one kind.</summary>
internal interface IMemberConsole
{
    /// <summary>The kind whose members have one.</summary>
    string Kind { get; }

    /// <summary>Opens it, with a deadline of its own.</summary>
    /// <param name="input">Which member.</param>
    /// <param name="force">Takes it from whoever has it; without, one that is open is refused.</param>
    /// <param name="stop">Gives up waiting.</param>
    ValueTask<OpenedConsole> OpenAsync(MemberInput input, bool force, CancellationToken stop);

    /// <summary>The last lines that the console has said, as they were said: hostile. Empty where nothing was kept.</summary>
    ReadOnlyMemory<byte> Recent(MemberInput input, int lines);
}

/// <param name="Console">Reads return 0 when its other side has ended; the caller disposes it. Null when it was not opened.</param>
/// <param name="Why">Why it was not, with the next command; null when it was.</param>
internal sealed record OpenedConsole(Stream? Console, ConsoleEnding? Why)
{
    public static OpenedConsole Not(ConsoleEnd why, string message, string next) => new(null, new(why, message, next));
}
