using System.CommandLine;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Grpc.Core;

namespace AgentMetal.Cli.Plan;

/// <summary>What would change, on which host, how risky, and how it is taken back. Changes nothing.</summary>
internal static class PlanCommand
{
    internal static Command Build(Shell shell)
    {
        var files = ApplyCommand.FilesOption();
        var detailed = new Option<bool>("--detailed-exitcode") { Description = "Exit code 10 when there is something to change, 0 when there is not" };
        var noSign = DigestSigning.RefuseOption();
        var command = new Command("plan", "What would change, how risky it is, how it is taken back; changes nothing") { files, detailed, noSign };
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var paths = parsed.GetValue(files) ?? [];
            if (Declared.Load(session, paths) is not { } declared) return ExitCode.BadInput;
            // As apply would, so that hosts plan with what they will be given.
            DigestSigning.Sign(session, declared.Resources, parsed.GetValue(noSign));
            var request = new ApplyRequest { DryRun = true };
            request.Resources.AddRange(declared.Resources);
            PlanReply reply;
            try
            {
                reply = await session.Client.PlanAsync(request, session.Call(stop, ApplyCommand.PlanningTime));
            }
            catch (RpcException e) when (declared.Explain(session, e) is { } code)
            {
                return code;
            }
            if (session.ForPrograms) Printer.Document(session, DocumentsOf.Plan(reply), DocumentJson.Default.PlanDocument);
            else if (session.Format is OutputFormat.Name or OutputFormat.Raw) session.Screen.Out.WriteLine(reply.Hash);
            else new PlanView(session.Screen, ApproversOf(session)).Write(reply, ApplyWith(session, paths, parsed.GetValue(noSign)));
            return parsed.GetValue(detailed) && reply.Resources.Any(r => PlanView.HasSteps(r) || PlanView.IsChange(r)) ? ExitCode.Changes : ExitCode.Ok;
        });
        return command;
    }

    private static Approvers? ApproversOf(Session session)
    {
        var set = session.Home.LoadApprovers(session.Link.Root, TrustedTime.Now(session.Screen.Clock.GetUtcNow(), null));
        return set is null ? null : new Approvers(set.Threshold, [.. set.Keys.Select(k => k.Name)]);
    }

    /// <summary>The command that applies what was planned, to be copied as it is.</summary>
    internal static string ApplyWith(Session session, IReadOnlyList<string> paths, bool noSign) =>
        string.Join(' ', ["agentmetal apply", .. paths.Select(p => "-f " + Quoted(p)), .. noSign ? new[] { "--no-sign" } : [], .. session.ProjectGiven is { } project ? new[] { "-p " + Quoted(project) } : []]);

    private static string Quoted(string word) => word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' or '/' or ':' or ',' or '+' or '@' or '=')
        ? word : "'" + word.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
}
