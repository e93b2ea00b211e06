using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Reasoning;
using AgentMetal.Runtime.Trust;
using AgentMetal.TestKit;

namespace AgentMetal.Simulation;

/// <summary>What a host was told, as it keeps it on its disk.</summary>
internal sealed record Told(long Revision, long Generation, MemberGoal? Goal);

/// <summary>One host: a disk that survives, a daemon that does not, and the real engine in it.</summary>
internal sealed partial class Node(Fleet fleet, string name)
{
    private const string Key = "member";

    private sealed class AnyoneVerifier : IApprovalVerifier
    {
        public ApprovalVerdict Verify(PlanSubject subject, Step step, System.Collections.Immutable.ImmutableArray<SignedApproval> found, DateTimeOffset now) =>
            new(!found.IsEmpty, "anyone", "nobody has signed it");
    }

    private readonly string _uid = new(name[^1], 32);
    private readonly HashSet<SignedApproval> _taken = new(ReferenceEqualityComparer.Instance);
    private WorkQueue _queue = new(new());
    private IEnumerator<Effect>? _pass;
    private Reconciler<MemberGoal, MemberState>.Box _box = new();
    private int _life;
    private int _runs;
    private int _immediate;

    internal string Name => name;
    internal HostMemory Memory { get; private set; } = new(name, () => fleet.Time.GetUtcNow());
    internal Told? Told { get; private set; }
    internal bool Alive { get; private set; }
    internal bool Powered { get; private set; } = true;
    internal bool Isolated { get; set; }

    private PlanSubject Subject => new(_uid, "r-" + name, Told!.Generation);

    internal string Describe() => $"{name} {fleet.Servers[name]} told {Told} {(Alive ? "" : "dead ")}{_box.Report?.Phase} {_box.Report?.Blocker}";

    internal void Start()
    {
        if (Alive) return;
        (Alive, Powered, _queue, _pass) = (true, true, new(new()), null);
        if (fleet.Sabotage == Sabotage.JournalLost && _life > 0) Memory = new(name, () => fleet.Time.GetUtcNow());
        fleet.Trace.Say(name, "starts");
        Wake();
    }

    /// <summary>The daemon dies; all that it did not write is gone. A change under way is left half made, or completes without it.</summary>
    internal void Die()
    {
        if (!Alive) return;
        (Alive, _pass) = (false, null);
        _life++;
        fleet.Counts.Crashes++;
        fleet.Trace.Say(name, "dies");
        LoseTurns();
        if (_change is { } change && fleet.Dice.Chance(50)) Complete(change);
        _change = null;
        fleet.Time.After(fleet.Dice.Ms(100, 5000), Start);
    }

    /// <summary>The host goes down with all that runs on it.</summary>
    internal void Reboot()
    {
        if (!Powered) return;
        Die();
        Powered = false;
        fleet.Counts.Reboots++;
        Drift(fleet.Servers[name] with { Up = false });
    }

    /// <summary>Somebody or something else changes the server.</summary>
    internal void Drift(Server server)
    {
        fleet.Servers[name] = server;
        _completed.Clear();
        fleet.Trace.Say(name, "drifts to " + server);
        Wake();
    }

    internal void Wake()
    {
        if (!Alive || Told is null) return;
        _queue.Add(Key, fleet.Time.GetUtcNow());
        Plan();
    }

    internal void Assign(Told told)
    {
        if (!Alive) return;
        fleet.Send(name, "ack", () => fleet.Coordinator.Acknowledged(name, told.Revision));
        // Messages overtake one another: only what is newer counts.
        if (Told is not null && told.Revision <= Told.Revision) return;
        Told = told;
        fleet.Trace.Say(name, $"is told {told.Revision} {told.Generation} {told.Goal}");
        Wake();
    }

    internal void Approve(SignedApproval approval)
    {
        if (!Alive || !_taken.Add(approval)) return;
        Memory.Take(approval);
        Wake();
    }

    private void Plan()
    {
        if (_queue.NextDue is not { } due) return;
        var (life, now) = (_life, fleet.Time.GetUtcNow());
        fleet.Time.After(due > now ? due - now : TimeSpan.Zero, () => { if (life == _life && Alive) Begin(); });
    }

    private void Begin()
    {
        if (_pass is not null || Told is null || !_queue.TryTake(fleet.Time.GetUtcNow(), out _)) return;
        var open = Memory.Open(Key);
        if (open is not null) fleet.Counts.Resumed++;
        _running = open?.Run;
        _intent = open?.Entries.LastOrDefault(e => e.Entry == Entry.Intent)?.StepHash;
        IApprovalVerifier verifier = fleet.Sabotage == Sabotage.AnySignature ? new AnyoneVerifier() : Fleet.Operator.Verifier;
        var engine = new Reconciler<MemberGoal, MemberState>(new MemberAgent(), verifier, new RulesReasoner(), fleet.Time);
        var tried = Memory.Tried(AttemptsKey) with { Now = fleet.Time.GetUtcNow() };
        var input = new ReconcileInput<MemberGoal>(Key, new(Subject, $"{Told.Generation}"), Told.Goal, tried, open, Mode.Enforce, $"{name}-{_life}-{++_runs}");
        _box = new();
        _pass = engine.Reconcile(input, _box).GetEnumerator();
        Go();
    }

    private string AttemptsKey => "member@" + Told!.Generation;

    private void End()
    {
        _pass = null;
        var (report, now) = (_box.Report!, fleet.Time.GetUtcNow());
        fleet.Trace.Say(name, $"{report.Phase} {fleet.Servers[name]} {report.Blocker}");
        if (report.Phase == ReconcilePhase.Converged) _immediate = 0;
        if (report.Again == TimeSpan.Zero && ++_immediate <= 5) _queue.Done(Key, now, TimeSpan.Zero);
        else if (report.BackOff || report.Again == TimeSpan.Zero) _queue.Retry(Key, now, fleet.Dice.Fraction());
        else _queue.Done(Key, now, report.Again ?? TimeSpan.FromSeconds(20));
        var (subject, revision) = (Subject, Told!.Revision);
        fleet.Send(name, "report", () => fleet.Coordinator.Reported(name, revision, report, subject));
        Plan();
    }
}
