using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>A role, or why none can be taken now.</summary>
/// <param name="Role">"primary" or "follows:host:port"; null = wait.</param>
/// <param name="Why">For people.</param>
/// <param name="Retry">When it clears by itself.</param>
internal sealed record RoleChoice(string? Role, string Why, TimeSpan? Retry = null);

/// <summary>
/// Which role a member takes. It is decided by what peers say now; role.conf is only believed where nobody contradicts it. A peer that
/// cannot be seen never leads to a change of role, and a primary never comes up empty beside a member that may hold the data.
/// </summary>
internal static class RedisRoles
{
    public static readonly TimeSpan Soon = TimeSpan.FromSeconds(5);
    public static readonly TimeSpan Later = TimeSpan.FromSeconds(10);

    /// <summary>Role of a member that is started now, because it is down or does not answer.</summary>
    public static RoleChoice ForStart(RedisGoal goal, RedisState s)
    {
        if (s.PeerPrimary is { } primary) return new(RedisRole.Follows(primary.Value.Address), $"member {primary.Key} is primary");
        if (s.Peers.Values.Any(p => p.Leads)) return new(null, "more than one member says it is primary", Later);
        var remembered = RedisRole.Followed(s.RoleFile) is { } followed && goal.MemberAt(followed) is { } member && member.Ordinal != goal.Ordinal ? member : null;
        if (remembered is not null) return new(RedisRole.Follows(remembered.Address), $"it followed member {remembered.Ordinal}, and no other primary is seen");
        if (s.RoleFile == RedisRole.Primary && KeepsData(s)) return new(RedisRole.Primary, "it was primary and has its data");
        if (goal.IsPrimary && KeepsData(s) && s.Peers.Values.All(p => p.Answers && p.Role == RedisRole.Follows(goal.Self.Address)))
            return new(RedisRole.Primary, "it is to be primary, has its data, and everyone follows it");
        if (HolderOfData(s) is { } holder)
            return goal.IsPrimary
                ? new(null, Advice(holder))
                : new(RedisRole.Follows(goal.Wanted.Address), $"member {goal.PrimaryOrdinal} is to be primary");
        if (!goal.IsPrimary) return new(RedisRole.Follows(goal.Wanted.Address), $"member {goal.PrimaryOrdinal} is to be primary");
        foreach (var (ordinal, peer) in s.Peers)
            if (!peer.Seen) return new(null, $"member {ordinal} cannot be seen and may hold the data", Later);
            else if (!peer.Answers && s.Data != Stored.None && RedisSettings.Persists(s.FileSettings)) return new(null, $"its role is not known, and member {ordinal} is down and may be the primary; its host starts it first", Soon);
        return new(RedisRole.Primary, "it is to be primary, and no member holds data");
    }

    /// <summary>
    /// Whether a start brings the data back that this member had. Without persistence a dump on disk is some older one: it does not count,
    /// unless there is nobody else who could hold the newer one.
    /// </summary>
    public static bool KeepsData(RedisState s) => s.Data != Stored.None && (s.Peers.IsEmpty || RedisSettings.Persists(s.FileSettings));

    public static string Advice(int holder) => $"member {holder} holds data that this member, as primary, would be without; make member {holder} primary: spec.primary: {holder}";

    /// <summary>Of the members that answer and have keys, the one that is furthest.</summary>
    public static int? HolderOfData(RedisState s)
    {
        (int Ordinal, long Offset)? found = null;
        foreach (var (ordinal, peer) in s.Peers)
            if (peer.Answers && peer.Keys == Stored.Some && (found is null || peer.Offset > found.Value.Offset)) found = (ordinal, peer.Offset);
        return found?.Ordinal;
    }

    /// <summary>Whether a replica may become primary: nobody is, everyone is seen, and everyone else follows it or has nothing.</summary>
    public static string? ObstacleToPromotion(RedisGoal goal, RedisState s)
    {
        foreach (var (ordinal, peer) in s.Peers)
        {
            if (!peer.Seen) return $"member {ordinal} cannot be seen";
            if (peer.Leads) return $"member {ordinal} is primary";
            if (!peer.Answers) return $"member {ordinal} is down; its host starts it first";
            if (peer.Keys == Stored.Some && peer.Role != RedisRole.Follows(goal.Self.Address)) return $"member {ordinal} does not follow this one yet";
        }
        return null;
    }

    /// <summary>A role that a member which answers should take instead of its own; null when it has the right one.</summary>
    public static RoleChoice? ForLive(RedisGoal goal, RedisState s)
    {
        if (goal.Alone) return s.Role == RedisRole.Primary ? null : new(RedisRole.Primary, "it is the only member");
        var primary = s.PeerPrimary;
        if (s.Role == RedisRole.Primary)
        {
            if (primary is { } other)
                return goal.IsPrimary ? new(null, $"member {other.Key} says it is primary too; its host makes it follow", RedisRoles.Soon)
                    : new(RedisRole.Follows(other.Value.Address), $"member {other.Key} is primary too");
            if (s.Peers.Values.Any(p => p.Leads)) return new(null, "more than one other member says it is primary", Later);
            return null;
        }
        if (primary is { } lead)
            return s.Role == RedisRole.Follows(lead.Value.Address) ? null : new(RedisRole.Follows(lead.Value.Address), $"member {lead.Key} is primary");
        if (s.Peers.Values.Any(p => p.Leads)) return new(null, "more than one member says it is primary", Later);
        foreach (var (ordinal, peer) in s.Peers)
            if (!peer.Seen) return new(null, $"no primary is seen, and member {ordinal} cannot be seen", Later);
        if (goal.IsPrimary)
            return ObstacleToPromotion(goal, s) is { } obstacle ? new(null, "nobody is primary: " + obstacle, Soon) : new(RedisRole.Primary, "nobody is primary, and everyone follows this member");
        if (s.Role == RedisRole.Follows(goal.Wanted.Address)) return new(null, $"member {goal.PrimaryOrdinal} is to be primary and is not yet", Soon);
        return new(RedisRole.Follows(goal.Wanted.Address), $"member {goal.PrimaryOrdinal} is to be primary");
    }
}
