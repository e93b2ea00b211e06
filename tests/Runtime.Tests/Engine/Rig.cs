using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.TestKit;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.Runtime.Tests.Engine;

/// <summary>One host with one resource: a fake world, a memory that survives the process, and the real engine between them.</summary>
internal sealed class Rig<TGoal, TState>
    where TGoal : class
{
    internal static readonly DateTimeOffset Began = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private const string Key = "toy";

    /// <summary>Never disposed: it lives as long as the tests.</summary>
    private static readonly Approver s_approver = new("alice", Began.AddYears(1));

    private int _runs;

    internal Rig(TState start, Func<FakeWorld<TState>, Agent<TGoal, TState>> agent)
    {
        World = new(start);
        Agent = agent(World);
        Memory = new("host", () => Clock.GetUtcNow());
        Port = new(World, Memory, Clock, PlanChecks.Subject, Key);
    }

    internal FakeTimeProvider Clock { get; } = new(Began);
    internal FakeWorld<TState> World { get; }
    internal Agent<TGoal, TState> Agent { get; set; }
    internal HostMemory Memory { get; }
    internal EffectPort<TState> Port { get; }
    internal PlanRequest Request { get; set; } = PlanChecks.Request;
    internal int Deaths { get; private set; }
    internal OpenRun? Open => Memory.Open(Key);

    internal static Approver Approver => s_approver;

    internal Plan<TGoal, TState> Plan(TGoal? goal) => PlanChecks.Plan(Agent, goal, World.State, Request, Memory.Tried(Key));

    internal void Sign(IEnumerable<Step> steps) => Memory.Take(s_approver.Sign(Request.Subject, steps, Clock.GetUtcNow().AddHours(1)));

    /// <summary>One pass of the pipeline, as the daemon makes it.</summary>
    internal ReconcileReport Pass(TGoal? goal, Mode mode = Mode.Enforce, IReasoner? reasoner = null)
    {
        var box = new Reconciler<TGoal, TState>.Box();
        var input = new ReconcileInput<TGoal>(Key, Request, goal, Memory.Tried(Key), Open, mode, "run-" + ++_runs);
        Port.Run(new Reconciler<TGoal, TState>(Agent, s_approver.Verifier, reasoner ?? new RulesReasoner(), Clock).Reconcile(input, box));
        return box.Report!;
    }

    /// <summary>Passes until nothing is left to do; a process that dies is started again, and an operator signs what is held.</summary>
    internal ReconcileReport Settle(TGoal? goal)
    {
        ReconcileReport? report = null;
        for (var i = 0; i < 40 && report?.Phase is not (ReconcilePhase.Converged or ReconcilePhase.Escalated or ReconcilePhase.Stuck); i++)
        {
            try { report = Pass(goal); }
            catch (DiedException) { Deaths++; continue; }
            if (!report.Held.IsEmpty) Sign(report.Held.Where(s => s.Risk.Level == Risk.RiskLevel.Dangerous));
        }
        return report!;
    }

    /// <summary>Runs exactly these steps, or resumes the run that is open.</summary>
    internal ExecutionResult Execute(TGoal? goal, ImmutableArray<Step> steps)
    {
        if (Open is null)
        {
            var run = new RunRecord("run-" + ++_runs, Key, Request.Subject, Request.GoalHash, "", steps, Clock.GetUtcNow());
            Memory.Write(Key, new Commit { Open = run });
        }
        var open = Open!;
        var execution = new Execution.Execution(open.Run, open.Entries);
        Port.Run(new Executor<TGoal, TState>(Agent, s_approver.Verifier, Clock).Run(Request, goal, execution));
        return execution.Result!;
    }
}
