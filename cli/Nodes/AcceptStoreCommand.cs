using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Nodes;

/// <summary>Signs that hosts follow the coordinator's store from here on, although they have seen a newer or another one. First it says what that changes.</summary>
internal static class AcceptStoreCommand
{
    private static readonly TimeSpan s_life = TimeSpan.FromDays(7);

    internal static Command Build(Shell shell)
    {
        var names = new Argument<string[]>("NAME") { Description = "Only these hosts; default: all", Arity = ArgumentArity.ZeroOrMore };
        names.CompletionSources.Add(Suggestions.Nodes(shell));
        var life = Shell.LengthOption("--valid-for", "How long hosts that are away may take it (default: 7d)");
        var yes = StatementSigning.YesOption();
        var reason = StatementSigning.ReasonOption();
        var command = new Command("accept-store", "Sign that hosts follow this store from here on, after an older copy was put back or it was restored") { names, life, yes, reason };
        shell.Handle(command, (session, parsed, stop) => Run(session, parsed.GetValue(names) ?? [], parsed.GetValue(life) ?? s_life, parsed.GetValue(yes), parsed.GetRequiredValue(reason), stop));
        return command;
    }

    private static async Task<ExitCode> Run(Session session, string[] names, TimeSpan life, bool yes, string reason, CancellationToken stop)
    {
        var store = await session.Client.VersionAsync(new VersionRequest(), session.Call(stop));
        if (store.Epoch.Length == 0) throw new CommandFailedException(new(ExitCode.Refused, "this coordinator is of a build that keeps no history of its store", "update the coordinator"));
        var all = (await session.Client.ListNodesAsync(new ListNodesRequest(), session.Call(stop))).Nodes.OrderBy(n => n.Name, StringComparer.Ordinal).ToList();
        foreach (var name in names)
            if (all.All(n => n.Name != name)) throw new CommandFailedException(new(ExitCode.NotFound, $"no host is called {name}", "see them: agentmetal nodes"));
        Node[] nodes = [.. all.Where(n => names.Length == 0 || names.Contains(n.Name))];
        if (names.Length == 0 && store.PutBack.Length == 0 && nodes.All(n => n.StoreRefused.Length == 0))
        {
            StatementSigning.Nothing(session, StatementPurpose.AcceptStore, "Every host that is attached follows this store: nothing is to be signed.");
            return ExitCode.Ok;
        }
        Show(session.Screen, store, nodes);
        StatementSigning.Confirm(session, yes, "let these hosts follow this store", store.StoreId[..8]);
        var accepts = new StoreAcceptance(store.StoreId, store.Epoch, store.EpochFrom, [.. nodes.Select(n => n.Uid)]);
        var stated = await StatementSigning.SendAsync(session, StatementPurpose.AcceptStore, accepts.Fields, life, reason, stop);
        StatementSigning.Tell(session, StatementPurpose.AcceptStore, stated, "See what runs in no list then: agentmetal nodes orphans", "agentmetal nodes accept-store");
        return ExitCode.Ok;
    }

    /// <summary>What goes back, is deleted, returns or is unknown then, by the hosts' own word.</summary>
    private static void Show(Screen screen, VersionReply store, Node[] nodes)
    {
        screen.Note(Piece.Strong("Store "), $"{store.StoreId[..8]}, revision {store.Revision}{(store.PutBack.Length > 0 ? "; the coordinator itself: " + store.PutBack : "")}");
        foreach (var node in nodes)
        {
            var why = node.StoreRefused.Length > 0 ? node.StoreRefused
                : node.Liveness == "Attached" ? "follows it" : $"is {node.Liveness.ToLowerInvariant()}: what it has above this store is not known; it takes the signature when it attaches";
            screen.Note(Piece.Strong(node.Name), "   " + why);
            foreach (var m in node.Known.OrderBy(m => m.ResourceKey, StringComparer.Ordinal).ThenBy(m => m.Ordinal))
                screen.Note(new Piece($"  {m.ResourceKey} #{m.Ordinal}", m.Stand is "handed-over" ? Tone.Plain : Tone.Warn), "  " + Then(m));
        }
        screen.Note("What loses data still waits for a signature of its own. What was handed over to another host stays there.");
    }

    internal static string Then(NodeMember m) => m.Stand switch
    {
        "orphan" => $"generation {m.Generation}{Is(m)}: this store does not know it; it keeps running, in no list",
        "older" => $"generation {m.Generation}{Is(m)}: goes back to generation {m.ToldGeneration}",
        "absent" => $"generation {m.Generation}{Is(m)}: is to be deleted",
        "returns" => $"is not there: is made again, generation {m.ToldGeneration}",
        _ => m.Why,
    };

    private static string Is(NodeMember m) => m.Summary.Length > 0 ? $" ({m.Summary})" : "";
}
