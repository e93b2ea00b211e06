using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ExecutorTimingTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"));
    private static readonly Panel s_goal = Panel.Of(("a", "on"));
    private static readonly Timing s_bounds = new(TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(1));

    [Fact]
    public void Run_NeverConfirmed_FailsAtTheTimeoutAndIsUndone()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Really = (s, _) => s.With("a", "half"), Bounds = s_bounds with { Stall = TimeSpan.FromHours(1) } }));
        var undoing = false;
        rig.Port.Before = e => undoing |= e is Tell { Reason: "Undoing" };
        rig.World.FaultAt = (_, key) => Fault.None;
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.True(undoing);
        Assert.StartsWith("not confirmed within 60 s: a is half, not on", result.Detail, StringComparison.Ordinal);
        Assert.InRange(rig.Clock.GetUtcNow() - Rig<Panel, Panel>.Began, TimeSpan.FromSeconds(60), TimeSpan.FromSeconds(130));
    }

    [Fact]
    public void Run_NoProgress_FailsAtTheStall()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Bounds = s_bounds, Sees = (s, f) => s["a"] == "half" && f.To == "on" ? new(Phase.Running, 40) : null, While = (s, _) => s.With("a", "half") }));
        rig.World.FaultAt = (n, key) => n == 1 ? Fault.BreakHalfway : Fault.None;
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal(Ended.Undone, result.Ended);
        Assert.StartsWith("no progress for 10 s", result.Detail, StringComparison.Ordinal);
        Assert.Equal("off", rig.World.State["a"]);
        Assert.InRange(rig.Clock.GetUtcNow() - Rig<Panel, Panel>.Began, TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(20));
    }

    [Fact]
    public void Run_SlowWithProgress_OutlivesTheStall()
    {
        var percent = 0;
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool
        {
            World = w,
            Bounds = s_bounds,
            While = (s, _) => s.With("a", "half"),
            Sees = (s, _) => s["a"] == "half" ? new(Phase.Running, percent++, $"at {percent}%") : null,
        }));
        var said = new HashSet<string>(StringComparer.Ordinal);
        rig.Port.Before = e => { if (e is Pause { Underway: var doing }) said.Add(doing); };
        rig.World.SlowLooks = 40;
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.True(rig.Clock.GetUtcNow() - Rig<Panel, Panel>.Began > TimeSpan.FromSeconds(30));
        Assert.Equal(1, rig.World.Begun);
        Assert.Contains("at 20%", said);
    }

    [Fact]
    public void Run_ToolSeesThatItFailed_FailsAtOnce()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Really = (s, f) => s.With("a", f.To == "on" ? "smoke" : f.To), Sees = (s, _) => s["a"] == "smoke" ? new(Phase.Failed, null, "smoke") : null }));
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.Undone, "smoke", "off"), (result.Ended, result.Detail, rig.World.State["a"]));
        Assert.Equal(Rig<Panel, Panel>.Began, rig.Clock.GetUtcNow());
    }

    [Fact]
    public void Run_FailureOfAnEarlierTry_IsNotTakenForThisOne()
    {
        var left = true;
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool
        {
            World = w,
            Really = (s, f) => { left = false; return s.With("a", f.To); },
            Sees = (_, _) => left ? new(Phase.Failed, null, "smoke, a moment ago") : null,
        }));
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.Equal(1, rig.World.Begun);
    }

    [Fact]
    public void Run_WhatItMadeIsGoneAgain_IsMadeAgainAndNotWaitedFor()
    {
        var rig = Fragile();
        var fell = false;
        rig.Port.Before = e =>
        {
            // Somebody stops it between the change and the look that would have confirmed it.
            if (e is not Observe<Panel> || fell || rig.World.Begun == 0) return;
            fell = true;
            rig.World.State = s_off;
        };
        Assert.Equal(Ended.Done, rig.Execute(s_goal, rig.Plan(s_goal).Steps).Ended);
        Assert.Equal(2, rig.World.Begun);
        Assert.InRange(rig.Clock.GetUtcNow() - Rig<Panel, Panel>.Began, TimeSpan.Zero, TimeSpan.FromSeconds(2));
    }

    [Fact]
    public void Run_WhatItMakesIsNeverThere_FailsAfterThreeChangesAndNotAtTheStall()
    {
        var rig = Fragile();
        rig.World.Drift = _ => rig.World.State = s_off;
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.Undone, 3), (result.Ended, rig.World.Begun));
        Assert.StartsWith("made 3 times, and nothing of it is to be seen: a is off, not on", result.Detail, StringComparison.Ordinal);
        Assert.InRange(rig.Clock.GetUtcNow() - Rig<Panel, Panel>.Began, TimeSpan.Zero, TimeSpan.FromSeconds(5));
    }

    [Fact]
    public void Run_WhatItReadsMovedWhileItWaited_IsNotMadeAgain()
    {
        var rig = Fragile();
        rig.World.Drift = _ => rig.World.State = s_off.With("leader", "b");
        var result = rig.Execute(s_goal, rig.Plan(s_goal).Steps);
        Assert.Equal((Ended.Moved, "moved while it ran: leader is b, not -", 1), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Theory]
    [InlineData(Fault.DieHalfway)]
    [InlineData(Fault.DieAfter)]
    public void Resume_WhatItReadsMovedWhileTheProcessWasDead_IsNotMadeAgain(Fault death)
    {
        var rig = Fragile();
        rig.World.FaultAt = (n, _) => n == 1 ? death : Fault.None;
        Assert.Throws<DiedException>(() => rig.Execute(s_goal, rig.Plan(s_goal).Steps));
        rig.World.State = s_off.With("leader", "b");
        var result = rig.Execute(s_goal, []);
        Assert.Equal((Ended.Moved, "moved while it ran: leader is b, not -", 1), (result.Ended, result.Detail, rig.World.Begun));
    }

    [Fact]
    public void Pass_RemedyInterruptedAgainAndAgain_IsStillTried()
    {
        var rig = Fragile();
        for (var i = 0; i < 5; i++)
        {
            var leader = "leader-" + i;
            rig.World.Drift = _ => rig.World.State = s_off.With("leader", leader);
            rig.Pass(s_goal);
        }
        Assert.DoesNotContain(rig.Memory.Tried("toy").Log, a => !a.Worked);
        rig.World.Drift = null;
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(s_goal).Phase);
    }

    /// <summary>A switch that stands on who leads, and whose tool sees that nothing of its change is left.</summary>
    private static Rig<Panel, Panel> Fragile() => new(s_off, w => new PanelAgent(new FlipTool
    {
        World = w,
        Bounds = s_bounds,
        Reads = _ => ["leader"],
        While = (s, _) => s.With("a", "half"),
        Sees = (s, f) => f.To == "on" && s["a"] == "off" ? new(Phase.NotStarted) : null,
    }));
}
