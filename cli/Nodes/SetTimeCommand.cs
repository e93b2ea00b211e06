using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;

namespace AgentMetal.Cli.Nodes;

/// <summary>Signs that it is no later than now: the way back for a host whose trusted time rests on a wrong proof, such as a coordinator whose clock was ahead.</summary>
internal static class SetTimeCommand
{
    internal static Command Build(Shell shell)
    {
        var name = new Argument<string>("NAME") { Description = "The host" };
        name.CompletionSources.Add(Suggestions.Nodes(shell));
        var output = new Option<string?>("--out") { Description = "Write it to a file, for a host that cannot attach: there, agentmetal local state FILE", HelpName = "FILE" };
        var yes = StatementSigning.YesOption();
        var reason = StatementSigning.ReasonOption();
        var command = new Command("set-time", "Sign that it is no later than this machine's time, for a host that holds a later one for proved") { name, output, yes, reason };
        shell.Handle(command, (session, parsed, stop) => Run(session, parsed.GetRequiredValue(name), parsed.GetValue(output), parsed.GetValue(yes), parsed.GetRequiredValue(reason), stop));
        return command;
    }

    private static async Task<ExitCode> Run(Session session, string name, string? output, bool yes, string reason, CancellationToken stop)
    {
        var uid = NodeUid.IsValid(name) ? name : (await session.Client.ListNodesAsync(new ListNodesRequest { Name = name }, session.Call(stop))).Nodes.FirstOrDefault(n => n.Name == name)?.Uid
            ?? throw new CommandFailedException(new(ExitCode.NotFound, $"no host is called {name}", "see them: agentmetal nodes"));
        var now = session.Screen.Clock.GetUtcNow();
        session.Screen.Note($"{Plain.Clean(name)} is told that it is no later than {now:yyyy-MM-dd HH:mm:ss}Z. Approvals and certificates that ended after that count again there.");
        StatementSigning.Confirm(session, yes, "sign that", name);
        var fields = new SignedTime(now, [uid]).Fields;
        if (output is null)
        {
            var stated = await StatementSigning.SendAsync(session, StatementPurpose.SetTime, fields, TimeSpan.FromDays(1), reason, stop);
            StatementSigning.Tell(session, StatementPurpose.SetTime, stated, "See its clock: agentmetal nodes describe " + name, "agentmetal nodes set-time " + name);
            return ExitCode.Ok;
        }
        if (File.Exists(output)) throw new CommandFailedException(new(ExitCode.BadInput, $"{output} exists", "choose another file, or remove it yourself"));
        await File.WriteAllBytesAsync(output, StatementSigning.Sign(session, StatementPurpose.SetTime, fields, TimeSpan.FromDays(1), reason).ToByteArray(), stop);
        session.Screen.Note($"Written to {output}. On the host, as root: agentmetal local state FILE");
        return ExitCode.Ok;
    }
}
