using System.Collections.Immutable;
using AgentMetal.Runtime.Audit;
using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;

namespace AgentMetal.Simulation;

/// <summary>What a run of the simulation breaks on purpose, to show that its properties can fail.</summary>
internal enum Sabotage
{
    None,

    /// <summary>The coordinator grants every turn to everybody.</summary>
    TurnsForEverybody,

    /// <summary>Hosts take any signature for an operator's.</summary>
    AnySignature,

    /// <summary>A host that restarts has lost its journal.</summary>
    JournalLost,
}

/// <summary>How often what happened: a run in which nothing went wrong proves nothing.</summary>
internal sealed record Counts
{
    public int Crashes { get; set; }
    public int Reboots { get; set; }
    public int CoordinatorCrashes { get; set; }
    public int StoreAway { get; set; }
    public int Sent { get; set; }
    public int Dropped { get; set; }
    public int Doubled { get; set; }
    public int Partitions { get; set; }
    public int Drifts { get; set; }
    public int Refusals { get; set; }
    public int Changes { get; set; }
    public int Applied { get; set; }
    public int Resumed { get; set; }
    public int TurnsRefused { get; set; }
    public int Promotions { get; set; }
    public int Approvals { get; set; }
    public int Forged { get; set; }
    public int Wipes { get; set; }

    internal void Add(Counts other)
    {
        (Crashes, Reboots, CoordinatorCrashes, StoreAway) = (Crashes + other.Crashes, Reboots + other.Reboots, CoordinatorCrashes + other.CoordinatorCrashes, StoreAway + other.StoreAway);
        (Sent, Dropped, Doubled, Partitions) = (Sent + other.Sent, Dropped + other.Dropped, Doubled + other.Doubled, Partitions + other.Partitions);
        (Drifts, Refusals, Changes, Applied, Resumed) = (Drifts + other.Drifts, Refusals + other.Refusals, Changes + other.Changes, Applied + other.Applied, Resumed + other.Resumed);
        (TurnsRefused, Promotions, Approvals, Forged, Wipes) = (TurnsRefused + other.TurnsRefused, Promotions + other.Promotions, Approvals + other.Approvals, Forged + other.Forged, Wipes + other.Wipes);
    }
}

/// <summary>A property does not hold.</summary>
internal sealed class ViolationException(string what) : Exception(what);

/// <summary>Three hosts, a coordinator, a person and a bad day, on virtual time from one seed.</summary>
internal sealed class Fleet : IDisposable
{
    private static readonly TimeSpan s_badDay = TimeSpan.FromSeconds(90);
    private static readonly TimeSpan s_horizon = TimeSpan.FromHours(4);

    // Signatures differ from run to run, what they say does not; nothing of a key gets into a trace.
    private static readonly Approver s_operator = new("alice", Timeline.Began.AddYears(1));
    private static readonly Approver s_mallory = new("mallory", Timeline.Began.AddYears(1));

    private readonly Dictionary<string, (long Seq, string Hash)> _verified = new(StringComparer.Ordinal);

    internal Fleet(ulong seed, Sabotage sabotage = Sabotage.None, bool keep = false)
    {
        (Dice, Sabotage, Trace) = (new(seed), sabotage, new(Time, keep));
        Servers = Names.ToDictionary(n => n, _ => Server.None, StringComparer.Ordinal);
        Nodes = Names.ToDictionary(n => n, n => new Node(this, n), StringComparer.Ordinal);
        Coordinator = new(this, new("sim", Time));
    }

    internal static ImmutableArray<string> Names { get; } = ["n1", "n2", "n3"];

    internal Timeline Time { get; } = new();
    internal Dice Dice { get; }
    internal Sabotage Sabotage { get; }
    internal Trace Trace { get; }
    internal Counts Counts { get; } = new();
    internal Dictionary<string, Server> Servers { get; }
    internal Dictionary<string, Node> Nodes { get; }
    internal Coordinator Coordinator { get; }
    internal bool BadDay => Time.Elapsed < s_badDay;
    internal static Approver Operator => s_operator;
    internal static Approver Mallory => s_mallory;

    /// <summary>Step hashes that the operator signed.</summary>
    internal HashSet<string> Signed { get; } = new(StringComparer.Ordinal);

    /// <summary>Runs to the end; returns how long it took to converge after the bad day.</summary>
    /// <exception cref="ViolationException">With what does not hold.</exception>
    internal TimeSpan Run()
    {
        Coordinator.Start();
        foreach (var node in Nodes.Values) node.Start();
        new Mischief(this).Begin();
        while (Time.Step())
        {
            CheckSafety();
            if (!BadDay && Coordinator.Settled()) break;
            if (Time.Elapsed > s_horizon) throw new ViolationException("not converged: " + string.Join("; ", Nodes.Values.Select(n => n.Describe())));
        }
        foreach (var node in Nodes.Values)
        {
            if (AuditChain.Verify(node.Memory.Audit) is { } broken) throw new ViolationException($"{node.Name}: {broken}");
            Trace.Say(node.Name, node.Memory.Audit.Count == 0 ? "-" : node.Memory.Audit[^1].Hash);
        }
        return Time.Elapsed - s_badDay;
    }

    /// <summary>What a host sees of the world now.</summary>
    internal MemberState View(string me) => new(me, Servers[me], Names.Where(n => n != me).ToImmutableSortedDictionary(n => n, n =>
        Nodes[me].Isolated || Nodes[n].Isolated || !Nodes[n].Powered ? FactValue.Unseen("no route")
        : Servers[n] switch { { Exists: false } => "none", { Up: false } => "down", { Leads: true } => "primary", _ => "replica" }, StringComparer.Ordinal));

    /// <summary>Sends a message: late, out of order, twice or never.</summary>
    internal void Send(string node, string what, Action arrive)
    {
        Counts.Sent++;
        if (Nodes[node].Isolated || (BadDay && Dice.Chance(15)))
        {
            Counts.Dropped++;
            Trace.Say("link", $"drops {what} of {node}");
            return;
        }
        var copies = BadDay && Dice.Chance(5) ? 2 : 1;
        if (copies == 2) Counts.Doubled++;
        for (var i = 0; i < copies; i++) Time.After(BadDay ? Dice.Ms(1, Dice.Chance(10) ? 4000 : 200) : Dice.Ms(1, 20), arrive);
    }

    private void CheckSafety()
    {
        if (Servers.Values.Count(s => s is { Up: true, Leads: true }) > 1) throw new ViolationException("two primaries: " + string.Join(' ', Servers.Values));
        foreach (var node in Nodes.Values)
        {
            var (seq, hash) = _verified.GetValueOrDefault(node.Name, (0, AuditChain.Genesis));
            var audit = node.Memory.Audit;
            if (audit.Count < seq) throw new ViolationException($"{node.Name}: the audit chain has lost records");
            if (audit.Count == seq) continue;
            if (AuditChain.Verify(audit.Skip((int)seq), seq, hash) is { } broken) throw new ViolationException($"{node.Name}: {broken}");
            _verified[node.Name] = (audit[^1].Seq, audit[^1].Hash);
        }
    }

    public void Dispose() => Trace.Dispose();
}
