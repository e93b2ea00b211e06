using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>What each member holds compared with this one, by histories and offsets; what a start would find is judged by the gate.</summary>
internal static class RedisCopies
{
    /// <summary>What a peer that answers holds, to this member: one of <see cref="Copy"/>.</summary>
    public static string Of(RedisState s, RedisPeerState peer)
    {
        if (peer.Keys == Stored.None) return Copy.Empty;
        if (IsLinked(s, peer)) return Copy.Linked;
        if (s.Answers && s.Own is { Role: RedisRole.Primary, Id: var id } && s.Notes?.Own?.Id == id && peer.Data is { } of && RedisGate.IsOfItsPast(s.Notes, of.Position)) return Copy.Older;
        return Copy.Of(s.Answers ? s.Own?.Position : RedisGate.Position(Question(s, s.RoleFile)), peer.Data?.Position);
    }

    /// <summary>Whether nothing that this member holds is lost when it becomes a copy of that peer.</summary>
    public static bool Takes(RedisState s, RedisPeerState peer)
    {
        if (s.Answers ? s.Keys == Stored.None : s.Data == Stored.None) return true;
        return Copy.Covers(Of(s, peer)) || (!s.Answers && RedisGate.IsAsNoted(Question(s, s.RoleFile)) && RedisGate.IsItsPrimary(s.Notes, peer.Address, peer.Leads, peer.Data));
    }

    /// <summary>Members that answer and hold something that is not here.</summary>
    public static IEnumerable<KeyValuePair<int, RedisPeerState>> Beyond(RedisState s) =>
        s.Peers.Where(p => p.Value.Answers && !Copy.IsCovered(Of(s, p.Value)));

    /// <summary>What is wrong with the files that a start would load; null = nothing is seen.</summary>
    public static string? Missing(RedisState s) => s.Address.Length == 0 ? null : s.Answers ? s.Disk.DamageFor(s.Live.GetValueOrDefault("appendonly") == "yes" && !s.Rewriting)
        : s.Data == Stored.None && s.Notes?.Own is null ? null : RedisGate.Missing(Question(s, s.RoleFile));

    /// <summary>A start with this role, as the gate judges it.</summary>
    public static GateAnswer Judge(RedisState s, string role) => RedisGate.Judge(Question(s, role));

    /// <summary>What this member holds, for a person who decides.</summary>
    public static string Held(RedisState s) => s.Own is { } own ? $"{AtMost.Keys(own.Keys)}, {LastWrite(s.Notes?.Own?.Changed ?? own.Changed, own.At)}" : RedisGate.OwnData(Question(s, s.RoleFile));

    /// <summary>What another member holds, for a person who decides.</summary>
    public static string Held(RedisState s, int ordinal, RedisPeerState peer)
    {
        var noted = s.Notes?.Peers.GetValueOrDefault(ordinal);
        // One that cannot be seen may have taken more than anybody here knows of.
        if (peer.Data is null && noted is not null) return $"{AtMost.Keys(noted.Keys)} when that was noted, {AtMost.Time(noted.At)}, and what it took since";
        var data = peer.Data;
        return data is null ? "nothing is known of what it holds" : $"{AtMost.Keys(data.Keys)}, {LastWrite(noted?.Changed ?? data.Changed, data.At)}";
    }

    /// <summary>Whether this member is being written to.</summary>
    public static bool IsWritten(RedisState s) => s.Own is { } own && IsNow(s.Notes?.Own?.Changed ?? own.Changed, own.At);

    /// <summary>Whether another member is being written to.</summary>
    public static bool IsWritten(RedisState s, int ordinal, RedisPeerState peer) => peer.Data is { } data && IsNow(s.Notes?.Peers.GetValueOrDefault(ordinal)?.Changed ?? data.Changed, data.At);

    private static string LastWrite(long changed, long at) => IsNow(changed, at) ? "written to now" : "last write seen " + AtMost.Time(changed);

    private static bool IsNow(long changed, long at) => changed > 0 && at - changed < 300;

    private static GateQuestion Question(RedisState s, string role)
    {
        var settings = s.FileSettings;
        return new(role, settings.GetValueOrDefault("appendonly") == "yes", Kept.Of(settings), s.Disk, s.Notes,
            [.. s.Peers.Select(p => new GatePeer(p.Key, p.Value.Address, p.Value.Serving, p.Value.Role, p.Value.Answers ? p.Value.Data ?? new() { Keys = p.Value.Keys == Stored.Some ? 1 : 0 } : null, p.Value.IsStruck))],
            s.Peers.Values.Select(p => p.Data?.At ?? 0).DefaultIfEmpty(0).Max())
        { End = s.End, Address = s.Address };
    }

    private static bool IsLinked(RedisState s, RedisPeerState peer) => s.Answers
        && ((s.Role == RedisRole.Follows(peer.Address) && s.Link is Link.Up or Link.Lagging)
            || (s.Address.Length > 0 && peer.Role == RedisRole.Follows(s.Address) && peer.Link is Link.Up or Link.Lagging));
}
