using System.CommandLine;
using System.CommandLine.Help;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.CommandLine;

/// <summary>The whole command line. Only what is built is here.</summary>
internal static class Root
{
    internal static RootCommand Build(Screen screen)
    {
        var shell = new Shell(screen);
        var root = new RootCommand("A fleet of bare-metal servers: declare, plan, approve, look.")
        {
            Apply.ApplyCommand.Build(shell),
            Plan.PlanCommand.Build(shell),
            Get.GetCommand.Build(shell),
            Describe.DescribeCommand.Build(shell),
            Delete.DeleteCommand.Build(shell),
            Delete.UndeleteCommand.Build(shell),
            Approve.ApproveCommand.Build(shell, ApprovalDecision.Approve),
            Approve.ApproveCommand.Build(shell, ApprovalDecision.Deny),
            SerialConsole.ConsoleCommand.Build(shell),
            Events.EventsCommand.Build(shell),
            Nodes.NodesCommand.Build(shell),
            Audit.AuditCommand.Build(shell),
            Local.LocalCommand.Build(shell),
            Init.InitCommand.Build(shell),
            JoinToken.JoinTokenCommand.Build(shell),
            Version.VersionCommand.Build(shell),
            Schema.SchemaCommand.Build(shell),
            Completion.CompletionCommand.Build(screen),
            Completion.CompletionCommand.BuildHidden(screen),
            HelpCommand.Build(screen),
        };
        foreach (var command in Change.InstanceCommands.Build(shell)) root.Add(command);
        foreach (var command in Change.SnapshotCommands.Build(shell)) root.Add(command);
        root.Add(Change.CloneCommand.Build(shell));
        foreach (var command in Change.ExportCommands.Build(shell)) root.Add(command);
        shell.AddTo(root);
        return root;
    }

    /// <summary>Parses and runs. Bad input is exit code 2 and one error line, never a page of help over it.</summary>
    internal static async Task<int> RunAsync(Screen screen, string[] args, CancellationToken stop = default)
    {
        var parsed = Build(screen).Parse(args);
        if (parsed.Errors.Count > 0 && parsed.Action is not HelpAction)
        {
            foreach (var error in parsed.Errors) screen.Note(Piece.Bad("error: "), error.Message);
            screen.Note("  = next: ", $"agentmetal {PathOf(parsed)}--help");
            return (int)ExitCode.BadInput;
        }
        if (parsed.Action is not HelpAction && Misread(parsed) is { } option)
        {
            screen.Note(Piece.Bad("error: "), $"{option} is no option of this command");
            screen.Note("  = next: ", $"agentmetal {PathOf(parsed)}--help");
            return (int)ExitCode.BadInput;
        }
        return await parsed.InvokeAsync(new InvocationConfiguration { Output = screen.Out, Error = screen.Error, EnableDefaultExceptionHandler = false }, stop);
    }

    /// <summary>An option that this command does not have, which the parser takes for a value of an argument that may be left out; behind -- all are values.</summary>
    private static string? Misread(ParseResult parsed) => parsed.Tokens.Any(t => t.Type == System.CommandLine.Parsing.TokenType.DoubleDash) ? null
        : parsed.CommandResult.Children.OfType<System.CommandLine.Parsing.ArgumentResult>().SelectMany(a => a.Tokens).FirstOrDefault(t => t.Value.Length > 1 && t.Value[0] == '-')?.Value;

    private static string PathOf(ParseResult parsed)
    {
        var path = "";
        for (var at = parsed.CommandResult; at is { Command: not RootCommand }; at = at.Parent as System.CommandLine.Parsing.CommandResult) path = at.Command.Name + " " + path;
        return path;
    }
}
