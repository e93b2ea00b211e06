using System.Runtime.CompilerServices;

namespace AgentMetal.Tidy;

/// <summary>The sources as text: what is checked here is what a reader sees.</summary>
internal static class SourceTree
{
    public static string Root { get; } = FindRoot();

    /// <summary>Repository-relative paths with forward slashes. Build outputs and hidden folders can be large: they are left out.</summary>
    public static IEnumerable<string> Files(string folder, string pattern) =>
        Directory.Exists(Path.Combine(Root, folder))
            ? Below(Path.Combine(Root, folder), pattern).Select(f => Path.GetRelativePath(Root, f)).Order(StringComparer.Ordinal)
            : [];

    public static string[] Lines(string path) => File.ReadAllLines(Path.Combine(Root, path));

    public static string Text(string path) => File.ReadAllText(Path.Combine(Root, path));

    private static IEnumerable<string> Below(string folder, string pattern) =>
        Directory.EnumerateFiles(folder, pattern).Concat(Directory.EnumerateDirectories(folder)
            .Where(d => Path.GetFileName(d) is not ("bin" or "obj" or "artifacts") && !Path.GetFileName(d).StartsWith('.'))
            .SelectMany(d => Below(d, pattern)));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        for (var at = Path.GetDirectoryName(here); at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "AgentMetal.Edge.sln"))) return at;
        throw new InvalidOperationException("AgentMetal.Edge.sln is in no parent of " + here);
    }
}
