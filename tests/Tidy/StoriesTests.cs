using System.Diagnostics;
using System.Text.RegularExpressions;

namespace AgentMetal.Tidy;

/// <summary>Which stories of the lab a run of ./test.sh tells: tests/stories.sh, tried on a small repository of its own; and what it reads, in this one.</summary>
public sealed partial class StoriesTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-stories-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Stories_EachDeclareAnAreaThatIsThereAndACost()
    {
        var areas = Areas().Select(a => a.Name).Where(n => n != "*").ToHashSet(StringComparer.Ordinal);
        var told = new List<string>();
        foreach (var file in SourceTree.Files("tests/Lab.Tests", "*.cs").Where(f => Tells().IsMatch(SourceTree.Text(f))))
        {
            var stories = Story().Matches(SourceTree.Text(file));
            Assert.True(stories.Count == 1 && areas.Contains(stories[0].Groups[1].Value) && int.Parse(stories[0].Groups[2].Value, null) > 0,
                $"{file}: its class wants [Story(\"AREA\", SECONDS)] above it, with an area of tests/areas.txt");
            if (stories[0].Groups[3].Success) told.Add(stories[0].Groups[1].Value);
        }
        Assert.Equal(areas.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal)); // One heart each.
        Assert.Equal(SourceTree.Files("tests/Lab.Tests", "*.cs").Count(f => Tells().IsMatch(SourceTree.Text(f))), Run(SourceTree.Root, "--all").Length);
    }

    [Fact]
    public void Areas_CoverEveryFileOfTheProduct()
    {
        var areas = Areas();
        Assert.DoesNotContain(((string[])["runtime", "proto", "node-agent", "coordinator", "cli", "packaging", "tests/Lab", "tests/Lab.Tests"]).SelectMany(f => SourceTree.Files(f, "*")),
            f => !areas.Any(a => f.StartsWith(a.Prefix, StringComparison.Ordinal)));
        foreach (var (name, prefix) in areas)
            Assert.True(File.Exists(Path.Combine(SourceTree.Root, prefix)) || Directory.Exists(Path.Combine(SourceTree.Root, prefix)) || SourceTree.Files(Path.GetDirectoryName(prefix)!, "*").Any(f => f.StartsWith(prefix, StringComparison.Ordinal)),
                $"tests/areas.txt: {name} {prefix} is no file of the tree");
    }

    [Fact]
    public void Chosen_WhatChangedWithinADayOfTheNewestCommitAndTheHeartOfEachOther()
    {
        Repository();
        Commit("2026-01-01T00:00:00Z", "a/x", "b/x", "c/x");
        Commit("2026-03-01T10:00:00Z", "a/deep/y");
        Commit("2026-03-01T12:00:00Z", "a/z");
        Assert.Equal(["T.A1", "T.A2", "T.B1"], Run(_root).Order(StringComparer.Ordinal)); // The whole of a, the heart of b; c has none, and there is no time for it.
        Commit("2026-03-02T11:00:00Z", "b/y"); // What was changed 23 hours before counts, and 25 hours before does not.
        Assert.Equal(["T.A1", "T.A2", "T.B1", "T.B2"], Run(_root).Order(StringComparer.Ordinal));
        Commit("2026-03-03T11:30:00Z", "b/z");
        Assert.Equal(["T.A1", "T.B1", "T.B2"], Run(_root).Order(StringComparer.Ordinal));
        // The longest prefix decides: what is below a and has a line of its own is no change of a.
        Commit("2026-03-09T00:00:00Z", "a/c/y");
        Assert.Equal(["T.A1", "T.B1", "T.C1"], Run(_root).Order(StringComparer.Ordinal));
        Commit("2026-03-19T00:00:00Z", "all");
        Assert.Equal(5, Run(_root).Length);
        // What is not committed yet is a change too.
        Commit("2026-03-29T00:00:00Z", "nothing");
        File.WriteAllText(_root + "/b/w", "");
        Assert.Equal(["T.A1", "T.B1", "T.B2"], Run(_root).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Chosen_OfTheRestAsManyAsFitInAnOrderThatTheCommitGives()
    {
        Repository();
        var chosen = new HashSet<string>(StringComparer.Ordinal);
        for (var i = 0; i < 24; i++) // The hashes are the same in every run: names and times are.
        {
            Commit($"2026-{1 + (i / 2):00}-{1 + (i % 2 * 15):00}T00:00:00Z", "nothing");
            var told = Run(_root, seconds: 60); // Both hearts are 20, each of the rest is 30.
            Assert.Equal(told, Run(_root, seconds: 60));
            Assert.Equal(3, told.Length);
            Assert.Subset(told.ToHashSet(), new HashSet<string> { "T.A1", "T.B1" });
            chosen.UnionWith(told);
        }
        Assert.Equal(5, chosen.Count);
    }

    [Fact]
    public void Chosen_WhereTheHistoryIsCutOff_Everything()
    {
        Repository();
        Commit("2026-01-01T00:00:00Z", "b/y");
        Commit("2026-01-01T01:00:00Z", "a/y");
        Git("clone -q --depth 1 file://" + _root + " " + _root + "/cut");
        Assert.Equal(5, Run(_root + "/cut").Length);
    }

    [GeneratedRegex(@"^\[Story\(""([a-z0-9]+)"", ([0-9]+)(, Heart = true)?\)\]$", RegexOptions.Multiline)]
    private static partial Regex Story();

    [GeneratedRegex(@"^\s*\[(Fact|Theory)\b", RegexOptions.Multiline)]
    private static partial Regex Tells();

    private static (string Name, string Prefix)[] Areas() => [.. SourceTree.Lines("tests/areas.txt").Where(l => l.Length > 0 && l[0] != '#')
        .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Select(w => (w[0], w[1]))];

    private void Repository()
    {
        Directory.CreateDirectory(_root + "/tests/Lab.Tests");
        foreach (var name in (string[])["A1", "A2", "B1", "B2", "C1"])
            File.WriteAllText($"{_root}/tests/Lab.Tests/{name}.cs", $$"""
                namespace T;

                [Story("{{char.ToLowerInvariant(name[0])}}", {{(name is "A1" or "B1" ? "10, Heart = true" : "30")}})]
                [Other]
                public sealed class {{name}}
                {
                    [Fact]
                }

                """);
        File.Copy(Path.Combine(SourceTree.Root, "tests/stories.sh"), _root + "/tests/stories.sh");
        File.WriteAllText(_root + "/tests/areas.txt", "# of a test\na a/\nb b/\nc c/\nc a/c/\n* all\n");
        Git("init -q -b main");
        Commit("2025-01-01T00:00:00Z", "begin");
    }

    private void Commit(string at, params string[] files)
    {
        foreach (var file in files)
        {
            Directory.CreateDirectory(Path.GetDirectoryName($"{_root}/{file}")!);
            File.AppendAllText($"{_root}/{file}", at);
        }
        Git("add -A");
        Git("-c user.name=t -c user.email=t@example.org commit -q --allow-empty -m c", at);
    }

    private void Git(string arguments, string at = "2026-01-01T00:00:00Z") => Start("git", arguments, _root, ("GIT_COMMITTER_DATE", at), ("GIT_AUTHOR_DATE", at));

    private static string[] Run(string root, string arguments = "", int seconds = 0) =>
        [.. Start("bash", "tests/stories.sh " + arguments, root, ("STORY_SECONDS", seconds.ToString(System.Globalization.CultureInfo.InvariantCulture)))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' ')[0])];

    private static string Start(string program, string arguments, string directory, params (string Name, string Value)[] variables)
    {
        var info = new ProcessStartInfo(program, arguments) { WorkingDirectory = directory, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in variables) info.Environment[name] = value;
        using var process = Process.Start(info)!;
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {arguments}: {errors.GetAwaiter().GetResult()}");
        return said;
    }
}
