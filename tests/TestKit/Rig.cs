using System.Collections.Immutable;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Trust;
using AgentMetal.Runtime.Reasoning;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.TestKit;

/// <summary>One host with one resource: a fake world, a memory that survives the process, and the real engine between them.</summary>
public sealed class Rig<TGoal, TState>
    where TGoal : class
{
    /// <summary>When the clock begins.</summary>
    public static readonly DateTimeOffset Began = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private const string Key = "toy";

    /// <summary>Never disposed: it lives as long as the tests.</summary>
    private static readonly Approver s_approver = new("alice", Began.AddYears(1));

    private int _runs, _signed;

    /// <param name="start">What is there at the beginning.</param>
    /// <param name="agent">The agent that acts on the world.</param>
    /// <param name="request">Whose plan; null = that of the toys.</param>
    public Rig(TState start, Func<FakeWorld<TState>, Agent<TGoal, TState>> agent, PlanRequest? request = null)
    {
        ArgumentNullException.ThrowIfNull(agent);
        Request = request ?? PlanChecks.Request;
        World = new(start);
        Agent = agent(World);
        Memory = new("host", () => Clock.GetUtcNow());
        Port = new(World, Memory, Clock, Request.Subject, Key);
    }

    /// <summary>Virtual.</summary>
    public FakeTimeProvider Clock { get; } = new(Began);
    /// <summary>What the tools act on.</summary>
    public FakeWorld<TState> World { get; }
    /// <summary>Replaced where a test upgrades it.</summary>
    public Agent<TGoal, TState> Agent { get; set; }
    /// <summary>What survives the process.</summary>
    public HostMemory Memory { get; }
    /// <summary>Carries out the effects.</summary>
    public EffectPort<TState> Port { get; }
    /// <summary>Of the goal as it is now.</summary>
    public PlanRequest Request { get; set; }
    /// <summary>What the world does by itself between two passes; null = nothing.</summary>
    public Func<TState, TState>? Settles { get; init; }

    /// <summary>How often the process died.</summary>
    public int Deaths { get; private set; }
    /// <summary>The run that did not end.</summary>
    public OpenRun? Open => Memory.Open(Key);

    /// <summary>The one operator of the fleet.</summary>
    public static Approver Approver => s_approver;

    /// <summary>The plan as it would be made now.</summary>
    public Plan<TGoal, TState> Plan(TGoal? goal) => PlanChecks.Plan(Agent, goal, World.State, Request, Memory.Tried(Key));

    /// <summary>Signs steps as they were shown.</summary>
    public void Sign(IEnumerable<Step> steps, ApprovalDecision decision = ApprovalDecision.Approve, TimeSpan? life = null) =>
        Memory.Take(s_approver.Sign(Request.Subject, steps, Clock.GetUtcNow() + (life ?? TimeSpan.FromHours(1)), decision, Clock.GetUtcNow().ToUnixTimeMilliseconds() + ++_signed));

    /// <summary>One pass of the pipeline, as the daemon makes it.</summary>
    public ReconcileReport Pass(TGoal? goal, Mode mode = Mode.Enforce, IReasoner? reasoner = null, bool allOrNothing = false, bool askNobody = false)
    {
        var box = new Reconciler<TGoal, TState>.Box();
        var input = new ReconcileInput<TGoal>(Key, Request, goal, Memory.Tried(Key), Open, mode, "run-" + ++_runs) { AllOrNothing = allOrNothing, AskNobody = askNobody };
        Port.Run(new Reconciler<TGoal, TState>(Agent, s_approver.Verifier, reasoner ?? new RulesReasoner(), Clock).Reconcile(input, box));
        return box.Report!;
    }

    /// <summary>Passes until nothing is left to do; a process that dies is started again, and an operator signs what is held.</summary>
    public ReconcileReport Settle(TGoal? goal)
    {
        ReconcileReport? report = null;
        for (var i = 0; i < 40 && report?.Phase is not (ReconcilePhase.Converged or ReconcilePhase.Escalated or ReconcilePhase.Stuck); i++)
        {
            if (Settles is { } settles) World.State = settles(World.State);
            try { report = Pass(goal); }
            catch (DiedException) { Deaths++; continue; }
            if (!report.Held.IsEmpty) Sign(report.Held.Where(s => s.Risk.Level == Runtime.Risk.RiskLevel.Dangerous));
        }
        return report!;
    }

    /// <summary>Runs exactly these steps, or resumes the run that is open.</summary>
    public ExecutionResult Execute(TGoal? goal, ImmutableArray<Step> steps)
    {
        if (Open is null)
        {
            var run = new RunRecord("run-" + ++_runs, Key, Request.Subject, Request.GoalHash, "", steps, Clock.GetUtcNow());
            Memory.Write(Key, new Commit { Open = run });
        }
        var open = Open!;
        var execution = new Execution(open.Run, open.Entries);
        Port.Run(new Executor<TGoal, TState>(Agent, s_approver.Verifier, Clock).Run(Request, goal, execution));
        return execution.Result!;
    }
}
