using System.CommandLine;
using System.Globalization;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Completion;
using AgentMetal.Cli.Files;
using AgentMetal.Cli.Get;
using AgentMetal.Cli.Output;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using Google.Protobuf;
using Grpc.Core;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Change;

/// <summary>agentmetal snapshot instance/NAME [SNAPSHOT], and agentmetal revert instance/NAME --to SNAPSHOT.</summary>
internal static class SnapshotCommands
{
    internal static IEnumerable<Command> Build(Shell shell)
    {
        yield return Snapshot(shell);
        yield return Revert(shell);
    }

    private static Command Snapshot(Shell shell)
    {
        var instance = Instance(shell);
        var name = new Argument<string?>("SNAPSHOT") { Description = "Its name (default: the instance's, and the time in UTC)", Arity = ArgumentArity.ZeroOrOne };
        var command = new Command("snapshot", "Make a snapshot of a virtual machine: its disks, and its memory if it runs; the guest stands still meanwhile (applies kind Snapshot)") { instance, name };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var of = await ReadAsync(session, parsed.GetRequiredValue(instance), "snapshot", stop);
            var called = parsed.GetValue(name) is { Length: > 0 } given ? given : DefaultName(of.Metadata.Name, session.Screen.Clock.GetUtcNow());
            if (Names.LabelError(called) is { } wrong) throw new CommandFailedException(new(ExitCode.BadInput, $"SNAPSHOT \"{called}\" {wrong}", $"agentmetal snapshot {Resources.Short(of)} monday"));
            if (SpecChange.SpecOf(of).TryGetValue("disks", out var disks) && disks is System.Collections.ICollection { Count: 0 })
                throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(of)} has no disk, and a snapshot lies in the disks of its machine: it would never be made", "give it a disk (spec.disks), or take one that has: agentmetal get instances"));
            await RefuseIfThereAsync(session, called, stop);
            var resource = new Resource
            {
                ApiVersion = of.ApiVersion,
                Kind = SnapshotKind.Name,
                Spec = ByteString.CopyFrom(CanonicalJson.Write(new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["instance"] = of.Metadata.Name })),
                Metadata = new() { Project = of.Metadata.Project, Name = called },
            };
            return await SendAsync(session, resource, waiting.IsWanted(parsed), stop);
        });
        return command;
    }

    private static Command Revert(Shell shell)
    {
        var instance = Instance(shell);
        var to = new Option<string>("--to") { Description = "The snapshot: one that you made (agentmetal get snapshots), or one of the schedule (auto-…)", HelpName = "SNAPSHOT", Required = true };
        to.CompletionSources.Add(Suggestions.Resources(shell, _ => SnapshotKind.Name));
        var command = new Command("revert", "Put a virtual machine back to a snapshot; what was written since is lost, so it waits for your approval: agentmetal approve (sets spec.request)") { instance, to };
        var waiting = SpecChange.Waiting.Options();
        waiting.AddTo(command);
        shell.Handle(command, async (session, parsed, stop) =>
        {
            var of = await ReadAsync(session, parsed.GetRequiredValue(instance), "revert", stop);
            await RequireSnapshotAsync(session, of, KindNames.Split(SnapshotKind.Name, parsed.GetRequiredValue(to)).Name!, stop);
            var spec = SpecChange.SpecOf(of);
            spec["request"] = new SortedDictionary<string, object?>(StringComparer.Ordinal)
            {
                ["action"] = InstanceRequest.Revert,
                ["id"] = SpecChange.NewId(session.Screen.Clock),
                ["snapshot"] = KindNames.Split(SnapshotKind.Name, parsed.GetRequiredValue(to)).Name,
            };
            session.Screen.Note($"Its host holds it until you approve it: agentmetal approve {Resources.Short(of)}");
            return await SpecChange.ApplyAsync(session, of, spec, waiting.IsWanted(parsed), stop);
        });
        return command;
    }

    /// <summary>"web-20261128t120000z", of at most 63 characters.</summary>
    internal static string DefaultName(string instance, DateTimeOffset now)
    {
        var time = now.UtcDateTime.ToString("yyyyMMdd't'HHmmss'z'", CultureInfo.InvariantCulture);
        return instance[..Math.Min(instance.Length, 63 - time.Length - 1)].TrimEnd('-') + "-" + time;
    }

    private static Argument<string> Instance(Shell shell)
    {
        var instance = new Argument<string>("INSTANCE") { Description = "instance/NAME" };
        instance.CompletionSources.Add(context => Suggestions.Resources(shell, _ => InstanceKind.Name)(context).Select(n => new System.CommandLine.Completions.CompletionItem("instance/" + n.Label)));
        return instance;
    }

    private static async Task<Resource> ReadAsync(Session session, string text, string verb, CancellationToken stop)
    {
        var (kind, name) = KindNames.One(text, null);
        if (kind != InstanceKind.Name) throw new CommandFailedException(new(ExitCode.BadInput, $"{verb} is for instances, and not for {kind}", $"agentmetal {verb} instance/NAME"));
        return await SpecChange.ReadAsync(session, kind, name, stop);
    }

    /// <summary>Those that the host makes by itself (auto-…) it alone knows; every other one is a resource, and of this machine.</summary>
    private static async Task RequireSnapshotAsync(Session session, Resource instance, string name, CancellationToken stop)
    {
        if (name.StartsWith("auto-", StringComparison.Ordinal)) return;
        var next = "see what there is: agentmetal get snapshots";
        Resource snapshot;
        try { snapshot = await session.Client.GetAsync(new GetRequest { Project = session.Project, Kind = SnapshotKind.Name, Name = name }, session.Call(stop)); }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound) { throw new CommandFailedException(new(ExitCode.NotFound, $"there is no snapshot {name} of {Resources.Key(instance)}", next)); }
        var of = CanonicalJson.Parse(snapshot.Spec.Memory).Value is SortedDictionary<string, object?> spec && spec.TryGetValue("instance", out var named) ? named as string : null;
        if (of is not null && of != instance.Metadata.Name) throw new CommandFailedException(new(ExitCode.BadInput, $"snapshot {name} is of instance {of}, and not of {instance.Metadata.Name}", next));
    }

    /// <summary>Applying it again would do nothing and look as if a snapshot had been made.</summary>
    private static async Task RefuseIfThereAsync(Session session, string name, CancellationToken stop)
    {
        try { await session.Client.GetAsync(new GetRequest { Project = session.Project, Kind = SnapshotKind.Name, Name = name }, session.Call(stop)); }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound) { return; }
        throw new CommandFailedException(new(ExitCode.Failed, $"there is a snapshot {name} already", $"take another name, or: agentmetal delete snapshot {name}"));
    }

    private static async Task<ExitCode> SendAsync(Session session, Resource resource, bool follow, CancellationToken stop)
    {
        ApplyReply reply;
        try { reply = await session.Client.ApplyAsync(new ApplyRequest { Resources = { resource } }, session.Call(stop, ApplyCommand.PlanningTime)); }
        catch (RpcException e) when (Declared.ErrorsOf(e) is { } errors)
        {
            session.Screen.Error.Write(ErrorText.Render([.. errors.Errors.Select(Declared.WithoutPlace)]));
            return ExitCode.BadInput;
        }
        ApplyCommand.Print(session, reply);
        return follow ? await new Progress(session).FollowAsync([.. reply.Results.Select(r => new Awaited(r.Resource))], session.Timeout ?? TimeSpan.FromMinutes(10), stop) : ExitCode.Ok;
    }
}
