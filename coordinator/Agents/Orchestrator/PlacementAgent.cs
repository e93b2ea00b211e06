using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>
/// Placement as an agent like any other: one resource, its members on hosts. Aim solves, the tools carry the target out. A null goal is the teardown of
/// the resource.
/// </summary>
internal sealed class PlacementAgent(IAssignmentWriter writer) : Agent<PlacementGoal, PlacementState>
{
    private const string HoldPrefix = "hold/";
    private static readonly TimeSpan LookAgain = TimeSpan.FromSeconds(30);

    public override string Name => "placement";

    public override ImmutableArray<Tool<PlacementGoal, PlacementState>> Tools { get; } =
        [new AssignTool(writer), new MoveTool(writer), new UpdateTool(writer), new ReleaseTool(writer), new ForgetTool(writer), new DropTool(writer)];

    public override ImmutableArray<Invariant<PlacementGoal, PlacementState>> Invariants { get; } =
    [
        new("primary-kept", Strength.Never, "member/", static (goal, before, after) =>
            goal is not null && HasPrimary(goal, before) && !HasPrimary(goal, after) ? $"member {goal.Shape.Primary} is the primary" : null),
        new("spread", Strength.Never, "member/", static (goal, before, after) =>
            goal is { Shape.SpreadOverHosts: true } && Crowded(after) > Crowded(before) ? "two members on one host" : null),
    ];

    public override PlacementGoal? Aim(PlacementGoal? spec, PlacementState state) => spec is null ? null : PlacementAim.Solve(spec, state);

    public override IEnumerable<Difference> Differences(PlacementGoal? goal, PlacementState state)
    {
        var wanted = new HashSet<string>(StringComparer.Ordinal);
        foreach (var (ordinal, slot) in goal?.Target ?? ImmutableSortedDictionary<int, Slot>.Empty)
        {
            var key = Placement.KeyOf(slot.Node, ordinal);
            wanted.Add(key);
            var host = NameOf(state, slot.Node);
            // What cannot be told whole is not told in part: members stay as they were told last.
            if (goal is { Unresolved.IsEmpty: false } || goal!.Cramped.ContainsKey(ordinal)) continue;
            if (state.Members.GetValueOrDefault(key) is not { Absent: false } member)
                yield return goal.Moves.GetValueOrDefault(ordinal) is { } move && move.To == slot.Node
                    ? new("elsewhere", key, $"member {ordinal} belongs on {host} and is on {NameOf(state, move.From)}") : new("missing", key, $"member {ordinal} belongs on {host}");
            else if (Stale(goal, state, member) is { } stale) yield return stale;
        }
        foreach (var (why, i) in goal?.Unresolved.Select((why, i) => (why, i)) ?? [])
            yield return new("unresolved", i.ToString(CultureInfo.InvariantCulture), why) { ClearsAfter = LookAgain };
        foreach (var (ordinal, why) in goal?.Cramped ?? ImmutableSortedDictionary<int, string>.Empty)
            yield return new("no-room", ordinal.ToString(CultureInfo.InvariantCulture), $"member {ordinal} stays as it is: {why}") { ClearsAfter = LookAgain };
        foreach (var (ordinal, why) in goal?.NoRoom ?? ImmutableSortedDictionary<int, string>.Empty)
            yield return new("no-room", ordinal.ToString(CultureInfo.InvariantCulture), $"member {ordinal} has no host: {why}") { ClearsAfter = LookAgain };
        foreach (var (ordinal, why) in goal?.Misplaced ?? ImmutableSortedDictionary<int, string>.Empty)
            yield return new("misplaced", ordinal.ToString(CultureInfo.InvariantCulture), $"member {ordinal} stays where it is: {why}") { ClearsAfter = LookAgain };
        foreach (var moving in PlacementMove.Differences(goal, state)) yield return moving;
        foreach (var (key, member) in state.Members)
        {
            if (wanted.Contains(key) || (!member.Absent && PlacementMove.IsLeaving(goal, member))) continue;
            var host = NameOf(state, member.Node);
            if (!member.Absent || (goal is null && !member.Teardown))
            {
                yield return new("extra", key, $"member {member.Ordinal} on {host} is not wanted");
                // Until it goes it takes part: the primary that was hands over only when it is told who comes next.
                if (goal is { Unresolved.IsEmpty: true } && !goal.Moves.ContainsKey(member.Ordinal) && Stale(goal, state, member) is { } stale) yield return stale;
            }
            else if (member.Acknowledged) yield return new("acknowledged", key, $"member {member.Ordinal} is gone from {host}");
            else yield return new("released", key, $"{host} has not yet said that member {member.Ordinal} is gone") { ClearsAfter = LookAgain };
        }
        if (goal is null && state.Exists && state.Members.IsEmpty) yield return new("resource-remains", state.ResourceUid, $"{state.ResourceKey} has no member left");
    }

