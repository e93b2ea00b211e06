using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Plan;

/// <summary>What a change of a field costs (live, restart, role change), where the kind's schema says so.</summary>
internal static class FieldNotes
{
    internal static string Of(string kind, string path) => KindCatalog.Find(kind)?.Find(path)?.Effect ?? "";
}
