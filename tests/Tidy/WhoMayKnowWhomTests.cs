namespace AgentMetal.Tidy;

/// <summary>
/// The lines of the house: <see cref="ArrowTable"/> says which room may use which, <see cref="KnownBreaches"/> what is not so yet.
/// Each message names the file, the name it uses and the room that name is in.
/// </summary>
public sealed class WhoMayKnowWhomTests
{
    private static readonly IReadOnlyList<Row> Table = ArrowTable.Rows;

    private static readonly List<(string Path, string Text)> Sources =
        [.. new[] { "*.cs", "*.proto" }.SelectMany(p => SourceTree.Files(".", p)).Select(f => (f, SourceTree.Text(f)))];

    private static readonly List<string> Projects = [.. SourceTree.Files(".", "*.csproj")];

    private static readonly List<string> Rooms =
        [.. Sources.Select(s => s.Path).Concat(Projects).Select(f => Arrows.RoomOf(Table, f)).Distinct().Order(StringComparer.Ordinal)];

    private static readonly List<(string Room, string Namespace)> Declared =
        [.. Sources.Select(s => (Room: Arrows.RoomOf(Table, s.Path), Namespace: Names.NamespaceOf(s.Path, s.Text)))
            .Where(d => d.Namespace.Length > 0).Distinct()];

    private static readonly Arrows Checker = new(Table, Names.Of(Sources, f => Arrows.RoomOf(Table, f)));

    [Fact]
    public void EachRoom_HasARow_AndEachRowARoom()
    {
        Nothing(from room in Rooms
                where Arrows.RowOf(Table, room) is null
                select $"{room}/ has no row in ArrowTable.cs: say there what it may use and why");
        Nothing(from row in Table
                where !Rooms.Any(r => Arrows.RowOf(Table, r) == row)
                select $"{row.Room} is in ArrowTable.cs and has no files, or has two rows");
        // A room that is spelled wrong would allow nothing, and nobody would see it.
        Nothing(from row in Table
                from use in row.Uses
                where !Rooms.Any(r => Row.Means(use, r))
                select $"{row.Room} may use {use}, which is no room");
        Nothing(Table.Where(r => r.Why.Length == 0).Select(r => $"{r.Room} has no reason"));
    }

    [Fact]
    public void Sources_UseOnlyWhatTheirRowAllows()
    {
        var breaches = (from s in Sources
                        from use in Checker.Breaches(s.Path, s.Text)
                        group use.Name by (File: s.Path, use.Room)).ToDictionary(g => g.Key, g => g.Order(StringComparer.Ordinal).ToList());
        Nothing(Judge(breaches, KnownBreaches.All));
    }

    [Fact]
    public void Projects_ReferenceOnlyWhatTheirRowAllows() =>
        Nothing(from project in Projects
                from use in Checker.BreachesOfProject(project, SourceTree.Text(project))
                select $"{project} takes in {use.Name}, and {use.Room} is not in its row");

    [Fact]
    public void EachRow_CatchesItsPlantedBreach()
    {
        foreach (var (row, path, ns) in Plots())
        {
            var found = Checker.Breaches(path, $"{row.Planted}\n{ns}\n").Select(u => u.Room).Distinct().ToList();
            Assert.True(found is [var room] && room == row.Caught,
                $"{path}: \"{row.Planted}\" must be caught for {row.Caught}, was for {string.Join(", ", found.DefaultIfEmpty("nothing"))}");
        }
        Assert.Equal(Table, Plots().Select(p => p.Row).Distinct());
    }

    [Fact]
    public void EachRow_LetsThroughWhatItAllows()
    {
        foreach (var (row, path, ns) in Plots())
        {
            var allowed = Declared.Where(d => row.Allows(d.Room)).Select(d => $"using {d.Namespace};\n").ToList();
            Assert.Equal(row.Uses.Length == 0, allowed.Count == 0);
            Nothing(Checker.Breaches(path, string.Concat(allowed) + ns).Select(u => $"{path} may use {u.Room}: {u.Name}"));
        }
    }

