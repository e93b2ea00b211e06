using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.CommandLine;

/// <summary>Why a command did not do what it was asked, and what to do now.</summary>
/// <param name="Code">For scripts.</param>
/// <param name="Message">What is wrong, naming the field, flag or file.</param>
/// <param name="Next">What to run or change now.</param>
internal sealed record Failure(ExitCode Code, string Message, string Next)
{
    internal ExitCode Write(Screen screen)
    {
        screen.Note(Piece.Bad("error: "), Message);
        if (Next.Length > 0) screen.Note("  = next: ", Next);
        return Code;
    }
}

/// <summary>Ends a command from inside. Only <see cref="Shell"/> catches it: everything that can be told on the way is told by results.</summary>
internal sealed class CommandFailedException(Failure failure) : Exception(failure.Message)
{
    internal Failure Failure { get; } = failure;
}
