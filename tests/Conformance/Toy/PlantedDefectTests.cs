using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;
using CsCheck;

namespace AgentMetal.Conformance.Toy;

/// <summary>A suite that finds nothing may be one that looks at nothing: each rule finds the defect that it is there for, and nothing in an agent without one.</summary>
public sealed class PlantedDefectTests
{
    private static readonly Panel s_wanted = Panel.Of(("a", "on"), ("b", "on"));
    private static readonly Panel s_there = Panel.Of(("a", "off"), ("b", "off"), ("c", "off"));

    [Theory]
    [InlineData("none", "")]
    [InlineData("undeclared write", "it changes undeclared c")]
    [InlineData("undeclared read", "makes a on or off by what it does not read: c")]
    [InlineData("footprint by what is not read", "writes c by what it does not read")]
    [InlineData("inverse by what is not read", "is taken back by")]
    [InlineData("no progress", "switch:a is worked at by a call that leaves it as it was")]
    [InlineData("never ends", "plans did not end")]
    [InlineData("nobody answers", "is answered by nobody")]
    [InlineData("silent block", "is blocked without a reason")]
    [InlineData("not pure", "the same inputs give two plans")]
    [InlineData("loses and does not say so", "loses data and does not say so")]
    [InlineData("loses and is harmless", "loses data and is only Safe")]
    [InlineData("secret", "a secret is shown")]
    [InlineData("no words", "has no words for people")]
    [InlineData("unknown kind", "switch is no declared kind")]
    [InlineData("kind without a tool", "has no tool, and does not clear by itself")]
    [InlineData("poll", "looks every")]
    [InlineData("timing", "are not in this order")]
    [InlineData("no fact", "and no fact moved")]
    [InlineData("crash leaves what nobody repairs", "DieHalfway in change")]
    public void Rules_AgentWithOneDefect_FindIt(string defect, string expected)
    {
        var samples = new PanelSamples(defect);
        var c = samples.Journeys[0];
        var other = s_there.With("c", "on");
        var rules = new Rules<Panel, Panel>(samples);
        var findings = Caught(() => rules.Plans(c)).Concat(Caught(() => rules.Dependence(c, other))).Concat(Caught(() => rules.Convergence(c))).Concat(Caught(() => rules.Determinism(c, 2)))
            .Concat(Caught(() => rules.Danger(c))).Concat(Caught(() => rules.Texts(c))).Concat(Caught(() => rules.Kinds(c))).Concat(Caught(() => rules.Facts(c, other))).Concat(Caught(() => rules.Timings(c)))
            .Concat(defect is "none" or "crash leaves what nobody repairs" ? Caught(() => Crashes.Of(samples, c, () => { })) : []).ToList();
        if (expected.Length == 0) Assert.Empty(findings);
        else Assert.Contains(findings, f => f.Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public void Suite_SamplesThatReachNothing_Fails()
    {
        var idle = new Suite<Panel, Panel>(new PanelSamples("none") { Start = s_wanted });
        Assert.ThrowsAny<Exception>(idle.Plans);
        Assert.ThrowsAny<Exception>(idle.Tools);
        Assert.ThrowsAny<Exception>(idle.Facts);
        Assert.ThrowsAny<Exception>(idle.Crashes);
    }

    /// <summary>A defect in one place may make another rule throw: what was found before counts.</summary>
    private static List<string> Caught(Func<IEnumerable<string>> rule)
    {
        List<string> found = [];
        try { found.AddRange(rule()); }
        catch (Exception e) when (e is InvalidOperationException or KeyNotFoundException) { found.Add(e.Message); }
        return found;
    }

    private sealed class PanelSamples(string defect) : Samples<Panel, Panel>
    {
        public Panel Start { get; init; } = s_there;
        public override IReadOnlyCollection<string> Kinds => defect == "unknown kind" ? [] : ["switch", "lever"];
        public override Gen<Case<Panel, Panel>> Any => Gen.Const(Journeys[0]);
        public override IReadOnlyList<Case<Panel, Panel>> Journeys => [new("flip", Agent(), s_wanted, Start, PlanChecks.Request)];
        public override IReadOnlyCollection<string> Secrets => ["hunter2"];
        public override bool HoldsData => false;
        public override int Count => 20;
        public override bool Loses(Panel before, Panel after) => defect.StartsWith("loses", StringComparison.Ordinal) && before["a"] != after["a"];
        public override IEnumerable<Panel> Between(Panel a, Panel b) => [a.With("c", b["c"])];

        // A world that is never content with what was done.
        public override Panel Settle(Panel state) => defect == "never ends" && state["a"] == "on" ? state.With("a", "off") : state;

        private Agent<Panel, Panel> Agent() => defect switch
        {
            // Says what differs by something that is no fact.
            "no fact" => new Odd(Flipping(), static (all, s) => s["c"] == "on" ? [] : all),
            "kind without a tool" => new Odd(Flipping(), static (all, _) => all.Append(new("lever", "x", "a lever is missing"))),
            _ => new PanelAgent(Flipping()),
        };

        private FlipTool Flipping() => new()
        {
            Moves = defect switch
            {
                "silent block" => static (_, _, _) => [Move.Wait<Flip>(" ")],
                "nobody answers" => static (_, _, _) => [],
                "secret" => static (goal, _, d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "because of hunter2")],
                "not pure" => Toss,
                _ => static (goal, _, d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "")],
            },
            After = defect switch
            {
                "undeclared write" => static (s, f) => s.With(f.Switch, f.To).With("c", f.To),
                "undeclared read" => static (s, f) => s.With(f.Switch, s["c"] == "on" ? "off" : f.To),
                "no progress" => static (s, f) => s.With(f.Switch, f.Switch == "a" ? "half" : f.To),
                _ => static (s, f) => s.With(f.Switch, f.To),
            },
            Writes = f => [f.Switch],
            WritesIn = defect switch
            {
                "footprint by what is not read" => static (s, f) => s["c"] == "on" ? [f.Switch, "c"] : [f.Switch],
                "crash leaves what nobody repairs" => static (_, f) => [f.Switch, "c"],
                _ => null,
            },
            Back = defect == "inverse by what is not read" ? static (s, f) => new FlipTool().To(f.Switch, s["c"] == "on" ? "x" : s[f.Switch]) : null,
            Risk = defect == "loses and is harmless" ? static (_, _) => Assessment.Safe with { LosesData = true } : static (_, _) => Assessment.Safe,
            Bounds = defect switch
            {
                "poll" => Timing.Default with { Poll = TimeSpan.FromMilliseconds(1) },
                "timing" => Timing.Default with { Stall = TimeSpan.FromHours(1) },
                _ => Timing.Default,
            },
            Words = defect == "no words" ? static _ => " " : null,
            While = defect == "crash leaves what nobody repairs" ? static (s, f) => s.With("c", "broken") : null,
        };

        private int _tosses;

        private IEnumerable<Move<Flip>> Toss(Panel? goal, Panel state, Difference d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), ++_tosses % 3, "")];
    }

    /// <summary>Sees other differences than the panel's own, and not the switch c.</summary>
    private sealed class Odd(FlipTool tool, Func<IEnumerable<Difference>, Panel, IEnumerable<Difference>> differs) : Agent<Panel, Panel>
    {
        private readonly PanelAgent _inner = new(tool);
        public override string Name => "odd";
        public override System.Collections.Immutable.ImmutableArray<Tool<Panel, Panel>> Tools => _inner.Tools;
        public override System.Collections.Immutable.ImmutableArray<Invariant<Panel, Panel>> Invariants => [];
        public override IEnumerable<Difference> Differences(Panel? goal, Panel state) => differs(_inner.Differences(goal, state), state);
        public override string Fact(Panel state, string key) => state[key];
        public override IEnumerable<string> FactKeys(Panel state) => state.Switches.Keys.Where(k => k != "c");
        public override string Summary(Panel? goal, Panel state) => "";
    }
}
