using System.Collections.Immutable;

namespace AgentMetal.Runtime.Resources;

/// <summary>Names a resource within the fleet.</summary>
public sealed record ResourceKey(string Kind, string Project, string Name)
{
    /// <summary>"Redis default/sessions".</summary>
    public override string ToString() => $"{Kind} {Project}/{Name}";

    /// <summary>"redis/sessions": what commands take; the project only when it is not the default one.</summary>
    public string Short => Project == Metadata.DefaultProject ? $"{Kind.ToLowerInvariant()}/{Name}" : $"{Kind.ToLowerInvariant()}/{Project}/{Name}";
}

/// <summary>Everything about a resource but what is wanted.</summary>
public sealed record Metadata
{
    /// <summary>Where a resource belongs when nothing is said.</summary>
    public const string DefaultProject = "default";

    /// <summary>RFC 1123 label.</summary>
    public string Project { get; init; } = DefaultProject;

    /// <summary>RFC 1123 label.</summary>
    public required string Name { get; init; }

    /// <summary>Minted by the coordinator; never reused.</summary>
    public string Uid { get; init; } = "";

    /// <summary>Bumps on a change of the spec and on deletion only.</summary>
    public long Generation { get; init; }

    /// <summary>For selection.</summary>
    public ImmutableSortedDictionary<string, string> Labels { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>For people and programs; not interpreted. At most 16 KiB in all.</summary>
    public ImmutableSortedDictionary<string, string> Annotations { get; init; } = ImmutableSortedDictionary<string, string>.Empty;

    /// <summary>Nothing that loses data is done, deletion is refused.</summary>
    public bool Protect { get; init; }

    /// <summary>When it was first applied.</summary>
    public DateTimeOffset? Created { get; init; }

    /// <summary>When deletion was asked for.</summary>
    public DateTimeOffset? Deleted { get; init; }
}

/// <summary>What a person declares.</summary>
/// <param name="Kind">"Redis".</param>
/// <param name="Metadata">Names and labels.</param>
/// <param name="Spec">Canonical JSON with defaults filled in.</param>
public sealed record Resource(string Kind, Metadata Metadata, ImmutableArray<byte> Spec)
{
    /// <summary>The only version there is.</summary>
    public const string ApiVersion = "agentmetal.io/v1";

    /// <summary>Its name within the fleet.</summary>
    public ResourceKey Key => new(Kind, Metadata.Project, Metadata.Name);

    /// <summary>Checks metadata; every error with its path.</summary>
    public static IEnumerable<FieldError> MetadataErrors(Metadata m)
    {
        if (Names.LabelError(m.Name) is { } name) yield return new("metadata.name", name);
        if (Names.LabelError(m.Project) is { } project) yield return new("metadata.project", project);
        foreach (var (key, value) in m.Labels)
        {
            if (Names.LabelKeyError(key) is { } k) yield return new("metadata.labels." + Clip(key), k);
            if (Names.LabelValueError(value) is { } v) yield return new("metadata.labels." + Clip(key), v);
        }
        if (m.Labels.Count > 64) yield return new("metadata.labels", $"has {m.Labels.Count} entries; at most 64");
        foreach (var key in m.Annotations.Keys)
            if (Names.LabelKeyError(key) is { } k) yield return new("metadata.annotations." + Clip(key), k);
        var bytes = m.Annotations.Sum(a => System.Text.Encoding.UTF8.GetByteCount(a.Key) + System.Text.Encoding.UTF8.GetByteCount(a.Value));
        if (bytes > 16 * 1024) yield return new("metadata.annotations", $"hold {bytes} bytes; at most 16384");
    }

    private static string Clip(string text) => text.Length <= 63 ? text : text[..63] + "…";
}

/// <summary>One aspect of how it stands. One that is not True names the blocker, since when, the next retry and the next command.</summary>
public sealed record Condition(string Type, string Status, string Reason, string Message, DateTimeOffset Since, DateTimeOffset? RetryAt = null, string NextCommand = "")
{
    /// <summary>The list with this condition in it; "since" is kept while the status stays the same.</summary>
    public static ImmutableArray<Condition> Set(ImmutableArray<Condition> all, Condition condition)
    {
        var old = all.FirstOrDefault(c => c.Type == condition.Type);
        if (old is not null && old.Status == condition.Status) condition = condition with { Since = old.Since };
        return old is null ? all.Add(condition) : all.Replace(old, condition);
    }
}

/// <summary>What a change of a spec changes, field by field.</summary>
public sealed record FieldChange(string Path, string Before, string After)
{
    /// <summary>Ordinal order of the paths; "" = not there. Both are canonical JSON.</summary>
    public static ImmutableArray<FieldChange> Between(ReadOnlyMemory<byte> before, ReadOnlyMemory<byte> after)
    {
        var (a, b) = (Flat(before), Flat(after));
        return [.. a.Keys.Union(b.Keys).Order(StringComparer.Ordinal).Where(k => a.GetValueOrDefault(k, "") != b.GetValueOrDefault(k, ""))
            .Select(k => new FieldChange(k, a.GetValueOrDefault(k, ""), b.GetValueOrDefault(k, "")))];
    }

    private static SortedDictionary<string, string> Flat(ReadOnlyMemory<byte> spec)
    {
        var flat = new SortedDictionary<string, string>(StringComparer.Ordinal);
        if (!spec.IsEmpty) Walk(CanonicalJson.Parse(spec).Value, "", flat);
        return flat;

        static void Walk(object? value, string path, SortedDictionary<string, string> flat)
        {
            switch (value)
            {
                case IReadOnlyDictionary<string, object?> map:
                    foreach (var (key, item) in map) Walk(item, path.Length == 0 ? key : path + "." + key, flat);
                    break;
                case string s: flat[path] = s; break;
                case null: break;
                default: flat[path] = System.Text.Encoding.UTF8.GetString(CanonicalJson.Write(value)); break;
            }
        }
    }
}
