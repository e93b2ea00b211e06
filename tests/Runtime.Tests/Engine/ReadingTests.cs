using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

/// <summary>A reading and a decision may reorder what is viable; neither makes anything viable, removes a difference or lowers a risk.</summary>
public sealed class ReadingTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"), ("b", "off"));
    private static readonly Panel s_on = Panel.Of(("a", "on"), ("b", "on"));
    private static readonly string[] s_tools = ["first", "second", "third"];

    private sealed record Trait(int Cost, string? Ask, string? Remedies, int Fate, RiskLevel Risk)
    {
        internal bool Viable => Fate > 1;
    }

    private static readonly Gen<Trait> s_trait = Gen.Select(Gen.Int[0, 2], One<string?>(null, "q"), One<string?>(null, "oom", "disk_full"), Gen.Int[0, 6], Gen.Int[0, 2],
        (cost, ask, remedies, fate, risk) => new Trait(cost, ask, remedies, fate, (RiskLevel)risk));

    private static readonly Gen<ImmutableArray<Reading>> s_readings = Gen.Select(One("switch:a", "switch:b", "switch:z"),
        One("oom", "disk_full", "normal", "nonsense"), Gen.Int[0, 1], (d, cause, sure) => new Reading(d, cause, (Confidence)sure, 1)).Array[0, 5].Select(r => r.ToImmutableArray());

    [Fact]
    public void Plan_ReadingOfACause_PutsItsRemedyFirst()
    {
        var agent = Agent([new(1, null, null, 6, RiskLevel.Safe), new(9, null, "oom", 6, RiskLevel.Safe), new(5, null, null, 6, RiskLevel.Safe)]);
        Assert.Equal(["first", "first"], PlanChecks.Plan(agent, s_on, s_off).Steps.Select(s => s.Tool));
        var plan = PlanChecks.Plan(agent, s_on, s_off, readings: [new("switch:b", "oom", Confidence.Sure, 1)]);
        Assert.Equal(["first", "second"], plan.Steps.OrderBy(s => s.Difference, StringComparer.Ordinal).Select(s => s.Tool));
    }

    [Fact]
    public void Plan_AnyReadings_ReorderViableMovesAndNothingElse()
    {
        var (changed, asked) = (0, 0);
        Gen.Select(s_trait.Array[3], s_readings).Sample((traits, readings) =>
        {
            var agent = Agent(traits);
            var planner = new Planner<Panel, Panel>(agent);
            var plain = PlanChecks.Plan(agent, s_on, s_off);
            var read = PlanChecks.Plan(agent, s_on, s_off, readings: readings);
            Assert.Equal(plain.Differences.Select(d => d.Key), read.Differences.Select(d => d.Key));
            Assert.Equal(plain.Outcome, read.Outcome);
            Assert.Equal(plain.Blocked.Select(b => (b.Difference, string.Join('|', b.Reasons))), read.Blocked.Select(b => (b.Difference, string.Join('|', b.Reasons))));
            Assert.Empty(PlanChecks.Findings(agent, read));
            Assert.All(read.Steps, s =>
            {
                var trait = traits[Array.IndexOf(s_tools, s.Tool)];
                Assert.True(trait.Viable, s.Tool + " was not viable");
                Assert.Equal(trait.Risk, s.Risk.Level);
            });
            var open = planner.Plan(PlanChecks.Request, s_on, s_off, Attempts.None(default), [], []).Question;
            var openRead = planner.Plan(PlanChecks.Request, s_on, s_off, Attempts.None(default), readings, []).Question;
            if (open is not null && openRead is not null && open.Difference == openRead.Difference)
            {
                asked++;
                Assert.Equal(open.Options.Order(StringComparer.Ordinal), openRead.Options.Order(StringComparer.Ordinal));
            }
            if (!plain.Steps.Select(s => s.Hash).SequenceEqual(read.Steps.Select(s => s.Hash))) changed++;
        }, iter: 3000, threads: 1);
        Assert.True(changed > 100 && asked > 100, $"{changed} plans changed, {asked} questions compared");
    }

    [Fact]
    public void Plan_AnyReasoner_NeverGetsAPlanThroughThatTheEngineWouldNotAdmit()
    {
        var chosen = 0;
        Gen.Select(s_trait.Array[3], s_readings, Gen.Int[0, 4], Gen.String).Sample((traits, readings, mood, noise) =>
        {
            var agent = Agent(traits);
            var rules = PlanChecks.Plan(agent, s_on, s_off, readings: readings);
            var plan = PlanChecks.Plan(agent, s_on, s_off, readings: readings, reasoner: q => mood switch
            {
                0 => new(q.Key, noise, "mallory"),
                1 => new(noise, q.Options[^1], "mallory"),
                2 => new(q.Key, q.Options[0].Replace("\"a\"", "\"z\"", StringComparison.Ordinal), "mallory"),
                3 => new(q.Key, "first{}", "mallory"),
                _ => new(q.Key, q.Options[^1], "mallory"),
            });
            Assert.Empty(PlanChecks.Findings(agent, plan));
            Assert.Equal(rules.Outcome, plan.Outcome);
            Assert.All(plan.Steps, s => Assert.True(traits[Array.IndexOf(s_tools, s.Tool)].Viable));
            if (mood is 0 or 1 or 3) Assert.Equal(rules.Steps.Select(s => s.Hash), plan.Steps.Select(s => s.Hash));
            if (mood == 4 && plan.Hash != rules.Hash) chosen++;
        }, iter: 3000, threads: 1);
        Assert.True(chosen > 50, $"{chosen} choices mattered");
    }

    private static Gen<T> One<T>(params T[] of) => Gen.Int[0, of.Length - 1].Select(i => of[i]);

    /// <summary>Three tools for every switch: some blocked, some refused by a rule, some unable to see.</summary>
    private static PanelAgent Agent(IReadOnlyList<Trait> traits)
    {
        var tools = s_tools.Select((name, i) => new FlipTool(name)
        {
            Moves = (goal, _, d) =>
            [
                traits[i].Fate == 0 ? Move.Wait<Flip>("blocked")
                    : Move.Do(new Flip(d.Subject, goal![d.Subject]), traits[i].Cost, "") with { Ask = traits[i].Ask, Remedies = traits[i].Remedies },
            ],
            While = traits[i].Fate == 1 ? (s, f) => s.With(f.Switch, "broken") : null,
            Risk = (_, _) => new(traits[i].Risk, []),
        });
        return new([.. tools]) { Rules = [new("whole", Strength.Never, "", (_, _, s) => s["a"] == "broken" || s["b"] == "broken" ? "broken" : null)] };
    }
}
