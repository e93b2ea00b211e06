using AgentMetal.Cli.CommandLine;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.Cli.Get;

/// <summary>How people write kinds.</summary>
internal static class KindNames
{
    internal static string[] Known { get; } = [.. KindCatalog.All.Select(k => k.Kind.ToLowerInvariant())];

    /// <summary>"redis sessions" and "redis/sessions" mean the same.</summary>
    internal static (string Kind, string? Name) Split(string kind, string? name)
    {
        if (name is null && kind.IndexOf('/', StringComparison.Ordinal) is > 0 and var at) (kind, name) = (kind[..at], kind[(at + 1)..]);
        return (Normal(kind), name);
    }

    /// <summary>The same where one resource must be named.</summary>
    internal static (string Kind, string Name) One(string kind, string? name)
    {
        var (of, called) = Split(kind, name);
        return called is { Length: > 0 } && of != "all" ? (of, called)
            : throw new CommandFailedException(new(ExitCode.BadInput, "NAME is missing: name one resource", "for example: redis sessions, or redis/sessions"));
    }

    /// <summary>The kind's own name; a kind that this build does not know is bad input.</summary>
    internal static string Normal(string kind)
    {
        if (kind.Equals("all", StringComparison.OrdinalIgnoreCase)) return "all";
        return KindCatalog.Find(kind)?.Kind
            ?? throw new CommandFailedException(new(ExitCode.BadInput, $"\"{kind}\" is not a kind; there are: {string.Join(", ", Known)}", "see them: agentmetal schema"));
    }
}
