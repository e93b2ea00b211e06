using System.Globalization;
using System.Text;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Store;
using AgentMetal.Runtime.Trust;

namespace AgentMetal.Simulation;

/// <summary>The model of a coordinator over the real store: what hosts are told, who has a turn, and what an operator signed.</summary>
internal sealed class Coordinator(Fleet fleet, MemoryStore store)
{
    private const string Lease = "leader";

    private readonly List<(DateTimeOffset At, string Node, SignedApproval Approval)> _outbox = [];
    private readonly Dictionary<string, long> _acknowledged = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (long Revision, ReconcilePhase Phase)> _reports = new(StringComparer.Ordinal);
    private readonly HashSet<string> _asked = new(StringComparer.Ordinal);
    private LeaderProof? _leader;
    private int _life;

    private bool Alive { get; set; }

    internal void Start()
    {
        if (Alive) return;
        Alive = true;
        fleet.Trace.Say("coordinator", "starts");
        Try(() => _leader = Now(store.AcquireLeaseAsync(Lease, "c1", TimeSpan.FromMinutes(5))) is LeaseResult.Granted g ? g.Proof : null);
        if (fleet.Time.Elapsed == TimeSpan.Zero) Change("n1", 1, Fleet.Names);
        Tick(_life);
    }

    /// <summary>All that is not in the store is gone.</summary>
    internal void Die()
    {
        if (!Alive) return;
        fleet.Counts.CoordinatorCrashes++;
        fleet.Trace.Say("coordinator", "dies");
        (Alive, _leader) = (false, null);
        _life++;
        _acknowledged.Clear();
        _reports.Clear();
        _asked.Clear();
        fleet.Time.After(fleet.Dice.Ms(500, 8000), Start);
    }

    internal void StoreGoesAway()
    {
        fleet.Counts.StoreAway++;
        store.GoAway("a bad disk");
        fleet.Time.After(fleet.Dice.Ms(200, 4000), store.ComeBack);
    }

    /// <summary>A person's change: who leads, with which config, on which hosts. All of it or nothing.</summary>
    internal void Change(string primary, int config, IReadOnlyCollection<string> present) => Try(() =>
    {
        if (_leader is null) return;
        List<StoreCompare> compares = [];
        List<StoreWrite> writes = [];
        foreach (var node in Fleet.Names)
        {
            var before = Read(node);
            var body = present.Contains(node) ? $"{primary};{config}" : "";
            if (before is { } b && b.Body == body) continue;
            compares.Add(new("spec/" + node, before?.Revision ?? 0));
            writes.Add(StoreWrite.Put("spec/" + node, Encoding.UTF8.GetBytes($"{(before?.Generation ?? 0) + 1};{body}")));
        }
        if (writes.Count == 0) return;
        var result = Now(store.TxnAsync(new StoreTxn { Compares = compares, Writes = writes, Leader = _leader }));
        if (result is not StoreResult.Committed) return;
        fleet.Counts.Changes++;
        fleet.Trace.Say("person", $"wants {primary} {config} on {string.Join(',', present)}");
    });

    /// <summary>What is wanted: the primary, the config, and on which hosts.</summary>
    internal (string Primary, int Config, List<string> Present)? Wanted()
    {
        (string Primary, int Config, List<string> Present)? wanted = null;
        Try(() =>
        {
            var told = Fleet.Names.Select(n => (n, Told: TellOf(n))).Where(t => t.Told?.Goal is not null).ToList();
            wanted = (told[0].Told!.Goal!.Primary, told[0].Told!.Goal!.Config, [.. told.Select(t => t.n)]);
        });
        return wanted;
    }

    internal void Acknowledged(string node, long revision)
    {
        if (Alive) _acknowledged[node] = Math.Max(revision, _acknowledged.GetValueOrDefault(node));
    }

    /// <summary>A host says where it stands; an operator looks at what it holds, and so does a thief.</summary>
    internal void Reported(string node, long revision, ReconcileReport report, PlanSubject subject)
    {
        if (!Alive) return;
        _reports[node] = (revision, report.Phase);
        var held = report.Held.Where(s => s.Risk.Level == Runtime.Risk.RiskLevel.Dangerous && !_asked.Contains(s.Hash)).ToList();
        if (held.Count == 0) return;
        foreach (var step in held) _asked.Add(step.Hash);
        var expires = fleet.Time.GetUtcNow().AddHours(6);
        if (fleet.BadDay && fleet.Dice.Chance(50))
        {
            fleet.Counts.Forged++;
            Post(node, Fleet.Mallory.Sign(subject, held, expires));
        }
        fleet.Time.After(fleet.Dice.Ms(200, 20_000), () =>
        {
            fleet.Counts.Approvals++;
            foreach (var step in held) fleet.Signed.Add(step.Hash);
            fleet.Trace.Say("operator", $"signs {held[0].Hash} for {node}");
            Post(node, Fleet.Operator.Sign(subject, held, expires));
        });
    }

