using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>How a server answers, the member's own or a peer's.</summary>
internal static class Serving
{
    public const string Answering = "answering";

    /// <summary>Connects, but no PING is answered in 500 ms, three times.</summary>
    public const string Hung = "hung";

    /// <summary>Nothing listens.</summary>
    public const string Refused = "refused";

    /// <summary>Reads its data from disk.</summary>
    public const string Loading = "loading";

    /// <summary>Answers, and takes no password that we know.</summary>
    public const string Denied = "denied";

    /// <summary>In words for people.</summary>
    public static string Said(string serving) => serving switch
    {
        Refused => "nothing listens",
        Hung => "it takes connections and answers none",
        Denied => "it takes no password that is known here",
        Loading => "it reads its data",
        _ when FactValue.IsUnseen(serving) => serving[(serving.LastIndexOf(':') + 1)..],
        _ => serving,
    };
}

/// <summary>Replication link of a replica.</summary>
internal static class Link
{
    public const string Up = "up";
    public const string Down = "down";
    public const string Syncing = "syncing";

    /// <summary>Up, but more than 16 MiB of the stream behind.</summary>
    public const string Lagging = "lagging";
}

/// <summary>Whether the server takes writes.</summary>
internal static class Writes
{
    public const string Taken = "taken";

    /// <summary>Its last write to disk failed, and it answers MISCONF until one succeeds (redis.conf, stop-writes-on-bgsave-error; aof.c).</summary>
    public const string Refused = "refused";
}

/// <summary>Whether a server that is down could listen.</summary>
internal static class Port
{
    public const string Free = "free";

    /// <summary>Another process listens on it.</summary>
    public const string Taken = "taken";
}

/// <summary>What is stored, on disk or in memory.</summary>
internal static class Stored
{
    /// <summary>No key; also a data set on disk that was written empty.</summary>
    public const string None = "none";

    /// <summary>Keys in memory.</summary>
    public const string Some = "some";

    /// <summary>A dump with keys, no append-only file with any.</summary>
    public const string Rdb = "rdb";

    /// <summary>An append-only file with keys.</summary>
    public const string Aof = "aof";
}

/// <summary>What a member sees of another over the network.</summary>
/// <param name="Address">host:port.</param>
/// <param name="Serving">One of <see cref="Redis.Serving"/>, or unseen.</param>
/// <param name="Role">"primary" or "follows:host:port"; meaningful while answering.</param>
/// <param name="Link">Of a replica.</param>
/// <param name="Keys">none or some.</param>
internal sealed record RedisPeerState(string Address, string Serving, string Role = FactValue.Absent, string Link = FactValue.Absent, string Keys = FactValue.Absent)
{
    /// <summary>What it holds; null unless it answers.</summary>
    public NotedData? Data { get; init; }

    /// <summary>It does not answer for a minute or more: who waits for it is told how to go on without.</summary>
    public bool IsLong { get; init; }

    /// <summary>
    /// Operators have signed that its host is gone for good, and this member with it: it is not waited for, what it held is given up, and whatever answers in its
    /// place is not asked, so that nothing of it comes back unsigned.
    /// </summary>
    public bool IsStruck { get; init; }

    /// <summary>How such a member is seen: it is known not to be there.</summary>
    public const string StruckOff = Redis.Serving.Refused;

    public bool Answers => Serving == Redis.Serving.Answering;

    public bool Leads => Answers && Role == RedisRole.Primary;

    /// <summary>Known to be there or known not to be; its role is known unless it is down.</summary>
    public bool Seen => Serving is Redis.Serving.Answering or Redis.Serving.Refused;
}

/// <summary>
/// The planning facts of one member. Every text is a fact's value; one that could not be read is <see cref="FactValue.Unseen"/>. What only a
/// live server knows (role, link, settings) is absent while it is down and unseen while it does not answer.
/// </summary>
internal sealed record RedisState
{
    /// <summary>installed, broken or absent.</summary>
    public required string Package { get; init; }

    /// <summary>Digest of the unit file.</summary>
    public required string UnitFile { get; init; }

    /// <summary>enabled or disabled.</summary>
    public required string UnitEnabled { get; init; }

    /// <summary>systemd's words; "inactive" also when the unit does not exist.</summary>
    public required string UnitActive { get; init; }

