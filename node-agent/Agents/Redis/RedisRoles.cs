using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Agents.Redis.Tools;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>A role, or why none can be taken now.</summary>
/// <param name="Role">"primary" or "follows:host:port"; null = wait.</param>
/// <param name="Why">For people.</param>
/// <param name="Retry">When it clears by itself.</param>
internal sealed record RoleChoice(string? Role, string Why, TimeSpan? Retry = null)
{
    /// <summary>The risk of taking it, a stable word; empty = none, and nobody has to sign.</summary>
    public string Code { get; init; } = "";

    /// <summary>What may be lost by taking it, at most; for the person who signs.</summary>
    public string Loss { get; init; } = "";

    /// <summary>What each side holds now, for the person who signs. It is no part of what is signed: the side that is kept may go on growing.</summary>
    public string Holds { get; init; } = "";

    /// <summary>Why, and what each side holds.</summary>
    public string WhyHolds => Holds.Length == 0 ? Why : Why + "; " + Holds;
}

/// <summary>
/// Which role a member takes. What each member holds decides, by histories and offsets: role.conf is only believed where nobody contradicts it, a
/// member never follows one that may not have its data, and none becomes primary beside data that it may not have. What cannot be told is asked.
/// </summary>
internal static class RedisRoles
{
    public static readonly TimeSpan Soon = TimeSpan.FromSeconds(5);
    public static readonly TimeSpan Later = TimeSpan.FromSeconds(10);

    /// <summary>Role of a member that is started now, because it is down or does not answer.</summary>
    public static RoleChoice ForStart(RedisGoal goal, RedisState s)
    {
        var asked = Asked(goal, s);
        if (asked.Role is not { } role) return asked;
        var answer = RedisCopies.Judge(s, role);
        if (answer.Gate == Gate.Up) return asked;
        if (answer.Gate == Gate.Follow) return new(answer.Role, answer.Why);
        // Peers boot, load and come back: a person is asked once that has had its time.
        if (answer.Passes && s.Peers.Values.Any(p => !p.Answers && !p.IsLong && !p.IsStruck)) return new(null, answer.Why, Later);
        return new(answer.Role, answer.Why) { Code = answer.Code, Loss = answer.Loss };
    }

    /// <summary>The role that files and peers speak for, before anything is asked of the data.</summary>
    private static RoleChoice Asked(RedisGoal goal, RedisState s)
    {
        if (s.PeerPrimary is { } primary) return new(RedisRole.Follows(primary.Value.Address), $"member {primary.Key} is primary");
        if (s.Peers.Values.Any(p => p.Leads)) return new(null, "more than one member says it is primary", Later);
        // A file that was deleted or written by hand is no better than what was noted of the server itself.
        var known = IsRole(goal, s.RoleFile) ? s.RoleFile : s.Notes?.Own?.Role is { } noted && IsRole(goal, noted) ? noted : null;
        if (known == RedisRole.Primary) return new(known, "it was primary");
        if (known is not null && goal.MemberAt(RedisRole.Followed(known)!) is { } member) return new(known, $"it followed member {member.Ordinal}, and no other primary is seen");
        if (!goal.IsPrimary) return new(RedisRole.Follows(goal.Wanted.Address), $"member {goal.PrimaryOrdinal} is to be primary");
        foreach (var (ordinal, peer) in s.Peers)
            if (!peer.Answers && !peer.IsStruck && (!peer.Seen || s.Data != Stored.None))
                return peer.IsLong
                    ? new(RedisRole.Primary, $"its role is not known, and member {ordinal}, which does not answer ({Serving.Said(peer.Serving)}), may be the primary")
                    { Code = "unseen-data", Loss = $"what only member {ordinal} holds: {RedisCopies.Held(s, ordinal, peer)}" }
                    : new(null, $"its role is not known, and member {ordinal} does not answer ({Serving.Said(peer.Serving)}) and may be the primary; its host starts it first", Soon);
        return new(RedisRole.Primary, "it is to be primary, and nobody else is");
    }

    private static bool IsRole(RedisGoal goal, string role) => role == RedisRole.Primary
        || (RedisRole.Followed(role) is { } address && goal.MemberAt(address) is { } member && member.Ordinal != goal.Ordinal);

