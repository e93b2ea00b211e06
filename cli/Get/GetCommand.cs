using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Get;

/// <summary>What there is, and where it runs.</summary>
internal static class GetCommand
{
    internal static Command Build(Shell shell)
    {
        var kind = new Argument<string>("KIND") { Description = "A kind such as redis, or all", Arity = ArgumentArity.ZeroOrOne, DefaultValueFactory = _ => "all" };
        kind.CompletionSources.Add([.. KindNames.Known, "all"]);
        var name = new Argument<string?>("NAME") { Description = "One resource", Arity = ArgumentArity.ZeroOrOne };
        name.CompletionSources.Add(Suggestions.Resources(shell, c => c.ParseResult.GetValue(kind) ?? ""));
        var labels = Shell.LabelsOption("Only resources with this label", "--label", "-l");
        var all = new Option<bool>("--all-projects", "-A") { Description = "Every project" };
        var watch = new Option<bool>("--watch", "-w") { Description = "Go on with every change until Ctrl-C" };
        var command = new Command("get", "What there is, and where it runs") { kind, name, labels, all, watch };
        shell.Handle(command, (session, parsed, stop) =>
        {
            var (of, called) = KindNames.Split(parsed.GetValue(kind)!, parsed.GetValue(name));
            var request = new ListRequest { Project = parsed.GetValue(all) ? "-" : session.Project, Kind = of, Name = called ?? "" };
            request.Labels.Add(parsed.GetValue(labels) ?? []);
            return parsed.GetValue(watch) ? Watch(session, request, stop) : List(session, request, stop);
        });
        return command;
    }

    private static async Task<ExitCode> List(Session session, ListRequest request, CancellationToken stop)
    {
        var reply = await session.Client.ListAsync(request, session.Call(stop));
        foreach (var note in reply.Notes) session.Screen.Note(Piece.Warn("note: "), note);
        var resources = reply.Resources.OrderBy(r => r.Metadata.Project, StringComparer.Ordinal).ThenBy(r => r.Kind, StringComparer.Ordinal)
            .ThenBy(r => r.Metadata.Name, StringComparer.Ordinal).ToArray();
        if (request.Name.Length > 0 && resources.Length == 0)
        {
            throw new CommandFailedException(new(ExitCode.NotFound, $"no {(request.Kind == "all" ? "resource" : request.Kind)} is called {request.Name} in project {request.Project}",
                "see what there is: agentmetal get all -A"));
        }
        if (session.ForPrograms && request.Name.Length > 0 && request.Kind != "all") Printer.Document(session, DocumentsOf.Resource(resources[0]), DocumentJson.Default.ResourceDocument);
        else if (session.ForPrograms) Printer.Document(session, new ListDocument<ResourceDocument>([.. resources.Select(DocumentsOf.Resource)]), DocumentJson.Default.ListDocumentResourceDocument);
        else if (session.Format == OutputFormat.Name) foreach (var r in resources) session.Screen.Line(Resources.Short(r));
        else if (resources.Length == 0) session.Screen.Note($"Nothing here{(request.Project == "-" ? "" : $" in project {request.Project}")}. Declare something: agentmetal apply -f FILE; its fields: agentmetal schema redis");
        else ResourceTable.Of(session.Screen, resources, session.Format == OutputFormat.Wide, request.Project == "-").Write(session.Screen);
        return ExitCode.Ok;
    }

    private static async Task<ExitCode> Watch(Session session, ListRequest request, CancellationToken stop)
    {
        var (listed, complete) = (new List<Resource>(), false);
        // After a restart of the coordinator what was shown before is compared with: only what changed is told.
        var shown = new Dictionary<string, Resource>(StringComparer.Ordinal);
        await new Rewatch(session).RunAsync(async seen =>
        {
            var here = new HashSet<string>(StringComparer.Ordinal);
            using var call = session.Client.Watch(request, Session.Stream(stop));
            await foreach (var change in call.ResponseStream.ReadAllAsync(stop))
            {
                seen();
                if (change.Type == "bookmark")
                {
                    if (!complete && !session.ForPrograms && session.Format != OutputFormat.Name) ResourceTable.Of(session.Screen, listed, session.Format == OutputFormat.Wide, request.Project == "-").Write(session.Screen);
                    complete = true;
                    // What went while nobody watched.
                    foreach (var gone in shown.Values.Where(r => !here.Contains(r.Metadata.Uid)).ToList())
                    {
                        shown.Remove(gone.Metadata.Uid);
                        Print(session, new() { Type = "deleted", Resource = gone }, listed, complete);
                    }
                    continue;
                }
                here.Add(change.Resource.Metadata.Uid);
                if (complete && change.Type == "added" && shown.TryGetValue(change.Resource.Metadata.Uid, out var before) && ResourceTable.SaysTheSame(before, change.Resource)) continue;
                if (change.Type == "deleted") shown.Remove(change.Resource.Metadata.Uid);
                else shown[change.Resource.Metadata.Uid] = change.Resource;
                Print(session, change, listed, complete);
            }
        }, stop);
        return ExitCode.Ok;
    }

    private static void Print(Session session, ResourceChange change, List<Resource> listed, bool complete)
    {
        if (session.ForPrograms) Printer.OneOfMany(session, new ChangeDocument(change.Type, DocumentsOf.Resource(change.Resource)), DocumentJson.Default.ChangeDocument);
        else if (session.Format == OutputFormat.Name) session.Screen.Line($"{change.Type} {Resources.Short(change.Resource)}");
        else if (complete) session.Screen.Line(ResourceTable.ChangeLine(session.Screen, change));
        else listed.Add(change.Resource);
    }
}
