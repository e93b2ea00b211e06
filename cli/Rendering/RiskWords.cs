namespace AgentMetal.Cli.Rendering;

/// <summary>Risk reasons are stable codes, because they are signed; these are their words.</summary>
internal static class RiskWords
{
    /// <summary>What the code means; the code itself where this build does not know it.</summary>
    internal static string Of(string code) => code switch
    {
        "data-loss" => "data would be lost",
        "irreversible" => "it cannot be taken back",
        "keep-serving" => "the service stops answering while it runs",
        "keep-primary" => "there is no primary while it runs",
        "role-change" => "a member changes its role",
        "only-member" => "it is the only member",
        "unrelated-data" => "nothing tells which data is newer",
        "unseen-data" or "unseen-primary" => "a member that does not answer may hold more",
        "data-missing" => "data that was there is not there any more",
        "data-damaged" => "what stands behind the damage goes",
        "replaces-data" => "data of its own is replaced",
        "two-primaries" => "both took writes, and one side's go",
        "last-copy" => "its memory may be the only copy",
        "memory-only" => "what is only in memory goes",
        "cannot-save" => "it cannot save what it has",
        _ => code,
    };

    /// <summary>"data would be lost (data-loss), it cannot be taken back (irreversible)".</summary>
    internal static string Of(IEnumerable<string> codes) => string.Join(", ", codes.Select(c => Of(c) == c ? c : $"{Of(c)} ({c})"));

    /// <summary>Guards are named keep-…: a step that carries one as a reason breaks it while it runs.</summary>
    internal static bool IsGuard(string code) => code.StartsWith("keep-", StringComparison.Ordinal);

    internal static Tone ToneOf(string risk) => risk switch { "Dangerous" => Tone.Bad, "Moderate" => Tone.Plain, "Safe" => Tone.Quiet, _ => Tone.Warn };
}
