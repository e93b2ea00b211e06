using System.CommandLine;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Runtime.Resources.Kinds;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Change;

/// <summary>What people ask of a virtual machine in a word; each is a change of its spec.</summary>
internal static class InstanceCommands
{
    private static readonly Dictionary<string, string> s_powers = new(StringComparer.Ordinal) { ["start"] = "running", ["stop"] = "stopped", ["pause"] = "paused" };

    internal static IEnumerable<Command> Build(Shell shell)
    {
        yield return Power(shell, "start", "Start a virtual machine, or let one go on that is paused (sets spec.power)");
        yield return Power(shell, "stop", "Shut a virtual machine down in order and keep it off (sets spec.power)");
        yield return Power(shell, "pause", "Hold a virtual machine still; its memory stays (sets spec.power)");
        yield return Request(shell, InstanceRequest.Restart, "Restart a virtual machine once: the guest shuts down in order and starts as it is defined now");
        yield return Request(shell, InstanceRequest.Reset, "Press a virtual machine's reset button; what the guest has not written is lost, so it waits for your approval: agentmetal approve");
        yield return MigrateCommand.Build(shell);
    }

    private static Command Power(Shell shell, string verb, string description) => Of(shell, verb, description, static (_, _, spec, verb) => spec["power"] = s_powers[verb]);

    private static Command Request(Shell shell, string action, string description) => Of(shell, action, description, static (session, resource, spec, action) =>
    {
        if (spec.GetValueOrDefault("power") as string is { } power and not "running")
            throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(resource)} should not run: spec.power is {power}", $"agentmetal start {Resources.Short(resource)}"));
        spec["request"] = new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["action"] = action, ["id"] = SpecChange.NewId(session.Screen.Clock) };
        if (action == InstanceRequest.Reset) session.Screen.Note($"Its host holds it until you approve it: agentmetal approve {Resources.Short(resource)}");
    });

    internal static Command Of(Shell shell, string verb, string description, Action<Session, Resource, SortedDictionary<string, object?>, string> change)
    {
        var kind = new Argument<string>("KIND") { Description = "instance" };
        kind.CompletionSources.Add("instance");
        var name = new Argument<string?>("NAME") { Description = "The instance", Arity = ArgumentArity.ZeroOrOne };
        name.CompletionSources.Add(Suggestions.Resources(shell, c => c.ParseResult.GetValue(kind) ?? ""));
        var command = new Command(verb, description) { kind, name };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var (of, called) = KindNames.One(parsed.GetRequiredValue(kind), parsed.GetValue(name));
            if (of != InstanceKind.Name) throw new CommandFailedException(new(ExitCode.BadInput, $"{verb} is for instances, and not for {of}", $"agentmetal {verb} instance/NAME"));
            var resource = await SpecChange.ReadAsync(session, of, called, stop);
            var spec = SpecChange.SpecOf(resource);
            change(session, resource, spec, verb);
            return await SpecChange.ApplyAsync(session, resource, spec, waiting.IsWanted(parsed), stop);
        });
        return command;
    }
}
