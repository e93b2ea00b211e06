using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>
/// Three members whose agents see only what they could see; a data set is the set of writes that a member holds, with its place in a replication
/// history. Plans are made at one moment and run at another, with the executor's re-check in between; the world goes on meanwhile.
/// </summary>
internal sealed class RedisWorld
{
    private const int Count = 3;
    private readonly string _spec;
    private readonly RedisState[] _truth = new RedisState[Count];
    private readonly ImmutableHashSet<int>[] _memory = [.. Enumerable.Repeat(ImmutableHashSet<int>.Empty, Count)];
    private readonly ImmutableHashSet<int>[] _disk = [.. Enumerable.Repeat(ImmutableHashSet<int>.Empty, Count)];
    private readonly RedisPosition[] _position = new RedisPosition[Count];
    private readonly RedisNotes?[] _notes = new RedisNotes?[Count];
    private int _writes, _histories;
    private bool _patience;
    private readonly HashSet<(int, int)> _cut = [];
    private readonly HashSet<int> _linkedToHung = [];
    private readonly (MemberInput Input, Queue<Step> Steps)?[] _running = new (MemberInput, Queue<Step>)?[Count];

    public RedisWorld(bool persistent)
    {
        _spec = persistent ? """{"replicas":2}""" : """{"replicas":2,"persistence":{"appendonly":false,"save":[]}}""";
        for (var i = 0; i < Count; i++) (_truth[i], _position[i]) = (Nothing(Input(i)), NewHistory());
    }

    public int Primary { get; private set; }
    public List<string> Log { get; } = [];

    /// <summary>All that any member holds, in memory or where a start would find it again.</summary>
    public ImmutableHashSet<int> Held => Enumerable.Range(0, Count).Aggregate(ImmutableHashSet<int>.Empty, (all, i) => all.Union(_memory[i]).Union(Goal(Member(i)).Persistent ? _disk[i] : []));

    public int Leaders => _truth.Count(t => t.Leads);

    private MemberInput Member(int i) => Input(i, Primary, spec: _spec);

    private RedisPosition NewHistory() => new($"{++_histories:D40}".Replace('0', 'f'), 0);

    private NotedData Data(int i) => new() { Role = _truth[i].Role, Id = _position[i].Id, Offset = _position[i].Offset, Id2 = _position[i].Id2, Offset2 = _position[i].Offset2, Keys = _memory[i].Count, Changes = _position[i].Offset, Appending = Goal(Member(i)).Persistent, At = 1, Changed = 1 };

    public RedisState See(int i)
    {
        var goal = Goal(Member(i));
        var peers = Enumerable.Range(0, Count).Where(j => j != i).ToImmutableSortedDictionary(j => j, j =>
        {
            var address = goal.Members[j].Address;
            if (_cut.Contains((Math.Min(i, j), Math.Max(i, j)))) return new RedisPeerState(address, FactValue.Unseen("unreachable")) { IsLong = _patience };
            var t = _truth[j];
            return t.Answers ? new(address, t.Serving, t.Role, LinkOf(j), _memory[j].Count > 0 ? Stored.Some : Stored.None) { Data = Data(j) } : new RedisPeerState(address, t.Serving) { IsLong = _patience };
        });
        var own = _truth[i];
        var disk = new RedisDisk(true, null, _disk[i].Count > 0 ? new(1, "i", _disk[i].Count, "b", 1, true, "") : null);
        var notes = _notes[i] ?? new() { Uid = "uid-1", Ordinal = i, DataDir = "/d", ConfDir = "/c" };
        if (own.Answers && (own.Role == RedisRole.Primary || LinkOf(i) == Link.Up || _position[i].Id == notes.Own?.Id))
            notes = notes with { Own = Data(i), Files = NotedFiles.Of(disk), CopyOf = own.Role == RedisRole.Primary ? "" : LinkOf(i) == Link.Up ? RedisRole.Followed(own.Role)! : notes.CopyOf };
        foreach (var (ordinal, peer) in peers)
            if (peer.Data is { } data) notes = notes with { Peers = notes.Peers.SetItem(ordinal, data) };
        _notes[i] = notes;
        return own with
        {
            Address = goal.Self.Address,
            Peers = peers,
            Link = own.Answers && own.Role != RedisRole.Primary ? LinkOf(i) : FactValue.Absent,
            Keys = !own.Answers ? FactValue.Absent : _memory[i].Count > 0 ? Stored.Some : Stored.None,
            Own = own.Answers ? Data(i) : null,
            Disk = disk,
            Notes = notes,
            Data = _disk[i].Count > 0 ? Stored.Aof : Stored.None,
            Fork = own.Leads && peers.Values.Any(p => p.Leads) ? RedisForkOf(i) : FactValue.Absent,
        };
    }

