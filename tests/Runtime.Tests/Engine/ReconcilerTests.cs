using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ReconcilerTests
{
    private static readonly Panel s_off = Panel.Of(("calm", "off"), ("deadly", "off"));
    private static readonly Panel s_on = Panel.Of(("calm", "on"), ("deadly", "on"));

    [Theory]
    [InlineData(Mode.Enforce)]
    [InlineData(Mode.Propose)]
    [InlineData(Mode.Observe)]
    public void Reconcile_Converged_LooksOnceAndIsSilent(Mode mode)
    {
        var rig = Rig();
        rig.World.State = s_on;
        Assert.Equal(ReconcilePhase.Converged, rig.Pass(s_on, mode).Phase);
        Assert.IsType<Observe<Panel>>(Assert.Single(rig.Port.Trace));
        Assert.Equal((0, 0), (rig.World.Begun, rig.Memory.Writes));
    }

    [Fact]
    public void Reconcile_Resumed_ShowsTheInvariantsTheGoalAsItWasAimed()
    {
        List<string> seen = [];
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w })
        {
            Aims = (spec, _) => spec?.With("aimed", "off"),
            Rules = [new("watch", Strength.Never, "deadly", (goal, _, _) => { seen.Add(goal?["aimed"] ?? "none"); return null; })],
        });
        rig.World.State = s_off.With("aimed", "off");
        rig.World.FaultAt = (n, _) => n == 1 ? Fault.DieAfter : Fault.None;
        Assert.Throws<DiedException>(() => rig.Pass(s_on));
        seen.Clear();
        rig.Pass(s_on);
        Assert.Equal(["off"], seen.Distinct());
    }

    [Fact]
    public void Reconcile_OneGroupIsHeld_TheOthersRun()
    {
        var rig = Rig();
        var report = rig.Pass(s_on);
        Assert.Equal((ReconcilePhase.AwaitingApproval, TimeSpan.Zero), (report.Phase, report.Again));
        Assert.Equal("switch:deadly", Assert.Single(report.Held).Difference);
        Assert.Equal(("on", "off"), (rig.World.State["calm"], rig.World.State["deadly"]));
        // While the plan waits, what breaks is healed.
        rig.World.State = rig.World.State.With("calm", "broken");
        rig.Pass(s_on);
        Assert.Equal("on", rig.World.State["calm"]);
        rig.Sign(report.Held);
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(s_on).Phase);
        Assert.Equal("on", rig.World.State["deadly"]);
    }

    [Fact]
    public void Reconcile_OnlyHeldStepsLeft_WritesNothing()
    {
        var rig = Rig();
        rig.Pass(s_on);
        var writes = rig.Memory.Writes;
        var report = rig.Pass(s_on);
        Assert.Equal((ReconcilePhase.AwaitingApproval, writes), (report.Phase, rig.Memory.Writes));
        Assert.Contains("1 Dangerous step waits for a signed approval (flip deadly to on): nobody has signed it yet", report.Blocker, StringComparison.Ordinal);
    }

    /// <summary>What was signed while a denial stood must not act by itself when that runs out: the question is another one then.</summary>
    [Fact]
    public void Reconcile_DenialThatRanOut_AsksAnewAndTakesNothingSignedBefore()
    {
        var rig = Rig();
        var held = rig.Pass(s_on).Held;
        rig.Sign(held, life: TimeSpan.FromHours(4));
        rig.Sign(held, ApprovalDecision.Deny, TimeSpan.FromMinutes(1));
        var denied = rig.Pass(s_on);
        Assert.Equal((held[0].Hash, TimeSpan.FromMinutes(1)), (denied.Held[0].Hash, denied.Again));
        Assert.Contains("denied it until", denied.Blocker, StringComparison.Ordinal);
        rig.Clock.Advance(TimeSpan.FromMinutes(1));
        var anew = rig.Pass(s_on);
        Assert.Contains(rig.Port.Trace.OfType<Tell>(), t => t.Reason == "AskedAnew");
        Assert.NotEqual(held[0].Hash, Assert.Single(anew.Held).Hash);
        Assert.Equal("off", rig.Pass(s_on).Held.IsEmpty ? "on" : rig.World.State["deadly"]);
        Assert.Equal(anew.Held[0].Hash, rig.Pass(s_on).Held[0].Hash);
        rig.Sign(anew.Held);
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(s_on).Phase);
    }

    [Fact]
    public void Reconcile_ApprovedAfterTheDenial_Goes()
    {
        var rig = Rig();
        var held = rig.Pass(s_on).Held;
        rig.Sign(held, ApprovalDecision.Deny);
        Assert.Equal(held[0].Hash, rig.Pass(s_on).Held[0].Hash);
        rig.Sign(held);
        rig.Pass(s_on);
        Assert.Equal("on", rig.World.State["deadly"]);
    }

    [Fact]
    public void Reconcile_AllOrNothing_BeginsWithNothingWhileAnythingWaits()
    {
        var rig = Rig();
        var report = rig.Pass(s_on, allOrNothing: true);
        Assert.Equal((ReconcilePhase.AwaitingApproval, 0, "off"), (report.Phase, rig.World.Begun, rig.World.State["calm"]));
        rig.Sign(report.Held);
        rig.Pass(s_on, allOrNothing: true);
        Assert.Equal(("on", "on"), (rig.World.State["calm"], rig.World.State["deadly"]));
    }

    [Fact]
    public void Reconcile_AskingNobody_RunsTheRestAndMintsNothing()
    {
        var rig = Rig();
        var report = rig.Pass(s_on, askNobody: true);
        Assert.Equal((0, "on", "off"), (report.Held.Length, rig.World.State["calm"], rig.World.State["deadly"]));
        Assert.DoesNotContain(rig.Port.Trace, e => e is Preview);
    }

    [Fact]
    public void Reconcile_StepBuiltOnAHeldOne_IsHeldToo()
    {
        var rig = Rig(reads: f => f.Switch == "calm" ? ["deadly"] : [], cost: d => d == "deadly" ? 1 : 2);
        var report = rig.Pass(s_on);
        Assert.Equal(["switch:deadly", "switch:calm"], report.Held.Select(s => s.Difference));
        Assert.Equal(0, rig.World.Begun);
    }

    /// <summary>A group that is drawn in by its last step takes its first one with it, and with that whatever was built between them.</summary>
    [Fact]
    public void Reconcile_GroupDrawnInByItsLastStep_HoldsWhatItsFirstStepCarries()
    {
        string[] order = ["early", "between", "deadly", "late"];
        var off = Panel.Of([.. order.Select(n => (n, "off"))]);
        var rig = new Rig<Panel, Panel>(off, w => new PanelAgent(new FlipTool
        {
            World = w,
            Reads = f => f.Switch switch { "between" => ["early"], "late" => ["deadly"], _ => [] },
            Moves = (goal, _, d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), Array.IndexOf(order, d.Subject), "")],
            Risk = (_, f) => f.Switch == "deadly" ? Assessment.Dangerous("boom") : Assessment.Safe,
        })
        {
            GroupOf = n => n is "early" or "late" ? "pair" : null,
        });
        var report = rig.Pass(Panel.Of([.. order.Select(n => (n, "on"))]));
        Assert.Equal(order.Order(), report.Held.Select(s => s.Difference["switch:".Length..]).Order());
        Assert.Equal(0, rig.World.Begun);
    }

    [Fact]
    public void Reconcile_HeldStep_KeepsItsNonceUntilItsBasisMovesAndThenSaysSo()
    {
        var rig = Rig(reads: f => f.Switch == "deadly" ? ["wire"] : []);
        var first = Assert.Single(rig.Pass(s_on).Held);
        Assert.NotEmpty(first.Nonce);
        rig.World.State = rig.World.State.With("elsewhere", "new");
        Assert.Equal(first.Hash, Assert.Single(rig.Pass(s_on).Held).Hash);
        rig.Sign([first]);
        rig.World.State = rig.World.State.With("wire", "cut");
        var report = rig.Pass(s_on);
        Assert.NotEqual(first.Hash, Assert.Single(report.Held).Hash);
        Assert.Equal(ReconcilePhase.AwaitingApproval, report.Phase);
        Assert.Contains(rig.Port.Trace, e => e is Tell { Reason: "ApprovalVoided", Message: var m } && m.EndsWith("wire", StringComparison.Ordinal));
        Assert.Equal("off", rig.World.State["deadly"]);
    }

    [Fact]
    public void Reconcile_ModePropose_ShowsTheStepsAndActsOnNothing()
    {
        var rig = Rig();
        var report = rig.Pass(s_on, Mode.Propose);
        Assert.Equal((2, 0, 0), (report.Held.Length, rig.World.Begun, rig.Memory.Writes));
        Assert.Equal("mode is propose", report.Blocker);
    }

    [Fact]
    public void Reconcile_ModeObserve_ReportsDifferencesOnly()
    {
        var rig = Rig();
        var report = rig.Pass(s_on, Mode.Observe);
        Assert.Equal((2, 1, 0), (report.Differences.Length, rig.Port.Trace.Count, rig.World.Begun));
    }

    [Fact]
    public void Reconcile_WorldAwayInTheMiddle_LeavesTheRunOpenAndResumesIt()
    {
        var rig = Rig();
        rig.Port.Before = e => { if (e is Apply<Panel>) rig.World.Away = "bus is gone"; };
        var report = rig.Pass(Panel.Of(("calm", "on")));
        Assert.Equal((ReconcilePhase.Unseen, "bus is gone", true), (report.Phase, report.Blocker, report.BackOff));
        var run = rig.Open!.Run.RunId;
        (rig.World.Away, rig.Port.Before) = (null, null);
        Assert.Equal(ReconcilePhase.Converging, rig.Pass(Panel.Of(("calm", "on"))).Phase);
        Assert.Null(rig.Open);
        Assert.Contains(rig.Memory.Audit, a => a.Kind == "RunEnded" && a.Body.Contains(run, StringComparison.Ordinal));
        Assert.Equal(1, rig.World.Begun);
    }

    [Fact]
    public void Reconcile_WorldAwayAtOnce_WritesNothing()
    {
        var rig = Rig();
        rig.World.Away = "bus is gone";
        var report = rig.Pass(s_on);
        Assert.Equal((ReconcilePhase.Unseen, 0, 1), (report.Phase, rig.Memory.Writes, rig.Port.Trace.Count));
    }

    [Fact]
    public void Reconcile_GoalChangedWhileAStepWasOpen_FinishesThatStepAndPlansTheRestAnew()
    {
        var start = Panel.Of(("a", "off"), ("b", "off"));
        var rig = new Rig<Panel, Panel>(start, w => new PanelAgent(new FlipTool { World = w, While = (s, f) => s.With(f.Switch, "half") }));
        rig.World.FaultAt = (n, _) => n == 1 ? Fault.DieHalfway : Fault.None;
        Assert.Throws<DiedException>(() => rig.Pass(Panel.Of(("a", "on"), ("b", "on"))));
        rig.Request = rig.Request with { GoalHash = "another goal" };
        var goal = Panel.Of(("a", "blue"), ("b", "off"));
        rig.Pass(goal);
        Assert.Equal(("on", "off", true), (rig.World.State["a"], rig.World.State["b"], rig.Open is null));
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(goal).Phase);
        Assert.Equal(("blue", "off"), (rig.World.State["a"], rig.World.State["b"]));
    }

    [Fact]
    public void Reconcile_RemedyThatAlwaysFails_EscalatesAndStopsTrying()
    {
        var rig = Rig();
        rig.World.FaultAt = (_, _) => Fault.Refuse;
        var goal = Panel.Of(("calm", "on"));
        Assert.Equal(ReconcilePhase.Converging, rig.Pass(goal).Phase);
        rig.Pass(goal);
        var report = rig.Pass(goal);
        Assert.Equal((ReconcilePhase.Escalated, true, 6), (report.Phase, report.BackOff, rig.World.Begun));
        rig.Clock.Advance(TimeSpan.FromHours(2));
        rig.World.FaultAt = (_, _) => Fault.None;
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(goal).Phase);
    }

    [Fact]
    public void Reconcile_MoreQuestionsThanAllowed_AreAudited()
    {
        static IEnumerable<Move<Flip>> Moves(Panel? goal, Panel state, Difference d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "") with { Ask = "which" }];
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool("one") { World = w, Moves = Moves }, new FlipTool("two") { World = w, Moves = Moves }));
        rig.Request = rig.Request with { MaxQuestions = 1 };
        Assert.Equal(1, rig.Pass(s_on).Questions);
        Assert.Contains("switch:deadly|one", Assert.Single(rig.Memory.Audit, a => a.Kind == "QuestionsBeyondLimit").Body, StringComparison.Ordinal);
    }

    [Fact]
    public void Reconcile_NotMyTurn_WaitsWithBackOffAndClosesTheRun()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Turns = ["t"] }));
        rig.Port.Turns = _ => "edge-2 has it";
        var report = rig.Pass(s_on);
        Assert.Equal((ReconcilePhase.Waiting, "waits for its turn: edge-2 has it", true), (report.Phase, report.Blocker, report.BackOff));
        Assert.Null(rig.Open);
        Assert.Equal(0, rig.World.Begun);
    }

    /// <summary>What is lost at most has room, and what was signed stands while that is enough.</summary>
    [Theory]
    [InlineData(3, 9, true)]
    [InlineData(3, 10, true)]
    [InlineData(3, 1, true)]
    [InlineData(3, 11, false)]
    [InlineData(3, int.MaxValue, false)]
    public void Reconcile_FigureGrowsAfterItWasSigned_StandsUpToWhatWasSigned(int before, int after, bool stands)
    {
        var needed = before;
        var rig = Costly(() => needed);
        var asked = Assert.Single(rig.Pass(s_costly).Held);
        Assert.Contains("\"Most\":10", asked.Args, StringComparison.Ordinal);
        rig.Sign([asked]);
        needed = after;
        var report = rig.Pass(s_costly);
        Assert.Equal(stands ? "on" : "off", rig.World.State["deadly"]);
        Assert.Equal(!stands, rig.Port.Trace.Any(e => e is Tell { Reason: "ApprovalVoided", Message: var m } && m.EndsWith($"signed for 10, now {after}", StringComparison.Ordinal)));
        if (stands) return;
        Assert.NotEqual(asked.Hash, Assert.Single(report.Held).Hash);
        rig.Sign(report.Held);
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(s_costly).Phase);
    }

    [Fact]
    public void Reconcile_FigureGrowsBeforeItIsSigned_IsTheSameQuestionWhileItIsEnough()
    {
        var needed = 3;
        var rig = Costly(() => needed);
        var asked = Assert.Single(rig.Pass(s_costly).Held);
        foreach (var more in (int[])[4, 9, 10, 1])
        {
            needed = more;
            Assert.Equal(asked.Hash, Assert.Single(rig.Pass(s_costly).Held).Hash);
        }
    }

    /// <summary>A signature is for one kind of step, whatever the figure.</summary>
    [Fact]
    public void Reconcile_AnotherStepThanWasSigned_IsNotDone()
    {
        var rig = Costly(() => 3);
        rig.Sign([Assert.Single(rig.Pass(s_costly).Held)]);
        var other = Panel.Of(("deadly", "dimmed"));
        Assert.Equal(ReconcilePhase.AwaitingApproval, rig.Pass(other).Phase);
        Assert.Equal("off", rig.World.State["deadly"]);
        Assert.Contains(rig.Port.Trace, e => e is Tell { Reason: "ApprovalVoided", Message: var m } && m.Contains("another step", StringComparison.Ordinal));
    }

    /// <summary>Who signed, and is asked again because it did not go, reads why.</summary>
    [Fact]
    public void Reconcile_SignedStepFails_SaysSoBesideTheNextQuestion()
    {
        var rig = Costly(() => 3, static (s, _) => s);
        rig.World.FaultAt = (_, _) => Fault.Refuse;
        rig.Sign([Assert.Single(rig.Pass(s_costly).Held)]);
        rig.Pass(s_costly);
        rig.World.FaultAt = (_, _) => Fault.None;
        Assert.Contains("UTC and failed: ", rig.Pass(s_costly).Standing, StringComparison.Ordinal);
    }

    private static readonly Panel s_costly = Panel.Of(("deadly", "on"));

    private static Rig<Panel, Panel> Costly(Func<int> needed, Func<Panel, Flip, Panel>? during = null) => new(Panel.Of(("deadly", "off")), w => new PanelAgent(new FlipTool
    {
        World = w,
        While = during,
        Room = most => most > 10 ? most : 10,
        Moves = (goal, _, d) => [Move.Do(new Flip(d.Subject, goal![d.Subject], needed()), 1, "")],
        Risk = (_, _) => Assessment.Dangerous("boom"),
    }));

    private static Rig<Panel, Panel> Rig(Func<Flip, System.Collections.Immutable.ImmutableArray<string>>? reads = null, Func<string, int>? cost = null) => new(s_off, w => new PanelAgent(new FlipTool
    {
        World = w,
        Reads = reads ?? (_ => []),
        Moves = (goal, _, d) => [Move.Do(new Flip(d.Subject, goal![d.Subject]), cost?.Invoke(d.Subject) ?? 1, "")],
        Risk = (_, f) => f.Switch == "deadly" ? Assessment.Dangerous("boom") : Assessment.Safe,
    }));
}
