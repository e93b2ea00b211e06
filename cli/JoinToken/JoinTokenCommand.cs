using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.JoinToken;

/// <summary>Lets a host in: once, soon, and perhaps under one name only.</summary>
internal static class JoinTokenCommand
{
    internal static Command Build(Shell shell)
    {
        var name = new Option<string?>("--name") { Description = "Only a host of this name may use it", HelpName = "NAME" };
        var labels = Shell.LabelsOption("A label the host gets", "--label");
        var ttl = Shell.LengthOption("--ttl", "How long it may be used: 1m to 24h (default: 1h)");
        var create = new Command("create", "Make a token; it works once. With -o raw only the token is printed") { name, labels, ttl };
        shell.Handle(create, async (session, parsed, stop) =>
        {
            var request = new CreateJoinTokenRequest { Name = parsed.GetValue(name) ?? "", TtlSeconds = (long)(parsed.GetValue(ttl) ?? TimeSpan.FromHours(1)).TotalSeconds };
            if (request.TtlSeconds is < 60 or > 86_400)
                throw new CommandFailedException(new(ExitCode.BadInput, $"--ttl: {request.TtlSeconds} s is not between 1m and 24h", "tokens are short on purpose; make one when you need it"));
            request.Labels.Add(parsed.GetValue(labels) ?? []);
            var reply = await session.Client.CreateJoinTokenAsync(request, session.Call(stop));
            Print(session, request, reply);
            return ExitCode.Ok;
        });
        return new Command("join-token", "Let hosts into the fleet") { create };
    }

    private static void Print(Session session, CreateJoinTokenRequest request, CreateJoinTokenReply reply)
    {
        if (session.Format is OutputFormat.Raw or OutputFormat.Name) session.Screen.Out.WriteLine(reply.Token);
        else if (session.ForPrograms) Printer.Document(session, new TokenDocument(reply.Token, When.Stamp(reply.ExpiresUnixMs)), DocumentJson.Default.TokenDocument);
        else
        {
            session.Screen.Out.WriteLine(reply.Token);
            session.Screen.Note("It works once, ", request.Name.Length > 0 ? $"for the host {request.Name}, " : "for any host, ", $"until {When.Clock(reply.ExpiresUnixMs, session.Screen.Clock)}. On the host:");
            session.Screen.Note($"  agentmetald join --coordinator {session.Address} --token-file FILE --name {(request.Name.Length > 0 ? request.Name : "NAME")}");
        }
    }
}
