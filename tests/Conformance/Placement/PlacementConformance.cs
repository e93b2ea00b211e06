using System.Collections.Immutable;
using AgentMetal.Coordinator.Agents;
using AgentMetal.Coordinator.Agents.Instance;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Agents.Redis;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using CsCheck;

namespace AgentMetal.Conformance.Placement;

/// <summary>The fleet half: members of a Redis and machines on hosts, with goals read by the coordinator's own halves of Redis and Instance.</summary>
public sealed class PlacementConformance : AgentConformance
{
    private protected override ISuite Suite { get; } = new Suite<PlacementGoal, PlacementState>(new PlacementSamples());
}

internal sealed class PlacementSamples : Samples<PlacementGoal, PlacementState>
{
    private const string Uid = "r1";

    private static readonly ImmutableSortedDictionary<string, Hold> s_noHolds = ImmutableSortedDictionary.Create<string, Hold>(StringComparer.Ordinal);

    private static readonly Gen<HostView> s_host =
        from site in Gen.OneOf("lab", "lab", "far")
        from standing in Gen.OneOf(Standing.Open, Standing.Open, Standing.Open, Standing.Away, Standing.Quarantined)
        from port in Gen.OneOf(0, 0, 6379, 7000)
        from able in Gen.OneOf(true, true, true, false)
        from hypervisor in Gen.OneOf(true, true, false)
        from room in Gen.OneOf(0, 1, 4)
        from held in Gen.OneOf(0L, 0L, 600L << 20)
        select Host(0) with
        {
            Standing = standing,
            Labels = Map(("site", site)),
            Kinds = able ? ["Redis", "Instance"] : [],
            NoHypervisor = !hypervisor,
            TransferPort = able ? 7444 : 0,
            Ports = Taken(port, "other", 0),
            Allocatable = room == 0 ? null : new((long)room << 30, 1000),
            Holds = held == 0 ? s_noHolds : s_noHolds.Add("vm/0", new Hold(held, 500, Listens: false)),
        };

    private static readonly Gen<PlacementGoal> s_machine =
        from memory in Gen.OneOf("64Mi", "512Mi", "2Gi")
        from site in Gen.OneOf("", "", "lab")
        from signed in Gen.OneOf("", "ab")
        from unresolved in Gen.OneOf(false, false, true)
        from beside in Gen.OneOf(Bond.None, Bond.None, Bond.AtFirst, Bond.Stays, Bond.Follows)
        from node in Gen.OneOf("n0", "n1", "n2", "n9", "")
        from named in Gen.OneOf("", "", "edge-0", "edge-1", "edge-2", "edge-9")
        from fixated in Gen.OneOf(false, false, false, true)
        select Moved(Machine(memory, site), named, fixated ? "it was taken over" : "") with { Signed = signed, Unresolved = unresolved ? [Missing] : [], Beside = beside == Bond.None ? [] : [Near(beside, node)] };

    private static readonly Gen<PlacementGoal> s_redis =
        from replicas in Gen.Int[0, 3]
        from primary in Gen.Int[0, 3]
        from site in Gen.OneOf("", "", "lab")
        from port in Gen.OneOf(6379, 6379, 7000)
        from spread in Gen.OneOf("host", "none")
        from limit in Gen.OneOf("0", "0", "256Mi")
        select Goal(replicas, Math.Min(primary, replicas), port, site, spread, limit);

    private static readonly Gen<PlacementGoal> s_goal =
        from machine in s_machine
        from which in Gen.Int[0, 2]
        from redis in s_redis
        select which == 0 ? machine : redis;

    private static readonly Gen<(int Ordinal, int Host, int Port, long Generation, int Primary, bool Absent, bool Teardown, bool Acknowledged, bool Served, long Memory)> s_member =
        Gen.Select(Gen.Select(Gen.Int[0, 4], Gen.Int[0, 5], Gen.OneOf(6379, 7000, 0), Gen.Long[1, 3]), Gen.Select(Gen.Int[0, 2], Gen.Int[0, 3], Gen.Bool, Gen.Bool, Gen.Bool), Gen.OneOf(0L, 256L << 20),
            (a, b, memory) => (a.Item1, a.Item2, a.Item3, a.Item4, b.Item1, b.Item2 == 0, b.Item3, b.Item4, b.Item5, memory));

