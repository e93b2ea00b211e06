using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>Habits that a machine can hold (style of the house).</summary>
public sealed class HabitsTests
{
    private static readonly string[] Product = ["runtime", "node-agent", "coordinator", "cli"];

    [Fact]
    public void Files_StayReadable()
    {
        var longest = Product.Append("tests").SelectMany(f => SourceTree.Files(f, "*.cs")).Select(f => (File: f, Lines: SourceTree.Lines(f).Length)).Where(f => f.Lines > 400);
        Assert.Empty(longest);
    }

    /// <summary>A method begins at a line with a parameter list and ends at the brace of its indentation: the formatter is a gate, so indentation can be believed.</summary>
    [Fact]
    public void Methods_StayReadable() => Assert.Empty(Product.Append("tests").SelectMany(f => SourceTree.Files(f, "*.cs")).SelectMany(f => LongMethods(SourceTree.Lines(f), 70).Select(m => $"{f}:{m.Line}: {m.Length} lines")));

    [Fact]
    public void Methods_PlantedLongOne_IsFound()
    {
        string[] body = [.. Enumerable.Repeat("        x();", 3)];
        string[] lines = ["internal sealed class A(int x)", "{", "    public void Short()", "    {", .. body, "    }", "", "    private static async Task<int> LongAsync<T>(int a,", "        string b)", "    {", .. body, .. body, "    }", "}"];
        Assert.Equal([(10, 10)], LongMethods(lines, 9));
        Assert.Empty(LongMethods(lines, 10));
    }

    /// <summary>140 columns. What is wider was so before this was held; it goes with the next change of its file, and no line is added.</summary>
    [Fact]
    public void Lines_FitTheScreen_OrAreKnown()
    {
        foreach (var (folder, known) in KnownBreaches.WideLines)
        {
            var wide = SourceTree.Files(folder, "*.cs").Sum(f => SourceTree.Lines(f).Count(l => l.Length > 140));
            Assert.True(wide == known, $"{folder}: {wide} lines are wider than 140 columns, and KnownBreaches.WideLines knows {known}: " + (wide > known ? "break the new ones" : "write the lower number there"));
        }
        Assert.Equal(Product.Append("tests").Order(StringComparer.Ordinal), KnownBreaches.WideLines.Select(w => w.Folder).Order(StringComparer.Ordinal));
    }

    private static IEnumerable<(int Line, int Length)> LongMethods(string[] lines, int most)
    {
        for (var i = 0; i < lines.Length; i++)
        {
            if (!Regex.IsMatch(lines[i], @"^( {4}| {8})(?!.*\b(class|record|struct|interface|enum|namespace|new)\b)(\w+ )*[\w<>\[\],?.() ]+\(") || lines[i].EndsWith(';')) continue;
            var indent = lines[i][..(lines[i].Length - lines[i].TrimStart().Length)];
            // What has no block of its own is an expression, and the next member's block is not its.
            var open = Array.FindIndex(lines, i, Math.Min(8, lines.Length - i), l => l == indent + "{" || l.EndsWith(';') || l.Length == 0);
            if (open < 0 || lines[open] != indent + "{") continue;
            var close = Array.FindIndex(lines, open, l => l.StartsWith(indent + "}", StringComparison.Ordinal));
            if (close >= 0 && close - i + 1 > most) yield return (i + 1, close - i + 1);
        }
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
