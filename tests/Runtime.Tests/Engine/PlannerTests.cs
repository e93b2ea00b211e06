using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class PlannerTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"), ("b", "off"), ("c", "off"));
    private static readonly Panel s_on = Panel.Of(("a", "on"), ("b", "on"), ("c", "on"));

    [Fact]
    public void Plan_Converged_ProposesNothing()
    {
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool()), s_on, s_on);
        Assert.Equal(Outcome.Converged, plan.Outcome);
        Assert.Empty(plan.Steps);
        Assert.Empty(plan.Differences);
    }

    [Fact]
    public void Plan_OneDifference_SaysBasisExpectationAndUndo()
    {
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool { Reads = _ => ["b"] }), s_off.With("a", "on"), s_off);
        var step = Assert.Single(plan.Steps);
        Assert.Equal([new("a", "off"), new("b", "off")], step.Basis);
        Assert.Equal([new Fact("a", "on")], step.Expect);
        Assert.Equal(new UndoCall("flip", """{"Switch":"a","To":"off"}"""), step.Undo.Call);
        Assert.Equal("flip a to off", step.UndoText);
        Assert.Equal(Outcome.Ready, plan.Outcome);
    }

    [Fact]
    public void Plan_NoToolForADifference_IsStuckNotConverged()
    {
        var plan = PlanChecks.Plan(new PanelAgent(), s_on, s_off);
        Assert.Equal(Outcome.Stuck, plan.Outcome);
        Assert.Equal(3, plan.Blocked.Length);
        Assert.All(plan.Blocked, b => Assert.Equal(["no tool resolves switch"], b.Reasons));
    }

    [Fact]
    public void Plan_OneOfAGroupIsBlocked_LeavesTheWholeGroupAndPlansTheRest()
    {
        var tool = new FlipTool { Moves = (goal, _, d) => [d.Subject == "b" ? Move.Wait<Flip>("stuck") : Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "")] };
        var plan = PlanChecks.Plan(new PanelAgent(tool) { GroupOf = k => k == "c" ? null : "pair" }, s_on, s_off);
        Assert.Equal(Outcome.Partial, plan.Outcome);
        Assert.Equal("switch:c", Assert.Single(plan.Steps).Difference);
        var blocked = Assert.Single(plan.Blocked);
        Assert.Equal(("switch:b", "pair", "stuck"), (blocked.Difference, blocked.Group, Assert.Single(blocked.Reasons)));
    }

    [Fact]
    public void Plan_ProtectedResource_RefusesWhatLosesData()
    {
        var agent = new PanelAgent(new FlipTool { Risk = (_, f) => f.Switch == "a" ? Assessment.Dangerous("data-loss") with { LosesData = true } : Assessment.Safe });
        var plan = PlanChecks.Plan(agent, s_on, s_off, PlanChecks.Request with { Protected = true });
        Assert.Equal(["switch:b", "switch:c"], plan.Steps.Select(s => s.Difference));
        Assert.Equal(["protected"], Assert.Single(plan.Blocked).Reasons);
        Assert.Equal(3, PlanChecks.Plan(agent, s_on, s_off).Steps.Length);
    }

    [Fact]
    public void Plan_RepairsThatUndoEachOther_EndsAndSaysWhatRepeats()
    {
        var tool = new FlipTool { Writes = _ => ["a", "b"], After = (s, f) => s.With("a", "off").With("b", "off").With(f.Switch, f.To) };
        var plan = PlanChecks.Plan(new PanelAgent(tool), Panel.Of(("a", "on"), ("b", "on")), Panel.Of(("a", "off"), ("b", "off")));
        Assert.Equal(Outcome.Partial, plan.Outcome);
        Assert.Single(plan.Steps);
        Assert.StartsWith("repeats flip", Assert.Single(Assert.Single(plan.Blocked).Reasons), StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_ReadsWhatCannotBeSeen_IsRefusedUnlessItActsBlind()
    {
        var fog = s_off.With("eye", FactValue.Unseen("timeout"));
        var seeing = PlanChecks.Plan(new PanelAgent(new FlipTool { Reads = _ => ["eye"] }), s_on, fog);
        Assert.Equal(Outcome.Stuck, seeing.Outcome);
        Assert.Equal(["cannot see eye"], seeing.Blocked[0].Reasons);
        Assert.Equal(Outcome.Ready, PlanChecks.Plan(new PanelAgent(new FlipTool { Reads = _ => ["eye"], Blind = true }), s_on, fog).Outcome);
    }

    [Fact]
    public void Plan_WaitThatClearsByItself_IsWaitingForTheShortest()
    {
        var tool = new FlipTool { Moves = (_, _, d) => [Move.Wait<Flip>("later", TimeSpan.FromSeconds(9)), Move.Wait<Flip>("soon", TimeSpan.FromSeconds(d.Subject == "b" ? 3 : 5))] };
        var plan = PlanChecks.Plan(new PanelAgent(tool), s_on, s_off);
        Assert.Equal(Outcome.Waiting, plan.Outcome);
        Assert.Equal([5, 3, 5], plan.Blocked.Select(b => b.RetryAfter!.Value.TotalSeconds));
        Assert.Equal(Outcome.Waiting, PlanChecks.Plan(new PanelAgent() { ClearsAfter = _ => TimeSpan.FromSeconds(1) }, s_on, s_off).Outcome);
    }

    [Fact]
    public void Plan_RemedyThatFailedTwice_IsNotOfferedAgainAndEscalates()
    {
        var tried = Attempts.None(default).Add("switch:a", """flip{"Switch":"a","To":"on"}""", false, default);
        var goal = s_off.With("a", "on");
        Assert.Equal(Outcome.Ready, PlanChecks.Plan(new PanelAgent(new FlipTool()), goal, s_off, tried: tried).Outcome);
        tried = tried.Add("switch:a", """flip{"Switch":"a","To":"on"}""", false, default);
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool()), goal, s_off, tried: tried);
        Assert.Equal(Outcome.Escalate, plan.Outcome);
        Assert.Equal(["tried and failed: flip a to on; tried again at 01:00:00 UTC"], Assert.Single(plan.Blocked).Reasons);
    }

    [Fact]
    public void Plan_DifferenceThatReturnsAfterEveryRepair_Escalates()
    {
        var tried = Enumerable.Range(0, 8).Aggregate(Attempts.None(default), (t, _) => t.Add("switch:a", "x", true, default));
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool()), s_off.With("a", "on"), s_off, tried: tried);
        Assert.Equal(Outcome.Escalate, plan.Outcome);
        Assert.StartsWith("returns after every repair: put right ", plan.Blocked[0].Reasons[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_NeverInvariant_IsRefusedEvenWhenOnlyBrokenHalfway()
    {
        var tool = new FlipTool { While = (s, f) => s.With(f.Switch, "broken") };
        var agent = new PanelAgent(tool) { Rules = [new("whole", Strength.Never, "a", (_, _, s) => s["a"] == "broken" ? "a breaks" : null)] };
        var plan = PlanChecks.Plan(agent, s_on, s_off);
        Assert.Equal(["switch:b", "switch:c"], plan.Steps.Select(s => s.Difference));
        Assert.Equal(["whole: a breaks"], Assert.Single(plan.Blocked).Reasons);
    }

    [Fact]
    public void Plan_TwoGuardsBroken_NamesBoth()
    {
        var agent = new PanelAgent(new FlipTool()) { Rules = [new("first", Strength.Guard, "a", static (_, _, _) => "x"), new("second", Strength.Guard, "a", static (_, _, _) => "y")] };
        var step = Assert.Single(PlanChecks.Plan(agent, Panel.Of(("a", "on")), Panel.Of(("a", "off"))).Steps);
        Assert.Equal(["first", "second"], step.Risk.Reasons);
    }

    [Fact]
    public void Plan_GuardOrIrreversible_IsDangerousAndComesLast()
    {
        var tool = new FlipTool { Back = (s, f) => f.Switch == "a" ? Undo.Impossible("gone") : new FlipTool().To(f.Switch, s[f.Switch]) };
        var agent = new PanelAgent(tool) { Rules = [new("quorum", Strength.Guard, "b", (_, _, s) => s["b"] == "on" ? "b is on" : null)] };
        var plan = PlanChecks.Plan(agent, s_on, s_off);
        Assert.Equal(["switch:c", "switch:a", "switch:b"], plan.Steps.Select(s => s.Difference));
        Assert.Equal([RiskLevel.Safe, RiskLevel.Dangerous, RiskLevel.Dangerous], plan.Steps.Select(s => s.Risk.Level));
        Assert.Equal(["irreversible", "quorum"], plan.Steps.SelectMany(s => s.Risk.Reasons));
    }

    [Fact]
    public void Plan_TeardownThatLosesData_IsDangerousWhateverTheToolSays()
    {
        var agent = new PanelAgent(new FlipTool { Risk = (_, _) => Assessment.Safe with { LosesData = true } });
        var plan = PlanChecks.Plan(agent, null, Panel.Of(("a", "on")), PlanChecks.Request with { Teardown = true });
        Assert.Equal((RiskLevel.Dangerous, "teardown"), (plan.Steps[0].Risk.Level, plan.Steps[0].Risk.Reasons[0]));
        Assert.Equal(RiskLevel.Safe, PlanChecks.Plan(agent, null, Panel.Of(("a", "on"))).Steps[0].Risk.Level);
    }

    [Fact]
    public void Plan_StepThatWritesWhatAnotherHasRead_WaitsAWave()
    {
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool { Reads = f => f.Switch == "a" ? ["b"] : [] }), s_on, s_off);
        Assert.Equal([("switch:a", 1), ("switch:c", 1), ("switch:b", 2)], plan.Steps.Select(s => (s.Difference, s.Wave)));
    }

    [Fact]
    public void Plan_MoveThatEndsThePlan_IsPartial()
    {
        var tool = new FlipTool { Moves = (goal, _, d) => [Move.DoThenLook(new Flip(d.Subject, goal![d.Subject]), 1, "")] };
        var plan = PlanChecks.Plan(new PanelAgent(tool), s_on, s_off);
        Assert.Equal((Outcome.Partial, 1), (plan.Outcome, plan.Steps.Length));
        Assert.Empty(plan.Blocked);
    }

    [Fact]
    public void Plan_MoreStepsThanAllowed_IsPartial()
    {
        var plan = PlanChecks.Plan(new PanelAgent(new FlipTool { Writes = f => [f.Switch, "bus"], After = (s, f) => s.With(f.Switch, f.To).With("bus", f.Switch) }), s_on, s_off, PlanChecks.Request with { MaxSteps = 2 });
        Assert.Equal((Outcome.Partial, 2), (plan.Outcome, plan.Steps.Length));
    }

    [Fact]
    public void Plan_PredictionThatChangesNothing_IsABugAndThrows() =>
        Assert.Throws<InvalidOperationException>(() => PlanChecks.Plan(new PanelAgent(new FlipTool { After = (s, _) => s }), s_on, s_off));

    [Fact]
    public void Plan_MoreQuestionsThanAllowed_TakesTheRulesChoiceAndListsThem()
    {
        var asked = 0;
        var plan = PlanChecks.Plan(Asking(), s_on, s_off, PlanChecks.Request with { MaxQuestions = 2 }, reasoner: q =>
        {
            asked++;
            return new(q.Key, q.Options[1], "test");
        });
        Assert.Equal((Outcome.Ready, 2, 1), (plan.Outcome, asked, plan.BeyondQuestions.Length));
        Assert.Equal(["other", "other", "flip"], plan.Steps.OrderBy(s => s.Difference, StringComparer.Ordinal).Select(s => s.Tool));
        Assert.StartsWith("switch:c|flip", plan.BeyondQuestions[0], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("rm -rf /")]
    [InlineData("")]
    [InlineData("""flip{"Switch":"b","To":"on"}""")]
    public void Plan_DecisionThatIsNoOption_TakesTheRulesChoice(string option)
    {
        var goal = s_off.With("a", "on");
        var plan = PlanChecks.Plan(Asking(), goal, s_off, reasoner: q => new(q.Key, option, "mallory"));
        Assert.Equal("flip", Assert.Single(plan.Steps).Tool);
        var chosen = PlanChecks.Plan(Asking(), goal, s_off, reasoner: q => new(q.Key, q.Options[1], "device"));
        Assert.Equal("other", Assert.Single(chosen.Steps).Tool);
        Assert.NotEqual(plan.Hash, chosen.Hash);
    }

    [Fact]
    public void Plan_AnswersToOtherQuestions_AreBoundedAndChangeNothing()
    {
        var plan = PlanChecks.Plan(Asking(), s_on, s_off, reasoner: q => new("another", q.Options[1], "mallory"));
        Assert.Equal(["flip", "flip", "flip"], plan.Steps.Select(s => s.Tool));
    }

    private static PanelAgent Asking()
    {
        static IEnumerable<Move<Flip>> Moves(Panel? goal, Panel state, Difference d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "") with { Ask = "which" }];
        return new(new FlipTool("flip") { Moves = Moves }, new FlipTool("other") { Moves = Moves });
    }
}
