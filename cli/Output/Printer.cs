using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.Cli.CommandLine;

namespace AgentMetal.Cli.Output;

/// <summary>Prints documents in the format that was asked for.</summary>
internal static class Printer
{
    /// <summary>Whole, indented.</summary>
    internal static void Document<T>(Session session, T document, JsonTypeInfo<T> type)
    {
        if (session.Format == OutputFormat.Yaml) session.Screen.Out.Write(Yaml.Of(JsonSerializer.SerializeToElement(document, type)));
        else session.Screen.Out.WriteLine(JsonSerializer.Serialize(document, type));
    }

    /// <summary>One of a stream: a line of JSON, or a YAML document of its own.</summary>
    internal static void OneOfMany<T>(Session session, T document, JsonTypeInfo<T> type)
    {
        var element = JsonSerializer.SerializeToElement(document, type);
        if (session.Format == OutputFormat.Yaml) session.Screen.Out.Write("---\n" + Yaml.Of(element));
        else
        {
            using var buffer = new MemoryStream();
            using (var writer = new Utf8JsonWriter(buffer)) element.WriteTo(writer);
            session.Screen.Out.WriteLine(System.Text.Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
        }
    }
}
