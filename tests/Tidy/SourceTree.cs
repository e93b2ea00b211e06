using System.Runtime.CompilerServices;

namespace AgentMetal.Tidy;

/// <summary>The sources as text: what is checked here is what a reader sees.</summary>
internal static class SourceTree
{
    public static string Root { get; } = FindRoot();

    /// <summary>Repository-relative paths, with forward slashes, build outputs left out.</summary>
    public static IEnumerable<string> Files(string folder, string pattern) =>
        Directory.Exists(Path.Combine(Root, folder))
            ? Directory.EnumerateFiles(Path.Combine(Root, folder), pattern, SearchOption.AllDirectories)
                .Select(f => Path.GetRelativePath(Root, f)).Where(f => !f.Split('/').Any(p => p is "bin" or "obj" or "artifacts" or ".run" or ".git"))
                .Order(StringComparer.Ordinal)
            : [];

    public static string[] Lines(string path) => File.ReadAllLines(Path.Combine(Root, path));

    private static string FindRoot([CallerFilePath] string here = "")
    {
        for (var at = Path.GetDirectoryName(here); at is not null; at = Path.GetDirectoryName(at))
            if (File.Exists(Path.Combine(at, "AgentMetal.Edge.sln"))) return at;
        throw new InvalidOperationException("AgentMetal.Edge.sln is in no parent of " + here);
    }
}
