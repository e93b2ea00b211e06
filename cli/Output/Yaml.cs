using System.Text;
using System.Text.Json;

namespace AgentMetal.Cli.Output;

/// <summary>Writes JSON as YAML of the same shape. Every text that a YAML reader could take for something else is in double quotes.</summary>
internal static class Yaml
{
    internal static string Of(JsonElement value)
    {
        var text = new StringBuilder();
        if (IsLeaf(value)) text.Append(Leaf(value)).Append('\n');
        else Block(text, value, 0);
        return text.ToString();
    }

    private static void Block(StringBuilder text, JsonElement value, int depth)
    {
        if (value.ValueKind == JsonValueKind.Object)
        {
            foreach (var property in value.EnumerateObject())
            {
                text.Append(' ', depth * 2).Append(Scalar(property.Name)).Append(':');
                Child(text, property.Value, depth + (property.Value.ValueKind == JsonValueKind.Array ? 0 : 1));
            }
            return;
        }
        foreach (var item in value.EnumerateArray())
        {
            text.Append(' ', depth * 2).Append('-');
            if (IsLeaf(item)) text.Append(' ').Append(Leaf(item)).Append('\n');
            else if (item.ValueKind == JsonValueKind.Array) Child(text, item, depth + 1);
            else
            {
                // The first field stands on the line of the dash.
                var inner = new StringBuilder();
                Block(inner, item, depth + 1);
                text.Append(' ').Append(inner.ToString().AsSpan((depth + 1) * 2));
            }
        }
    }

    private static void Child(StringBuilder text, JsonElement value, int depth)
    {
        if (IsLeaf(value))
        {
            text.Append(' ').Append(Leaf(value)).Append('\n');
            return;
        }
        text.Append('\n');
        Block(text, value, depth);
    }

    private static bool IsLeaf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => !value.EnumerateObject().Any(),
        JsonValueKind.Array => value.GetArrayLength() == 0,
        _ => true,
    };

    private static string Leaf(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Object => "{}",
        JsonValueKind.Array => "[]",
        JsonValueKind.String => Scalar(value.GetString()!),
        _ => value.GetRawText(),
    };

    private static string Scalar(string text) => IsPlain(text) ? text : "\"" + JsonEncodedText.Encode(text) + "\"";

    // Words that YAML 1.1 or 1.2 readers take for null, a truth value or a number must be quoted, and so must everything with punctuation that means something.
    private static bool IsPlain(string text)
    {
        if (text.Length == 0 || !(char.IsAsciiLetter(text[0]) || text[0] is '/' or '_')) return false;
        foreach (var c in text)
            if (!char.IsAsciiLetterOrDigit(c) && c is not (' ' or '-' or '_' or '.' or '/' or ',' or '(' or ')' or '+' or '@' or '=' or ';' or '%')) return false;
        return text[^1] != ' ' && text.ToLowerInvariant() is not ("null" or "true" or "false" or "yes" or "no" or "on" or "off" or "y" or "n");
    }
}
