using System.Collections.Immutable;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Runtime.Resources;

/// <summary>A kind: its names, its fields, and the rules that span fields.</summary>
public sealed class KindSchema
{
    /// <summary>"Redis".</summary>
    public required string Kind { get; init; }

    /// <summary>Other names that commands take, lower case.</summary>
    public required ImmutableArray<string> Aliases { get; init; }

    /// <summary>One paragraph for people.</summary>
    public required string Doc { get; init; }

    /// <summary>The fields of spec.</summary>
    public required ImmutableArray<Field> Spec { get; init; }

    /// <summary>Rules that span fields; called only with a spec whose fields are each fine.</summary>
    public Func<ReadOnlyMemory<byte>, IEnumerable<FieldError>> Rules { get; init; } = static _ => [];

    /// <summary>
    /// Rules for what a person declares from now on. A host does not ask them: what was accepted before them keeps running, and is not held up by an unrelated change.
    /// Called with the spec that was there (null = none) and the one that is to be.
    /// </summary>
    public Func<ReadOnlyMemory<byte>?, ReadOnlyMemory<byte>, IEnumerable<FieldError>> DeclaredRules { get; init; } = static (_, _) => [];

    /// <summary>
    /// Digests of what a host would execute for this spec, with the purpose that a signature over each must name: hosts run nothing of it that no operator
    /// has signed. Called only with a spec that was accepted.
    /// </summary>
    public Func<ReadOnlyMemory<byte>, IEnumerable<(string Purpose, string Sha256)>> Executes { get; init; } = Nothing;

    /// <summary>Whether no spec of this kind has anything to sign.</summary>
    public bool ExecutesNothing => Executes == Nothing;

    private static IEnumerable<(string Purpose, string Sha256)> Nothing(ReadOnlyMemory<byte> spec) => [];

    /// <summary>The canonical spec with defaults, or every error with its path.</summary>
    public (ImmutableArray<byte> Spec, ImmutableArray<FieldError> Errors) Validate(ReadOnlyMemory<byte> json)
    {
        var (value, error) = CanonicalJson.Parse(json.IsEmpty ? "{}"u8.ToArray() : json, "spec");
        if (error is not null) return ([], [error]);
        var errors = new List<FieldError>();
        var spec = CanonicalJson.Write(SchemaValidator.Group(Spec, value, "spec", errors));
        if (errors.Count == 0) errors.AddRange(Rules(spec));
        return errors.Count > 0 ? ([], [.. errors]) : ([.. spec], []);
    }

    /// <summary>Errors of a change that touches what cannot be changed.</summary>
    public IEnumerable<FieldError> ImmutableErrors(ReadOnlyMemory<byte> before, ReadOnlyMemory<byte> after) =>
        FieldChange.Between(before, after).Where(c => Find(c.Path) is { Immutable: true })
            .Select(c => new FieldError("spec." + c.Path, $"cannot be changed from {Shown(c.Before)} to {Shown(c.After)}", "delete the resource and apply it under a new name"));

    private static string Shown(string value) => value.Length == 0 ? "nothing" : value;

    /// <summary>The field at "persistence.appendfsync", with or without a leading "spec."; null = there is none.</summary>
    public Field? Find(string path)
    {
        var fields = Spec;
        Field? found = null;
        foreach (var raw in path.Split('.'))
        {
            var name = raw.Split('[')[0];
            if (found is null && name == "spec") continue;
            found = fields.FirstOrDefault(f => f.Name == name);
            if (found is null) return null;
            fields = found.Fields;
        }
        return found;
    }
}

/// <summary>The kinds of this build, listed by hand: what is not built does not exist.</summary>
public static class KindCatalog
{
    /// <summary>All kinds, by name.</summary>
    public static ImmutableArray<KindSchema> All { get; } = [ImageKind.Schema, InstanceKind.Schema, RedisKind.Schema, SnapshotKind.Schema, VolumeKind.Schema];

    /// <summary>By name or alias, in any case; null = not in this build.</summary>
    public static KindSchema? Find(string name) =>
        All.FirstOrDefault(k => k.Kind.Equals(name, StringComparison.OrdinalIgnoreCase) || k.Aliases.Contains(name.ToLowerInvariant()));
}
