using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Cli.Describe;

/// <summary>Why is it not Ready?</summary>
internal static class DescribeCommand
{
    internal static Command Build(Shell shell)
    {
        var one = new OneResource(shell, "The resource");
        var secrets = new Option<bool>("--show-secrets") { Description = "Show generated passwords; this is audited" };
        var command = new Command("describe", "One resource: is it ready, why not, what next") { secrets };
        one.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var key = one.Of(session, parsed);
            var resource = await session.Client.GetAsync(key, session.Call(stop));
            if (parsed.GetValue(secrets)) return await Secrets(session, key, stop);
            if (session.ForPrograms)
            {
                Printer.Document(session, DocumentsOf.Resource(resource), DocumentJson.Default.ResourceDocument);
                return ExitCode.Ok;
            }
            var held = await session.Client.ListHeldAsync(new ListHeldRequest { Project = session.Project, Name = key.Name }, session.Call(stop));
            var events = await session.Client.ListEventsAsync(new ListEventsRequest { ResourceKey = Resources.Key(resource), Limit = 10 }, session.Call(stop));
            var approvers = session.Home.LoadApprovers(session.Link.Root, TrustedTime.Now(session.Screen.Clock.GetUtcNow(), null));
            new DescribeView(session.Screen, id => approvers?.Find(id)?.Name).Write(resource, [.. held.Held.Where(h => h.ResourceKey == Resources.Key(resource))], events.Events);
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task<ExitCode> Secrets(Session session, GetRequest key, CancellationToken stop)
    {
        var reply = await session.Client.GetSecretsAsync(key, session.Call(stop));
        if (session.ForPrograms) Printer.Document(session, new Dictionary<string, string>(reply.Values), DocumentJson.Default.DictionaryStringString);
        else if (session.Format == OutputFormat.Raw && reply.Values.Count == 1) session.Screen.Out.WriteLine(reply.Values.Values.Single());
        else if (reply.Values.Count == 0) session.Screen.Note("It has no secrets.");
        else foreach (var (name, value) in reply.Values.OrderBy(v => v.Key, StringComparer.Ordinal)) session.Screen.Line(Piece.Quiet(name + "  "), value);
        return ExitCode.Ok;
    }
}