    /// <summary>A role that a member which answers should take instead of its own; null when it has the right one.</summary>
    public static RoleChoice? ForLive(RedisGoal goal, RedisState s)
    {
        if (goal.Alone) return s.Role == RedisRole.Primary ? null : new(RedisRole.Primary, "it is the only member");
        if (s.Role == RedisRole.Primary) return BesidePrimaries(goal, s);
        if (s.PeerPrimary is { } lead) return s.Role == RedisRole.Follows(lead.Value.Address) ? null : Join(s, lead.Key, lead.Value);
        if (s.Peers.Values.Any(p => p.Leads)) return new(null, "more than one member says it is primary; who follows is decided there", Later);
        return NobodyLeads(goal, s);
    }

    /// <summary>Of two primaries the one whose data the other has too follows; where both have data of their own, the one that is not to be primary, once that is signed.</summary>
    private static RoleChoice? BesidePrimaries(RedisGoal goal, RedisState s)
    {
        if (s.PeerPrimary is { } other)
        {
            var (takes, taken) = (RedisCopies.Takes(s, other.Value), Copy.IsCovered(RedisCopies.Of(s, other.Value)));
            if (goal.IsPrimary ? !takes || taken : taken && !takes)
                return new(null, $"member {other.Key} says it is primary too; its host makes it follow" + (taken ? "" : ", once a person has signed that there"), Soon);
            return OrTheOther(Join(s, other.Key, other.Value, "too"), $"the other way, with spec.primary: {goal.Ordinal}, member {other.Key} is asked to follow: lost then: what only member {other.Key} holds, {Figure(other.Value)}");
        }
        if (!s.Peers.Values.Any(p => p.Leads)) return null;
        if (goal.IsPrimary || !s.Peers.TryGetValue(goal.PrimaryOrdinal, out var wanted) || !wanted.Leads) return new(null, "more than one other member says it is primary", Later);
        return Join(s, goal.PrimaryOrdinal, wanted, "too");
    }

    /// <summary>Both sides hold what the other has not: people decide which one goes, and the order of events is no reason to offer only one of the two.</summary>
    private static RoleChoice OrTheOther(RoleChoice choice, string other) => choice.Code.Length == 0 ? choice : choice with { Holds = choice.Holds + "; " + other };

    private static string Figure(RedisPeerState peer) => peer.Data is { } data ? AtMost.Keys(data.Keys) : "an unknown number of keys";

    private static RoleChoice Join(RedisState s, int ordinal, RedisPeerState lead, string too = "")
    {
        var choice = new RoleChoice(RedisRole.Follows(lead.Address), $"member {ordinal} is primary" + (too.Length > 0 ? " " + too : ""));
        return RedisCopies.Takes(s, lead) ? choice : choice with
        {
            Code = s.Leads ? "two-primaries" : "replaces-data",
            Loss = "what only this member holds, " + (s.Own is { } own ? AtMost.Keys(own.Keys) : RedisCopies.Held(s)) + (s.HoldsWrites ? "" : LossText.Unheld),
            Holds = $"this member holds {RedisCopies.Held(s)}; member {ordinal} holds {RedisCopies.Held(s, ordinal, lead)}",
        };
    }

