using System.Globalization;

namespace AgentMetal.Runtime.Resources;

/// <summary>Checks a value against fields, reports every error with its path, fills in defaults.</summary>
public static class SchemaValidator
{
    private const int MaxErrors = 100;

    /// <summary>The value with defaults, in canonical form; meaningful only when no error was added.</summary>
    public static SortedDictionary<string, object?> Group(IReadOnlyList<Field> fields, object? value, string path, List<FieldError> errors)
    {
        var result = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        if (value is not null and not IReadOnlyDictionary<string, object?>) { Add(errors, path, $"must be an object with fields, not {Kind(value)}"); return result; }
        var given = value as IReadOnlyDictionary<string, object?> ?? new SortedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var name in given.Keys)
            if (!fields.Any(f => f.Name == name))
                Add(errors, Join(path, name), "is not a field of " + (path.Length == 0 ? "this kind" : path), Suggest(name, fields.Select(f => f.Name)), atName: true);
        foreach (var field in fields)
        {
            var at = Join(path, field.Name);
            if (!given.TryGetValue(field.Name, out var v) || v is null)
            {
                if (field.Required) Add(errors, at, "is required", field.Doc);
                else if (field.Type == FieldType.Group) result[field.Name] = Group(field.Fields, null, at, errors);
                else if (field.Default is not null) result[field.Name] = field.Default;
                continue;
            }
            if (Value(field, v, at, errors) is { } ok) result[field.Name] = ok;
        }
        return result;
    }

    private static object? Value(Field field, object value, string path, List<FieldError> errors)
    {
        switch (field.Type)
        {
            case FieldType.Text: return Text(field, value, path, errors);
            case FieldType.Integer:
                if (value is not long n) return Wrong(errors, path, $"must be a whole number from {field.Min} to {field.Max}, not {Kind(value)}");
                if (n < field.Min || n > field.Max) return Wrong(errors, path, $"{n} is not between {field.Min} and {field.Max}");
                return n;
            case FieldType.Boolean: return value is bool ? value : Wrong(errors, path, $"must be true or false, not {Kind(value)}");
            case FieldType.Choice:
                var word = value is bool b ? (b ? "yes" : "no") : value as string; // YAML 1.1 writers turn "no" into false.
                if (word is not null && field.Choices.Contains(word)) return word;
                return Wrong(errors, path, $"{Kind(value)} is not one of: {string.Join(", ", field.Choices)}", word is null ? "" : Closest(word, field.Choices));
            case FieldType.Bytes:
                var bytes = value is long l ? l : value is string s ? Quantity.Parse(s) : null;
                if (bytes is null) return Wrong(errors, path, $"{Kind(value)} is not an amount of bytes", "write 512Ki, 256Mi, 2Gi or a whole number of bytes");
                if (bytes < field.Min || bytes > field.Max) return Wrong(errors, path, $"{Quantity.Format(bytes.Value)} is not between {Quantity.Format(field.Min)} and {Quantity.Format(field.Max)}");
                return Quantity.Format(bytes.Value);
            case FieldType.Group: return Group(field.Fields, value, path, errors);
            case FieldType.List: return List(field, value, path, errors);
            case FieldType.TextMap: return TextMap(field, value, path, errors);
            default: throw new InvalidOperationException($"unknown field type {field.Type}");
        }
    }

    private static string? Text(Field field, object value, string path, List<FieldError> errors)
    {
        if (value is not string text) { Add(errors, path, $"must be text, not {Kind(value)}", "put it in quotes"); return null; }
        if (text.Length > field.MaxLength) { Add(errors, path, $"is {text.Length} characters long; at most {field.MaxLength}"); return null; }
        if (text.Any(c => char.IsControl(c) && !(field.Multiline && c is '\n' or '\t'))) { Add(errors, path, "holds control characters"); return null; }
        if (field.Check?.Invoke(text) is { } wrong) { Add(errors, path, wrong); return null; }
        return text;
    }

    private static List<object?>? List(Field field, object value, string path, List<FieldError> errors)
    {
        if (value is not IReadOnlyList<object?> items) { Add(errors, path, $"must be a list, not {Kind(value)}"); return null; }
        if (items.Count < field.Min || items.Count > field.Max) { Add(errors, path, $"has {items.Count} items; from {field.Min} to {field.Max}"); return null; }
        var result = new List<object?>(items.Count);
        for (var i = 0; i < items.Count; i++) result.Add(Group(field.Fields, items[i] ?? "", $"{path}[{i}]", errors));
        return result;
    }

    private static SortedDictionary<string, object?>? TextMap(Field field, object value, string path, List<FieldError> errors)
    {
        if (value is not IReadOnlyDictionary<string, object?> map) { Add(errors, path, $"must be an object of texts, not {Kind(value)}"); return null; }
        if (map.Count > field.Max) { Add(errors, path, $"has {map.Count} entries; at most {field.Max}"); return null; }
        var result = new SortedDictionary<string, object?>(StringComparer.Ordinal);
        foreach (var (key, item) in map)
        {
            var at = Join(path, key);
            if (Names.LabelKeyError(key) is { } wrongKey) Add(errors, at, wrongKey, atName: true);
            else if (item is not string text) Add(errors, at, $"must be text, not {Kind(item)}", "put it in quotes");
            else if (Names.LabelValueError(text) is { } wrongValue) Add(errors, at, wrongValue);
            else result[key] = text;
        }
        return result;
    }

    /// <summary>"did you mean …?" for a word that is close to a known one; else what is known.</summary>
    public static string Suggest(string word, IEnumerable<string> known)
    {
        var all = known.ToList();
        var closest = Closest(word, all);
        return closest.Length > 0 ? closest : all.Count <= 12 ? "known: " + string.Join(", ", all) : "";
    }

    private static string Closest(string word, IEnumerable<string> known)
    {
        var best = known.Select(k => (Word: k, Distance: Distance(word, k))).Where(x => x.Distance <= Math.Max(1, word.Length / 3)).OrderBy(x => x.Distance).FirstOrDefault();
        return best.Word is null ? "" : $"did you mean {best.Word}?";
    }

    private static int Distance(string a, string b)
    {
        if (a.Length > 64 || b.Length > 64) return int.MaxValue;
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var (previous, corner) = (i, i - 1);
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = Math.Min(Math.Min(row[j] + 1, previous + 1), corner + (char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]) ? 0 : 1));
                (corner, row[j - 1], previous) = (row[j], previous, cost);
            }
            row[b.Length] = previous;
        }
        return row[b.Length];
    }

    private static object? Wrong(List<FieldError> errors, string path, string message, string note = "")
    {
        Add(errors, path, message, note);
        return null;
    }

    private static void Add(List<FieldError> errors, string path, string message, string note = "", bool atName = false)
    {
        if (errors.Count < MaxErrors) errors.Add(new(Clip(path), message, note) { AtName = atName });
        else if (errors.Count == MaxErrors) errors.Add(new("", $"more than {MaxErrors} errors; the rest is not listed"));
    }

    private static string Join(string path, string name) => path.Length == 0 ? name : path + "." + name;

    private static string Clip(string path) => path.Length <= 200 ? path : path[..200] + "…";

    private static string Kind(object? value) => value switch
    {
        null => "nothing",
        string s => "\"" + (s.Length <= 60 ? s : s[..60] + "…").ReplaceLineEndings(" ") + "\"",
        bool b => b ? "true" : "false",
        long n => n.ToString(CultureInfo.InvariantCulture),
        IReadOnlyDictionary<string, object?> => "an object",
        _ => "a list",
    };
}