    [Fact]
    public void AProject_ThatTakesInWhatItsRowDoesNotAllow_IsCaught()
    {
        static string Caught(string project, string kind, string what) =>
            string.Join(", ", Checker.BreachesOfProject(project, $"<Project><{kind} Include=\"{what}\" /></Project>").Select(u => u.Room));
        Assert.Equal("node-agent", Caught("coordinator/A.csproj", "ProjectReference", "../node-agent/AgentMetal.NodeAgent.csproj"));
        Assert.Equal("runtime", Caught("proto/A.csproj", "ProjectReference", "../runtime/AgentMetal.Runtime.csproj"));
        Assert.Equal("tests/NodeAgent.Tests", Caught("tests/Lab/A.csproj", "Compile", "../NodeAgent.Tests/Agents/MemberDriver.cs"));
        Assert.Equal("", Caught("coordinator/A.csproj", "ProjectReference", "../wire/AgentMetal.Wire.csproj"));
        Assert.Equal("", Caught("tests/NodeAgent.Tests/A.csproj", "ProjectReference", "../../node-agent/AgentMetal.NodeAgent.csproj"));
    }

    [Theory]
    [InlineData("newroom/A.cs", "newroom", false)]
    [InlineData("node-agent/Services/Units/A.cs", "node-agent/Services", false)]
    [InlineData("coordinator/Placement/A.cs", "coordinator/Placement", false)]
    [InlineData("tests/New.Tests/A.csproj", "tests/New.Tests", false)]
    [InlineData("node-agent/Agents/Proxy/Tools/A.cs", "node-agent/Agents/Proxy", true)]
    [InlineData("coordinator/Agents/Proxy/A.cs", "coordinator/Agents/Proxy", true)]
    [InlineData("runtime/Schedule/A.cs", "runtime", true)]
    public void ANewFolder_IsARoom_AndOnlyAnAgentsHasARowAlready(string path, string room, bool hasRow)
    {
        Assert.Equal(room, Arrows.RoomOf(Table, path));
        Assert.Equal(hasRow, Arrows.RowOf(Table, room) is not null);
    }

