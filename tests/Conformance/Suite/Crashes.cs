using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Execution;
using AgentMetal.TestKit;

namespace AgentMetal.Conformance;

/// <summary>The process is killed before and after every effect of a journey, and in the middle of every change; what is durable must be enough.</summary>
internal static class Crashes
{
    /// <summary>Findings, and how many deaths were died.</summary>
    public static IEnumerable<string> Of<TGoal, TState>(Samples<TGoal, TState> samples, Case<TGoal, TState> c, Action died)
        where TGoal : class
    {
        var clean = Rig(samples, c);
        var end = clean.Settle(c.Goal);
        if (end.Phase != ReconcilePhase.Converged)
        {
            yield return $"{c.Name} does not reach its end: {end.Phase} {end.Blocker}";
            yield break;
        }
        if (clean.World.Begun == 0) yield return $"{c.Name} changes nothing: there is nothing to be killed in";
        var effects = clean.Port.Trace.Count;
        for (var at = 1; at <= effects; at++)
            foreach (var afterwards in new[] { false, true })
            {
                var rig = Rig(samples, c);
                (rig.Port.DieAt, rig.Port.DieAfterwards) = (at, afterwards);
                foreach (var finding in Judge(rig, clean, c)) yield return $"{c.Name}, killed {(afterwards ? "after" : "before")} effect {at} of {effects}: {finding}";
                died();
            }
        for (var change = 1; change <= clean.World.Begun; change++)
            foreach (var fault in new[] { Fault.DieHalfway, Fault.DieAfter })
            {
                var rig = Rig(samples, c);
                rig.World.FaultAt = (n, _) => n == change ? fault : Fault.None;
                foreach (var finding in Judge(rig, clean, c)) yield return $"{c.Name}, {fault} in change {change}: {finding}";
                died();
            }
    }

    private static IEnumerable<string> Judge<TGoal, TState>(Rig<TGoal, TState> rig, Rig<TGoal, TState> clean, Case<TGoal, TState> c)
        where TGoal : class
    {
        var report = rig.Settle(c.Goal);
        if (report.Phase != ReconcilePhase.Converged) yield return $"{report.Phase} {report.Blocker}";
        if (rig.Deaths != 1) yield return $"died {rig.Deaths} times";
        if (rig.Open is not null) yield return "a run stays open";
        if (AuditChain.Verify(rig.Memory.Audit) is { } broken) yield return broken;
        foreach (var (key, times) in rig.World.Completed)
            if (times > Math.Max(1, clean.World.Completed.GetValueOrDefault(key))) yield return $"{key} was done {times} times";
        // What a goal leaves open may differ (a backup's name); what it asks for may not.
        if (c.Agent.Differences(c.Agent.Aim(c.Goal, rig.World.State), rig.World.State).FirstOrDefault() is { } left) yield return left.Key + " is left";
    }

    private static Rig<TGoal, TState> Rig<TGoal, TState>(Samples<TGoal, TState> samples, Case<TGoal, TState> c)
        where TGoal : class => new(c.State, world => new Modelled<TGoal, TState>(c.Agent, world), c.Request) { Settles = samples.Settle };
}
