using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>The lines of the house (architecture §3). A project file or a using that crosses one is named with its line.</summary>
public sealed class WhoMayKnowWhomTests
{
    private static readonly Dictionary<string, string[]> Allowed = new(StringComparer.Ordinal)
    {
        ["proto"] = [],
        ["runtime"] = [],
        ["wire"] = ["runtime", "proto"],
        ["node-agent"] = ["runtime", "proto", "wire"],
        ["coordinator"] = ["runtime", "proto", "wire"],
        ["cli"] = ["runtime", "proto", "wire"],
    };

    [Fact]
    public void Projects_ReferenceOnlyWhatTheyMayKnow()
    {
        var wrong = new List<string>();
        foreach (var (folder, allowed) in Allowed)
            foreach (var project in SourceTree.Files(folder, "*.csproj"))
                foreach (Match m in Regex.Matches(string.Join('\n', SourceTree.Lines(project)), "<ProjectReference Include=\"([^\"]+)\""))
                {
                    var target = Path.GetRelativePath(SourceTree.Root, Path.GetFullPath(Path.Combine(SourceTree.Root, Path.GetDirectoryName(project)!, m.Groups[1].Value))).Split('/')[0];
                    if (!allowed.Contains(target)) wrong.Add($"{project} references {target}");
                }
        Assert.Empty(wrong);
    }

    [Fact]
    public void Runtime_TouchesNoWorld()
    {
        // Pure: no packages, no files, sockets, processes, clocks, native calls. Crypto and JSON are computation.
        string[] forbidden = ["new Socket(", "TcpClient", "UdpClient", "NetworkStream", "System.Net.Http", "System.Diagnostics.Process", "DllImport", "LibraryImport", "File.", "Directory.", "DateTime.UtcNow", "DateTimeOffset.UtcNow", "DateTime.Now", "Environment.", "Thread.Sleep", "Task.Delay", "Random.Shared"];
        var wrong = Hits(SourceTree.Files("runtime", "*.cs"), forbidden);
        Assert.Empty(wrong);
        Assert.DoesNotContain(SourceTree.Files("runtime", "*.csproj").SelectMany(SourceTree.Lines), l => l.Contains("<PackageReference", StringComparison.Ordinal));
    }

    [Fact]
    public void Agents_KnowRuntimeAndHost_NeverAnotherAgentOrTheEdge()
    {
        var wrong = new List<string>();
        foreach (var (daemon, forbidden) in new[] { ("node-agent", new[] { ".Edge" }), ("coordinator", new[] { ".Api", ".Nodes.", ".Hosting" }) })
            foreach (var file in SourceTree.Files(daemon + "/Agents", "*.cs"))
            {
                var own = file.Split('/')[2];
                foreach (var line in SourceTree.Lines(file).Where(l => l.StartsWith("using AgentMetal.", StringComparison.Ordinal)))
                {
                    if (daemon == "node-agent" && forbidden.Any(f => line.Contains("NodeAgent" + f, StringComparison.Ordinal))) wrong.Add($"{file}: {line}");
                    var other = Regex.Match(line, @"\.Agents\.(\w+)");
                    if (daemon == "node-agent" && other.Success && other.Groups[1].Value != own) wrong.Add($"{file}: {line}");
                }
            }
        Assert.Empty(wrong);
    }

    [Fact]
    public void HostLayer_KnowsNoAgentAndNoEdge() => Assert.Empty(Hits(SourceTree.Files("node-agent/Host", "*.cs"), ["NodeAgent.Agents", "NodeAgent.Edge", "NodeAgent.Pipeline"]));

    [Fact]
    public void Daemons_NeverNameEachOther()
    {
        Assert.Empty(Hits(SourceTree.Files("node-agent", "*.cs"), ["AgentMetal.Coordinator"]));
        Assert.Empty(Hits(SourceTree.Files("coordinator", "*.cs"), ["AgentMetal.NodeAgent"]));
        Assert.Empty(Hits(SourceTree.Files("cli", "*.cs"), ["AgentMetal.NodeAgent", "AgentMetal.Coordinator"]));
    }

    [Fact]
    public void TheCheckItself_SeesSources()
    {
        // A moved folder would make every other test here pass without looking at anything.
        foreach (var folder in Allowed.Keys) Assert.NotEmpty(SourceTree.Files(folder, "*.csproj"));
        Assert.True(SourceTree.Files("runtime", "*.cs").Count() > 20);
        Assert.NotEmpty(Hits(["tests/Tidy/WhoMayKnowWhomTests.cs"], ["Thread.Sleep"]));
    }

    private static List<string> Hits(IEnumerable<string> files, string[] words) =>
        [.. from file in files
            from line in SourceTree.Lines(file).Select((text, i) => (text, number: i + 1))
            let code = line.text.TrimStart()
            where !code.StartsWith("//", StringComparison.Ordinal) && !code.StartsWith('*')
            from word in words
            where Regex.IsMatch(line.text, @"(?<![\w.])" + Regex.Escape(word)) || (word.StartsWith("AgentMetal", StringComparison.Ordinal) && line.text.Contains(word, StringComparison.Ordinal)) || (word.StartsWith("NodeAgent", StringComparison.Ordinal) && line.text.Contains(word, StringComparison.Ordinal))
            select $"{file}:{line.number}: {word}: {code}"];
}
