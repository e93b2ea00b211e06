using System.CommandLine;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.Change;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Delete;

/// <summary>Takes a deletion back that has destroyed nothing yet.</summary>
internal static class UndeleteCommand
{
    internal static Command Build(Shell shell)
    {
        var one = new OneResource(shell, "The resource that is being deleted");
        var waiting = SpecChange.Waiting.Options();
        var command = new Command("undelete", "Take back a deletion that has destroyed nothing yet; what was done of it is undone");
        one.AddTo(command);
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var named = one.Of(session, parsed);
            var kept = await session.Client.UndeleteAsync(OneResource.ToDelete(named), session.Call(stop));
            if (session.ForPrograms) Printer.Document(session, DocumentsOf.Resource(kept), DocumentJson.Default.ResourceDocument);
            else session.Screen.Line($"{Resources.Key(kept)}  ", Piece.Good("deletion taken back"), $"  generation {kept.Metadata.Generation}");
            return waiting.IsWanted(parsed) ? await new Progress(session).FollowAsync([new(kept)], session.Timeout ?? TimeSpan.FromMinutes(5), stop) : ExitCode.Ok;
        });
        return command;
    }
}
