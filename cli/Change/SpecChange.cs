using System.CommandLine;
using System.Security.Cryptography;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Files;
using AgentMetal.Cli.Output;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using Google.Protobuf;
using Grpc.Core;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Change;

/// <summary>
/// Changes a few fields of a resource that is there, and looks on until it is so: what restart, start, stop and their like have in common. The change is
/// made to what was read and to nothing newer, so that nobody's change is taken back by it.
/// </summary>
internal static class SpecChange
{
    /// <summary>--wait and --no-wait, as apply has them.</summary>
    internal sealed record Waiting(Option<bool> Wait, Option<bool> NoWait)
    {
        internal static Waiting Options() => new(
            new("--wait") { Description = "Wait until it is done (the default)" },
            new("--no-wait") { Description = "Return at once; the host goes on by itself" });

        internal void AddTo(Command command)
        {
            command.Add(Wait);
            command.Add(NoWait);
            Shell.NotBoth(command, Wait, NoWait);
        }

        internal bool IsWanted(ParseResult parsed) => !parsed.GetValue(NoWait);
    }

    /// <summary>An id of a request: the time for people, and a few random digits for two people at one time.</summary>
    internal static string NewId(TimeProvider clock) =>
        $"r-{clock.GetUtcNow().UtcDateTime.ToString("yyyyMMdd't'HHmmss'z'", System.Globalization.CultureInfo.InvariantCulture)}-{RandomNumberGenerator.GetHexString(4, lowercase: true)}";

    /// <summary>The resource as it is; being deleted, it is not changed any more.</summary>
    internal static async Task<Resource> ReadAsync(Session session, string kind, string name, CancellationToken stop)
    {
        var resource = await session.Client.GetAsync(new GetRequest { Project = session.Project, Kind = kind, Name = name }, session.Call(stop));
        return resource.Metadata.DeletedUnixMs == 0 ? resource
            : throw new CommandFailedException(new(ExitCode.Failed, $"{Resources.Key(resource)} is being deleted", $"agentmetal describe {kind.ToLowerInvariant()} {name}"));
    }

    /// <summary>A host that is named for something exists; else the machine would wait for it for good.</summary>
    internal static async Task RequireHostAsync(Session session, string host, CancellationToken stop)
    {
        var nodes = (await session.Client.ListNodesAsync(new ListNodesRequest(), session.Call(stop))).Nodes;
        if (nodes.All(n => n.Name != host))
            throw new CommandFailedException(new(ExitCode.BadInput, $"no host is named {host}; there are {string.Join(", ", nodes.Select(n => n.Name).Order(StringComparer.Ordinal).Take(8))}", "agentmetal nodes list"));
    }

    /// <summary>Its spec as a value that can be changed.</summary>
    internal static SortedDictionary<string, object?> SpecOf(Resource resource) => CanonicalJson.Parse(resource.Spec.Memory).Value as SortedDictionary<string, object?>
        ?? throw new CommandFailedException(new(ExitCode.Failed, $"the coordinator sent a spec of {Resources.Key(resource)} that is no map", "agentmetal version"));

    /// <summary>Applies the changed spec at the revision that was read, prints what became of it and, where asked, looks on until it is Ready.</summary>
    internal static async Task<ExitCode> ApplyAsync(Session session, Resource read, SortedDictionary<string, object?> spec, bool follow, CancellationToken stop, TimeSpan? patience = null)
    {
        var change = new Resource
        {
            ApiVersion = read.ApiVersion,
            Kind = read.Kind,
            Spec = ByteString.CopyFrom(CanonicalJson.Write(spec)),
            Revision = read.Revision,
            Metadata = new() { Project = read.Metadata.Project, Name = read.Metadata.Name, Uid = read.Metadata.Uid, Protect = read.Metadata.Protect },
        };
        change.Metadata.Labels.Add(read.Metadata.Labels);
        change.Metadata.Annotations.Add(read.Metadata.Annotations);
        change.Digests.Add(read.Digests);
        ApplyReply reply;
        try
        {
            reply = await session.Client.ApplyAsync(new ApplyRequest { Resources = { change } }, session.Call(stop, ApplyCommand.PlanningTime));
        }
        catch (RpcException e) when (Declared.ErrorsOf(e) is { } errors)
        {
            if (errors.Errors.Any(x => x.Path is "revision" or "metadata.uid"))
                return new Failure(ExitCode.Failed, $"{Resources.Key(read)} was changed meanwhile", "run it again").Write(session.Screen);
            session.Screen.Error.Write(ErrorText.Render([.. errors.Errors.Select(Declared.WithoutPlace)]));
            return ExitCode.BadInput;
        }
        ApplyCommand.Print(session, reply);
        return follow ? await new Progress(session).FollowAsync([.. reply.Results.Select(r => new Awaited(r.Resource))], session.Timeout ?? patience ?? TimeSpan.FromMinutes(5), stop) : ExitCode.Ok;
    }
}
