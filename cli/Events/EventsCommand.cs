using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Events;

/// <summary>What happened.</summary>
internal static class EventsCommand
{
    internal static Command Build(Shell shell)
    {
        var watch = new Option<bool>("--watch", "-w") { Description = "Go on with every new event until Ctrl-C" };
        var about = new Option<string?>("--for") { Description = "Only of this resource", HelpName = "KIND/NAME" };
        var node = new Option<string?>("--node") { Description = "Only of this host", HelpName = "NAME" };
        node.CompletionSources.Add(Suggestions.Nodes(shell));
        var limit = Shell.CountOption("--limit", "The newest so many", 50, 10_000);
        var command = new Command("events", "What happened, oldest first") { watch, about, node, limit };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var request = new ListEventsRequest { Limit = parsed.GetValue(limit), Node = parsed.GetValue(node) ?? "" };
            if (parsed.GetValue(about) is { } text) request.ResourceKey = KeyOf(session, text);
            var listed = await session.Client.ListEventsAsync(request, session.Call(stop));
            Print(session, listed.Events, parsed.GetValue(watch));
            if (parsed.GetValue(watch)) await Watch(session, request, listed.Events.Select(e => e.Seq).DefaultIfEmpty(0).Max(), stop);
            return ExitCode.Ok;
        });
        return command;
    }

    /// <summary>"redis/sessions" as "Redis default/sessions"; a full key stays as it is.</summary>
    internal static string KeyOf(Session session, string text)
    {
        if (text.Contains(' ', StringComparison.Ordinal)) return text;
        var (kind, name) = KindNames.One(text, null);
        return name.Contains('/', StringComparison.Ordinal) ? $"{kind} {name}" : $"{kind} {session.Project}/{name}";
    }

    private static void Print(Session session, IReadOnlyCollection<Event> events, bool goesOn)
    {
        if (session.ForPrograms && goesOn) foreach (var e in events.OrderBy(e => e.Seq)) Printer.OneOfMany(session, DocumentsOf.Event(e), DocumentJson.Default.EventDocument);
        else if (session.ForPrograms) Printer.Document(session, new ListDocument<EventDocument>([.. events.OrderBy(e => e.Seq).Select(DocumentsOf.Event)]), DocumentJson.Default.ListDocumentEventDocument);
        else if (events.Count == 0) session.Screen.Note("Nothing has happened yet.");
        else EventTable.Of(session.Screen, events, resources: true).Write(session.Screen);
    }

    private static async Task Watch(Session session, ListEventsRequest request, long after, CancellationToken stop)
    {
        await new Rewatch(session).RunAsync(async seen =>
        {
            using var call = session.Client.WatchEvents(new ListEventsRequest { AfterSeq = after, ResourceKey = request.ResourceKey, Node = request.Node }, Session.Stream(stop));
            await foreach (var e in call.ResponseStream.ReadAllAsync(stop))
            {
                seen();
                if (e.Seq <= after) continue;
                after = e.Seq;
                if (session.ForPrograms) Printer.OneOfMany(session, DocumentsOf.Event(e), DocumentJson.Default.EventDocument);
                else EventTable.Of(session.Screen, [e], resources: true).Write(session.Screen);
            }
        }, stop);
    }
}