    public override string Fact(PlacementState state, string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var (kind, rest) = slash < 0 ? (key, "") : (key[..slash], key[(slash + 1)..]);
        return kind switch
        {
            "generation" => state.Generation.ToString(CultureInfo.InvariantCulture),
            "resource" => state.Exists ? "present" : FactValue.Absent,
            "members" => state.Members.Count.ToString(CultureInfo.InvariantCulture),
            "host" => state.Hosts.TryGetValue(rest, out var host) ? host.Standing.ToString() : FactValue.Absent,
            "port" => PortFact(state, rest),
            "hold" => HoldFact(state, rest),
            "member" => state.Members.TryGetValue(rest, out var member) ? member.AsFact() : FactValue.Absent,
            // What the host says, and may say at once: a member that is not there is one of which nothing was said, so that placing it changes neither.
            "served" => state.Members.TryGetValue(rest, out var member) ? member.Served.ToString(CultureInfo.InvariantCulture) : "0",
            "handed" => state.Members.TryGetValue(rest, out var member) && member.HandedOver.Length > 0 ? member.HandedOver : FactValue.Absent,
            "received" => state.Members.TryGetValue(rest, out var member) && member.Received.Length > 0 ? member.Received : FactValue.Absent,
            "acknowledged" => state.Members.TryGetValue(rest, out var member) && member.Acknowledged ? "true" : "false",
            _ => throw new ArgumentOutOfRangeException(nameof(key), key, "placement has no such fact"),
        };
    }

    public override IEnumerable<string> FactKeys(PlacementState state) =>
    [
        "generation", "resource", "members",
        .. state.Hosts.Keys.Select(h => "host/" + h),
        .. state.Hosts.Values.SelectMany(h => h.Ports.Keys.Select(p => PortKey(h.Uid, p))),
        .. state.Hosts.Values.SelectMany(h => h.Holds.Keys.Select(k => HoldPrefix + h.Uid + "/" + k)),
        .. state.Members.Keys.SelectMany(m => new[] { "member/" + m, "served/" + m, "acknowledged/" + m, "handed/" + m, "received/" + m }),
    ];

    public override string Summary(PlacementGoal? goal, PlacementState state)
    {
        var present = state.Members.Values.Where(m => !m.Absent).OrderBy(m => m.Ordinal).Select(m => NameOf(state, m.Node)).ToList();
        if (goal is { Shape.Members: 0 }) return "has no members";
        return goal is null ? $"going away, {state.Members.Count} members left" : $"{present.Count} of {goal.Shape.Members} members placed{(present.Count > 0 ? ": " + string.Join(", ", present) : "")}";
    }

    internal static Difference? Stale(PlacementGoal goal, PlacementState state, MemberView member)
    {
        var wanted = Wanted(goal, state, member.Key);
        if (member.AsFact() == wanted.AsFact()) return null;
        var host = NameOf(state, member.Node);
        if ((member with { Signed = wanted.Signed }).AsFact() == wanted.AsFact())
            return new("stale", member.Key, $"member {member.Ordinal} on {host} has not the newest signatures");
        return new("stale", member.Key, member.Generation < goal.Generation
            ? $"member {member.Ordinal} on {host} has generation {member.Generation}, wants {goal.Generation}"
            : $"member {member.Ordinal} on {host} is told {member.AsFact()}");
    }

