using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Nodes;

/// <summary>What runs on hosts without being in any list: listed, made known again, or removed.</summary>
internal static class OrphansCommand
{
    internal static Command Build(Shell shell)
    {
        var orphans = new Command("orphans", "What runs on hosts and is in no list: it keeps running") { One(shell, remove: false), One(shell, remove: true) };
        shell.Handle(orphans, (session, _, stop) => List(session, stop));
        return orphans;
    }

    private static Command One(Shell shell, bool remove)
    {
        var kind = new Argument<string>("KIND") { Description = "A kind such as redis, or redis/NAME" };
        kind.CompletionSources.Add(KindNames.Known);
        var name = new Argument<string?>("NAME") { Description = "As nodes orphans shows it", Arity = ArgumentArity.ZeroOrOne };
        var yes = StatementSigning.YesOption();
        var command = new Command(remove ? "remove" : "adopt", remove ? "Delete it; hosts hold what would lose data for your approval" : "Make it known again as it runs: same uid, spec and members") { kind, name, yes };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (of, called) = KindNames.One(parsed.GetRequiredValue(kind), parsed.GetValue(name));
            var found = (await AllAsync(session, stop)).Where(o => o.Member.ResourceKey.EndsWith($" {session.Project}/{called}", StringComparison.Ordinal) && o.Member.ResourceKey.StartsWith(of + " ", StringComparison.OrdinalIgnoreCase)).ToArray();
            if (found.Length == 0) throw new CommandFailedException(new(ExitCode.NotFound, $"nothing that runs in no list is called {of} {session.Project}/{called}", "see them: agentmetal nodes orphans"));
            if (!session.ForPrograms) Table(session, found).Write(session.Screen);
            if (!remove) session.Screen.Note(Piece.Quiet("spec "), found.OrderByDescending(o => o.Member.Generation).First().Member.Spec.ToStringUtf8());
            StatementSigning.Confirm(session, parsed.GetValue(yes), remove ? "delete it" : "make it known again", called);
            var resource = await session.Client.AdoptOrphanAsync(new OrphanRequest { Project = session.Project, Kind = of, Name = called, Remove = remove }, session.Call(stop));
            if (session.ForPrograms) Printer.Document(session, DocumentsOf.Resource(resource), DocumentJson.Default.ResourceDocument);
            else session.Screen.Line($"{Resources.Key(resource)}  ", remove ? Piece.Warn("deletion asked for") : Piece.Good($"known again, generation {resource.Metadata.Generation}"));
            session.Screen.Note(remove ? $"Hosts hold what would lose data: agentmetal approve {Resources.Short(resource)}" : $"Next: agentmetal describe {of.ToLowerInvariant()} {called}");
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task<IReadOnlyList<(Node Node, NodeMember Member)>> AllAsync(Session session, CancellationToken stop) =>
        [.. (await session.Client.ListNodesAsync(new ListNodesRequest(), session.Call(stop))).Nodes.SelectMany(n => n.Known.Where(m => m.Stand == "orphan").Select(m => (n, m)))
            .OrderBy(o => o.m.ResourceKey, StringComparer.Ordinal).ThenBy(o => o.m.Ordinal)];

    private static async Task<ExitCode> List(Session session, CancellationToken stop)
    {
        var all = await AllAsync(session, stop);
        if (session.ForPrograms) Printer.Document(session, new ListDocument<OrphanDocument>([.. all.Select(o => Document(o.Node, o.Member))]), DocumentJson.Default.ListDocumentOrphanDocument);
        else if (all.Count == 0) session.Screen.Line("Nothing runs that is in no list, as far as hosts that are attached have said.");
        else
        {
            Table(session, all).Write(session.Screen);
            session.Screen.Note("Make one known again as it runs: agentmetal nodes orphans adopt KIND NAME. Delete it: agentmetal nodes orphans remove KIND NAME");
        }
        return ExitCode.Ok;
    }

    private static Table Table(Session session, IEnumerable<(Node Node, NodeMember Member)> all)
    {
        var table = new Table(new("RESOURCE"), new("#"), new("HOST"), new("GENERATION"), new("SINCE"), new("IS", Overflow.Wrap, 16));
        foreach (var (node, m) in all) table.Add(m.ResourceKey, $"{m.Ordinal}", node.Name, $"{m.Generation}", When.ClockAndAge(m.SinceUnixMs, session.Screen.Clock), m.Summary);
        return table;
    }

    private static OrphanDocument Document(Node node, NodeMember m) => new(m.ResourceKey, m.ResourceUid, m.Ordinal, node.Name, m.Generation, When.Stamp(m.SinceUnixMs), m.Summary);
}
