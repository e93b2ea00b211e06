using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Plan;

/// <summary>What a change of a field costs (live, restart, role change), where the kind's schema says so.</summary>
internal static class FieldNotes
{
    /// <summary>Whether this is what the field has when nobody says anything.</summary>
    internal static bool IsDefault(string kind, string path, string value) =>
        KindCatalog.Find(kind)?.Find(path)?.Default is { } standard && value == (standard as string ?? System.Text.Encoding.UTF8.GetString(CanonicalJson.Write(standard)));

    internal static string Of(string kind, string path) => KindCatalog.Find(kind)?.Find(path)?.Effect ?? "";
}
