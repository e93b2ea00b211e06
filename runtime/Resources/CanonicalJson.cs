using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace AgentMetal.Runtime.Resources;

/// <summary>A JSON value in memory: null, bool, long, string, list or map, and nothing else. Maps are in ordinal key order.</summary>
public static class CanonicalJson
{
    /// <summary>Nesting beyond this is refused.</summary>
    public const int MaxDepth = 32;

    /// <summary>Larger inputs are refused: specs and arguments travel and are hashed.</summary>
    public const int MaxBytes = 64 * 1024;

    /// <summary>Largest integer magnitude that every JSON reader keeps exactly (RFC 7493).</summary>
    public const long MaxInteger = (1L << 53) - 1;

    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Reads JSON of our subset: no floats, no duplicate keys, bounded depth and size.</summary>
    /// <returns>The value, or why it is refused.</returns>
    public static (object? Value, FieldError? Error) Parse(ReadOnlyMemory<byte> utf8, string path = "")
    {
        if (utf8.Length > MaxBytes) return (null, new(path, $"is {utf8.Length} bytes; at most {MaxBytes}"));
        if (!Utf8.IsValid(utf8.Span)) return (null, new(path, "is not UTF-8 text"));
        try
        {
            using var document = JsonDocument.Parse(utf8, new() { MaxDepth = MaxDepth, AllowDuplicateProperties = false });
            FieldError? error = null;
            var value = Read(document.RootElement, path, ref error);
            return error is null ? (value, null) : (null, error);
        }
        catch (JsonException e)
        {
            return (null, new(path, "is not JSON that can be taken: " + e.Message));
        }
        catch (InvalidOperationException)
        {
            // The bytes are UTF-8 by now: what is left is an escape such as \ud800 without its other half, which no UTF-8 can carry.
            return (null, new(path, "holds half a surrogate pair"));
        }
    }

    /// <summary>RFC 8785 bytes of a value that <see cref="Parse"/> or a validator made.</summary>
    /// <exception cref="ArgumentException">It holds what has no canonical form: half a surrogate pair, a number beyond 2^53-1, more than <see cref="MaxDepth"/> levels, another type.</exception>
    public static byte[] Write(object? value)
    {
        var text = new StringBuilder(256);
        Write(text, value, 0);
        // Strict: replacing half a surrogate pair would give two values the same bytes, and the same hash.
        return Strict.GetBytes(text.ToString());
    }

    private static object? Read(JsonElement e, string path, ref FieldError? error)
    {
        switch (e.ValueKind)
        {
            case JsonValueKind.Null: return null;
            case JsonValueKind.True: return true;
            case JsonValueKind.False: return false;
            case JsonValueKind.String: return e.GetString();
            case JsonValueKind.Number:
                if (e.TryGetInt64(out var n) && n is >= -MaxInteger and <= MaxInteger && !e.GetRawText().AsSpan().ContainsAny('.', 'e', 'E')) return n;
                error ??= new(path, $"{e.GetRawText()} is not an integer between -(2^53-1) and 2^53-1", "write quantities as text: \"512Mi\"");
                return null;
            case JsonValueKind.Array:
                var list = new List<object?>();
                foreach (var item in e.EnumerateArray()) list.Add(Read(item, $"{path}[{list.Count}]", ref error));
                return list;
            case JsonValueKind.Object:
                var map = new SortedDictionary<string, object?>(StringComparer.Ordinal);
                foreach (var p in e.EnumerateObject()) map[p.Name] = Read(p.Value, path.Length == 0 ? p.Name : path + "." + p.Name, ref error);
                return map;
            default: throw new InvalidOperationException($"unexpected {e.ValueKind}");
        }
    }

    private static void Write(StringBuilder text, object? value, int depth)
    {
        if (depth > MaxDepth) throw new ArgumentException($"deeper than {MaxDepth} levels", nameof(value));
        switch (value)
        {
            case null: text.Append("null"); break;
            case bool b: text.Append(b ? "true" : "false"); break;
            case long n when n is >= -MaxInteger and <= MaxInteger: text.Append(n.ToString(CultureInfo.InvariantCulture)); break;
            case int n: text.Append(n.ToString(CultureInfo.InvariantCulture)); break;
            case string s: WriteString(text, s); break;
            case IReadOnlyDictionary<string, object?> map:
                text.Append('{');
                var first = true;
                // UTF-16 code unit order is what RFC 8785 asks for, and what ordinal comparison is.
                foreach (var (key, item) in map.OrderBy(p => p.Key, StringComparer.Ordinal))
                {
                    if (!first) text.Append(',');
                    first = false;
                    WriteString(text, key);
                    text.Append(':');
                    Write(text, item, depth + 1);
                }
                text.Append('}');
                break;
            case IEnumerable<object?> list:
                text.Append('[');
                var head = true;
                foreach (var item in list)
                {
                    if (!head) text.Append(',');
                    head = false;
                    Write(text, item, depth + 1);
                }
                text.Append(']');
                break;
            default: throw new ArgumentException($"{value.GetType().Name} {value} is not a canonical JSON value", nameof(value));
        }
    }

    private static void WriteString(StringBuilder text, string s)
    {
        text.Append('"');
        foreach (var c in s)
            _ = c switch
            {
                '"' => text.Append("\\\""),
                '\\' => text.Append("\\\\"),
                '\b' => text.Append("\\b"),
                '\t' => text.Append("\\t"),
                '\n' => text.Append("\\n"),
                '\f' => text.Append("\\f"),
                '\r' => text.Append("\\r"),
                < ' ' => text.Append("\\u").Append(((int)c).ToString("x4", CultureInfo.InvariantCulture)),
                _ => text.Append(c),
            };
        text.Append('"');
    }
}