    /// <summary>yes when systemd has not read the unit file as it is.</summary>
    public required string UnitStale { get; init; }

    /// <summary>Overrides of the unit that nobody declared: path and text.</summary>
    public ImmutableSortedDictionary<string, string> DropIns { get; init; } = RedisSettings.None;

    /// <summary>Digest of redis.conf; "!mode" is appended when owner or mode are wrong.</summary>
    public required string ConfigFile { get; init; }

    /// <summary>Keyed digest of the password in auth.conf.</summary>
    public required string AuthFile { get; init; }

    /// <summary>The role in role.conf: what a start by systemd alone would make of this member.</summary>
    public required string RoleFile { get; init; }

    /// <summary>"ok", absent, or what is wrong with it.</summary>
    public required string DataDir { get; init; }

    /// <summary>What is on disk: none, rdb or aof.</summary>
    public required string Data { get; init; }

    /// <summary>present, once the last backup of this generation was made.</summary>
    public required string Backup { get; init; }

    /// <summary>How the server answers on its own socket.</summary>
    public required string Serving { get; init; }

    /// <summary>The unit that was taken over, or "missing" when it does not exist; absent for a member with its own.</summary>
    public string Adopted { get; init; } = FactValue.Absent;

    /// <summary>Looked at only while the server is down.</summary>
    public string Port { get; init; } = Redis.Port.Free;

    public string Role { get; init; } = FactValue.Absent;
    public string Link { get; init; } = FactValue.Absent;

    public string Writes { get; init; } = FactValue.Absent;

    /// <summary>Keyed digest of the password that the server takes and gives.</summary>
    public string AuthLive { get; init; } = FactValue.Absent;

    /// <summary>Of a primary beside another: "clean" when it took no write since it left the other, else "written".</summary>
    public string Fork { get; init; } = FactValue.Absent;

    /// <summary>Managed settings as CONFIG GET shows them.</summary>
    public ImmutableSortedDictionary<string, string> Live { get; init; } = RedisSettings.None;

    /// <summary>The other members, by ordinal.</summary>
    public ImmutableSortedDictionary<int, RedisPeerState> Peers { get; init; } = ImmutableSortedDictionary<int, RedisPeerState>.Empty;

    // Not facts: what an undo would write back, and how far a long step is.

    /// <summary>Text of redis.conf; null when absent or not text.</summary>
    public string? ConfigText { get; init; }

    /// <summary>Text of the unit file; null when absent or not text.</summary>
    public string? UnitText { get; init; }

    /// <summary>Keys in memory: none or some. Clients own it: a step that promised it could never be confirmed.</summary>
    public string Keys { get; init; } = FactValue.Absent;

    /// <summary>host:port, as peers call it; empty for a member that goes.</summary>
    public string Address { get; init; } = "";

    /// <summary>What it holds in memory; null unless it answers.</summary>
    public NotedData? Own { get; init; }

    /// <summary>What lies in its data directory.</summary>
    public RedisDisk Disk { get; init; } = RedisDisk.Nothing;

    /// <summary>What this host noted of it and of its peers; null = nothing yet.</summary>
    public RedisNotes? Notes { get; init; }

    /// <summary>What the start gate decided last; null = nothing yet.</summary>
    public GateRecord? GateSaid { get; init; }

    /// <summary>How its server ended; whole also while it runs.</summary>
    public ServerEnd End { get; init; } = ServerEnd.Whole;

    /// <summary>There is room for a copy of its data where backups are kept.</summary>
    public bool HasRoom { get; init; } = true;

    /// <summary>The server can hold writes back while it goes on answering (CLIENT PAUSE with WRITE, Redis 6.2); true while it does not answer.</summary>
    public bool HoldsWrites { get; init; } = true;

    /// <summary>In a predicted state: the server comes up without the data it had.</summary>
    public bool ComesUpEmpty { get; init; }

    /// <summary>Moves while the server loads, syncs or rewrites; null when it does none of these.</summary>
    public long? Progress { get; init; }

    /// <summary>The append-only file is being rewritten; until it is, it may not exist as a whole.</summary>
    public bool Rewriting { get; init; }

    /// <summary>
    /// Why every write is refused for want of memory ("1 GiB used of maxmemory 1 GiB, ..."); empty = it is not. Clients own how full it is: no fact, for a
    /// step that promised it could never be confirmed.
    /// </summary>
    public string MemoryFull { get; init; } = "";

