namespace AgentMetal.Cli.Get;

/// <summary>How people write kinds.</summary>
internal static class KindNames
{
    internal static string[] Known { get; } = ["redis"];

    /// <summary>"redis sessions" and "redis/sessions" mean the same.</summary>
    internal static (string Kind, string? Name) Split(string kind, string? name)
    {
        if (name is null && kind.IndexOf('/', StringComparison.Ordinal) is > 0 and var at) (kind, name) = (kind[..at], kind[(at + 1)..]);
        return (Normal(kind), name);
    }

    internal static string Normal(string kind) => kind.ToLowerInvariant() switch
    {
        "redis" => "Redis",
        "all" => "all",
        _ => kind,
    };
}
