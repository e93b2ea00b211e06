using System.CommandLine;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Output;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using Google.Protobuf;
using Grpc.Core;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Change;

/// <summary>A virtual machine as files, and back.</summary>
internal static class ExportCommands
{
    internal static IEnumerable<Command> Build(Shell shell)
    {
        yield return InstanceCommands.Of(shell, InstanceRequest.Export, "Write a virtual machine's disks and a manifest to a directory of its host, while it is off", static (session, resource, spec, action) =>
        {
            var id = SpecChange.NewId(session.Screen.Clock);
            spec["request"] = new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["action"] = action, ["id"] = id };
            if (spec.GetValueOrDefault("power") as string is not "stopped") session.Screen.Note($"It is exported while it is off: agentmetal stop {Resources.Short(resource)}");
            session.Screen.Note($"Its host writes /var/lib/agentmetal/exports/…-{id}/manifest.yaml; remove the directory there (rm -r) when it is not needed any more");
        });
        yield return Import(shell);
    }

    private static Command Import(Shell shell)
    {
        var file = new Option<string>("--filename", "-f") { Description = "manifest.yaml of an export", HelpName = "FILE", Required = true };
        var name = new Option<string?>("--name") { Description = "Another name; its cards then get addresses of their own", HelpName = "NEW" };
        var url = new Option<string?>("--base-url") { Description = "Where hosts find the directory now: file:///srv/images/web, or https://…", HelpName = "URL" };
        var to = new Option<string?>("--to") { Description = "The host where it is to run, whatever the manifest says of placement", HelpName = "HOST" };
        to.CompletionSources.Add(Suggestions.Nodes(shell));
        var noSign = DigestSigning.RefuseOption();
        var command = new Command("import", "Declare an exported virtual machine again: its disks begin as they were exported") { file, name, to, url, noSign };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            if (Declared.Load(session, [parsed.GetRequiredValue(file)]) is not { } declared) return ExitCode.BadInput;
            if (parsed.GetValue(to) is { } host) await SpecChange.RequireHostAsync(session, host, stop);
            Adapt(declared.Resources, parsed.GetValue(name), parsed.GetValue(to), parsed.GetValue(url));
            DigestSigning.Sign(session, declared.Resources, parsed.GetValue(noSign));
            ApplyReply reply;
            try { reply = await session.Client.ApplyAsync(new ApplyRequest { Resources = { declared.Resources } }, session.Call(stop, ApplyCommand.PlanningTime)); }
            catch (RpcException e) when (declared.Explain(session, e) is { } code) { return code; }
            ApplyCommand.Print(session, reply);
            return waiting.IsWanted(parsed) ? await new Progress(session).FollowAsync([.. reply.Results.Select(r => new Awaited(r.Resource))], session.Timeout ?? TimeSpan.FromMinutes(5), stop) : ExitCode.Ok;
        });
        return command;
    }

    /// <summary>What an import changes of a manifest: the instance's name, where it runs, and where its disks are found.</summary>
    internal static void Adapt(IReadOnlyList<Resource> resources, string? name, string? to, string? baseUrl)
    {
        if (resources.Where(r => r.Kind == InstanceKind.Name).ToList() is not [var instance])
            throw new CommandFailedException(new(ExitCode.BadInput, "-f: is not the manifest of an export, which declares one Instance", "agentmetal apply -f takes any file"));
        var spec = SpecChange.SpecOf(instance);
        if (baseUrl is not null)
        {
            var disks = Items(spec, "disks").Select(d => d.GetValueOrDefault("image") as string).ToHashSet(StringComparer.Ordinal);
            foreach (var image in resources.Where(r => r.Kind == ImageKind.Name && disks.Contains(r.Metadata.Name)))
            {
                var of = SpecChange.SpecOf(image);
                of["url"] = baseUrl.TrimEnd('/') + "/" + (of.GetValueOrDefault("url") as string ?? "").Split('/')[^1];
                image.Spec = ByteString.CopyFrom(CanonicalJson.Write(of));
            }
        }
        if (to is not null) spec["placement"] = new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["node"] = to };
        if (name is not null)
        {
            if (Names.LabelError(name) is { } wrong) throw new CommandFailedException(new(ExitCode.BadInput, $"--name: \"{name}\" {wrong}", "agentmetal import -f manifest.yaml --name web-2"));
            instance.Metadata.Name = name;
            foreach (var nic in Items(spec, "nics")) (nic["mac"], nic["ip"]) = ("", "");
        }
        instance.Spec = ByteString.CopyFrom(CanonicalJson.Write(spec));
    }

    private static IEnumerable<SortedDictionary<string, object?>> Items(SortedDictionary<string, object?> spec, string list) =>
        (spec.GetValueOrDefault(list) as List<object?> ?? []).OfType<SortedDictionary<string, object?>>();
}
