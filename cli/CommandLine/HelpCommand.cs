using System.CommandLine;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.CommandLine;

/// <summary>Topics that belong to no single command.</summary>
internal static class HelpCommand
{
    internal static Command Build(Screen screen)
    {
        var topic = new Argument<string?>("TOPIC") { Description = "exit-codes, environment or a command", Arity = ArgumentArity.ZeroOrOne };
        topic.CompletionSources.Add("exit-codes", "environment");
        var command = new Command("help", "Help on a topic or a command") { topic };
        command.SetAction((parsed, stop) => parsed.GetValue(topic) switch
        {
            "exit-codes" => Write(screen, ExitCodes),
            "environment" => Write(screen, Environments),
            { } other => Root.RunAsync(screen, [other, "--help"], stop),
            null => Root.RunAsync(screen, ["--help"], stop),
        });
        return command;
    }

    private static Task<int> Write(Screen screen, string text)
    {
        screen.Out.WriteLine(text);
        return Task.FromResult((int)ExitCode.Ok);
    }

    private const string ExitCodes = """
        0    done
        1    failed: the message says what and what next
        2    bad input: a flag, a file or a field; nothing was changed
        3    not found
        4    waiting for an approval: agentmetal approve
        5    the coordinator cannot be reached; hosts keep running
        6    time is up; what was asked goes on by itself
        7    refused: certificate, role, or a signature that does not verify
        10   plan --detailed-exitcode only: there is something to change
        130  interrupted; what was asked goes on by itself
        """;

    private const string Environments = """
        AGENTMETAL_HOME  the operator's home, where --home is not given (default: ~/.agentmetal)
        NO_COLOR         any value: no colours
        COLUMNS          width of tables; without a terminal and without COLUMNS lines are as long as they are
        """;
}
