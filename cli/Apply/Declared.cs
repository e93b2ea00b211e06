using AgentMetal.Cli.CommandLine;
using AgentMetal.Cli.Files;
using AgentMetal.Proto.V1;
using Google.Protobuf;
using Grpc.Core;
using FieldError = AgentMetal.Runtime.Resources.FieldError;
using Metadata = AgentMetal.Proto.V1.Metadata;

namespace AgentMetal.Cli.Apply;

/// <summary>What the files declare, as it is sent; errors of the coordinator find their way back to the lines.</summary>
internal sealed class Declared(IReadOnlyList<LoadedResource> loaded, IReadOnlyList<Resource> resources)
{
    /// <summary>The trailer with every error of the fields, a FieldErrors message.</summary>
    internal const string ErrorsTrailer = "agentmetal-errors-bin";

    internal IReadOnlyList<Resource> Resources => resources;

    /// <summary>Reads -f; null after every error was printed.</summary>
    internal static Declared? Load(Session session, IReadOnlyList<string> paths)
    {
        if (paths.Count == 0) throw new CommandFailedException(new(ExitCode.BadInput, "-f is missing: name a file, a directory, or - for standard input", "for example: -f sessions.yaml"));
        using var input = Console.OpenStandardInput();
        var files = ResourceFiles.Load(paths, input);
        var errors = files.Errors.ToList();
        var resources = files.Resources.Select(r => ToWire(session, r, errors)).ToArray();
        if (errors.Count == 0) return new Declared(files.Resources, resources);
        session.Screen.Error.Write(ErrorText.Render(errors));
        return null;
    }

    /// <summary>The coordinator's field errors at their lines; null when the failure is of another sort.</summary>
    internal ExitCode? Explain(Session session, RpcException e)
    {
        if (ErrorsOf(e) is not { } errors) return null;
        session.Screen.Error.Write(ErrorText.Render([.. errors.Errors.Select(Locate)]));
        return ExitCode.BadInput;
    }

    /// <summary>Every field error that the coordinator said; null when the failure is of another sort.</summary>
    internal static FieldErrors? ErrorsOf(RpcException e)
    {
        if (e.StatusCode != StatusCode.InvalidArgument || e.Trailers.FirstOrDefault(t => t.Key == ErrorsTrailer)?.ValueBytes is not { } bytes) return null;
        try
        {
            return FieldErrors.Parser.ParseFrom(bytes) is { Errors.Count: > 0 } errors ? errors : null;
        }
        catch (InvalidProtocolBufferException)
        {
            return null;
        }
    }

    /// <summary>An error of what no file declares.</summary>
    internal static Diagnostic WithoutPlace(Proto.V1.FieldError error) => new() { Path = error.Path, Message = error.Message, Notes = error.Note.Length > 0 ? [error.Note] : [] };

    private Diagnostic Locate(Proto.V1.FieldError error)
    {
        var found = new FieldError(error.Path, error.Message, error.Note);
        return error.Document >= 0 && error.Document < loaded.Count ? loaded[error.Document].ErrorAt(found)
            : WithoutPlace(error);
    }

    private static Resource ToWire(Session session, LoadedResource r, List<Diagnostic> errors)
    {
        var project = r.Metadata.Project;
        if (session.ProjectGiven is { } given && project != given)
        {
            if (project == Runtime.Resources.Metadata.DefaultProject) project = given;
            else errors.Add(r.ErrorAt(new FieldError("metadata.project", $"\"{project}\" is not the project that --project names, {given}", "leave one of the two out")));
        }
        var resource = new Resource
        {
            ApiVersion = Runtime.Resources.Resource.ApiVersion,
            Kind = r.Key.Kind,
            Spec = ByteString.CopyFrom(r.Spec.AsSpan()),
            Metadata = new Metadata { Project = project, Name = r.Key.Name, Protect = r.Metadata.Protect },
        };
        foreach (var (key, value) in r.Metadata.Labels) resource.Metadata.Labels[key] = value;
        foreach (var (key, value) in r.Metadata.Annotations) resource.Metadata.Annotations[key] = value;
        return resource;
    }
}
