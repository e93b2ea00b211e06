using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ExecutorTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"), ("b", "off"), ("other", "off"));
    private static readonly Panel s_goal = Panel.Of(("a", "on"), ("b", "on"));

    [Fact]
    public void Run_Plan_MakesEachChangeOnceAndJournalsIntentBeforeIt()
    {
        var rig = Rig();
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.Equal(("on", "on"), (rig.World.State["a"], rig.World.State["b"]));
        Assert.All(rig.World.Completed.Values, n => Assert.Equal(1, n));
        Assert.Equal(["Observe", "Commit", "Tell", "Apply", "Observe", "Commit", "Tell"], Shape(rig).Take(7));
        Assert.Equal(["Intent", "Done", "Intent", "Done"], rig.Open!.Entries.Select(e => e.Entry.ToString()));
        Assert.Equal(["StepIntent", "StepDone", "StepIntent", "StepDone"], rig.Memory.Audit.Select(a => a.Kind));
    }

    [Fact]
    public void Run_WorldIsAlreadyAsExpected_DoesNotTouchIt()
    {
        var rig = Rig();
        var steps = rig.Plan(s_goal).Steps;
        rig.World.State = s_off.With("a", "on");
        Assert.Equal(Ended.Done, rig.Execute(s_goal, steps).Ended);
        Assert.Equal(1, rig.World.Begun);
    }

    [Fact]
    public void Run_BasisMoved_EndsNamingTheFact()
    {
        var rig = Rig();
        var steps = rig.Plan(s_goal).Steps;
        rig.World.Drift = n => rig.World.State = rig.World.State.With("wire", "cut");
        var result = rig.Execute(s_goal, steps);
        Assert.Equal((Ended.Moved, "wire is cut, not -"), (result.Ended, result.Detail));
        Assert.Equal(1, rig.World.Begun);
    }

    [Fact]
    public void Run_DriftElsewhere_GoesOn()
    {
        var rig = Rig();
        var steps = rig.Plan(s_goal).Steps;
        rig.World.Drift = n => rig.World.State = rig.World.State.With("other", "drifted");
        Assert.Equal(Ended.Done, rig.Execute(s_goal, steps).Ended);
    }

    [Fact]
    public void Run_NeverInvariantThatWouldBreakNow_EndsBeforeTheIntent()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w })
        {
            Rules = [new("calm", Strength.Never, "a", (_, before, _) => before["other"] == "storm" ? "there is a storm" : null)],
        });
        var steps = rig.Plan(s_goal).Steps;
        rig.World.State = s_off.With("other", "storm");
        var result = rig.Execute(s_goal, steps);
        Assert.Equal((Ended.Moved, "calm: there is a storm", 0), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Fact]
    public void Run_RiskRoseSincePlanning_EndsBeforeTheIntent()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool
        {
            World = w,
            Risk = (s, _) => s["other"] == "alarm" ? Assessment.Moderate("alarm") : Assessment.Safe,
        }));
        var steps = rig.Plan(s_goal).Steps;
        rig.World.State = s_off.With("other", "alarm");
        var result = rig.Execute(s_goal, steps);
        Assert.Equal((Ended.RiskRose, "alarm", 0), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Fact]
    public void Run_ToolOfAnotherVersion_VoidsTheStep()
    {
        var rig = Rig();
        var steps = rig.Plan(s_goal).Steps;
        rig.Agent = new PanelAgent(new FlipTool("flip", 2) { World = rig.World });
        var result = rig.Execute(s_goal, steps);
        Assert.Equal((Ended.Moved, "tool flip is at version 2, the step at 1", 0), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Fact]
    public void Run_TurnRefused_EndsWithoutAnySideEffect()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Turns = ["one", "two"] }));
        rig.Port.Turns = key => key == "two" ? "edge-2 has it" : null;
        var steps = rig.Plan(s_goal).Steps;
        var result = rig.Execute(s_goal, steps);
        Assert.Equal((Ended.NotMyTurn, "edge-2 has it"), (result.Ended, result.Detail));
        Assert.Equal((0, 1), (rig.World.Begun, rig.Memory.Writes));
        Assert.Equal(["TakeTurn", "TakeTurn", "ReleaseTurns"], Shape(rig));
    }

    [Fact]
    public void Run_StepWithATurn_TakesItBeforeItLooksAndGivesItBack()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Turns = ["one"] }));
        rig.Execute(s_goal, [.. rig.Plan(s_goal).Steps.Take(1)]);
        Assert.Equal(["TakeTurn", "Observe", "Commit", "Tell", "Apply", "Observe", "Commit", "Tell", "ReleaseTurns"], Shape(rig));
    }

    [Fact]
    public void Run_TurnRanOutWhileLooking_EndsWithoutActing()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Turns = ["one"] }));
        rig.Port.Before = e => { if (e is Observe<Panel>) rig.Clock.Advance(TimeSpan.FromMinutes(5)); };
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.NotMyTurn, 0, 1), (result.Ended, rig.World.Begun, rig.Memory.Writes));
    }

    [Fact]
    public void Run_WorldAway_LeavesTheRunToBeResumed()
    {
        var rig = Rig();
        rig.Port.Before = e => { if (e is Apply<Panel>) rig.World.Away = "bus is gone"; };
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.Away, "bus is gone"), (result.Ended, result.Detail));
        (rig.World.Away, rig.Port.Before) = (null, null);
        Assert.Equal(Ended.Done, rig.Execute(s_goal, []).Ended);
        Assert.All(rig.World.Completed.Values, n => Assert.Equal(1, n));
    }

    [Fact]
    public void Run_Refused_IsTriedThreeTimesThenFails()
    {
        var rig = Rig();
        rig.World.FaultAt = (n, _) => Fault.Refuse;
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.Undone, "refused", 3), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Fact]
    public void Run_RefusedOnce_IsTriedAgain()
    {
        var rig = Rig();
        rig.World.FaultAt = (n, _) => n == 1 ? Fault.Refuse : Fault.None;
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.Equal(3, rig.World.Begun);
    }

    [Fact]
    public void Run_CallThatReturned_IsNotRepeatedWhileItsEffectIsNotSeen()
    {
        var rig = Rig();
        rig.World.SlowLooks = 20;
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.Equal(2, rig.World.Begun);
    }

    [Fact]
    public void Run_ValueKnownOnlyLater_IsBoundFromWhatIsSeen()
    {
        var rig = new Rig<ClusterGoal, ClusterState>(ClusterState.Healthy("m0"), w => new ClusterAgent(w));
        var report = rig.Settle(null);
        Assert.Equal(ReconcilePhase.Converged, report.Phase);
        Assert.Equal("rdb-1", rig.World.State.Backup?.Value);
        Assert.Contains(rig.Memory.Audit, a => a.Kind == "StepDone" && a.Body.Contains("""
            "seen":{"backup":"rdb-1"}
            """.Trim(), StringComparison.Ordinal));
    }

    [Fact]
    public void Run_BoundValueMovedAgain_VoidsTheStepBuiltOnIt()
    {
        var rig = new Rig<Panel, Panel>(Panel.Of(("id", "old")), w => new PanelAgent(
            new FlipTool("make") { World = w, Moves = (_, s, d) => d.Subject == "id" ? [Move.Do(new Flip("id", FactValue.Later("new-id")), 1, "")] : [], Really = (s, _) => s.With("id", "id-7"), While = (s, _) => s, Back = (_, _) => Undo.Keep("") },
            new FlipTool("use") { World = w, Moves = (_, s, d) => d.Subject == "user" ? [Move.Do(new Flip("user", "on"), 5, "")] : [], Reads = _ => ["id"] }));
        var goal = Panel.Of(("id", FactValue.Later("new-id")), ("user", "on"));
        var steps = rig.Plan(goal).Steps;
        Assert.Equal(["make", "use"], steps.Select(s => s.Tool));
        Assert.Contains(new Fact("id", FactValue.Later("new-id")), steps[1].Basis);
        rig.Port.DieAt = 7;
        rig.Port.DieAfterwards = true;
        Assert.Throws<DiedException>(() => rig.Execute(goal, steps));
        Assert.Equal("id-7", rig.Open!.Entries.Last(e => e.Entry == Entry.Done).Outputs[FactValue.Later("new-id")]);
        rig.World.State = rig.World.State.With("id", "id-8");
        var result = rig.Execute(goal, []);
        Assert.Equal((Ended.Moved, "id is id-8, not ?later:new-id"), (result.Ended, result.Detail));
        rig.World.State = rig.World.State.With("id", "id-7");
        Assert.Equal(Ended.Done, rig.Execute(goal, []).Ended);
    }

    private static IEnumerable<string> Shape(Rig<Panel, Panel> rig) => rig.Port.Trace.Select(e => e.GetType().Name.Split('`')[0]);

    private static Rig<Panel, Panel> Rig() => new(s_off, w => new PanelAgent(new FlipTool { World = w, Reads = _ => ["wire"] }));
}
