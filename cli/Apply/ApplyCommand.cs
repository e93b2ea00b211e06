using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using Grpc.Core;

namespace AgentMetal.Cli.Apply;

/// <summary>Declares what the files say, all or nothing, and looks on until it is so.</summary>
internal static class ApplyCommand
{
    /// <summary>Planning asks every host concerned, and gives each 10 s.</summary>
    internal static readonly TimeSpan PlanningTime = TimeSpan.FromSeconds(30);

    internal static Command Build(Shell shell)
    {
        var files = FilesOption();
        var plan = new Option<string?>("--plan") { Description = "Apply only if the plan of this hash still holds", HelpName = "HASH" };
        var wait = new Option<bool>("--wait") { Description = "Wait until everything is Ready (the default)" };
        var noWait = new Option<bool>("--no-wait") { Description = "Return at once; hosts go on by themselves" };
        var noSign = DigestSigning.RefuseOption();
        var command = new Command("apply", "Make it so: declare what files say, wait until it is Ready") { files, plan, noSign, wait, noWait };
        Shell.NotBoth(command, wait, noWait);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            if (Declared.Load(session, parsed.GetValue(files) ?? []) is not { } declared) return ExitCode.BadInput;
            DigestSigning.Sign(session, declared.Resources, parsed.GetValue(noSign));
            var request = new ApplyRequest { PlanHash = parsed.GetValue(plan) ?? "" };
            request.Resources.AddRange(declared.Resources);
            ApplyReply reply;
            try
            {
                reply = await session.Client.ApplyAsync(request, session.Call(stop, PlanningTime));
            }
            catch (RpcException e) when (declared.Explain(session, e) is { } code)
            {
                return code;
            }
            Print(session, reply);
            if (parsed.GetValue(noWait) && !parsed.GetValue(wait)) return ExitCode.Ok;
            return await new Progress(session).FollowAsync([.. reply.Results.Select(r => new Awaited(r.Resource))], session.Timeout ?? TimeSpan.FromMinutes(5), stop);
        });
        return command;
    }

    internal static Option<string[]> FilesOption() => new("--filename", "-f")
    {
        Description = "A file, a directory, or - for standard input; many times",
        HelpName = "FILE",
        Arity = ArgumentArity.OneOrMore,
        AllowMultipleArgumentsPerToken = true,
    };

    /// <summary>What became of each resource.</summary>
    internal static void Print(Session session, ApplyReply reply)
    {
        if (session.ForPrograms)
        {
            Printer.Document(session, new ListDocument<ApplyDocument>([.. reply.Results.Select(r => new ApplyDocument(r.Action, DocumentsOf.Resource(r.Resource)))]), DocumentJson.Default.ListDocumentApplyDocument);
            return;
        }
        foreach (var result in reply.Results)
        {
            if (session.Format == OutputFormat.Name) session.Screen.Line(Resources.Short(result.Resource));
            else session.Screen.Line($"{Resources.Key(result.Resource)}  ", new(result.Action, result.Action == "unchanged" ? Tone.Quiet : Tone.Good), $"  generation {result.Resource.Metadata.Generation}");
        }
    }
}
