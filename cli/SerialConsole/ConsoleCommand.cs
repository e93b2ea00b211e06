using System.CommandLine;
using System.CommandLine.Completions;
using AgentMetal.Cli.Approve;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Get;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.SerialConsole;

/// <summary>The serial console of a machine, from wherever the operator is.</summary>
internal static class ConsoleCommand
{
    internal static Command Build(Shell shell)
    {
        var kind = new Argument<string>("KIND") { Description = "Such as instance, or instance/hello" };
        kind.CompletionSources.Add(context => Machines(shell, context));
        var name = new Argument<string?>("NAME") { Description = "The machine", Arity = ArgumentArity.ZeroOrOne };
        name.CompletionSources.Add(Suggestions.Resources(shell, c => c.ParseResult.GetValue(kind) ?? ""));
        var options = new ConsoleOptions();
        var command = new Command("console", "The serial console of a machine; Ctrl-] leaves. Signed with your key, sealed to its host") { kind, name };
        options.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (of, called) = KindNames.One(parsed.GetRequiredValue(kind), parsed.GetValue(name));
            var clock = session.Screen.Clock;
            using var key = session.Home.LoadKey();
            // Read once the handshake is over: what the coordinator sent along is among the intermediates.
            NodeCertificates Certificates() => new(session.Link.Root, [.. session.Link.Intermediates, .. session.Home.LoadIntermediates()], TrustedTime.Now(clock.GetUtcNow(), null));
            var call = session.Client.Console(Session.Stream(CancellationToken.None));
            using var wire = await SealedWire.OpenAsync(call, new(session.Project, of, called, parsed.GetValue(options.Force)), Certificates, key, clock, stop);
            return await new ConsoleRun(session.Screen, session.Screen.Port(), wire, options.Wishes(parsed)).RunAsync(stop);
        });
        return command;
    }

    private static IEnumerable<CompletionItem> Machines(Shell shell, CompletionContext context) =>
        [new("instance"), .. Suggestions.Resources(shell, _ => "instance")(context).Select(i => new CompletionItem("instance/" + i.Label))];
}