    /// <summary>The assignment that this member should have.</summary>
    internal static MemberView Wanted(PlacementGoal goal, PlacementState state, string key)
    {
        var slash = key.IndexOf('/', StringComparison.Ordinal);
        var (node, ordinal) = (key[..slash], int.Parse(key.AsSpan(slash + 1), CultureInfo.InvariantCulture));
        // One that is on its way out keeps what it takes of its host until it is gone.
        var leaving = goal.Target.TryGetValue(ordinal, out var slot) && slot.Node == node ? null : state.Members[key];
        return new()
        {
            Node = node,
            Ordinal = ordinal,
            Port = leaving?.Port ?? slot!.Port,
            Generation = goal.Generation,
            SpecHash = goal.SpecHash,
            Signed = goal.Signed,
            MemoryBytes = leaving?.MemoryBytes ?? goal.Shape.MemoryBytes,
            CpuMillis = leaving?.CpuMillis ?? goal.Shape.CpuMillis,
            Primary = goal.Shape.Primary,
            Protect = goal.Protect,
            Adopt = goal.Shape.Adopt,
            Peers = Peers(goal, state, goal.Moves.ContainsKey(ordinal) ? PeerAt(state, ordinal, node, leaving?.Port ?? slot!.Port) : null),
            MoveFrom = PlacementMove.From(goal, state, node, ordinal),
            MoveTo = PlacementMove.To(goal, state, node, ordinal),
            Served = state.Members.TryGetValue(key, out var now) ? now.Served : 0,
            HandedOver = now?.HandedOver ?? "",
            Received = now?.Received ?? "",
        };
    }

    /// <summary>
    /// All that are wanted and all that are still there: a member on its way out may be the primary whose data the others copy, so they must know it
    /// until it is released.
    /// </summary>
    private static ImmutableArray<PeerView> Peers(PlacementGoal goal, PlacementState state, PeerView? own)
    {
        var peers = new SortedDictionary<int, PeerView>();
        foreach (var member in state.Members.Values)
            if (!member.Absent) peers[member.Ordinal] = PeerAt(state, member.Ordinal, member.Node, member.Port);
        foreach (var (ordinal, slot) in goal.Target) peers[ordinal] = PeerAt(state, ordinal, slot.Node, slot.Port);
        // While it moves a member is on two hosts, and each of them is its own to itself.
        if (own is not null) peers[own.Ordinal] = own;
        return [.. peers.Values];
    }

    internal static PeerView PeerAt(PlacementState state, int ordinal, string node, int port) =>
        new(ordinal, node, NameOf(state, node), state.Hosts.TryGetValue(node, out var host) ? host.Address : "", port);

    internal static string NameOf(PlacementState state, string node) => state.Hosts.TryGetValue(node, out var host) ? host.Name : node;

    internal static string PortKey(string node, int port) => string.Create(CultureInfo.InvariantCulture, $"port/{node}/{port}");

    internal static string HoldKey(string node, string resource, int ordinal) => HoldPrefix + node + "/" + Placement.KeyOf(resource, ordinal);

    private static string HoldFact(PlacementState state, string rest)
    {
        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        return state.Hosts.TryGetValue(rest[..slash], out var host) && host.Holds.TryGetValue(rest[(slash + 1)..], out var hold) ? hold.AsFact() : FactValue.Absent;
    }

    private static string PortFact(PlacementState state, string rest)
    {
        var slash = rest.IndexOf('/', StringComparison.Ordinal);
        var port = int.Parse(rest.AsSpan(slash + 1), CultureInfo.InvariantCulture);
        return state.Hosts.TryGetValue(rest[..slash], out var host) && host.Ports.TryGetValue(port, out var holder)
            ? string.Create(CultureInfo.InvariantCulture, $"{holder.Resource}/{holder.Ordinal}") : FactValue.Absent;
    }

    private static bool HasPrimary(PlacementGoal goal, PlacementState state) => state.Members.Values.Any(m => !m.Absent && m.Ordinal == goal.Shape.Primary);

    private static int Crowded(PlacementState state) => state.Members.Values.Where(m => !m.Absent).GroupBy(m => m.Node).Count(g => g.Count() > 1);
}