    public override IReadOnlyCollection<string> Kinds => ["missing", "elsewhere", "moving", "stale", "no-room", "misplaced", "unresolved", "extra", "acknowledged", "released", "resource-remains"];

    public override Gen<Case<PlacementGoal, PlacementState>> Any { get; } =
        from hosts in s_host.Array[0, 6]
        from members in s_member.Array[0, 5]
        from goal in s_goal
        from dice in Gen.Int[0, 4]
        from move in s_move
        select Of("", dice == 0 ? null : goal, OnItsWay(move, goal, With(State(hosts.Select((h, i) => h with { Uid = $"n{i}", Name = $"edge-{i}" })),
            members.Where(m => m.Host < hosts.Length).DistinctBy(m => m.Ordinal).DistinctBy(m => m.Host).Where(m => !hosts[m.Host].Ports.ContainsKey(m.Port))
                .Select(m => Member($"n{m.Host}", m.Ordinal, m.Port, m.Generation, m.Primary) with
                { Absent = m.Absent, Teardown = m.Absent && m.Teardown, Acknowledged = m.Absent && m.Acknowledged, MemoryBytes = m.Memory, Served = m.Served ? m.Generation : m.Generation - 1 }))));

    public override IReadOnlyList<Case<PlacementGoal, PlacementState>> Journeys { get; } =
    [
        Of("create", Goal(2, 0), Three),
        Of("scale out", Goal(2, 0), Placed(Goal(0, 0))),
        Of("scale in with another primary", Goal(0, 0), Placed(Goal(2, 2))),
        Of("change", Goal(2, 1) with { SpecHash = "another" }, Placed(Goal(2, 0))),
        Of("another port", Goal(2, 0, 7000), Placed(Goal(2, 0))),
        Of("delete", null, Placed(Goal(2, 0))),
        Of("create a machine", Machine("512Mi"), Three),
        Of("grow a machine", Machine("2Gi"), Placed(Machine("512Mi"))),
        Of("shrink a machine", Machine("64Mi"), Placed(Machine("512Mi"))),
        Of("sign a machine", Machine("512Mi") with { Signed = "ab" }, Placed(Machine("512Mi"))),
        Of("limit a Redis", Goal(2, 0, limit: "256Mi"), Placed(Goal(2, 0))),
        Of("delete a machine", null, Placed(Machine("512Mi"))),
        Of("create beside another", Machine("512Mi") with { Beside = [Near(Bond.Stays, "n2")] }, Three),
        Of("follow what it is a part of", Machine("512Mi") with { Beside = [Near(Bond.Follows, "n2")] }, Placed(Machine("512Mi"))),
        Of("move a machine", Moved(Machine("512Mi"), "edge-1"), Placed(Machine("512Mi"))),
        Of("move and grow it", Moved(Machine("2Gi"), "edge-1"), Placed(Machine("512Mi"))),
        Of("go on with a move", Moved(Machine("512Mi"), "edge-1"), OnItsWay(1, Moved(Machine("512Mi"), "edge-1"), Three)),
        Of("call a move off", Moved(Machine("512Mi"), "edge-0"), OnItsWay(2, Moved(Machine("512Mi"), "edge-1"), Three)),
        Of("call it off too late", Moved(Machine("512Mi"), "edge-0"), OnItsWay(3, Moved(Machine("512Mi"), "edge-1"), Three)),
        Of("move it on", Moved(Machine("512Mi"), "edge-2"), OnItsWay(4, Moved(Machine("512Mi"), "edge-1"), Three)),
        Of("delete what moves", null, OnItsWay(2, Moved(Machine("512Mi"), "edge-1"), Three)),
    ];

    private static Neighbour Near(Bond bond, string node) => new("Volume default/data", bond, node, node.Length == 0 ? "has no host yet" : "");

    private const string Missing = "spec.disks[0].image: Image default/a does not exist: apply it first";

    private static PlacementState Three => State(Enumerable.Range(0, 3).Select(i => Host(i) with { Allocatable = new(4L << 30, 2000) }));

    public override int Count => 400;

