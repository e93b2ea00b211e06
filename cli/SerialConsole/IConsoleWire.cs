using AgentMetal.Runtime.Consoles;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>A console session as a person's side sees it: frames to and from the host, whatever carries them.</summary>
internal interface IConsoleWire
{
    /// <summary>Where the console is, for people: "instance/hello on edge-2".</summary>
    string Title { get; }

    /// <summary>The next frame; null when the session was cut. One call at a time.</summary>
    ValueTask<ConsoleFrame?> ReceiveAsync(CancellationToken stop);

    /// <summary>Sends, as slowly as the host takes it.</summary>
    /// <exception cref="IOException">The session was cut.</exception>
    ValueTask SendAsync(ConsoleFrame frame, CancellationToken stop);
}
