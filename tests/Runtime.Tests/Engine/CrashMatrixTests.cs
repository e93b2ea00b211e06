using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Execution;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

/// <summary>The process is killed before and after every effect of a run, and in the middle of every change; what is durable must be enough.</summary>
public sealed class CrashMatrixTests
{
    private static readonly ClusterGoal s_goal = ClusterGoal.Of(1, 1, "m0", "m1", "m2");

    public static TheoryData<string> Cases => ["create", "configure", "switch", "repair", "remove", "delete"];

    [Theory]
    [MemberData(nameof(Cases))]
    public void Reconcile_KilledAtEveryEffect_ConvergesAndCompletesNothingTwice(string name)
    {
        var clean = Rig(name);
        Assert.Equal(ReconcilePhase.Converged, clean.Settle(Goal(name)).Phase);
        var effects = clean.Port.Trace.Count;
        Assert.True(effects > 10);
        for (var at = 1; at <= effects; at++)
            foreach (var afterwards in new[] { false, true })
            {
                var rig = Rig(name);
                (rig.Port.DieAt, rig.Port.DieAfterwards) = (at, afterwards);
                Check(rig, name, $"killed {(afterwards ? "after" : "before")} effect {at} of {effects}");
            }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Reconcile_KilledInTheMiddleOfEveryChange_ConvergesAndCompletesNothingTwice(string name)
    {
        var clean = Rig(name);
        clean.Settle(Goal(name));
        for (var change = 1; change <= clean.World.Begun; change++)
            foreach (var fault in new[] { Fault.DieHalfway, Fault.DieAfter })
            {
                var rig = Rig(name);
                rig.World.FaultAt = (n, _) => n == change ? fault : Fault.None;
                Check(rig, name, $"{fault} in change {change}");
            }
    }

    private static void Check(Rig<ClusterGoal, ClusterState> rig, string name, string what)
    {
        var report = rig.Settle(Goal(name));
        Assert.True(report.Phase == ReconcilePhase.Converged, $"{name}, {what}: {report.Phase} {report.Blocker}");
        Assert.Equal(1, rig.Deaths);
        Assert.True(rig.World.Completed.Values.All(n => n == 1), $"{name}, {what}: {string.Join(", ", rig.World.Completed.Where(c => c.Value > 1))}");
        Assert.Null(AuditChain.Verify(rig.Memory.Audit));
        Assert.Null(rig.Open);
    }

    private static ClusterGoal? Goal(string name) => name switch
    {
        "configure" => s_goal with { Config = 2, Live = 3 },
        "switch" => s_goal with { Members = s_goal.Members.Remove("m0") },
        "remove" => s_goal with { Members = s_goal.Members.Remove("m2") },
        "delete" => null,
        _ => s_goal,
    };

    private static Rig<ClusterGoal, ClusterState> Rig(string name)
    {
        var healthy = ClusterState.Healthy("m0", "m1", "m2");
        return new(name switch
        {
            "create" => ClusterState.Empty,
            "repair" => healthy.With("m0", m => m with { Up = false }).With("m2", m => m with { Live = 7 }),
            _ => healthy,
        }, w => new ClusterAgent(w));
    }
}
