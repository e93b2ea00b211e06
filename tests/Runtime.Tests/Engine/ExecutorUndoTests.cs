using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ExecutorUndoTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"), ("b", "off"), ("c", "off"), ("d", "off"));
    private static readonly Panel s_on = Panel.Of(("a", "on"), ("b", "on"), ("c", "on"), ("d", "on"));

    [Fact]
    public void Run_StepFails_UndoesItsGroupAndWhatWasBuiltOnItAndNothingElse()
    {
        var rig = Rig();
        rig.World.FaultAt = Break("b");
        var result = rig.Execute(s_on, rig.Plan(s_on).Steps);
        Assert.Equal(Ended.Undone, result.Ended);
        Assert.Equal(("off", "off", "off", "on"), (rig.World.State["a"], rig.World.State["b"], rig.World.State["c"], rig.World.State["d"]));
        // b that is half way, then c that rests on a, then a.
        Assert.Equal(["b", "c", "a"], rig.Open!.Entries.Where(e => e.Entry == Entry.Undone).Select(e => e.After[0].Key));
    }

    [Fact]
    public void Run_SomebodyMovedWhatIsToBeUndone_StopsAndSaysSo()
    {
        var rig = Rig();
        rig.World.FaultAt = Break("b");
        rig.Port.Before = e => { if (e is Tell { Reason: "StepFailed" }) rig.World.State = rig.World.State.With("c", "third"); };
        var result = rig.Execute(s_on, rig.Plan(s_on).Steps);
        Assert.Equal(Ended.UndoStopped, result.Ended);
        Assert.EndsWith("undo stopped: moved since: c is third, not on", result.Detail, StringComparison.Ordinal);
        Assert.Equal(("on", "third"), (rig.World.State["a"], rig.World.State["c"]));
    }

    [Theory]
    [InlineData(UndoKind.Keep, Ended.Undone)]
    [InlineData(UndoKind.Impossible, Ended.UndoStopped)]
    public void Run_StepWithoutAWayBack_IsPassedOverOrStopsTheUndo(UndoKind kind, Ended ended)
    {
        var rig = Rig(back: (s, f) => f.Switch == "c" ? (kind == UndoKind.Keep ? Undo.Keep("harmless") : Undo.Impossible("gone")) : new FlipTool().To(f.Switch, s[f.Switch]));
        rig.World.FaultAt = Break("b");
        var steps = rig.Plan(s_on).Steps.Select(s => Hashes.Bind(PlanChecks.Subject, s, "n")).ToList();
        rig.Sign(steps);
        var result = rig.Execute(s_on, [.. steps]);
        Assert.Equal((ended, "on", kind == UndoKind.Keep ? "off" : "on"), (result.Ended, rig.World.State["c"], rig.World.State["a"]));
    }

    [Fact]
    public void Run_UndoThatWouldBreakARule_IsNotMade()
    {
        var rig = Rig(rules: [new("no-way-back", Strength.Never, "c", (_, before, after) => before["c"] == "on" && after["c"] == "off" ? "c may not go off" : null)]);
        rig.World.FaultAt = Break("b");
        var result = rig.Execute(s_on, rig.Plan(s_on).Steps);
        Assert.Equal(Ended.UndoStopped, result.Ended);
        Assert.Contains("no-way-back", result.Detail, StringComparison.Ordinal);
        Assert.Equal("on", rig.World.State["c"]);
    }

    [Fact]
    public void Run_KilledAtEveryEffectOfAFailure_IsUndoneAllTheSame()
    {
        var clean = Rig();
        clean.World.FaultAt = Break("b");
        clean.Execute(s_on, clean.Plan(s_on).Steps);
        var kills = 0;
        for (var at = 1; at <= clean.Port.Trace.Count; at++)
            foreach (var afterwards in new[] { false, true })
            {
                var rig = Rig();
                rig.World.FaultAt = Break("b");
                (rig.Port.DieAt, rig.Port.DieAfterwards) = (at, afterwards);
                var steps = rig.Plan(s_on).Steps;
                ExecutionResult? result = null;
                try { result = rig.Execute(s_on, steps); }
                catch (DiedException) { kills++; }
                result ??= rig.Execute(s_on, []);
                Assert.True(result.Ended == Ended.Undone, $"killed at {at} {afterwards}: {result}");
                Assert.Equal(("off", "off", "off", "on"), (rig.World.State["a"], rig.World.State["b"], rig.World.State["c"], rig.World.State["d"]));
            }
        Assert.True(kills >= 2 * clean.Port.Trace.Count - 1, $"{kills} kills");
    }

    /// <summary>a and b are one group; c rests on a, b on c; d is alone.</summary>
    private static Rig<Panel, Panel> Rig(Func<Panel, Flip, Undo>? back = null, params Invariant<Panel, Panel>[] rules) => new(s_off, w => new PanelAgent(new FlipTool
    {
        World = w,
        Reads = f => f.Switch switch { "b" => ["c"], "c" => ["a"], _ => [] },
        Moves = (goal, s, d) => [d.Subject == "b" && s["c"] != "on" ? Move.Wait<Flip>("c first") : Move.Do(new Flip(d.Subject, goal![d.Subject]), 1, "")],
        While = (s, f) => s.With(f.Switch, "half"),
        Back = back,
    })
    {
        GroupOf = k => k is "a" or "b" ? "pair" : null,
        Rules = [.. rules],
    });

    private static Func<int, string, Fault> Break(string name) =>
        (_, key) => key.StartsWith("flip{\"Switch\":\"" + name, StringComparison.Ordinal) && key.Contains("\"on\"", StringComparison.Ordinal) ? Fault.BreakHalfway : Fault.None;
}
