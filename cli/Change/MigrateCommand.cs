using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Cli.Change;

/// <summary>Moves a virtual machine to another host, cold: it is shut down where it is and started where it goes.</summary>
internal static class MigrateCommand
{
    /// <summary>A disk takes the time that it takes: looking on ends later than that of other commands.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromHours(1);

    internal static Command Build(Shell shell)
    {
        var kind = new Argument<string>("KIND") { Description = "instance" };
        kind.CompletionSources.Add("instance");
        var name = new Argument<string?>("NAME") { Description = "The instance", Arity = ArgumentArity.ZeroOrOne };
        name.CompletionSources.Add(Suggestions.Resources(shell, c => c.ParseResult.GetValue(kind) ?? ""));
        var to = new Option<string>("--to") { Description = "The host where it is to run", HelpName = "HOST", Required = true };
        to.CompletionSources.Add(Suggestions.Nodes(shell));
        var command = new Command("migrate", "Move a virtual machine with its disks to another host: it is shut down, its disks go from host to host and are checked, and it starts there (sets spec.placement.node)") { kind, name, to };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (of, called) = KindNames.One(parsed.GetRequiredValue(kind), parsed.GetValue(name));
            if (of != InstanceKind.Name) throw new CommandFailedException(new(ExitCode.BadInput, $"migrate is for instances, and not for {of}", "agentmetal migrate instance/NAME --to HOST"));
            var resource = await SpecChange.ReadAsync(session, of, called, stop);
            var spec = SpecChange.SpecOf(resource);
            var host = parsed.GetRequiredValue(to);
            await CheckAsync(session, resource, spec, host, stop);
            var placement = spec.GetValueOrDefault("placement") as SortedDictionary<string, object?> ?? new(StringComparer.Ordinal);
            placement["node"] = host;
            spec["placement"] = placement;
            Say(session, resource, host);
            return await SpecChange.ApplyAsync(session, resource, spec, waiting.IsWanted(parsed), stop, s_patience);
        });
        return command;
    }

    private static async Task CheckAsync(Session session, Resource resource, SortedDictionary<string, object?> spec, string host, CancellationToken stop)
    {
        if (spec.GetValueOrDefault("adopt") is SortedDictionary<string, object?> adopt && adopt.GetValueOrDefault("domain") is string { Length: > 0 } domain)
            throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(resource)} was taken over (spec.adopt.domain: {domain}), and hosts hand over only what they made", "virsh migrate, on its host"));
        if (spec.GetValueOrDefault("disks") is List<object?> disks && disks.OfType<SortedDictionary<string, object?>>().Select(d => d.GetValueOrDefault("volume") as string).FirstOrDefault(v => v is { Length: > 0 }) is { } volume)
            throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(resource)} has Volume {volume}, which stays on its host", $"agentmetal describe volume {volume}"));
        await SpecChange.RequireHostAsync(session, host, stop);
    }

    private static void Say(Session session, Resource resource, string host)
    {
        var from = resource.Status?.Members.FirstOrDefault()?.NodeName ?? "";
        if (from.Length == 0 || from == host) return;
        session.Screen.Note($"It is shut down on {from}, its disks go from there to {host} and are checked (SHA-256), and it starts on {host}; until that has them all, {from} keeps it.");
        session.Screen.Note($"{from} holds it until you approve that it leaves: agentmetal approve {Resources.Short(resource)}");
    }
}
