using System.CommandLine;
using System.Globalization;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Nodes;

/// <summary>Strikes off a host that is gone for good. The signature names the members that go with it; other hosts judge it themselves.</summary>
internal static class RemoveCommand
{
    internal static Command Build(Shell shell)
    {
        var name = new Argument<string>("NAME") { Description = "The host that is gone for good" };
        name.CompletionSources.Add(Suggestions.Nodes(shell));
        var yes = StatementSigning.YesOption();
        var reason = StatementSigning.ReasonOption();
        var command = new Command("remove", "Strike off a host that is gone for good: its members count as gone, its certificate is refused, its name is free") { name, yes, reason };
        command.Aliases.Add("revoke");
        shell.Handle(command, (session, parsed, stop) => Run(session, parsed.GetRequiredValue(name), parsed.GetValue(yes), parsed.GetRequiredValue(reason), stop));
        return command;
    }

    private static async Task<ExitCode> Run(Session session, string name, bool yes, string reason, CancellationToken stop)
    {
        var reply = await session.Client.ListNodesAsync(new ListNodesRequest { Name = name }, session.Call(stop));
        var node = reply.Nodes.FirstOrDefault(n => n.Name == name || n.Uid == name)
            ?? throw new CommandFailedException(new(ExitCode.NotFound, $"no host is called {name}", "see them: agentmetal nodes"));
        if (node.Liveness == "StruckOff") throw new CommandFailedException(new(ExitCode.Refused, $"{node.Name} was struck off already", $"agentmetal nodes describe {node.Uid}"));
        if (node.Liveness == "Attached")
            throw new CommandFailedException(new(ExitCode.Refused, $"{node.Name} is attached: it is not gone, and what runs there would run twice", "switch it off for good first; agentmetal nodes list shows when it is away"));
        var resources = (await session.Client.ListAsync(new ListRequest { Project = "-", Kind = "all" }, session.Call(stop))).Resources.ToDictionary(r => r.Metadata.Uid, StringComparer.Ordinal);
        var members = node.Assignments.Select(a => a.Split('/')).Where(p => p.Length == 4).Select(p => (Kind: p[1], Uid: p[2], Ordinal: int.Parse(p[3], CultureInfo.InvariantCulture))).ToList();
        Show(session, node, [.. members.Select(m => Loss(resources.GetValueOrDefault(m.Uid), node, m.Kind, m.Ordinal))]);
        StatementSigning.Confirm(session, yes, $"strike off {Plain.Clean(node.Name)} for good", node.Name);
        var struck = new StrikeOff(node.Uid, node.Name, [.. members.Select(m => StrikeOff.MemberOf(m.Uid, m.Ordinal))]);
        var stated = await StatementSigning.SendAsync(session, StatementPurpose.StrikeOff, struck.Fields, null, reason, stop);
        StatementSigning.Tell(session, StatementPurpose.StrikeOff, stated, $"See what is made anew: agentmetal get all -A. Let a host in under this name: agentmetal join-token create --name {node.Name}",
            $"agentmetal nodes remove {node.Name}");
        return ExitCode.Ok;
    }

    private static void Show(Session session, Node node, IReadOnlyList<(string What, string Loss)> members)
    {
        var screen = session.Screen;
        screen.Note(Piece.Strong(node.Name), $"   uid {node.Uid}   {node.Liveness}, {NodesCommand.Seen(node, screen.Clock)}");
        screen.Note("It counts as gone for good, and its certificate is refused from now on. If it calls all the same, it is told so: it stops what it had, keeps its data and does nothing any more.");
        if (members.Count == 0) screen.Note("No members were there.");
        foreach (var (what, loss) in members) screen.Note(Piece.Warn("  " + what), "  " + loss);
    }

    /// <summary>What goes with the host, for the person who signs.</summary>
    internal static (string What, string Loss) Loss(Resource? resource, Node node, string kind, int ordinal)
    {
        if (resource is null) return ($"{kind} #{ordinal}", "its resource is not known any more");
        var what = $"{Resources.Key(resource)} #{ordinal}";
        if (resource.Metadata.DeletedUnixMs != 0) return (what, "was being deleted; its data there stays with the host, and the name is free again");
        var others = resource.Status?.Members.Where(m => m.NodeUid != node.Uid).ToList() ?? [];
        var held = Held(resource.Status?.Members.FirstOrDefault(m => m.NodeUid == node.Uid && m.Ordinal == ordinal));
        return (what, kind switch
        {
            "Instance" => $"its disks on {node.Name} are lost; it is made anew on another host, with new disks",
            "Volume" => $"its data on {node.Name} is lost; it is made anew, empty",
            "Snapshot" => "it is lost with its instance",
            _ when others.Count == 0 => $"the only member: its data on {node.Name} is lost{held}; it is made anew, empty",
            _ => $"what only it held is lost{held}; left: {string.Join(", ", others.Take(4).Select(m => $"#{m.Ordinal} on {m.NodeName} ({(m.Summary.Length > 0 ? m.Summary : m.Phase)}{Held(m)})"))}",
        });
    }

    /// <summary>What it said last of what it holds.</summary>
    private static string Held(MemberStatus? member) => member is null || !member.Details.TryGetValue(RedisDetail.Holds, out var holds)
        ? "" : $": {Plain.Clean(holds)}, as it last said";
}
