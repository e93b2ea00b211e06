using System.CommandLine;
using System.Globalization;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Nodes;

/// <summary>The hosts of the fleet.</summary>
internal static class NodesCommand
{
    internal static Command Build(Shell shell)
    {
        var list = new Command("list", "Every host: is it here, what runs on it");
        shell.Handle(list, (session, _, stop) => List(session, stop));
        var name = new Argument<string>("NAME") { Description = "The host's name" };
        name.CompletionSources.Add(Suggestions.Nodes(shell));
        var describe = new Command("describe", "One host, all that is known") { name };
        shell.Handle(describe, (session, parsed, stop) => Describe(session, parsed.GetRequiredValue(name), stop));
        var nodes = new Command("nodes", "The hosts of the fleet") { list, describe, RemoveCommand.Build(shell), AcceptStoreCommand.Build(shell), OrphansCommand.Build(shell), SetTimeCommand.Build(shell) };
        nodes.Aliases.Add("node");
        shell.Handle(nodes, (session, _, stop) => List(session, stop));
        return nodes;
    }

    private static async Task<ExitCode> List(Session session, CancellationToken stop)
    {
        var reply = await session.Client.ListNodesAsync(new ListNodesRequest(), session.Call(stop));
        var nodes = reply.Nodes.OrderBy(n => n.Name, StringComparer.Ordinal).ToArray();
        if (session.ForPrograms) Printer.Document(session, new ListDocument<NodeDocument>([.. nodes.Select(DocumentsOf.Node)]), DocumentJson.Default.ListDocumentNodeDocument);
        else if (session.Format == OutputFormat.Name) foreach (var node in nodes) session.Screen.Line($"node/{node.Name}");
        else if (nodes.Length == 0) session.Screen.Note("No host has joined. Let one in: agentmetal join-token create --name edge-1");
        else TableOf(session, nodes).Write(session.Screen);
        if (!session.ForPrograms && nodes.Any(n => n.StoreRefused.Length > 0)) session.Screen.Note("What hosts refuse, and how to go on: agentmetal nodes accept-store");
        return ExitCode.Ok;
    }

    internal static Table TableOf(Session session, IEnumerable<Node> nodes)
    {
        var wide = session.Format == OutputFormat.Wide;
        var table = new Table(new("NAME"), new("STATE"), new("MEMBERS"), new("SEEN"), new("VERSION"), new("LABELS", Overflow.Cut, 12),
            new(wide ? "ADDRESS" : ""), new(wide ? "CERTIFICATE" : ""), new(wide ? "UID" : ""));
        foreach (var n in nodes)
        {
            table.Add(n.Name, n.StoreRefused.Length > 0 ? Piece.Bad(n.Liveness + ", refuses the store") : new(n.Liveness, ToneOf(n.Liveness)), $"{n.Converged}/{n.Members}", When.Age(n.LastSeenUnixMs, session.Screen.Clock), n.Version, Labels(n.Labels),
                wide ? n.Addresses.FirstOrDefault() ?? "" : "", wide ? "ends " + When.Until(n.CertificateExpiresUnixMs, session.Screen.Clock) : "", wide ? n.Uid : "");
        }
        return table;
    }

