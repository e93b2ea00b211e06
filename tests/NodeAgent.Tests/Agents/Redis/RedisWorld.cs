using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>
/// Three members whose agents see only what they could see, and a data set that is a number: how many writes a member holds. Plans are made at
/// one moment and run at another, with the executor's re-check in between; the world goes on meanwhile.
/// </summary>
internal sealed class RedisWorld
{
    private const int Count = 3;
    private readonly string _spec;
    private readonly RedisState[] _truth = new RedisState[Count];
    private readonly int[] _memory = new int[Count];
    private readonly int[] _disk = new int[Count];
    private readonly HashSet<(int, int)> _cut = [];
    private readonly HashSet<int> _linkedToHung = [];
    private readonly (MemberInput Input, Queue<Step> Steps)?[] _running = new (MemberInput, Queue<Step>)?[Count];

    public RedisWorld(bool persistent)
    {
        _spec = persistent ? """{"replicas":2}""" : """{"replicas":2,"persistence":{"appendonly":false,"save":[]}}""";
        for (var i = 0; i < Count; i++) _truth[i] = Nothing(Input(i));
    }

    public int Primary { get; private set; }
    public List<string> Log { get; } = [];

    /// <summary>The most that any member holds, in memory or where a start would find it again.</summary>
    public int Best => Enumerable.Range(0, Count).Max(i => Math.Max(_memory[i], Goal(Member(i)).Persistent ? _disk[i] : 0));

    public int Leaders => _truth.Count(t => t.Leads);

    private MemberInput Member(int i) => Input(i, Primary, spec: _spec);

    public RedisState See(int i)
    {
        var goal = Goal(Member(i));
        var peers = Enumerable.Range(0, Count).Where(j => j != i).ToImmutableSortedDictionary(j => j, j =>
        {
            var address = goal.Members[j].Address;
            if (_cut.Contains((Math.Min(i, j), Math.Max(i, j)))) return new RedisPeerState(address, FactValue.Unseen("unreachable"));
            var t = _truth[j];
            return t.Answers ? new(address, t.Serving, t.Role, LinkOf(j), _memory[j] > 0 ? Stored.Some : Stored.None) { Offset = _memory[j] } : new RedisPeerState(address, t.Serving);
        });
        var own = _truth[i];
        return own with
        {
            Peers = peers,
            Link = own.Answers && own.Role != RedisRole.Primary ? LinkOf(i) : FactValue.Absent,
            Keys = !own.Answers ? FactValue.Absent : _memory[i] > 0 ? Stored.Some : Stored.None,
            Offset = _memory[i],
            Data = _disk[i] > 0 ? Stored.Aof : Stored.None,
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
        if (step.Tool == "handover")
        {
            _truth[Primary] = _truth[Primary] with { Role = RedisRole.Primary };
            Move(i, Primary);
        }
        Become(i, state, after, step.Tool is "start" or "restart" or "reconfigure");
        return true;
    }

    public void Write()
    {
        for (var i = 0; i < Count; i++)
        {
            if (!_truth[i].Leads) continue;
            _memory[i]++;
            Save(i);
            Log.Add($"write to {i}: {_memory[i]}");
        }
        Sync();
    }

    public void Crash(int i)
    {
        Log.Add("crash of " + i);
        _linkedToHung.Remove(i);
        if (_truth[i] is { Serving: Serving.Hung, Role: RedisRole.Primary }) _linkedToHung.Clear();
        _truth[i] = _truth[i].Down();
        _memory[i] = 0;
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
        Log.Add("systemd starts " + i);
        Become(i, See(i), _truth[i] with { Serving = Serving.Answering, UnitActive = "active", Role = _truth[i].RoleFile, AuthLive = _truth[i].AuthFile, Writes = Writes.Taken, Live = _truth[i].FileSettings }, true);
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
            var acted = false;
            for (var i = 0; i < Count; i++)
            {
                _running[i] = null;
                Plan(i, approved);
                while (Run(i)) acted = true;
            }
            Sync();
            if (!acted && round > 3) break;
        }
        var open = Enumerable.Range(0, Count).Select(i => RedisSamples.Plan(Member(i), See(i))).SelectMany((p, i) => p.Blocked.Select(b => $"{i}: {b.Difference} {string.Join(", ", b.Reasons)}")
            .Concat(p.Steps.Select(s => $"{i}: {s.Text} is {s.Risk.Level}"))).ToList();
        return open.Count == 0 ? null : string.Join("\n", open);
    }

    private void Become(int i, RedisState before, RedisState after, bool started)
    {
        _linkedToHung.Remove(i);
        if (_truth[i] is { Serving: Serving.Hung, Role: RedisRole.Primary }) _linkedToHung.Clear();
        var follows = after.Answers && RedisRole.Followed(after.Role) is { } address ? Goal(Member(i)).MemberAt(address)?.Ordinal : null;
        _truth[i] = after with { Link = FactValue.Absent, ComesUpEmpty = false };
        if (started) _memory[i] = Goal(Member(i)).Persistent ? _disk[i] : 0;
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
        _memory[to] = _memory[from];
        Save(to);
    }

    private void Save(int i)
    {
        if (Goal(Member(i)).Persistent) _disk[i] = _memory[i];
    }

    private string RedisForkOf(int i) => Enumerable.Range(0, Count).Any(j => j != i && _truth[j].Leads && _memory[j] >= _memory[i]) ? NodeAgent.Agents.Redis.Tools.RedisFork.Clean
        : NodeAgent.Agents.Redis.Tools.RedisFork.Written;
}
