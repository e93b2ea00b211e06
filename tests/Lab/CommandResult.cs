namespace AgentMetal.Testing;

/// <summary>What a finished command left: its exit code and at most 4 MiB of each of its streams, as UTF-8.</summary>
public sealed record CommandResult
{
    public required IReadOnlyList<string> Command { get; init; }

    public required int ExitCode { get; init; }

    public required string Stdout { get; init; }

    public required string Stderr { get; init; }

    /// <summary>True for exit code 0.</summary>
    public bool Succeeded => ExitCode == 0;

    /// <summary>This result, or an error that names the command and what it said.</summary>
    /// <exception cref="LabException">The exit code is not 0.</exception>
    public CommandResult OrThrow()
    {
        if (Succeeded)
            return this;
        var said = Stderr.Trim() is { Length: > 0 } error ? error : Stdout.Trim();
        throw new LabException($"`{string.Join(' ', Command)}` ended with exit code {ExitCode}: {Tail(said)}");
    }

    /// <summary>The last 2,000 characters: the end of an output is where its reason is.</summary>
    internal static string Tail(string text) => text.Length <= 2000 ? text : "…" + text[^2000..];
}

/// <summary>The lab could not do what a test asked of it. The message names the command and its standard error.</summary>
public sealed class LabException : Exception
{
    public LabException(string message)
        : base(message)
    {
    }

    public LabException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}
