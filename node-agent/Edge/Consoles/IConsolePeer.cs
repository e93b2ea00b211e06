using AgentMetal.Runtime.Consoles;

namespace AgentMetal.NodeAgent.Edge.Consoles;

/// <summary>The person's side of a console session, whatever way it comes.</summary>
internal interface IConsolePeer
{
    /// <summary>The next frame; null when the other side is gone without having said so, or said what cannot be understood. One call at a time.</summary>
    ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop);

    /// <summary>Sends, as slowly as the other side takes it.</summary>
    /// <exception cref="IOException">The other side is gone.</exception>
    ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop);
}

/// <summary>Who asks for a console, and how.</summary>
/// <param name="By">Name of the approver, or who it is on this host.</param>
/// <param name="KeyId">The key that signed the opening; empty on this host.</param>
/// <param name="Force">Takes the console from whoever has it.</param>
internal sealed record ConsoleCaller(string By, string KeyId, bool Force)
{
    /// <summary>Why the caller may not go on; null while he may. Asked while the session lasts.</summary>
    public Func<string?> WhyNot { get; init; } = static () => null;
}
