using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>Habits that a machine can hold (style of the house).</summary>
public sealed class HabitsTests
{
    private static readonly string[] Product = ["runtime", "node-agent", "coordinator", "cli"];

    [Fact]
    public void Files_StayReadable()
    {
        var longest = Product.SelectMany(f => SourceTree.Files(f, "*.cs")).Select(f => (File: f, Lines: SourceTree.Lines(f).Length)).Where(f => f.Lines > 450);
        Assert.Empty(longest);
    }

    [Fact]
    public void EventIds_AreUnique()
    {
        var seen = new Dictionary<string, string>(StringComparer.Ordinal);
        var wrong = new List<string>();
        foreach (var daemon in new[] { "node-agent", "coordinator" })
        {
            seen.Clear();
            foreach (var file in SourceTree.Files(daemon, "*.cs"))
                foreach (Match m in Regex.Matches(string.Join('\n', SourceTree.Lines(file)), @"\[LoggerMessage\((?:EventId\s*=\s*)?(\d+)"))
                    if (!seen.TryAdd(m.Groups[1].Value, file)) wrong.Add($"{file}: event id {m.Groups[1].Value} is used in {seen[m.Groups[1].Value]} too");
        }
        Assert.Empty(wrong);
        Assert.NotEmpty(seen);
    }

    [Fact]
    public void Names_AreTheFields()
    {
        var vague = Product.SelectMany(f => SourceTree.Files(f, "*.cs"))
            .SelectMany(f => SourceTree.Lines(f).Select(l => (File: f, Match: Regex.Match(l, @"^\s*(?:public |internal |private |sealed |static |abstract |partial )*(?:class|record|struct|interface) (\w+(?:Manager|Helper|Helpers|Util|Utils))\b"))))
            .Where(x => x.Match.Success).Select(x => $"{x.File}: {x.Match.Groups[1].Value}");
        Assert.Empty(vague);
    }

    [Fact]
    public void Nothing_IsLeftUnfinishedOrMuted()
    {
        var pattern = new Regex("NotImplemented" + "Exception|\\bTO" + "DO\\b|\\bFIX" + "ME\\b|Skip ?= ?\"|Assert\\.True\\(true");
        var wrong = Product.Append("tests").SelectMany(f => SourceTree.Files(f, "*.cs")).Where(f => !f.StartsWith("tests/Tidy/", StringComparison.Ordinal))
            .SelectMany(f => SourceTree.Lines(f).Select((l, i) => (f, l, i)).Where(x => pattern.IsMatch(x.l))).Select(x => $"{x.f}:{x.i + 1}: {x.l.Trim()}");
        Assert.Empty(wrong);
    }

    [Fact]
    public void PackageVersions_AreCentral()
    {
        var wrong = SourceTree.Files(".", "*.csproj").SelectMany(f => SourceTree.Lines(f).Where(l => l.Contains("PackageReference", StringComparison.Ordinal) && l.Contains("Version=", StringComparison.Ordinal)).Select(l => f + ": " + l.Trim()));
        Assert.Empty(wrong);
    }

    [Fact]
    public void Dependencies_EachHaveALineOfReason()
    {
        var reasons = string.Join('\n', SourceTree.Lines("ARCHITECTURE.md"));
        var packages = SourceTree.Lines("Directory.Packages.props").Select(l => Regex.Match(l, "PackageVersion Include=\"([^\"]+)\"")).Where(m => m.Success).Select(m => m.Groups[1].Value).ToList();
        Assert.NotEmpty(packages);
        Assert.DoesNotContain(packages, p => !reasons.Contains($"| {p} |", StringComparison.Ordinal));
    }
}
