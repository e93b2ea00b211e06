using System.CommandLine;
using System.CommandLine.Completions;
using AgentMetal.Cli.Approve;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Cli.SerialConsole;
using AgentMetal.Runtime.Local;

namespace AgentMetal.Cli.Local;

/// <summary>On a host, as root, whether there is a coordinator or not.</summary>
internal static class LocalCommand
{
    internal static Command Build(Shell shell)
    {
        var socket = new Option<string>("--socket") { Description = "The agentmetald's socket", HelpName = "PATH", DefaultValueFactory = _ => LocalSocket.DefaultPath, Recursive = true };
        var status = new Command("status", "This host, its coordinator link, its members");
        shell.Handle(status, async (session, parsed, stop) =>
            Print(session, await AskAsync(session, parsed.GetRequiredValue(socket), new LocalRequest("status"), stop), view => view.Status));
        var resource = new Argument<string>("RESOURCE") { Description = "Such as redis/sessions" };
        var why = new Command("why", "Why a member here is not as wanted") { resource };
        shell.Handle(why, async (session, parsed, stop) =>
            Print(session, await AskAsync(session, parsed.GetRequiredValue(socket), new LocalRequest("why", parsed.GetRequiredValue(resource)), stop), view => view.Why));
        resource.CompletionSources.Add(context => Names(context.ParseResult.GetValue(socket), ""));
        var of = new Argument<string>("RESOURCE") { Description = "Such as redis/sessions" };
        of.CompletionSources.Add(context => Names(context.ParseResult.GetValue(socket), ""));
        var output = new Option<string>("--out") { Description = "Where the question goes", HelpName = "FILE", Required = true };
        var held = new Command("held", "Write what waits for a signature here to a file, to carry it to a key") { of, output };
        shell.Handle(held, async (session, parsed, stop) =>
        {
            var answer = await AskAsync(session, parsed.GetRequiredValue(socket), new LocalRequest("held", parsed.GetRequiredValue(of)), stop);
            CarriedFiles.WriteHeld(parsed.GetRequiredValue(output), answer.HeldPlans);
            session.Screen.Note($"Written to {parsed.GetRequiredValue(output)}. Where the key is: agentmetal approve --offline FILE --out approval.json");
            return ExitCode.Ok;
        });
        var file = new Argument<string>("FILE") { Description = "An approval that was carried here" };
        var approve = new Command("approve", "Hand an approval to this host; it verifies it as any") { file };
        shell.Handle(approve, async (session, parsed, stop) =>
        {
            Failure? refused = null;
            foreach (var approval in CarriedFiles.ReadApprovals(parsed.GetRequiredValue(file)))
            {
                try
                {
                    var answer = await AskAsync(session, parsed.GetRequiredValue(socket), new LocalRequest("approve", Approval: approval), stop);
                    session.Screen.Note($"Taken: {approval.Decision} {approval.StepHashes.Length} {(approval.StepHashes.Length == 1 ? "step" : "steps")} of resource {approval.ResourceUid}{(answer.Notice.Length > 0 ? $" ({answer.Notice})" : "")}.");
                }
                // One file can be for several hosts and resources: the others are handed over all the same.
                catch (CommandFailedException e) when (e.Failure.Code == ExitCode.Refused)
                {
                    refused = new(ExitCode.Refused, $"no effect: {approval.Decision} {approval.StepHashes.Length} {(approval.StepHashes.Length == 1 ? "step" : "steps")} of resource {approval.ResourceUid}: {e.Failure.Message}", "agentmetal local status");
                    refused.Write(session.Screen);
                }
            }
            if (refused is not null) return refused.Code;
            session.Screen.Note("Next: agentmetal local status");
            return ExitCode.Ok;
        });
        var statement = new Argument<string>("FILE") { Description = "A statement that was carried here (agentmetal nodes set-time --out FILE)" };
        var state = new Command("state", "Hand an operator's statement to this host; it judges it as any") { statement };
        shell.Handle(state, async (session, parsed, stop) =>
        {
            var path = parsed.GetRequiredValue(statement);
            if (!File.Exists(path) || new FileInfo(path).Length > LocalSocket.MaxRequest / 2) throw new CommandFailedException(new(ExitCode.BadInput, $"{path} is not there, or is no statement", "check the path"));
            await AskAsync(session, parsed.GetRequiredValue(socket), new LocalRequest("state", Statement: await File.ReadAllBytesAsync(path, stop)), stop);
            session.Screen.Note("It is in force. Next: agentmetal local status");
            return ExitCode.Ok;
        });
        return new Command("local", "On a host, as root: what it knows by itself") { socket, state, status, why, held, approve, HandsCommands.Pause(shell, socket), HandsCommands.Stop(shell, socket), HandsCommands.Resume(shell, socket), Console(shell, socket) };
    }

    private static Command Console(Shell shell, Option<string> socket)
    {
        var machine = new Argument<string>("RESOURCE") { Description = "Such as instance/hello" };
        machine.CompletionSources.Add(context => Names(context.ParseResult.GetValue(socket), "Instance"));
        var options = new ConsoleOptions();
        var command = new Command("console", "The serial console of a machine on this host; Ctrl-] leaves") { machine };
        options.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            using var wire = await SocketWire.OpenAsync(parsed.GetRequiredValue(socket), parsed.GetRequiredValue(machine), parsed.GetValue(options.Force), session.Timeout ?? TimeSpan.FromSeconds(10), stop);
            return await new ConsoleRun(session.Screen, session.Screen.Port(), wire, options.Wishes(parsed)).RunAsync(stop);
        });
        return command;
    }

    // For the Tab key: soon, and silent when nobody answers.
    internal static IEnumerable<CompletionItem> Names(string? socket, string kind)
    {
        try
        {
            var answer = LocalClient.AskAsync(socket ?? LocalSocket.DefaultPath, new LocalRequest("status"), TimeSpan.FromMilliseconds(300), CancellationToken.None).GetAwaiter().GetResult();
            return [.. answer.Members.Select(m => m.Resource.Split(' ', '/')).Where(r => r is [var k, _, _] && (kind.Length == 0 || k == kind)).Select(r => $"{r[0].ToLowerInvariant()}/{r[2]}").Distinct(StringComparer.Ordinal).Select(n => new CompletionItem(n))];
        }
        catch (CommandFailedException) { return []; }
    }

    internal static Task<LocalAnswer> AskAsync(Session session, string socket, LocalRequest request, CancellationToken stop) =>
        LocalClient.AskAsync(socket, request, session.Timeout ?? TimeSpan.FromSeconds(10), stop);

    internal static ExitCode Print(Session session, LocalAnswer answer, Func<LocalView, Action<LocalAnswer>> how)
    {
        if (session.ForPrograms) Printer.Document(session, answer, LocalJson.Default.LocalAnswer);
        else how(new LocalView(session.Screen))(answer);
        return ExitCode.Ok;
    }
}