    private static async Task<ExitCode> Describe(Session session, string name, CancellationToken stop)
    {
        var reply = await session.Client.ListNodesAsync(new ListNodesRequest { Name = name }, session.Call(stop));
        var node = reply.Nodes.FirstOrDefault(n => n.Name == name || n.Uid == name)
            ?? throw new CommandFailedException(new(ExitCode.NotFound, $"no host is called {name}", "see them: agentmetal nodes"));
        if (session.ForPrograms)
        {
            Printer.Document(session, DocumentsOf.Node(node), DocumentJson.Default.NodeDocument);
            return ExitCode.Ok;
        }
        var screen = session.Screen;
        screen.Line(Piece.Strong(node.Name), $"   uid {node.Uid}   agentmetald {node.Version}");
        var lines = new Table(new(""), new("", Overflow.Wrap, 20)) { Bare = true };
        lines.Add("State", new(node.Liveness == "Attached" ? $"Attached, seen {When.ClockAndAge(node.LastSeenUnixMs, screen.Clock)}"
            : node.Liveness == "StruckOff" ? "StruckOff: it counts as gone for good" : $"{node.Liveness}, {Seen(node, screen.Clock)}; what runs there keeps running", ToneOf(node.Liveness)));
        lines.Add("Members", $"{node.Converged} of {node.Members} as wanted");
        lines.Add("Addresses", string.Join(", ", node.Addresses));
        lines.Add("Labels", Labels(node.Labels));
        lines.Add("Kinds", string.Join(", ", node.Kinds));
        lines.Add("Reserved", Reserved(node));
        foreach (var (key, value) in node.Facts.OrderBy(f => f.Key, StringComparer.Ordinal)) lines.Add(key, value);
        lines.Add("Joined", When.ClockAndAge(node.JoinedUnixMs, screen.Clock));
        lines.Add("Certificate", "ends " + When.Until(node.CertificateExpiresUnixMs, screen.Clock));
        lines.Add("Audit", $"{node.AuditSeq} records");
        foreach (var assignment in node.Assignments) lines.Add("Assignment", assignment);
        foreach (var m in node.Known)
            lines.Add(m.Stand == "orphan" ? "Orphan" : "Differs", new($"{m.ResourceKey} #{m.Ordinal}   {AcceptStoreCommand.Then(m)}", Tone.Warn));
        // Attached is said above already.
        var open = node.Conditions.Where(c => c.Status != "True").ToArray();
        foreach (var c in open.Where(c => c.Type != "Attached"))
            lines.Add(c.Type, new($"{c.Status} since {When.ClockAndAge(c.SinceUnixMs, screen.Clock)}   {(c.Message.Length > 0 ? c.Message : c.Reason)}", Tone.Bad));
        lines.Write(screen);
        if (open.Any(c => c.NextCommand.Length > 0))
            screen.Line(Piece.Strong("Next"), "       " + string.Join("   ·   ", open.Select(c => c.NextCommand).Where(n => n.Length > 0).Distinct(StringComparer.Ordinal)));
        else if (node.Liveness != "Attached") screen.Line("Next       on the host: agentmetal local status   ·   journalctl -u agentmetald");
        else screen.Line($"Next       agentmetal events --node {node.Name}   ·   agentmetal get all -A");
        return ExitCode.Ok;
    }

    /// <summary>A coordinator that was started anew has not seen a host that is away; and one that joined may never have called.</summary>
    internal static string Seen(Node node, TimeProvider clock) =>
        node.LastSeenUnixMs == 0 ? $"not seen since the coordinator started; joined {When.ClockAndAge(node.JoinedUnixMs, clock)}" : $"last seen {When.ClockAndAge(node.LastSeenUnixMs, clock)}";

    /// <summary>What members reserve of what they can.</summary>
    internal static string Reserved(Node node)
    {
        if (node.MemoryAllocatable <= 0) return "nothing can be reserved: the host has not told its memory and cores";
        return $"memory {Memory(node.MemoryReserved)} of {Memory(node.MemoryAllocatable)}, cores {Cores(node.CpuMillisReserved)} of {Cores(node.CpuMillisAllocatable)}";

        static string Memory(long bytes) => (bytes >= 1L << 30 ? (bytes / (decimal)(1L << 30), "Gi") : (bytes / (decimal)(1L << 20), "Mi")) is var (n, unit) && n > 0
            ? n.ToString("0.#", CultureInfo.InvariantCulture) + unit : "0";
        static string Cores(int millis) => (millis / 1000m).ToString("0.###", CultureInfo.InvariantCulture);
    }

    private static Tone ToneOf(string liveness) => liveness switch { "Attached" => Tone.Good, "Quarantined" => Tone.Bad, _ => Tone.Warn };

    private static string Labels(IEnumerable<KeyValuePair<string, string>> labels) =>
        string.Join(",", labels.OrderBy(l => l.Key, StringComparer.Ordinal).Select(l => $"{l.Key}={l.Value}"));
}
