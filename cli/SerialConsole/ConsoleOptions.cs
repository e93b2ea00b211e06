using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Runtime.Consoles;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>The options of `console`, the same on a host and from far.</summary>
internal sealed class ConsoleOptions
{
    private static readonly TimeSpan Quiet = TimeSpan.FromSeconds(2);

    internal Option<bool> Force { get; } = new("--force") { Description = "Take it from whoever has it open" };

    internal Option<int> Lines { get; } = new("--lines")
    {
        Description = "How many of the last lines of its log come first (default: 20)",
        HelpName = "N",
        DefaultValueFactory = _ => 20,
        CustomParser = result =>
        {
            if (int.TryParse(result.Tokens[0].Value, out var lines) && lines is >= 0 and <= ConsoleFrame.MaxLines) return lines;
            result.AddError($"--lines: \"{result.Tokens[0].Value}\" is not a number from 0 to {ConsoleFrame.MaxLines}");
            return 0;
        },
    };

    internal Option<bool> Safe { get; } = new("--safe") { Description = "Take control sequences out of what the machine says; without a terminal they always are" };

    internal Option<TimeSpan?> Wait { get; } = Shell.LengthOption("--wait", "In a pipe: after the end of the input, end when the machine was silent for so long (default: 2s)");

    internal void AddTo(Command command)
    {
        foreach (var option in new Option[] { Force, Lines, Safe, Wait }) command.Add(option);
    }

    internal ConsoleWishes Wishes(ParseResult parsed) => new(parsed.GetValue(Lines), parsed.GetValue(Safe), parsed.GetValue(Wait) is { } wait && wait > TimeSpan.Zero ? wait : Quiet);
}
