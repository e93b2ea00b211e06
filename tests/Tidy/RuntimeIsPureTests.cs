using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>
/// runtime/ computes and touches no world: no packages, files, sockets, processes, clocks or native calls. Crypto and JSON are computation.
/// </summary>
public sealed class RuntimeIsPureTests
{
    private static readonly string[] World =
    [
        "new Socket(", "TcpClient", "UdpClient", "NetworkStream", "System.Net.Http", "System.Diagnostics.Process",
        "DllImport", "LibraryImport", "File.", "Directory.", "Environment.",
        "DateTime.UtcNow", "DateTimeOffset.UtcNow", "DateTime.Now", "Thread.Sleep", "Task.Delay", "Random.Shared",
    ];

    [Fact]
    public void Runtime_TouchesNoWorld()
    {
        var files = SourceTree.Files("runtime", "*.cs").ToList();
        Assert.True(files.Count > 20, "runtime/ has moved: this test looks at nothing");
        Assert.Empty(files.SelectMany(f => Touches(f, SourceTree.Lines(f))));
    }

    [Fact]
    public void Runtime_HasNoPackages()
    {
        var project = SourceTree.Text("runtime/AgentMetal.Runtime.csproj");
        Assert.Contains("<Project ", project, StringComparison.Ordinal);
        Assert.DoesNotContain("<PackageReference", project, StringComparison.Ordinal);
    }

    [Fact]
    public void EachForbiddenWord_IsSeenInCode_AndNotInAComment()
    {
        foreach (var word in World)
        {
            Assert.Single(Touches("planted.cs", ["    var x = " + word]));
            Assert.Empty(Touches("planted.cs", ["    // " + word]));
        }
    }

    private static IEnumerable<string> Touches(string file, string[] lines) =>
        from line in lines.Select((text, i) => (text, number: i + 1))
        where !line.text.TrimStart().StartsWith("//", StringComparison.Ordinal)
        from word in World
        where Regex.IsMatch(line.text, @"(?<![\w.])" + Regex.Escape(word))
        select $"{file}:{line.number}: {word}: {line.text.Trim()}";
}
