using System.CommandLine;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using Google.Protobuf;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Change;

/// <summary>Declares another instance whose disks begin as copies of one that is there.</summary>
internal static class CloneCommand
{
    internal static Command Build(Shell shell)
    {
        var source = new Argument<string>("INSTANCE") { Description = "instance/NAME, whose disks are copied while it is off" };
        source.CompletionSources.Add(Suggestions.Resources(shell, _ => InstanceKind.Name));
        var name = new Argument<string>("NEW") { Description = "Name of the new instance" };
        var noSign = DigestSigning.RefuseOption();
        var command = new Command("clone", "Make another virtual machine from one that is there: the same spec, copies of its disks, addresses of its own") { source, name, noSign };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (given, called) = (parsed.GetRequiredValue(source), parsed.GetRequiredValue(name));
            var from = given.IndexOf('/', StringComparison.Ordinal) is > 0 and var slash && KindCatalog.Find(given[..slash])?.Kind == InstanceKind.Name ? given[(slash + 1)..]
                : throw new CommandFailedException(new(ExitCode.BadInput, $"INSTANCE: \"{given}\" is not instance/NAME", "agentmetal clone instance/web web-2"));
            if (Names.LabelError(called) is { } wrong) throw new CommandFailedException(new(ExitCode.BadInput, $"NEW: \"{called}\" {wrong}", "agentmetal clone instance/web web-2"));
            var read = await SpecChange.ReadAsync(session, InstanceKind.Name, from, stop);
            var clone = new Resource { ApiVersion = read.ApiVersion, Kind = read.Kind, Spec = ByteString.CopyFrom(CanonicalJson.Write(Spec(read, SpecChange.SpecOf(read)))), Metadata = new() { Project = read.Metadata.Project, Name = called } };
            clone.Metadata.Labels.Add(read.Metadata.Labels);
            await RefuseTakenAsync(session, clone, stop);
            DigestSigning.Sign(session, [clone], parsed.GetValue(noSign));
            var (_, errors) = KindCatalog.Find(InstanceKind.Name)!.Validate(clone.Spec.Memory);
            if (!errors.IsEmpty) throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(read)} cannot be cloned: {errors[0].Path} {errors[0].Message}", "agentmetal version"));
            session.Screen.Note(Piece.Quiet("note: "), $"its disks are copied while {Resources.Key(read)} is off: agentmetal stop {Resources.Short(read)}");
            return await SpecChange.ApplyAsync(session, clone, SpecChange.SpecOf(clone), waiting.IsWanted(parsed), stop);
        });
        return command;
    }

    /// <summary>The spec without what only one machine can have: addresses, requests, the name it was given, and what its disks were made from.</summary>
    internal static SortedDictionary<string, object?> Spec(Resource read, SortedDictionary<string, object?> spec)
    {
        if (Text(spec, "adopt", "domain") is { Length: > 0 } domain)
            throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(read)} is the domain {domain}, which was taken over with disks of its own: it cannot be cloned", $"virt-clone --original {domain}"));
        spec.Remove("request");
        foreach (var nic in Items(spec, "nics")) (nic["mac"], nic["ip"]) = ("", "");
        if (spec.GetValueOrDefault("cloudInit") is SortedDictionary<string, object?> cloudInit) cloudInit["hostname"] = "";
        var disks = Items(spec, "disks").ToList();
        if (disks.FirstOrDefault(d => d.GetValueOrDefault("volume") is string { Length: > 0 }) is { } used)
            throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(read)} uses Volume {used["volume"]}, which only one instance can use", "take the disk out of it, or declare the other instance in a file"));
        foreach (var disk in disks) disk["image"] = "";
        spec["source"] = new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["instance"] = disks.Count > 0 ? read.Metadata.Name : "" };
        return spec;
    }

    private static async Task RefuseTakenAsync(Session session, Resource clone, CancellationToken stop)
    {
        var there = await session.Client.ListAsync(new() { Project = clone.Metadata.Project, Kind = clone.Kind, Name = clone.Metadata.Name }, session.Call(stop));
        if (there.Resources.Count > 0) throw new CommandFailedException(new(ExitCode.BadInput, $"NEW: {Resources.Key(clone)} is there already", "name another"));
    }

    private static IEnumerable<SortedDictionary<string, object?>> Items(SortedDictionary<string, object?> spec, string list) =>
        (spec.GetValueOrDefault(list) as List<object?> ?? []).OfType<SortedDictionary<string, object?>>();

    private static string Text(SortedDictionary<string, object?> spec, string group, string field) =>
        spec.GetValueOrDefault(group) is SortedDictionary<string, object?> map && map.GetValueOrDefault(field) is string text ? text : "";
}