    /// <summary>For people, while the disk refuses: which file system, how much is used and free.</summary>
    public string Room { get; init; } = "";

    /// <summary>While the disk refuses: what the server has in memory fits there by now, and it has not tried again since.</summary>
    public bool HasRoomToSave { get; init; }

    /// <summary>Members that the primary itself says are attached and online, for people: what its probe sees too, so that it is never older than a probe.</summary>
    public int Online { get; init; }

    /// <summary>Of a replica: seconds since it heard its primary last, where that is longer than two of the primary's pings; else 0.</summary>
    public long Silent { get; init; }

    /// <summary>For people: why the unit ended, what could not be reached.</summary>
    public string Detail { get; init; } = "";

    public bool Answers => Serving == Redis.Serving.Answering;

    public bool Leads => Answers && Role == RedisRole.Primary;

    /// <summary>The unit is stopped and nothing answers.</summary>
    public bool IsDown => Serving == Redis.Serving.Refused && UnitActive is "inactive" or "failed";

    /// <summary>What a server reads at its next start; what it forgets is in none of it.</summary>
    public ImmutableSortedDictionary<string, string> FileSettings => RedisRender.Parse(ConfigText);

    /// <summary>The other member that answers as primary; null when none or more than one does.</summary>
    public KeyValuePair<int, RedisPeerState>? PeerPrimary
    {
        get
        {
            KeyValuePair<int, RedisPeerState>? found = null;
            foreach (var peer in Peers)
            {
                if (!peer.Value.Leads) continue;
                if (found is not null) return null;
                found = peer;
            }
            return found;
        }
    }

    /// <summary>The same with the server stopped.</summary>
    public RedisState Down() => this with
    {
        Serving = Redis.Serving.Refused,
        UnitActive = "inactive",
        Role = FactValue.Absent,
        Writes = FactValue.Absent,
        Link = FactValue.Absent,
        AuthLive = FactValue.Absent,
        Keys = FactValue.Absent,
        Own = null,
        Fork = FactValue.Absent,
        Live = RedisSettings.None,
        Progress = null,
        Rewriting = false,
        End = ServerEnd.Whole,
    };
}

/// <summary>Fact keys of a Redis member, and their values.</summary>
internal static class RedisFacts
{
    public const string Package = "package", UnitFile = "file/unit", UnitEnabled = "unit/enabled", UnitActive = "unit/active", UnitStale = "unit/stale",
        ConfigFile = "file/config", AuthFile = "file/auth", RoleFile = "file/role", DataDir = "dir/data", Data = "data", Backup = "backup",
        Serving = "serving", Role = "role", Link = "link", AuthLive = "auth", Fork = "fork",
        DropIns = "unit/drop-ins", PeersPrimary = "peers/primary", PeersKeys = "peers/keys", PeersSeen = "peers/seen",
        Adopted = "adopted", Port = "port", Writes = "writes", Missing = "data/missing", Held = "data/held", Room = "room";

    private static readonly ImmutableArray<string> Fixed = [Package, UnitFile, UnitEnabled, UnitActive, UnitStale, ConfigFile, AuthFile, RoleFile, DataDir, Data,
        Backup, Serving, Role, Link, AuthLive, Fork, DropIns, PeersPrimary, PeersKeys, PeersSeen, Adopted, Port, Writes, Missing, Held, Room];

    public static string Live(string setting) => "live/" + setting;

    public static string Peer(int ordinal, string what) => string.Create(CultureInfo.InvariantCulture, $"peer/{ordinal}/{what}");

    /// <summary>What follows from this member's data and its peers' alike, or from what clients do.</summary>
    public static bool IsRelative(string key) => key is Missing or Held or Room || key.StartsWith("gate/", StringComparison.Ordinal)
        || (key.StartsWith("peer/", StringComparison.Ordinal) && (key.EndsWith("/copy", StringComparison.Ordinal) || key.EndsWith("/takes", StringComparison.Ordinal)));

    /// <summary>How the start gate judges a start with a role, while the server is down.</summary>
    public static string Gate(string role) => "gate/" + role;

    /// <summary>What a started server shows and a stopped one does not.</summary>
    public static readonly ImmutableArray<string> OfServer = [Serving, UnitActive, Role, Link, AuthLive, Fork, Writes, .. RedisSettings.All.Select(Live)];