    internal void Turn(string node, string key, TimeSpan hold, Action<long, string> answer)
    {
        if (!Alive) return;
        Try(() =>
        {
            // The same holder may ask again; a token of its own for each grant keeps an old release from ending a new one.
            var result = Now(store.AcquireLeaseAsync("turn/" + key, node, hold));
            var (token, refusal) = result switch
            {
                LeaseResult.Granted g => (g.Proof.Token, ""),
                LeaseResult.HeldBy h when fleet.Sabotage == Sabotage.TurnsForEverybody => (h.Token, ""),
                LeaseResult.HeldBy h => (0, h.Holder + " has it"),
                _ => throw new InvalidOperationException(result.ToString()),
            };
            fleet.Send(node, "turn", () => answer(token, refusal));
        });
    }

    internal void Release(string node, string key, long token)
    {
        if (!Alive) return;
        Try(() => Now(store.ReleaseLeaseAsync(new() { Lease = "turn/" + key, Holder = node, Token = token, Until = default })));
    }

    /// <summary>Whether every host has what is wanted, and says so.</summary>
    internal bool Settled()
    {
        var settled = false;
        if (Alive) Try(() => settled = Fleet.Names.All(IsAsWanted));
        return settled;
    }

    private bool IsAsWanted(string node)
    {
        if (!_reports.TryGetValue(node, out var report) || report.Phase != ReconcilePhase.Converged) return false;
        return TellOf(node) is { } told && report.Revision == told.Revision
            && fleet.Servers[node] == (told.Goal is { } goal ? new Server(true, true, goal.Primary == node, goal.Config) : Server.None);
    }

    private void Tick(int life)
    {
        if (life != _life || !Alive) return;
        Try(() =>
        {
            if (_leader is null) _leader = Now(store.AcquireLeaseAsync(Lease, "c1", TimeSpan.FromMinutes(5))) is LeaseResult.Granted g ? g.Proof : null;
            else if (Now(store.RenewLeaseAsync(_leader, TimeSpan.FromMinutes(5))) is LeaseResult.Granted again) _leader = again.Proof;
            foreach (var node in Fleet.Names)
                if (TellOf(node) is { } told && told.Revision > _acknowledged.GetValueOrDefault(node)) fleet.Send(node, "assignment", () => fleet.Nodes[node].Assign(told));
        });
        // Whatever was signed is sent again and again, used or not: a host must know the difference.
        foreach (var (at, node, approval) in _outbox)
            if (fleet.Time.GetUtcNow() - at < TimeSpan.FromSeconds(120)) fleet.Send(node, "approval", () => fleet.Nodes[node].Approve(approval));
        fleet.Time.After(TimeSpan.FromSeconds(fleet.BadDay ? 1 : 5), () => Tick(life));
    }

    private void Post(string node, SignedApproval approval)
    {
        _outbox.Add((fleet.Time.GetUtcNow(), node, approval));
        fleet.Send(node, "approval", () => fleet.Nodes[node].Approve(approval));
    }

    private (long Revision, long Generation, string Body)? Read(string node)
    {
        if (Now(store.GetAsync("spec/" + node)).Entry is not { } entry) return null;
        var parts = Encoding.UTF8.GetString(entry.Value.Span).Split(';', 2);
        return (entry.ModifiedAt, long.Parse(parts[0], CultureInfo.InvariantCulture), parts[1]);
    }

    private Told? TellOf(string node) => Read(node) is not { } read ? null
        : new(read.Revision, read.Generation, read.Body.Length == 0 ? null : new(read.Body.Split(';')[0], int.Parse(read.Body.Split(';')[1], CultureInfo.InvariantCulture)));

    // Away is never empty: what cannot be asked now is asked again at the next tick.
    private void Try(Action action)
    {
        try { action(); }
        catch (StoreAwayException e) { fleet.Trace.Say("coordinator", e.Message); }
    }

    private static T Now<T>(ValueTask<T> call) => call.IsCompleted ? call.GetAwaiter().GetResult() : throw new InvalidOperationException("the store in memory never waits");

    private static void Now(ValueTask call)
    {
        if (!call.IsCompleted) throw new InvalidOperationException("the store in memory never waits");
        call.GetAwaiter().GetResult();
    }
}
