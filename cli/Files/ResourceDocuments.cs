using System.Collections.Immutable;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Files;

/// <summary>One document of a file as a resource: apiVersion, kind, metadata, spec. A status is ignored, so that what "get -o yaml" printed can be applied.</summary>
internal static class ResourceDocuments
{
    private static readonly string[] s_fields = ["apiVersion", "kind", "metadata", "spec", "status"];

    private static readonly string[] s_metadata = ["project", "name", "labels", "annotations", "protect", "uid", "generation", "createdAt", "deletedAt"];

    /// <summary>The resource, or null after adding every error of the document.</summary>
    internal static LoadedResource? Read(YamlNode node, List<Diagnostic> errors)
    {
        if (node is not YamlMap map)
        {
            errors.Add(Diagnostic.Of(node.At, "a document has to be a map with apiVersion, kind, metadata and spec"));
            return null;
        }
        var before = errors.Count;
        var positions = new PositionMap(node.At);
        // The status is the system's: its values are not even read, whatever they hold.
        var read = new YamlMap(map.At, [.. map.Entries.Where(e => e.Name.Text != "status")]);
        var value = (SortedDictionary<string, object?>)YamlValues.Value(read, "", positions, errors)!;
        var found = new List<FieldError>();
        UnknownFields(value, s_fields, "", found);
        if (Text(value, "apiVersion", found) is { } version && version != Resource.ApiVersion)
            found.Add(new("apiVersion", $"\"{Clip(version)}\" is not {Resource.ApiVersion}", $"write {Resource.ApiVersion}"));
        var kind = Kind(value, found);
        var metadata = Metadata(value, found);
        var spec = Spec(value, kind, errors.Count > before, found);
        errors.AddRange(found.Select(e => Diagnostic.OfField(positions.Find(e.Path, e.AtName), e)));
        return errors.Count > before ? null : new LoadedResource
        {
            Key = new ResourceKey(kind!.Kind, metadata!.Project, metadata.Name),
            Metadata = metadata,
            Spec = [.. spec],
            Positions = positions,
            At = node.At,
        };
    }

    private static KindSchema? Kind(SortedDictionary<string, object?> value, List<FieldError> found)
    {
        if (Text(value, "kind", found) is not { } text) return null;
        if (KindCatalog.Find(text) is { } kind) return kind;
        found.Add(new("kind", $"\"{Clip(text)}\" is not a kind that this version knows", SchemaValidator.Suggest(text, KindCatalog.All.Select(k => k.Kind))));
        return null;
    }

    private static byte[] Spec(SortedDictionary<string, object?> value, KindSchema? kind, bool unreadable, List<FieldError> found)
    {
        var given = value.GetValueOrDefault("spec") ?? new SortedDictionary<string, object?>(StringComparer.Ordinal);
        if (given is not SortedDictionary<string, object?>)
        {
            found.Add(new("spec", "must be a map of fields"));
            return [];
        }
        var bytes = CanonicalJson.Write(given);
        if (kind is null) return bytes;
        // A value that could not be read became null: checking on would blame the person for what is absent.
        if (!unreadable) found.AddRange(kind.Validate(bytes).Errors);
        return bytes;
    }

    private static Metadata? Metadata(SortedDictionary<string, object?> value, List<FieldError> found)
    {
        if (value.GetValueOrDefault("metadata") is not SortedDictionary<string, object?> given)
        {
            found.Add(new("metadata", value.GetValueOrDefault("metadata") is null ? "is required" : "must be a map of fields", "a resource has at least a metadata.name"));
            return null;
        }
        UnknownFields(given, s_metadata, "metadata", found);
        var before = found.Count;
        var protect = given.GetValueOrDefault("protect");
        if (protect is not (null or bool)) found.Add(new("metadata.protect", "must be true or false"));
        var metadata = new Metadata
        {
            Name = Text(given, "name", found, "metadata.") ?? "",
            Project = given.GetValueOrDefault("project") is null ? Runtime.Resources.Metadata.DefaultProject : Text(given, "project", found, "metadata.") ?? "",
            Labels = Texts(given, "labels", found),
            Annotations = Texts(given, "annotations", found),
            Protect = protect is true,
        };
        if (found.Count == before) found.AddRange(Resource.MetadataErrors(metadata));
        return metadata;
    }

    private static ImmutableSortedDictionary<string, string> Texts(SortedDictionary<string, object?> given, string name, List<FieldError> found)
    {
        var texts = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        switch (given.GetValueOrDefault(name))
        {
            case null:
                break;
            case SortedDictionary<string, object?> map:
                foreach (var (key, item) in map)
                    if (item is string text) texts[key] = text;
                    else found.Add(new($"metadata.{name}.{key}", "must be text", "put it in quotes"));
                break;
            default:
                found.Add(new("metadata." + name, "must be a map of texts"));
                break;
        }
        return texts.ToImmutable();
    }

    private static string? Text(SortedDictionary<string, object?> map, string name, List<FieldError> found, string prefix = "")
    {
        switch (map.GetValueOrDefault(name))
        {
            case string text:
                return text;
            case null:
                found.Add(new(prefix + name, "is required", name == "apiVersion" ? $"write {Resource.ApiVersion}" : ""));
                return null;
            default:
                found.Add(new(prefix + name, "must be text", "put it in quotes"));
                return null;
        }
    }

    private static void UnknownFields(SortedDictionary<string, object?> map, string[] known, string path, List<FieldError> found)
    {
        foreach (var name in map.Keys.Where(k => !known.Contains(k)).Take(100))
            found.Add(new(path.Length == 0 ? name : $"{path}.{name}", $"is not a field of {(path.Length == 0 ? "a resource" : path)}", SchemaValidator.Suggest(name, known)) { AtName = true });
    }

    private static string Clip(string text) => text.Length <= 60 ? text : text[..60] + "…";
}
