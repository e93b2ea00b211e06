using System.Collections.Immutable;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Files;

/// <summary>A resource as a person wrote it, checked against its kind.</summary>
internal sealed record LoadedResource
{
    internal required ResourceKey Key { get; init; }

    internal required Metadata Metadata { get; init; }

    /// <summary>Canonical JSON of what was written; the coordinator fills in the defaults of its own version.</summary>
    internal required ImmutableArray<byte> Spec { get; init; }

    internal required PositionMap Positions { get; init; }

    /// <summary>Where the document begins.</summary>
    internal required SourceSpan At { get; init; }

    /// <summary>An error that somebody else found, such as the coordinator, at the place in the file that it speaks of.</summary>
    internal Diagnostic ErrorAt(FieldError error) => Diagnostic.OfField(Positions.Find(error.Path, error.AtName), error);
}

/// <summary>What the files hold. With errors, nothing may be sent: all or nothing is what "nothing was changed" promises.</summary>
internal sealed record LoadedFiles(ImmutableArray<LoadedResource> Resources, ImmutableArray<Diagnostic> Errors);

/// <summary>Reads resources from YAML and JSON files and reports every error at once, each with its place.</summary>
internal static class ResourceFiles
{
    internal static LoadedFiles Load(IReadOnlyList<string> paths, Stream standardInput)
    {
        var errors = new List<Diagnostic>();
        var files = SourceFiles.Read(paths, standardInput, errors);
        return Load(files, errors);
    }

    internal static LoadedFiles Load(IReadOnlyList<SourceFile> files, List<Diagnostic> errors)
    {
        // Each file on a core of its own: ten thousand documents are a second of one. Nothing that reads them has a state that others see.
        var read = files.AsParallel().AsOrdered().Select(One).ToList();
        var resources = read.SelectMany(r => r.Resources).ToList();
        errors.AddRange(read.SelectMany(r => r.Errors));
        if (files.Count > 0 && resources.Count == 0 && errors.Count == 0) errors.Add(Diagnostic.OfFile(files[0].Name, "holds no resource"));
        RefuseDuplicates(resources, errors);
        return new LoadedFiles([.. resources], [.. errors]);
    }

    private static (List<LoadedResource> Resources, IEnumerable<Diagnostic> Errors) One(SourceFile file)
    {
        var (resources, errors) = (new List<LoadedResource>(), new List<Diagnostic>());
        foreach (var document in YamlDocuments.Read(file, errors).SelectMany(Documents))
            if (ResourceDocuments.Read(document, errors) is { } resource) resources.Add(resource);
        return (resources, errors.OrderBy(e => e.At?.Line ?? 0));
    }

    // What "get -o yaml" and "get -o json" print for many is one document with items; it can be applied as it is.
    private static IEnumerable<YamlNode> Documents(YamlNode document) =>
        document is YamlMap m && m.Find("items") is YamlList list && m.Find("metadata") is null ? list.Items : [document];

    private static void RefuseDuplicates(List<LoadedResource> resources, List<Diagnostic> errors)
    {
        var seen = new Dictionary<ResourceKey, LoadedResource>();
        foreach (var resource in resources)
            if (!seen.TryAdd(resource.Key, resource))
                errors.Add(new Diagnostic
                {
                    At = resource.Positions.Find("metadata.name"),
                    Path = "metadata.name",
                    Message = $"{resource.Key} is declared twice",
                    Notes = [$"first at {seen[resource.Key].Positions.Find("metadata.name").Place}"],
                });
    }
}