    /// <param name="i">Whose.</param>
    /// <param name="approved">A person has signed what is Dangerous.</param>
    public void Plan(int i, bool approved = false)
    {
        if (_running[i] is { Steps.Count: > 0 }) return;
        var plan = RedisSamples.Plan(Member(i), See(i));
        _running[i] = (Member(i), new(plan.Steps.TakeWhile(s => approved || s.Risk.Level < RiskLevel.Dangerous)));
    }

    /// <summary>The next step of the plan, if its basis still holds and no rule forbids it now.</summary>
    public bool Run(int i)
    {
        if (_running[i] is not { Steps: { Count: > 0 } steps, Input: var input }) return false;
        var (step, state) = (steps.Dequeue(), See(i));
        var agent = new RedisAgent(Scope(input));
        var call = agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args);
        var planner = new Planner<RedisGoal, RedisState>(agent);
        if (step.Basis.Any(f => agent.Fact(state, f.Key) != f.Value) || planner.Broken(Goal(input), state, call, call.Touches(state), Strength.Never) is not null
            || planner.Risk(Request(input), Goal(input), state, call, call.Inverse(state)).Level > step.Risk.Level)
        {
            steps.Clear();
            return false;
        }
        Log.Add($"{i}: {step.Text}");
        var after = call.Predict(state);
        // What a step hands over is handed to the member that the step names, with all that is here.
        foreach (var (ordinal, peer) in after.Peers)
            if (peer.Leads && !state.Peers[ordinal].Leads)
            {
                Move(i, ordinal);
                _truth[ordinal] = _truth[ordinal] with { Role = RedisRole.Primary };
                Branch(ordinal);
            }
        if (step.Tool == "promote") Branch(i);
        Become(i, state, after, step.Tool is "start" or "restart" or "reconfigure");
        return true;
    }

    public void Write()
    {
        for (var i = 0; i < Count; i++)
        {
            if (!_truth[i].Leads) continue;
            _memory[i] = _memory[i].Add(++_writes);
            _position[i] = _position[i] with { Offset = _position[i].Offset + 1 };
            Save(i);
            Log.Add($"write {_writes} to {i}");
        }
        Sync();
    }

    public void Crash(int i)
    {
        Log.Add("crash of " + i);
        _linkedToHung.Remove(i);
        if (_truth[i] is { Serving: Serving.Hung, Role: RedisRole.Primary }) _linkedToHung.Clear();
        _truth[i] = _truth[i].Down();
        _memory[i] = [];
    }

    public void Hang(int i)
    {
        // A replica notices only after a minute that its primary says nothing any more.
        if (_truth[i].Leads) _linkedToHung.UnionWith(Enumerable.Range(0, Count).Where(j => j != i && LinkOf(j) == Link.Up));
        if (_truth[i].Answers) _truth[i] = _truth[i] with { Serving = Serving.Hung };
        Log.Add("hang of " + i);
    }

    /// <summary>systemd's own Restart= and boot: with the role that the file gives, and asking nobody.</summary>
    public void RestartBySystemd(int i)
    {
        if (!_truth[i].IsDown || _truth[i].RoleFile == FactValue.Absent || _truth[i].ConfigText is null || !Goal(Member(i)).StartsItself) return;
        var seen = See(i);
        var answer = RedisCopies.Judge(seen, seen.RoleFile);
        Log.Add($"systemd starts {i}: {answer.Gate} {answer.Role} {answer.Why}");
        if (answer.Gate == Gate.Hold) return;
        _truth[i] = _truth[i] with { RoleFile = answer.Role };
        Become(i, seen, _truth[i] with { Serving = Serving.Answering, UnitActive = "active", Role = answer.Role, AuthLive = _truth[i].AuthFile, Writes = Writes.Taken, Live = _truth[i].FileSettings }, true);
    }

    public void DeleteRoleFile(int i)
    {
        _truth[i] = _truth[i] with { RoleFile = FactValue.Absent };
        Log.Add("role.conf deleted on " + i);
    }

    public void Cut(int i, int j)
    {
        _cut.Add((Math.Min(i, j), Math.Max(i, j)));
        _linkedToHung.ExceptWith([i, j]);
        Log.Add($"cut {i} {j}");
    }

    public void Heal()
    {
        _cut.Clear();
        Sync();
    }

    public void SetPrimary(int i)
    {
        Primary = i;
        Log.Add("spec.primary: " + i);
    }

    /// <summary>Everyone plans and acts in turn; null when all converged, else what still blocks.</summary>
    public string? Settle(bool approved = false)
    {
        for (var round = 0; round < 30; round++)
        {
            _patience = round > 6;
            var acted = false;
            for (var i = 0; i < Count; i++)
            {
                _running[i] = null;
                Plan(i, approved);
                while (Run(i)) acted = true;
            }
            Sync();
            if (!acted && round > 8) break;
        }
        var open = Enumerable.Range(0, Count).Select(i => RedisSamples.Plan(Member(i), See(i))).SelectMany((p, i) => p.Blocked.Select(b => $"{i}: {b.Difference} {string.Join(", ", b.Reasons)}")
            .Concat(p.Steps.Select(s => $"{i}: {s.Text} is {s.Risk.Level}"))).ToList();
        _patience = false;
        return open.Count == 0 ? null : string.Join("\n", open);
    }

    private void Become(int i, RedisState before, RedisState after, bool started)
    {
        _linkedToHung.Remove(i);
        if (_truth[i] is { Serving: Serving.Hung, Role: RedisRole.Primary }) _linkedToHung.Clear();
        var follows = after.Answers && RedisRole.Followed(after.Role) is { } address ? Goal(Member(i)).MemberAt(address)?.Ordinal : null;
        _truth[i] = after with { Link = FactValue.Absent, ComesUpEmpty = false };
        if (started) (_memory[i], _position[i]) = (Goal(Member(i)).Persistent ? _disk[i] : [], NewHistory());
        if (follows is { } lead && LinkOf(i) == Link.Up) Move(lead, i);
        Sync();
    }

    private string LinkOf(int i) => _linkedToHung.Contains(i) ? Link.Up : RedisRole.Followed(_truth[i].Role) is { } address && Goal(Member(i)).MemberAt(address) is { } m && _truth[m.Ordinal].Leads
        && !_cut.Contains((Math.Min(i, m.Ordinal), Math.Max(i, m.Ordinal))) ? Link.Up : Link.Down;

    /// <summary>Replication: a replica becomes what its primary is, also when that is nothing.</summary>
    private void Sync()
    {
        for (var i = 0; i < Count; i++)
            if (_truth[i].Answers && _truth[i].Role != RedisRole.Primary && !_linkedToHung.Contains(i) && LinkOf(i) == Link.Up)
                Move(Goal(Member(i)).MemberAt(RedisRole.Followed(_truth[i].Role)!)!.Ordinal, i);
    }

    private void Move(int from, int to)
    {
        (_memory[to], _position[to]) = (_memory[from], _position[from]);
        Save(to);
    }

    /// <summary>A member that becomes primary begins a history, and remembers the one that it leaves.</summary>
    private void Branch(int i) => _position[i] = NewHistory() with { Offset = _position[i].Offset, Id2 = _position[i].Id, Offset2 = _position[i].Offset + 1 };

    private void Save(int i)
    {
        if (Goal(Member(i)).Persistent) _disk[i] = _memory[i];
    }

    private string RedisForkOf(int i) => Enumerable.Range(0, Count).Any(j => j != i && _truth[j].Leads && _memory[j].IsSupersetOf(_memory[i])) ? NodeAgent.Agents.Redis.Tools.RedisFork.Clean
        : NodeAgent.Agents.Redis.Tools.RedisFork.Written;
}
