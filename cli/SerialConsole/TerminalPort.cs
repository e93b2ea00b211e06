namespace AgentMetal.Cli.SerialConsole;

/// <summary>Standard input and output as bytes, and whether people are behind them.</summary>
internal sealed record TerminalPort
{
    public required Stream In { get; init; }

    public required Stream Out { get; init; }

    public required bool InIsTerminal { get; init; }

    public required bool OutIsTerminal { get; init; }

    /// <summary>Makes typed bytes come as they are typed, until it is disposed of.</summary>
    public Func<IDisposable> Raw { get; init; } = static () => RawTerminal.Enter(0);

    /// <summary>The process's own. Not Console's stream of standard input, which edits lines on a terminal.</summary>
    internal static TerminalPort Real() => new()
    {
        In = new FileDescriptorStream(0),
        Out = System.Console.OpenStandardOutput(),
        InIsTerminal = !System.Console.IsInputRedirected,
        OutIsTerminal = !System.Console.IsOutputRedirected,
    };
}
