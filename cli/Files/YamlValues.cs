using System.Globalization;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Files;

/// <summary>Where each field of a document is written, by its path: spec.persistence.save[0].seconds.</summary>
internal sealed class PositionMap(SourceSpan document)
{
    private readonly Dictionary<string, (SourceSpan Name, SourceSpan Value)> places = new(StringComparer.Ordinal);

    internal void Add(string path, SourceSpan name, SourceSpan value) => places.TryAdd(path, (name, value));

    /// <summary>The value of the field, its name when the error is about the name, or the closest field around it when it is not written.</summary>
    internal SourceSpan Find(string path, bool name = false)
    {
        if (places.TryGetValue(path, out var found)) return name ? found.Name : found.Value;
        for (var at = path; at.Length > 0;)
        {
            at = at[..Math.Max(0, at.LastIndexOfAny(['.', '[']))];
            if (places.TryGetValue(at, out var around)) return around.Name;
        }
        return document;
    }
}

/// <summary>
/// Nodes as values of <see cref="CanonicalJson"/>, by the core schema of YAML 1.2: only true and false are booleans, so yes, no and on stay words.
/// Errors carry the place of the value.
/// </summary>
internal static class YamlValues
{
    /// <summary>The value; records where each field is. Paths are joined as the validator joins them.</summary>
    internal static object? Value(YamlNode node, string path, PositionMap positions, List<Diagnostic> errors)
    {
        switch (node)
        {
            case YamlScalar s:
                return Scalar(s, path, errors);
            case YamlList l:
                var items = new List<object?>(l.Items.Count);
                for (var i = 0; i < l.Items.Count; i++)
                {
                    var at = $"{path}[{i}]";
                    positions.Add(at, l.Items[i].At, l.Items[i].At);
                    items.Add(Value(l.Items[i], at, positions, errors));
                }
                return items;
            case YamlMap m:
                var map = new SortedDictionary<string, object?>(StringComparer.Ordinal);
                foreach (var (name, value) in m.Entries)
                {
                    var at = path.Length == 0 ? name.Text : path + "." + name.Text;
                    // A list or map begins on a line of its own; its name is the better place to point at.
                    positions.Add(at, name.At, value is YamlScalar ? value.At : name.At);
                    map[name.Text] = Value(value, at, positions, errors);
                }
                return map;
            default:
                throw new InvalidOperationException($"unknown node {node.GetType().Name}");
        }
    }

    private static object? Scalar(YamlScalar s, string path, List<Diagnostic> errors)
    {
        if (!s.Plain) return s.Text;
        switch (s.Text)
        {
            case "" or "~" or "null" or "Null" or "NULL": return null;
            case "true" or "True" or "TRUE": return true;
            case "false" or "False" or "FALSE": return false;
        }
        if (!LooksNumeric(s.Text)) return s.Text;
        var digits = s.Text.AsSpan().TrimStart("+-");
        if (digits.Length > 1 && digits[0] == '0' && !digits.ContainsAnyExceptInRange('0', '9'))
            return Refuse(s, path, errors, $"{Clip(s.Text)} is read as {Trim(digits)} by some and as octal by others", "write it without the leading 0, or in quotes if it is text");
        if (Integer(s.Text) is { } n)
            return Int128.Abs(n) <= CanonicalJson.MaxInteger ? (long)n : Refuse(s, path, errors, $"{Clip(s.Text)} is too large for a number", "put it in quotes if it is text");
        return Refuse(s, path, errors, $"{Clip(s.Text)} is not a whole number", "put it in quotes if it is text");
    }

    private static object? Refuse(YamlScalar s, string path, List<Diagnostic> errors, string message, string note)
    {
        errors.Add(new Diagnostic { At = s.At, Path = path, Message = message, Notes = [note] });
        return null;
    }

    private static Int128? Integer(string text)
    {
        // Int128 holds 38 digits; whatever is longer is too large for our numbers anyway, and the caller says so.
        if (text.Length > 38) return Int128.MaxValue;
        if (text.StartsWith("0x", StringComparison.Ordinal))
            return UInt64(text.AsSpan(2), NumberStyles.AllowHexSpecifier, 16);
        if (text.StartsWith("0o", StringComparison.Ordinal))
            return Octal(text.AsSpan(2));
        return text.AsSpan().TrimStart("+-").ContainsAnyExceptInRange('0', '9') ? null
            : Int128.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var n) ? n : Int128.MaxValue;
    }

    private static Int128? UInt64(ReadOnlySpan<char> digits, NumberStyles style, int most) =>
        digits.Length > most ? Int128.MaxValue : ulong.TryParse(digits, style, CultureInfo.InvariantCulture, out var n) ? (Int128)n : null;

    private static Int128? Octal(ReadOnlySpan<char> digits)
    {
        if (digits.Length > 21) return Int128.MaxValue;
        Int128 n = 0;
        foreach (var d in digits)
            n = (n * 8) + (d - '0');
        return n;
    }

    // The number forms of the YAML 1.2 core schema (section 10.3.2): decimal, 0o, 0x, fractions, .inf and .nan.
    private static bool LooksNumeric(string text)
    {
        if (text.StartsWith("0x", StringComparison.Ordinal)) return text.Length > 2 && text.Skip(2).All(char.IsAsciiHexDigit);
        if (text.StartsWith("0o", StringComparison.Ordinal)) return text.Length > 2 && !text.AsSpan(2).ContainsAnyExceptInRange('0', '7');
        var rest = text.AsSpan();
        if (rest[0] is '+' or '-') rest = rest[1..];
        if (rest is ".inf" or ".Inf" or ".INF" || text is ".nan" or ".NaN" or ".NAN") return true;
        var whole = Digits(ref rest);
        var fraction = 0;
        if (rest.Length > 0 && rest[0] == '.')
        {
            rest = rest[1..];
            fraction = Digits(ref rest);
        }
        if (whole + fraction == 0) return false;
        if (rest.Length > 0 && rest[0] is 'e' or 'E')
        {
            rest = rest[1..];
            if (rest.Length > 0 && rest[0] is '+' or '-') rest = rest[1..];
            if (Digits(ref rest) == 0) return false;
        }
        return rest.Length == 0;
    }

    private static int Digits(ref ReadOnlySpan<char> text)
    {
        var n = text.IndexOfAnyExceptInRange('0', '9');
        if (n < 0) n = text.Length;
        text = text[n..];
        return n;
    }

    private static string Trim(ReadOnlySpan<char> digits) => digits.TrimStart('0') is { Length: > 0 } rest ? Clip(rest.ToString()) : "0";

    private static string Clip(string text) => text.Length <= 40 ? text : text[..40] + "…";
}