    [Theory]
    [InlineData("using AgentMetal.NodeAgent.Edge;")]
    [InlineData("global using AgentMetal.NodeAgent.Edge;")]
    [InlineData("using static AgentMetal.NodeAgent.Edge.LocalServer;")]
    [InlineData("using Server = AgentMetal.NodeAgent.Edge.LocalServer;")]
    [InlineData("using Edges = global::AgentMetal.NodeAgent.Edge;")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A { object x = new AgentMetal.NodeAgent.Edge.LocalServer(); }")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A { object x = new global::AgentMetal.NodeAgent.Edge.LocalServer(); }")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A(Edge.LocalServer x);")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; using Edge; class A;")]
    [InlineData("namespace AgentMetal.NodeAgent.Edge.New; class A(LocalServer x);")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A { string x = $\"{nameof(Edge.LocalServer)}\"; }")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A { object x = y ? Edge.LocalServer.One : null; }")]
    [InlineData("namespace AgentMetal.NodeAgent.Edge.New; class A { void M() { switch (x) { case LocalServer: break; } } }")]
    [InlineData("class A { string x = \"\\\"\", y = @\"\"\"\", z = $\"{{\"; object o = new AgentMetal.NodeAgent.Edge.LocalServer(); }")]
    [InlineData("class A { string x = $$\"\"\"{ \"a\" {{new AgentMetal.NodeAgent.Edge.LocalServer()}}\"\"\"; }")]
    public void EachWayToName_IsSeen(string text) => Assert.Contains("node-agent/Edge", Checker.Uses(text).Select(u => u.Room));

    [Theory]
    [InlineData("// using AgentMetal.NodeAgent.Edge;")]
    [InlineData("/* using AgentMetal.NodeAgent.Edge; */")]
    [InlineData("class A { string x = \"AgentMetal.NodeAgent.Edge.LocalServer\"; }")]
    [InlineData("class A { string x = \"\"\"say \"AgentMetal.NodeAgent.Edge.LocalServer\".\"\"\"; }")]
    [InlineData("class A { string x = $\"AgentMetal.NodeAgent.Edge.LocalServer {{Edge.LocalServer}}\"; }")]
    [InlineData("class A { char x = '\"'; } // AgentMetal.NodeAgent.Edge.LocalServer")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A(B Edge) { object x = Edge.Name; }")]
    [InlineData("namespace AgentMetal.NodeAgent.Host; class A { object x = host.Edge.LocalServer; }")]
    [InlineData("namespace AgentMetal.NodeAgent.Edge.New; class A { string LocalServer { get; } }")]
    [InlineData("namespace AgentMetal.NodeAgent.Edge.New; class A { object x = new B(LocalServer: 1); }")]
    public void WhatNamesNothing_IsNotSeen(string text) => Assert.DoesNotContain("node-agent/Edge", Checker.Uses(text).Select(u => u.Room));

    [Theory]
    [InlineData("class A { string x = \"; }")]
    [InlineData("class A { string x = $\"{y\"; }")]
    [InlineData("class A { ")]
    public void AText_ThatCannotBeReadToItsEnd_IsNoCleanText(string text) => Assert.Throws<InvalidDataException>(() => Checker.Uses(text));

    [Fact]
    public void AKnownBreach_MayOnlyShrink()
    {
        var found = new Dictionary<(string File, string Room), List<string>> { [("a.cs", "x")] = ["X.One", "X.Two"] };
        Assert.Empty(Judge(found, [new("a.cs", "x", 2)]));
        Assert.Single(Judge(found, []));
        Assert.Single(Judge(found, [new("a.cs", "x", 1)]));
        Assert.Single(Judge(found, [new("a.cs", "x", 3)]));
        Assert.Single(Judge(found, [new("a.cs", "x", 2), new("b.cs", "x", 1)]));
        Assert.Single(Judge(found, [new("a.cs", "x", 2), new("a.cs", "x", 2)]));
    }

    private static IEnumerable<string> Judge(Dictionary<(string File, string Room), List<string>> breaches, IReadOnlyList<Known> known)
    {
        foreach (var ((file, room), names) in breaches)
        {
            var allowed = known.FirstOrDefault(k => k.File == file && k.Room == room)?.Count ?? 0;
            var what = $"{file} uses {names.Count} name{(names.Count == 1 ? "" : "s")} of {room} ({string.Join(", ", names)})";
            if (allowed == 0) yield return what + ", which its row does not allow";
            else if (names.Count > allowed) yield return what + $"; {allowed} are known and may only become fewer";
            else if (names.Count < allowed) yield return what + $"; lower its count in KnownBreaches.cs from {allowed}";
        }
        foreach (var k in known.Where(k => !breaches.ContainsKey((k.File, k.Room))))
            yield return $"{k.File} uses nothing of {k.Room} that is forbidden: take it out of KnownBreaches.cs";
        foreach (var twice in known.GroupBy(k => (k.File, k.Room)).Where(g => g.Count() > 1))
            yield return $"{twice.Key} is in KnownBreaches.cs twice";
    }

    /// <summary>
    /// For each row a path in each of its rooms, and the namespace line that a file there has. Left out is the room that the planted
    /// breach reaches for, where a row is for many.
    /// </summary>
    private static IEnumerable<(Row Row, string Path, string Namespace)> Plots() =>
        from row in Table
        from room in Rooms
        where Arrows.RowOf(Table, room) == row && room != row.Caught
        select (row, $"{room}/Planted.cs", $"namespace {Declared.First(d => d.Room == room).Namespace};");

    private static void Nothing(IEnumerable<string> wrong)
    {
        var list = wrong.ToList();
        Assert.True(list.Count == 0, string.Join('\n', list));
    }
}
