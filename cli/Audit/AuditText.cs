using System.Text;
using System.Text.Json;

namespace AgentMetal.Cli.Audit;

/// <summary>A record's body as people read it; -o json has it as it was hashed.</summary>
internal static class AuditText
{
    private const int Long = 64, Short = 12;

    /// <summary>"by alice, resources created Redis default/sessions": names and values, without quotes, braces and escapes; hashes cut short.</summary>
    internal static string Of(string body)
    {
        try
        {
            var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(body));
            return Of(JsonElement.ParseValue(ref reader), top: true);
        }
        catch (JsonException) { return body; } // Shown as it is: a body that is no JSON is for a person to see.
    }

    private static string Of(JsonElement value, bool top) => value.ValueKind switch
    {
        JsonValueKind.Object => Joined(value.EnumerateObject().Where(p => !IsEmpty(p.Value)).Select(p => $"{p.Name} {Of(p.Value, top: false)}"), top ? "" : "("),
        JsonValueKind.Array => Joined(value.EnumerateArray().Select(v => Of(v, top: false)), "["),
        JsonValueKind.String => Cut(value.GetString()!.ReplaceLineEndings("; ")),
        _ => value.GetRawText(),
    };

    private static string Joined(IEnumerable<string> parts, string open) => open + string.Join(", ", parts) + (open switch { "(" => ")", "[" => "]", _ => "" });

    private static bool IsEmpty(JsonElement value) => value.ValueKind is JsonValueKind.Null || (value.ValueKind == JsonValueKind.String && value.GetString()!.Length == 0)
        || (value.ValueKind == JsonValueKind.Array && value.GetArrayLength() == 0);

    /// <summary>A hash says as much by its first digits, and more than that nobody compares by eye.</summary>
    private static string Cut(string text) => text.Length == Long && text.All(char.IsAsciiHexDigitLower) ? text[..Short] + "…" : text;
}
