using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Nodes;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Audit;

/// <summary>Signs that people know of records that the coordinator lost when its data went back: the gap stays in the audit, and is no alarm any more.</summary>
internal static class AcceptGapCommand
{
    internal static Command Build(Shell shell)
    {
        var name = new Argument<string>("HOST") { Description = "The host whose records are missing" };
        name.CompletionSources.Add(Suggestions.Nodes(shell));
        var yes = StatementSigning.YesOption();
        var reason = StatementSigning.ReasonOption();
        var command = new Command("accept-gap", "Sign that records which the coordinator lost are known to be missing; the gap stays to be seen") { name, yes, reason };
        shell.Handle(command, (session, parsed, stop) => Run(session, parsed.GetRequiredValue(name), parsed.GetValue(yes), parsed.GetRequiredValue(reason), stop));
        return command;
    }

    private static async Task<ExitCode> Run(Session session, string name, bool yes, string reason, CancellationToken stop)
    {
        var node = (await session.Client.ListNodesAsync(new ListNodesRequest { Name = name }, session.Call(stop))).Nodes.FirstOrDefault(n => n.Name == name || n.Uid == name)
            ?? throw new CommandFailedException(new(ExitCode.NotFound, $"no host is called {name}", "see them: agentmetal nodes"));
        var gaps = (await session.Client.ListAuditAsync(new ListAuditRequest { Chain = node.Uid, Limit = 1 }, session.Call(stop))).Gaps.Where(g => g.Accepted.Count == 0).ToList();
        if (gaps.Count == 0)
        {
            StatementSigning.Nothing(session, StatementPurpose.AcceptGap, $"No records of {node.Name} are missing that nobody knows of: nothing is to be signed. See: agentmetal audit --chain {node.Name} --verify");
            return ExitCode.Ok;
        }
        foreach (var gap in gaps)
            session.Screen.Note(Piece.Strong(node.Name), $"   records {gap.From} to {gap.To} are missing here; the host may have forgotten them, because it was told that they were kept");
        session.Screen.Note("If a newer copy of the coordinator's audit directory exists, they are in it. What you sign is said beside the chain from now on.");
        StatementSigning.Confirm(session, yes, "sign that you know", node.Name);
        var all = new StateReply { Holds = true };
        foreach (var gap in gaps)
        {
            var stated = await StatementSigning.SendAsync(session, StatementPurpose.AcceptGap, new AcceptedGap(node.Uid, gap.From, gap.To).Fields, null, reason, stop);
            all = new() { Holds = all.Holds && stated.Holds, Message = all.Message.Length > 0 ? $"{all.Message}; {stated.Message}" : stated.Message, By = { stated.By.Except(all.By), all.By } };
        }
        StatementSigning.Tell(session, StatementPurpose.AcceptGap, all, $"Prove the chain: agentmetal audit --chain {node.Name} --verify", $"agentmetal audit accept-gap {node.Name}");
        return ExitCode.Ok;
    }
}
