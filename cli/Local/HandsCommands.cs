using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Local;

namespace AgentMetal.Cli.Local;

/// <summary>What a person at a host may do to a member by hand, so that the host does not fight it: with or without a coordinator.</summary>
internal static class HandsCommands
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(500);

    internal static Command Pause(Shell shell, Option<string> socket)
    {
        var (resource, reason) = (Resource(socket), Reason());
        var command = new Command("pause", "Do nothing to a resource's member here until it is resumed; it is still looked at and told of") { resource, reason };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (path, name) = (parsed.GetRequiredValue(socket), parsed.GetRequiredValue(resource));
            var answer = await LocalCommand.AskAsync(session, path, new LocalRequest("pause", name, Reason: parsed.GetRequiredValue(reason)), stop);
            return Done(session, answer, $"{name} is paused on this host, also when agentmetald restarts. Go on with: agentmetal local resume {name}");
        });
        return command;
    }

    internal static Command Resume(Shell shell, Option<string> socket)
    {
        var resource = Resource(socket);
        var command = new Command("resume", "Keep a resource's member here as declared again") { resource };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (path, name) = (parsed.GetRequiredValue(socket), parsed.GetRequiredValue(resource));
            var answer = await LocalCommand.AskAsync(session, path, new LocalRequest("resume", name), stop);
            return Done(session, answer, $"{name} is kept as declared again. See it: agentmetal local why {name}");
        });
        return command;
    }

    internal static Command Stop(Shell shell, Option<string> socket)
    {
        var (resource, reason) = (Resource(socket), Reason());
        var yes = new Option<bool>("--yes", "-y") { Description = "Do not ask, also where data goes with the stop" };
        var command = new Command("stop", "Stop a resource's member here in order, and pause it, so that it stays stopped until it is resumed") { resource, reason, yes };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (path, name) = (parsed.GetRequiredValue(socket), parsed.GetRequiredValue(resource));
            var request = new LocalRequest("stop", name, Reason: parsed.GetRequiredValue(reason), Confirmed: parsed.GetValue(yes));
            var answer = await LocalCommand.AskAsync(session, path, request, stop);
            if (answer.Confirm)
            {
                Confirm(session, answer.Error ?? "", name);
                answer = await LocalCommand.AskAsync(session, path, request with { Confirmed = true }, stop);
            }
            return await FollowAsync(session, path, name, stop);
        });
        return command;
    }

    /// <summary>Until it has stopped, or says why not; it goes on when nobody looks any more.</summary>
    private static async Task<ExitCode> FollowAsync(Session session, string path, string name, CancellationToken stop)
    {
        var until = session.Screen.Clock.GetUtcNow() + (session.Timeout ?? s_patience);
        while (true)
        {
            var answer = await LocalClient.AskAsync(path, new LocalRequest("why", name), TimeSpan.FromSeconds(10), stop);
            var paused = answer.Members.Select(m => m.Paused).OfType<LocalPaused>().ToList();
            if (paused.All(p => p.Progress != "is being stopped"))
            {
                if (paused.FirstOrDefault(p => p.Progress.StartsWith("was not stopped", StringComparison.Ordinal)) is { } failed)
                    return new Failure(ExitCode.Failed, $"{name} {failed.Progress}; it stays paused", $"agentmetal local stop {name}, or agentmetal local resume {name}").Write(session.Screen);
                return Done(session, answer, $"{name} {string.Join(", ", paused.Select(p => p.Progress).Distinct(StringComparer.Ordinal))}, and stays so, also when agentmetald restarts. Go on with: agentmetal local resume {name}");
            }
            if (session.Screen.Clock.GetUtcNow() > until)
                return new Failure(ExitCode.TimedOut, $"{name} is still being stopped; that goes on", $"agentmetal local why {name}").Write(session.Screen);
            await Task.Delay(s_look, session.Screen.Clock, stop);
        }
    }

    private static void Confirm(Session session, string what, string name)
    {
        if (!session.Screen.CanAsk) throw new CommandFailedException(new(ExitCode.Refused, what, $"if that is meant: agentmetal local stop {name} --yes"));
        session.Screen.Error.Write($"{Plain.Clean(what)}. Stop it? [y/N] ");
        session.Screen.Error.Flush();
        if (session.Screen.In.ReadLine()?.Trim() is not ("y" or "Y" or "yes")) throw new CommandFailedException(new(ExitCode.Failed, "stopped; nothing was changed", $"agentmetal local why {name}"));
    }

    private static ExitCode Done(Session session, LocalAnswer answer, string words)
    {
        if (session.ForPrograms) return LocalCommand.Print(session, answer, view => view.Why);
        session.Screen.Line(words);
        return ExitCode.Ok;
    }

    private static Argument<string> Resource(Option<string> socket)
    {
        var resource = new Argument<string>("RESOURCE") { Description = "Such as redis/sessions" };
        resource.CompletionSources.Add(context => LocalCommand.Names(context.ParseResult.GetValue(socket), ""));
        return resource;
    }

    private static Option<string> Reason() => new("--reason") { Description = "Your words, for the audit and for whoever wonders", HelpName = "TEXT", DefaultValueFactory = _ => "" };
}