    /// <summary>Hosts serve what they were told, hand over, and acknowledge what is to go; one that is away answers when it is back.</summary>
    public override PlacementState Settle(PlacementState state)
    {
        foreach (var target in state.Members.Values.Where(t => !t.Absent && t.Received.Length == 0 && t.MoveFrom is not null && Open(t.Node)))
            if (state.Members.GetValueOrDefault($"{target.MoveFrom!.Node}/{target.Ordinal}") is { Absent: false } source && source.MoveTo?.Node == target.Node && Open(source.Node))
                state = state with { Members = state.Members.SetItem(source.Key, source with { HandedOver = target.Node }).SetItem(target.Key, target with { Received = source.Node }) };
        return Serve(state);

        bool Open(string node) => state.Hosts.GetValueOrDefault(node) is { Standing: Standing.Open };
    }

    private static PlacementState Serve(PlacementState state) => state.Members.Values.Where(m => state.Hosts.GetValueOrDefault(m.Node) is { Standing: Standing.Open })
        .Aggregate(state, (s, m) => s with { Members = s.Members.SetItem(m.Key, m with { Served = m.Absent ? m.Served : m.Generation, Acknowledged = m.Absent }) });

    public override IEnumerable<PlacementState> Between(PlacementState a, PlacementState b)
    {
        foreach (var uid in a.Hosts.Keys.Intersect(b.Hosts.Keys)) yield return a with { Hosts = a.Hosts.SetItem(uid, a.Hosts[uid] with { Standing = b.Hosts[uid].Standing }) };
        foreach (var key in b.Members.Keys.Except(a.Members.Keys)) yield return a.Put(b.Members[key]);
        foreach (var key in a.Members.Keys)
        {
            yield return a with { Members = a.Members.SetItem(key, a.Members[key] with { Served = a.Members[key].Served + 1 }) };
            if (a.Members[key].Absent) yield return a with { Members = a.Members.SetItem(key, a.Members[key] with { Acknowledged = !a.Members[key].Acknowledged }) };
            yield return a with { Members = a.Members.SetItem(key, a.Members[key] with { HandedOver = a.Members[key].HandedOver.Length > 0 ? "" : "n1" }) };
            yield return a with { Members = a.Members.SetItem(key, a.Members[key] with { Received = a.Members[key].Received.Length > 0 ? "" : "n0" }) };
            if (!a.Members[key].Absent) yield return a.Put(a.Members[key] with { Generation = a.Members[key].Generation + 1 });
        }
        yield return a with { Exists = !a.Exists };
    }

    private static Case<PlacementGoal, PlacementState> Of(string name, PlacementGoal? goal, PlacementState state) =>
        new(name, new PlacementAgent(new NoWriter()), goal, state with { Generation = 3 }, new(new(new string('c', 32), Uid, 3), "goal"));

    /// <summary>As this goal left it, a generation ago.</summary>
    private static PlacementState Placed(PlacementGoal goal)
    {
        var samples = new Planner<PlacementGoal, PlacementState>(new PlacementAgent(new NoWriter()));
        var state = samples.Plan(new(new("coordinator", Uid, 2), "before"), goal with { Generation = 2 }, Three with { Generation = 2 }, Attempts.None(default), [], []).Final;
        return state.Members.Values.Aggregate(state, (s, m) => s with { Members = s.Members.SetItem(m.Key, m with { Served = 2 }) });
    }

    private static PlacementGoal Moved(PlacementGoal goal, string node, string stays = "") => goal with { Shape = goal.Shape with { Node = node, CanMove = true, WhyItStays = stays } };

    private static readonly Gen<int> s_move = Gen.Int[0, 8];

    /// <summary>A machine on its way from the first host to the second: its target told; its source told; its source has let go; both have said so.</summary>
    private static PlacementState OnItsWay(int step, PlacementGoal goal, PlacementState state)
    {
        if (goal.Kind != "Instance" || step is < 1 or > 4 || !state.Hosts.TryGetValue("n0", out var first) || !state.Hosts.TryGetValue("n1", out var second)) return state;
        state = state.Members.Keys.Aggregate(state, (s, key) => s.Remove(key));
        var (origin, to) = (new PeerView(0, "n0", "edge-0", first.Address, first.TransferPort), new PeerView(0, "n1", "edge-1", second.Address, second.TransferPort));
        var source = Member("n0", 0, 0, 2, 0) with { MemoryBytes = goal.Shape.MemoryBytes, CpuMillis = goal.Shape.CpuMillis, Served = 1, Peers = [origin with { Port = 0 }], MoveTo = step > 1 ? to : null, HandedOver = step > 2 ? "n1" : "" };
        var target = Member("n1", 0, 0, 2, 0) with { MemoryBytes = goal.Shape.MemoryBytes, CpuMillis = goal.Shape.CpuMillis, Peers = [to with { Port = 0 }], MoveFrom = origin, Received = step > 3 ? "n0" : "" };
        return With(state, [source, target]);
    }

