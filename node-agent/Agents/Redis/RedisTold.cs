using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>What only a step of ours changes of a member, and how it is told that something else did.</summary>
internal static class RedisTold
{
    private const string RoleKey = "role", Outside = "by hand or by another program";

    public static ImmutableSortedDictionary<string, string> Watched(RedisGoal? goal, RedisState s)
    {
        if (goal is null) return MemberDetails.None;
        var seen = MemberDetails.None.ToBuilder();
        void Put(string key, string value) { if (!FactValue.IsUnseen(value)) seen[key] = value; }
        Put("redis.conf", s.ConfigFile);
        Put("auth.conf", s.AuthFile);
        Put("the unit's file", s.UnitFile);
        Put("the data directory", s.DataDir);
        if (!s.Answers) return seen.ToImmutable();
        Put(RoleKey, s.Role);
        Put("password", s.AuthLive);
        foreach (var (key, value) in s.Live) Put(key, value);
        return seen.ToImmutable();
    }

    /// <summary>Whether people can use it now, whatever is not as declared; null = it cannot be told.</summary>
    public static MemberServing? Serving(RedisGoal? goal, RedisState s) => goal is null ? null : s.Serving switch
    {
        Redis.Serving.Answering when s.Writes == Writes.Refused || s.MemoryFull.Length > 0 => new(false, RedisDifferences.NoWrites(s)),
        Redis.Serving.Answering when s.Leads => new(true, ""),
        Redis.Serving.Answering => null,
        Redis.Serving.Refused => new(false, "the server is down"),
        Redis.Serving.Hung => new(false, "the server takes connections and answers none"),
        Redis.Serving.Loading => new(false, "the server reads its data"),
        _ => null,
    };

    /// <summary>What a line of the server's log says of the data that it found when it started, or could not save (Redis 7.0, aof.c, rdb.c, server.c).</summary>
    public static string? LogWords(string line) => line switch
    {
        _ when line.Contains("Truncating the AOF", StringComparison.Ordinal) => $"the end of its append-only file was cut off{Offset(line)}: what was behind it is lost",
        _ when line.Contains("short read while loading the AOF", StringComparison.Ordinal) => "its append-only file ended in the middle of a command: what was in that command is lost",
        _ when line.Contains("Bad file format reading the append only file", StringComparison.Ordinal) => "its append-only file is damaged, and it does not start with it",
        _ when line.Contains("Fatal error loading the DB", StringComparison.Ordinal) || line.Contains("Short read or OOM loading DB", StringComparison.Ordinal) => "its dump is damaged, and it does not start with it",
        _ when line.Contains("Can't open or create append-only", StringComparison.Ordinal) || line.Contains("Can't open the append-only", StringComparison.Ordinal) => "it cannot open its append-only file",
        _ when line.Contains("Error trying to save the DB, can't exit", StringComparison.Ordinal) => "it could not save its data when it was to end",
        _ => null,
    };

    private static string Offset(string line)
    {
        var at = line.IndexOf("at offset ", StringComparison.Ordinal);
        var digits = at < 0 ? "" : string.Concat(line[(at + 10)..].TakeWhile(char.IsAsciiDigit).Take(19));
        return digits.Length > 0 ? " at byte " + digits : "";
    }

    /// <summary>A role can also be another member's doing: its hand-over by FAILOVER makes this one primary.</summary>
    public static string? Words(MemberInput input, string key, string was, string now) => key switch
    {
        RoleKey => $"its role changed: it was {Role(input, was)} and is {Role(input, now)}; none of this host's steps did that: another member's hand-over, a hand or another program",
        "password" => "its password was changed " + Outside,
        "redis.conf" or "auth.conf" or "the unit's file" => $"{key} was {(now == FactValue.Absent ? "removed" : was == FactValue.Absent ? "made" : "changed")} {Outside}",
        "the data directory" => now == FactValue.Absent ? "the data directory is gone: removed " + Outside : was == FactValue.Absent ? "there is a data directory that no step of ours made" : $"the data directory was changed {Outside}: {now}",
        _ => $"{key} was set to {Shown(key, now)} {Outside} (it was {Shown(key, was)})",
    };

    /// <summary>What the start gate decided otherwise than it was asked: the unit asked it, with or without this daemon.</summary>
    public static ImmutableArray<OutsideNote> Notes(MemberInput input, RedisState s) =>
        [.. (s.GateSaid?.Told ?? []).Select(d => new OutsideNote(string.Create(CultureInfo.InvariantCulture, $"{d.Number}@{d.At}"), DateTimeOffset.FromUnixTimeSeconds(d.At),
            d.Verdict switch { "follow" => "GateFollowed", "hold" => "GateHeld", _ => "DataGone" }, d.Verdict == "up" ? $"it came up as primary without {d.Gone}; no other member that could be asked had it" : "its start gate " + Gate(input, d)))];

    private static string Gate(MemberInput? input, GateRecord d) => d.Verdict == "follow"
        ? $"let it up as a {(input is null ? "replica of " + RedisRole.Followed(d.Role) : Role(input, d.Role))}, not as primary: {d.Why}"
        : $"held it back{(d.Code is { Length: > 0 } code ? $" ({code})" : "")}: {d.Why}{(d.Loss is { Length: > 0 } loss ? "; a start as it is may lose " + loss : "")}";

    /// <summary>What people want to know of it beside whether it is as wanted.</summary>
    public static ImmutableSortedDictionary<string, string> Details(RedisGoal? goal, RedisState s)
    {
        if (goal is null) return MemberDetails.None;
        var told = RedisGivesUp.Of(goal, s);
        // Until it is up, or until it is primary again: what was decided of an earlier start is an event of the past.
        if (s.GateSaid is { Verdict: "hold" or "follow" } said && (said.Verdict == "hold" ? !s.Answers : !s.Leads))
            told = told.SetItem("start gate", DateTimeOffset.FromUnixTimeSeconds(said.At).ToString("MMM d HH:mm:ss 'UTC' ", CultureInfo.InvariantCulture) + Gate(null, said));
        return told;
    }

    private static string Role(MemberInput input, string role)
    {
        if (role == RedisRole.Primary) return "primary";
        var at = RedisRole.Followed(role);
        return input.Peers.FirstOrDefault(p => string.Create(CultureInfo.InvariantCulture, $"{p.Address}:{p.Port}") == at) is { } peer ? string.Create(CultureInfo.InvariantCulture, $"replica of member {peer.Ordinal}") : $"replica of {at}, which is no member";
    }

    private static string Shown(string key, string value) => value.Length == 0 ? "nothing"
        : key == "maxmemory" && long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var bytes) && bytes > 0 ? Amounts.Of(bytes) : value;
}
