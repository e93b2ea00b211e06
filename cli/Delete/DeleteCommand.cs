using System.CommandLine;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Delete;

/// <summary>Asks for a deletion. Hosts hold what would lose data until it is approved.</summary>
internal static class DeleteCommand
{
    internal static Command Build(Shell shell)
    {
        var one = new OneResource(shell, "The resource");
        var yes = new Option<bool>("--yes", "-y") { Description = "Do not ask" };
        var wait = new Option<bool>("--wait") { Description = "Wait until every host has let go of it" };
        var noWait = new Option<bool>("--no-wait") { Description = "Return at once (the default)" };
        var command = new Command("delete", "Delete a resource; steps that lose data wait for your approval") { yes, wait, noWait };
        one.AddTo(command);
        Shell.NotBoth(command, wait, noWait);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var named = one.Of(session, parsed);
            var resource = await session.Client.GetAsync(named, session.Call(stop));
            if (!parsed.GetValue(yes)) Confirm(session, resource);
            var deleted = await session.Client.DeleteAsync(OneResource.ToDelete(named), session.Call(stop));
            if (session.ForPrograms) Printer.Document(session, DocumentsOf.Resource(deleted), DocumentJson.Default.ResourceDocument);
            else session.Screen.Line($"{Resources.Key(deleted)}  ", Piece.Warn("deletion asked for"));
            if (parsed.GetValue(wait) && !parsed.GetValue(noWait)) return await new Progress(session).FollowAsync([new(deleted, Gone: true)], session.Timeout ?? TimeSpan.FromMinutes(5), stop);
            // Nothing of it is on a host: it is as good as gone.
            if (deleted.Status is null or { Members.Count: 0 }) return ExitCode.Ok;
            session.Screen.Note($"Hosts hold what would lose data: agentmetal approve {Resources.Short(deleted)}. See it go: agentmetal describe {named.Kind.ToLowerInvariant()} {named.Name}");
            return ExitCode.Ok;
        });
        return command;
    }

    private static void Confirm(Session session, Resource resource)
    {
        var screen = session.Screen;
        if (!screen.CanAsk)
            throw new CommandFailedException(new(ExitCode.BadInput, "nobody can be asked: this is not a terminal", "say so yourself: --yes"));
        screen.Error.Write($"Delete {Plain.Clean(Resources.Key(resource))}, {Plain.Clean(Resources.Where(resource))}? [y/N] ");
        screen.Error.Flush();
        if (screen.In.ReadLine()?.Trim() is not ("y" or "Y" or "yes"))
            throw new CommandFailedException(new(ExitCode.Failed, "stopped; nothing was changed", "agentmetal get all"));
    }
}