    private static PlacementGoal Machine(string memory, string site = "")
    {
        var labels = site.Length > 0 ? ",\"labels\":{\"site\":\"" + site + "\"}" : "";
        var spec = "{\"memory\":\"" + memory + "\",\"disks\":[{\"name\":\"root\",\"image\":\"a\"}],\"placement\":{" + labels.TrimStart(',') + "}}";
        var (canonical, errors) = InstanceKind.Schema.Validate(System.Text.Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        return new() { Kind = "Instance", Generation = 3, SpecHash = "spec", Protect = false, Shape = new InstanceFleet().Read(canonical.ToArray()) };
    }

    private static PlacementGoal Goal(int replicas, int primary, int port = 6379, string site = "", string spread = "host", string limit = "0")
    {
        var labels = site.Length > 0 ? ",\"labels\":{\"site\":\"" + site + "\"}" : "";
        var spec = $$$"""{"replicas":{{{replicas}}},"primary":{{{primary}}},"port":{{{port}}},"placement":{"spread":"{{{spread}}}"{{{labels}}}}{{{(limit == "0" ? "" : ",\"memory\":{\"max\":\"64Mi\"},\"limits\":{\"memory\":\"" + limit + "\"}")}}}}""";
        var (canonical, errors) = RedisKind.Schema.Validate(System.Text.Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        return new() { Kind = "Redis", Generation = 3, SpecHash = "spec", Protect = false, Shape = new RedisFleet().Read(canonical.ToArray()) };
    }

    private static PlacementState State(IEnumerable<HostView> hosts) => new()
    {
        ResourceUid = Uid,
        ResourceKey = "Redis default/sessions",
        Generation = 3,
        Exists = true,
        Hosts = hosts.ToImmutableSortedDictionary(h => h.Uid, h => h, StringComparer.Ordinal),
        Members = ImmutableSortedDictionary.Create<string, MemberView>(StringComparer.Ordinal),
    };

    private static PlacementState With(PlacementState state, IEnumerable<MemberView> members) => members.Aggregate(state, (s, m) => s.Put(m));

    private static HostView Host(int i) => new()
    {
        Uid = $"n{i}",
        Name = $"edge-{i}",
        Address = $"10.0.0.{i + 1}",
        Standing = Standing.Open,
        Labels = Map(),
        Kinds = ["Redis", "Instance"],
        TransferPort = 7444,
        Ports = ImmutableSortedDictionary<int, PortHolder>.Empty,
    };

    private static MemberView Member(string node, int ordinal, int port, long generation, int primary) => new()
    {
        Node = node,
        Ordinal = ordinal,
        Port = port,
        Generation = generation,
        SpecHash = "spec",
        Primary = primary,
        Protect = false,
        Adopt = "",
        Peers = [new(ordinal, node, "edge-" + node[1..], "10.0.0.1", port)],
    };

    private static ImmutableSortedDictionary<int, PortHolder> Taken(int port, string resource, int ordinal) =>
        port == 0 ? ImmutableSortedDictionary<int, PortHolder>.Empty : ImmutableSortedDictionary<int, PortHolder>.Empty.Add(port, new(resource, ordinal, "Redis default/" + resource));

    private static ImmutableSortedDictionary<string, string> Map(params (string Key, string Value)[] entries) => entries.ToImmutableSortedDictionary(e => e.Key, e => e.Value, StringComparer.Ordinal);

    /// <summary>Placement only plans here: its calls are made on the model.</summary>
    private sealed class NoWriter : IAssignmentWriter
    {
        public ValueTask PutAsync(MemberArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ReleaseAsync(ReleaseArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask ForgetAsync(ForgetArgs args, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask DropAsync(DropArgs args, CancellationToken stop) => throw new NotSupportedException();
    }
}
