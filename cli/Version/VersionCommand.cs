using System.CommandLine;
using System.Reflection;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Link;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Version;

/// <summary>What runs here and there.</summary>
internal static class VersionCommand
{
    internal static string Client { get; } = (typeof(VersionCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "0").Split('+')[0];

    internal static Command Build(Shell shell)
    {
        var clientOnly = new Option<bool>("--client") { Description = "Ask no coordinator" };
        var command = new Command("version", "Versions of this command and of the coordinator") { clientOnly };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            if (parsed.GetValue(clientOnly) || (!session.Home.Exists && session.Coordinator is null))
            {
                Print(session, null);
                return ExitCode.Ok;
            }
            try
            {
                Print(session, await session.Client.VersionAsync(new VersionRequest(), session.Call(stop)));
                return ExitCode.Ok;
            }
            catch (RpcException e) when (!stop.IsCancellationRequested)
            {
                Print(session, null);
                return RpcFailure.Of(e, session.Address, session.Refusal).Write(session.Screen);
            }
        });
        return command;
    }

    private static void Print(Session session, VersionReply? server)
    {
        if (session.ForPrograms)
        {
            Printer.Document(session, new VersionDocument(Client, server?.Version, server?.Store, server?.StoreId, server?.Revision, server?.Nodes), DocumentJson.Default.VersionDocument);
            return;
        }
        session.Screen.Line("agentmetal    ", Client);
        if (server is not null)
            session.Screen.Line($"coordinator   {server.Version.Split('+')[0]} at {session.Address}   {server.Nodes} nodes   store {server.Store} {server.StoreId}, revision {server.Revision}");
        if (server is { PutBack.Length: > 0 }) session.Screen.Line(Piece.Bad("put back      "), $"{server.PutBack}. Next: agentmetal nodes accept-store");
    }
}
