using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Tests.Agents.Instance;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.Conformance.Instance;

/// <summary>A change that is tried and does not prove itself is taken back by the engine itself, wherever the daemon is killed in the middle of it.</summary>
public sealed class InstanceTrialTests
{
    private static readonly string s_changed = Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal);

    [Fact]
    public void Trial_NeverPassing_IsTakenBackAndNotTriedAgain()
    {
        var (start, rig) = (Converged(Input(Tried)), NeverPassing());
        var report = rig.Settle(Goal(Input(s_changed)));
        Assert.Equal(ReconcilePhase.Stuck, report.Phase);
        Assert.Contains("the change was taken back", report.Blocker, StringComparison.Ordinal);
        Assert.Equal([InstanceFacts.Reverted], PlanChecks.Differing(rig.Agent, start, rig.World.State, []));
        Assert.Empty(rig.World.State.Snapshots);
        var begun = rig.World.Begun;
        rig.Settle(Goal(Input(s_changed)));
        Assert.Equal(begun, rig.World.Begun);
    }

    [Fact]
    public void Trial_TakenBack_AnotherAttemptOrAnotherSpecIsTried()
    {
        var rig = NeverPassing();
        rig.Settle(Goal(Input(s_changed)));
        rig.World.FaultAt = static (_, _) => Fault.None;
        Assert.Equal(ReconcilePhase.Converged, rig.Settle(Goal(Input(s_changed.Replace("\"seconds\":30", "\"seconds\":30,\"attempt\":1", StringComparison.Ordinal)))).Phase);
        Assert.Contains(rig.World.Completed.Keys, k => k.StartsWith("try-restart", StringComparison.Ordinal));
        Assert.Empty(rig.World.State.Snapshots);
    }

    /// <summary>Also while it is being taken back: the machine is put back again, which changes nothing.</summary>
    [Fact]
    public void Trial_NeverPassing_KilledAtEveryBoundary_EndsAsItBegan()
    {
        var goal = Goal(Input(s_changed));
        var clean = NeverPassing();
        clean.Settle(goal);
        var deaths = 0;
        for (var at = 1; at <= clean.Port.Trace.Count; at++)
            foreach (var afterwards in new[] { false, true })
            {
                var rig = NeverPassing();
                (rig.Port.DieAt, rig.Port.DieAfterwards) = (at, afterwards);
                var report = rig.Settle(goal);
                Assert.Equal(ReconcilePhase.Stuck, report.Phase);
                Assert.True(clean.World.State.Power == rig.World.State.Power && !PlanChecks.Differing(rig.Agent, clean.World.State, rig.World.State, []).Any(),
                    $"killed {(afterwards ? "after" : "before")} effect {at}: {string.Join(", ", PlanChecks.Differing(rig.Agent, clean.World.State, rig.World.State, []).Select(k => $"{k} {rig.Agent.Fact(rig.World.State, k)}"))}");
                Assert.Null(rig.Open);
                deaths += rig.Deaths;
            }
        Assert.True(deaths > 40, $"only {deaths} deaths");
    }

    /// <summary>The restart breaks half way each time: the guest is off, and the trial open.</summary>
    private static Rig<InstanceGoal, InstanceState> NeverPassing()
    {
        var agent = new InstanceAgent(Scope(Input(s_changed)));
        var rig = new Rig<InstanceGoal, InstanceState>(Converged(Input(Tried)), world => new Modelled<InstanceGoal, InstanceState>(agent, world));
        rig.World.FaultAt = static (_, key) => key.StartsWith("try-restart", StringComparison.Ordinal) ? Fault.BreakHalfway : Fault.None;
        return rig;
    }
}
