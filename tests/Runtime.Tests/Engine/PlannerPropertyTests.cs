using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class PlannerPropertyTests
{
    private static readonly ClusterAgent s_agent = new();

    [Fact]
    public void Plan_AnyStateThatCanBeSeen_ReachesTheGoalAndKeepsEveryRule()
    {
        var (steps, inverses, waves) = (0, 0, 0);
        Samples.Clear.Sample(c =>
        {
            var plan = PlanChecks.Plan(s_agent, c.Goal, c.State);
            Assert.True(plan.Outcome is Outcome.Ready or Outcome.Converged, $"{plan.Outcome} {string.Join("; ", plan.Blocked.SelectMany(b => b.Reasons))}");
            Assert.Empty(PlanChecks.Findings(s_agent, plan));
            steps += plan.Steps.Length;
            inverses += plan.Steps.Count(s => s.Undo.Kind == UndoKind.Call);
            waves += plan.Steps.GroupBy(s => s.Wave).Count(w => w.Count() > 1);
        }, iter: 1000, threads: 1);
        Assert.True(steps > 1000 && inverses > 300 && waves > 50, $"{steps} steps, {inverses} inverses, {waves} shared waves: the cases are too tame");
    }

    [Fact]
    public void Plan_AnyStateInFog_ReachesTheGoalOrSaysWhatBlocksEachDifference()
    {
        var (reached, blocked) = (0, 0);
        Samples.Foggy.Sample(c =>
        {
            var plan = PlanChecks.Plan(s_agent, c.Goal, c.State);
            Assert.Empty(PlanChecks.Findings(s_agent, plan));
            var groups = plan.Blocked.Select(b => b.Group).ToHashSet();
            Assert.All(s_agent.Differences(plan.Goal, plan.Final), d => Assert.Contains(d.Scope, groups));
            Assert.All(plan.Blocked, b => Assert.NotEmpty(b.Reasons));
            Assert.All(plan.Steps, s => Assert.DoesNotContain(s.Group, groups));
            if (plan.Blocked.IsEmpty) reached++; else blocked++;
        }, iter: 1000, threads: 1);
        Assert.True(reached > 100 && blocked > 100, $"{reached} reached, {blocked} blocked");
    }

    [Theory]
    [InlineData("none", "")]
    [InlineData("footprint", "it changes undeclared c")]
    [InlineData("inverse", "its inverse from after leaves a 77")]
    [InlineData("reads", "it is no longer proposed")]
    [InlineData("invariant", "it breaks watched-too-little")]
    public void Findings_AgentWithOneDefect_AreFound(string defect, string expected)
    {
        var tool = new FlipTool
        {
            After = (s, f) => defect == "footprint" ? s.With(f.Switch, f.To).With("c", f.To) : s.With(f.Switch, f.To),
            Back = defect == "inverse" ? (_, f) => new FlipTool().To(f.Switch, "77") : null,
            Moves = (goal, s, d) => [defect == "reads" && d.Subject == "b" && s["a"] == "on" ? Move.Wait<Flip>("a is on") : Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "")],
        };
        var agent = new PanelAgent(tool)
        {
            Rules = defect == "invariant" ? [new("watched-too-little", Strength.Never, "elsewhere", (_, _, s) => s["b"] == "on" ? "b" : null)] : [],
        };
        var findings = PlanChecks.Findings(agent, PlanChecks.Plan(agent, Panel.Of(("a", "on"), ("b", "on")), Panel.Of(("a", "off"), ("b", "off"), ("c", "off"))));
        if (expected.Length == 0) Assert.Empty(findings);
        else Assert.Contains(findings, f => f.Contains(expected, StringComparison.Ordinal));
    }
}
