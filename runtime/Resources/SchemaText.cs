using System.Collections.Immutable;
using System.Text;

namespace AgentMetal.Runtime.Resources;

/// <summary>The schema as JSON Schema (draft 2020-12) and as documentation for a terminal.</summary>
public static class SchemaText
{
    /// <summary>A JSON Schema document for editors.</summary>
    public static string JsonSchema(KindSchema kind)
    {
        var metadata = Map(
            ("type", "object"),
            ("required", new List<object?> { "name" }),
            ("additionalProperties", false),
            ("properties", Map(
                ("name", Map(("type", "string"), ("pattern", "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"))),
                ("project", Map(("type", "string"), ("default", Metadata.DefaultProject))),
                ("labels", Map(("type", "object"), ("additionalProperties", Map(("type", "string"))))),
                ("annotations", Map(("type", "object"), ("additionalProperties", Map(("type", "string"))))),
                ("protect", Map(("type", "boolean"), ("default", false))))));
        var root = Map(
            ("$schema", "https://json-schema.org/draft/2020-12/schema"),
            ("title", kind.Kind),
            ("description", kind.Doc),
            ("type", "object"),
            ("required", new List<object?> { "apiVersion", "kind", "metadata" }),
            ("additionalProperties", false),
            ("properties", Map(
                ("apiVersion", Map(("const", Resource.ApiVersion))),
                ("kind", Map(("const", kind.Kind))),
                ("metadata", metadata),
                ("spec", Group(kind.Spec, "What is wanted.")))));
        return Encoding.UTF8.GetString(CanonicalJson.Write(root));
    }

    /// <summary>Documentation of a kind, or of the field at a path; null when the path names nothing.</summary>
    public static string? Explain(KindSchema kind, string path)
    {
        var field = path.Length == 0 || path == "spec" ? null : kind.Find(path);
        if (field is null && path.Length > 0 && path != "spec") return null;
        var text = new StringBuilder();
        if (field is null) text.Append("KIND   ").Append(kind.Kind).Append("  ").AppendLine(Resource.ApiVersion).AppendLine().AppendLine(kind.Doc).AppendLine();
        else text.Append("FIELD  ").Append(kind.Kind.ToLowerInvariant()).Append(".spec.").Append(path.StartsWith("spec.", StringComparison.Ordinal) ? path[5..] : path)
            .Append("  <").Append(TypeOf(field)).AppendLine(">").AppendLine().AppendLine(field.Doc).Append(Facts(field)).AppendLine();
        var fields = field?.Fields ?? kind.Spec;
        if (fields.IsEmpty) return text.ToString().TrimEnd() + "\n";
        text.AppendLine("FIELDS");
        foreach (var f in fields) Tree(text, f, "  ");
        return text.ToString();
    }

    private static void Tree(StringBuilder text, Field field, string indent)
    {
        text.Append(indent).Append(field.Name).Append("  <").Append(TypeOf(field)).Append('>').AppendLine();
        text.Append(indent).Append("    ").AppendLine(field.Doc);
        var facts = Facts(field).TrimEnd();
        if (facts.Length > 0) text.Append(indent).Append("    ").AppendLine(facts.Replace("\n", "\n" + indent + "    ", StringComparison.Ordinal));
        foreach (var f in field.Fields) Tree(text, f, indent + "  ");
    }

    private static string Facts(Field f)
    {
        var facts = new List<string>();
        if (f.Required) facts.Add("required");
        if (f.Type is FieldType.Integer) facts.Add($"{f.Min} to {f.Max}");
        if (f.Type is FieldType.List or FieldType.TextMap) facts.Add($"at most {f.Max}");
        if (!f.Choices.IsEmpty) facts.Add("one of: " + string.Join(", ", f.Choices));
        if (f.Default is not null) facts.Add("default: " + Encoding.UTF8.GetString(CanonicalJson.Write(f.Default)));
        if (f.Effect.Length > 0) facts.Add("a change is: " + f.Effect);
        if (f.Immutable) facts.Add("cannot be changed");
        return facts.Count == 0 ? "" : string.Join(" · ", facts) + "\n";
    }

    private static string TypeOf(Field f) => f.Type switch
    {
        FieldType.Text => "text",
        FieldType.Integer => "integer",
        FieldType.Boolean => "boolean",
        FieldType.Choice => "choice",
        FieldType.Bytes => "bytes",
        FieldType.Group => "group",
        FieldType.List => "list",
        FieldType.TextMap => "map of text",
        _ => throw new InvalidOperationException($"unknown field type {f.Type}"),
    };

    private static SortedDictionary<string, object?> Group(ImmutableArray<Field> fields, string doc)
    {
        var group = Map(("type", "object"), ("description", doc), ("additionalProperties", false),
            ("properties", Map([.. fields.Select(f => (f.Name, (object?)Property(f)))])));
        if (fields.Any(f => f.Required)) group["required"] = fields.Where(f => f.Required).Select(f => (object?)f.Name).ToList();
        return group;
    }

    private static SortedDictionary<string, object?> Property(Field f)
    {
        var p = f.Type switch
        {
            FieldType.Text => Map(("type", "string"), ("maxLength", (long)f.MaxLength)),
            FieldType.Integer => Map(("type", "integer"), ("minimum", f.Min), ("maximum", f.Max)),
            FieldType.Boolean => Map(("type", "boolean")),
            FieldType.Choice => Map(("enum", f.Choices.Select(c => (object?)c).ToList())),
            FieldType.Bytes => Map(("type", new List<object?> { "string", "integer" }), ("pattern", "^[0-9]+(Ki|Mi|Gi|Ti)?$")),
            FieldType.Group => Group(f.Fields, f.Doc),
            FieldType.List => Map(("type", "array"), ("maxItems", f.Max), ("items", Group(f.Fields, ""))),
            FieldType.TextMap => Map(("type", "object"), ("maxProperties", f.Max), ("additionalProperties", Map(("type", "string")))),
            _ => throw new InvalidOperationException($"unknown field type {f.Type}"),
        };
        p["description"] = f.Doc;
        if (f.Default is not null) p["default"] = f.Default;
        return p;
    }

    private static SortedDictionary<string, object?> Map(params ReadOnlySpan<(string Key, object? Value)> entries)
    {
        var map = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (key, value) in entries) map[key] = value;
        return map;
    }
}