    public static IEnumerable<string> Keyed(RedisState state) =>
        [.. Fixed, .. RedisSettings.All.Select(Live), .. state.Peers.Keys.SelectMany(n => (string[])[Peer(n, "serving"), Peer(n, "role"), Peer(n, "link"), Peer(n, "keys"), Peer(n, "copy"), Peer(n, "takes"), Peer(n, "away")]),
        Gate(RedisRole.Primary), .. state.Peers.Values.Select(p => Gate(RedisRole.Follows(p.Address)))];

    public static string Value(RedisState s, string key) => key switch
    {
        Package => s.Package,
        UnitFile => s.UnitFile,
        UnitEnabled => s.UnitEnabled,
        UnitActive => s.UnitActive,
        UnitStale => s.UnitStale,
        Adopted => s.Adopted,
        Port => s.Port,
        Writes => OfLive(s.Serving, s.Writes),
        DropIns => s.DropIns.IsEmpty ? FactValue.Absent : RedisRender.Digest(string.Join('\n', s.DropIns.Select(d => d.Key + "\n" + d.Value))),
        ConfigFile => s.ConfigFile,
        AuthFile => s.AuthFile,
        RoleFile => s.RoleFile,
        DataDir => s.DataDir,
        Data => s.Data,
        Missing => RedisCopies.Missing(s) ?? FactValue.Absent,
        Held => OfLive(s.Serving, s.Keys),
        Room => s.HasRoom ? Yes.It : Yes.No,
        Backup => s.Backup,
        Serving => s.Serving,
        Role => OfLive(s.Serving, s.Role),
        Link => OfLive(s.Serving, s.Link),
        AuthLive => OfLive(s.Serving, s.AuthLive),
        Fork => OfLive(s.Serving, s.Fork),
        PeersPrimary => s.PeerPrimary is { } p ? p.Value.Address : s.Peers.Values.Any(x => x.Leads) ? "many" : FactValue.Absent,
        PeersKeys => s.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some) ? Stored.Some : Stored.None,
        PeersSeen => s.Peers.Values.All(p => p.Seen) ? "all" : "not-all",
        _ => key.Split('/') switch
        {
            ["live", var setting] => OfLive(s.Serving, s.Live.GetValueOrDefault(setting, FactValue.Absent)),
            ["gate", var role] => s.Answers || s.Address.Length == 0 ? FactValue.Absent : RedisCopies.Judge(s, role) is var answer && answer.Gate == Agents.Redis.Data.Gate.Hold ? "hold:" + answer.Code : answer.Gate == Agents.Redis.Data.Gate.Follow ? answer.Role : "up",
            ["peer", var ordinal, var what] => OfPeer(s, int.Parse(ordinal, CultureInfo.InvariantCulture), what),
            _ => throw new ArgumentOutOfRangeException(nameof(key), key, "not a fact of a Redis member"),
        },
    };

    private static string OfPeer(RedisState s, int ordinal, string what) => !s.Peers.TryGetValue(ordinal, out var p) ? FactValue.Absent : what switch
    {
        "serving" => p.Serving,
        "role" => OfLive(p.Serving, p.Role),
        "link" => OfLive(p.Serving, p.Link),
        "keys" => OfLive(p.Serving, p.Keys),
        "copy" => OfLive(p.Serving, p.Answers ? RedisCopies.Of(s, p) : ""),
        // What was signed to be replaced by another's data is not signed to be replaced by nothing.
        "takes" => OfLive(p.Serving, p.Answers && RedisCopies.Takes(s, p) ? Yes.It : p.Answers && p.Keys == Stored.None ? Stored.None : Yes.No),
        "away" => p.IsStruck ? "struck" : p.Answers ? Yes.No : p.IsLong ? "long" : "short",
        _ => throw new ArgumentOutOfRangeException(nameof(what), what, "not a fact of a peer"),
    };

    /// <summary>A server that is down has no role; one that does not answer has one that nobody can see.</summary>
    private static string OfLive(string serving, string value) => serving switch
    {
        Redis.Serving.Answering => value,
        Redis.Serving.Refused => FactValue.Absent,
        _ when FactValue.IsUnseen(serving) => serving,
        _ => FactValue.Unseen(serving),
    };
}