    /// <summary>The member that has all that the others have becomes primary, whoever it is; the role is handed to the wanted one afterwards.</summary>
    private static RoleChoice NobodyLeads(RedisGoal goal, RedisState s)
    {
        foreach (var (ordinal, peer) in s.Peers)
            if (!peer.Answers && !peer.IsLong && !peer.IsStruck)
                return new(null, peer.Seen ? $"nobody is primary: member {ordinal} is down; its host starts it first" : $"no primary is seen, and member {ordinal} does not answer ({Serving.Said(peer.Serving)})", Later);
        var living = s.Peers.Where(p => p.Value.Answers).ToList();
        var gone = s.Peers.Where(p => !p.Value.Answers && !p.Value.IsStruck).ToList();
        if (s.Keys == Stored.None && living.Any(p => p.Value.Keys == Stored.Some)) return new(null, $"member {living.First(p => p.Value.Keys == Stored.Some).Key} has the data and becomes primary first", Soon);
        // A replica of a replica has what that one has, and no more; replicas that follow each other in a circle have the same.
        var circle = Circle(s);
        if (circle.Count == 0 && living.Find(p => s.Role == RedisRole.Follows(p.Value.Address) && RedisCopies.Of(s, p.Value) == Copy.Linked) is { Value: not null } source)
            return new(null, $"member {source.Key}, which this one follows, becomes primary first", Soon);
        var beyond = RedisCopies.Beyond(s).ToList();
        if (beyond.Find(p => RedisCopies.Of(s, p.Value) == Copy.Newer) is { Value: not null } newer) return new(null, $"member {newer.Key} has all that is here, and more; it becomes primary first", Soon);
        // Of equals the wanted one, else the first.
        var equals = living.Where(p => beyond.Count == 0 ? circle.Contains(p.Key) || IsEqual(s, p.Value) : beyond.Exists(b => b.Key == p.Key)).Select(p => p.Key).Append(goal.Ordinal).ToList();
        var first = equals.Contains(goal.PrimaryOrdinal) ? goal.PrimaryOrdinal : equals.Min();
        if (first != goal.Ordinal)
            return new(null, beyond.Count == 0 ? $"member {first} is to be primary and is not yet" : $"nothing tells which member has the newer data: member {first} becomes primary once that is signed there, or this one with spec.primary: {goal.Ordinal}", Soon);
        if (beyond.Count == 0 && gone.Count == 0) return new(RedisRole.Primary, "nobody is primary, and all that the others hold is here");
        return new(RedisRole.Primary, beyond.Count > 0 ? $"nobody is primary, and nothing tells whether what member {beyond[0].Key} holds is here" : $"nobody is primary, and member {gone[0].Key} does not answer ({Serving.Said(gone[0].Value.Serving)})")
        {
            Code = beyond.Count > 0 ? "unrelated-data" : "unseen-data",
            Loss = string.Join("; ", beyond.Concat(gone).Select(p => $"what member {p.Key} holds and this one does not: {(p.Value.Data is { } data ? AtMost.Keys(data.Keys) : RedisCopies.Held(s, p.Key, p.Value))}")),
            Holds = string.Join("; ", beyond.Select(p => $"member {p.Key} holds {RedisCopies.Held(s, p.Key, p.Value)}").Append($"this member holds {RedisCopies.Held(s)}")
                .Concat(beyond.Where(_ => s.Keys == Stored.Some).Select(p => $"the other way, with spec.primary: {p.Key}, member {p.Key} is asked to become primary: lost then: what only this member holds, {(s.Own is { } own ? AtMost.Keys(own.Keys) : RedisCopies.Held(s))}"))),
        };
    }

    /// <summary>The members whom this one follows, from link to link that is up, if the last of them follows this one; else none.</summary>
    private static HashSet<int> Circle(RedisState s)
    {
        var circle = new HashSet<int>();
        for (var (role, link) = (s.Role, s.Link); RedisRole.Followed(role) is { } address && link == Link.Up;)
        {
            if (address == s.Address) return circle;
            var next = s.Peers.FirstOrDefault(p => p.Value.Address == address && p.Value.Answers);
            if (next.Value is null || !circle.Add(next.Key)) break;
            (role, link) = (next.Value.Role, next.Value.Link);
        }
        return [];
    }

    /// <summary>It could be primary as well as this one.</summary>
    private static bool IsEqual(RedisState s, RedisPeerState peer) => RedisCopies.Of(s, peer) switch
    {
        Copy.Same => true,
        Copy.Empty => s.Keys == Stored.None,
        _ => false,
    };

    /// <summary>Whether a start brings the data back that this member had, as far as its files tell.</summary>
    public static bool KeepsData(RedisState s) => s.Data != Stored.None && (s.Peers.IsEmpty || RedisSettings.Persists(s.FileSettings));

    /// <summary>A member that answers and has keys which this one may not have.</summary>
    public static int? HolderOfData(RedisState s)
    {
        foreach (var (ordinal, peer) in s.Peers)
            if (peer.Answers && peer.Keys == Stored.Some) return ordinal;
        return null;
    }
}
