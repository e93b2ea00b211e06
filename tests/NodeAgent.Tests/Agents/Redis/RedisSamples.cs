using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using CsCheck;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Goals and states of one member of three, or of one alone.</summary>
internal static class RedisSamples
{
    public const string Password = "correct-horse";
    public static readonly DateTimeOffset Now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    public static MemberInput Input(int ordinal = 0, int primary = 0, int members = 3, string spec = "{}", bool absent = false, bool teardown = false, long generation = 1)
    {
        var (canonical, errors) = RedisKind.Schema.Validate(Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        return new()
        {
            Key = $"n{ordinal}/Redis/uid-1/{ordinal}",
            ResourceKey = "Redis default/sessions",
            Project = "default",
            Name = "sessions",
            ResourceUid = "uid-1",
            Ordinal = ordinal,
            Generation = generation,
            Spec = canonical.ToArray(),
            Absent = absent,
            Teardown = teardown,
            Peers = [.. Enumerable.Range(0, members).Select(i => new PeerAddress(i, "n" + i, "edge-" + i, "10.0.0." + (i + 1), 6379))],
            PrimaryOrdinal = primary,
            Secrets = new Dictionary<string, ReadOnlyMemory<byte>> { ["password"] = Encoding.UTF8.GetBytes(Password) },
            NodeUid = "n" + ordinal,
        };
    }

    public static RedisMember Member { get; } = new(new(null!, null!, null!), new(null!, null!, null!, null!), TimeProvider.System, new());

    public static RedisGoal Goal(MemberInput input)
    {
        var read = Member.ReadGoal(input);
        Assert.Empty(read.Errors);
        return read.Goal!;
    }

    public static RedisScope Scope(MemberInput input) => new()
    {
        Title = "Redis default/sessions member " + input.Ordinal,
        ResourceUid = input.ResourceUid,
        Generation = input.Generation,
        Layout = RedisLayout.Of(input.Project, input.Name, input.Ordinal, new()),
        Auth = new(input.NodeUid, input.ResourceUid, Password),
        Goal = input.Absent ? null : Goal(input),
        Teardown = input.Teardown,
    };

    /// <summary>A bare host.</summary>
    public static RedisState Nothing(MemberInput input) => new()
    {
        Package = FactValue.Absent,
        UnitFile = FactValue.Absent,
        UnitEnabled = "disabled",
        UnitActive = "inactive",
        UnitStale = Yes.No,
        ConfigFile = FactValue.Absent,
        AuthFile = FactValue.Absent,
        RoleFile = FactValue.Absent,
        DataDir = FactValue.Absent,
        Data = Stored.None,
        Backup = FactValue.Absent,
        Serving = Serving.Refused,
        Peers = input.Peers.Where(p => p.Ordinal != input.Ordinal).ToImmutableSortedDictionary(p => p.Ordinal, p => new RedisPeerState(p.Address + ":" + p.Port, Serving.Refused)),
    };

    /// <summary>A replication history, by its letter.</summary>
    public static string History(char letter) => new(letter, 40);

    /// <summary>None of the others can be reached.</summary>
    public static RedisState Isolated(RedisState state) =>
        state with { Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => new RedisPeerState(p.Value.Address, FactValue.Unseen("unreachable"))) };

    public static NotedData Held(string role, char history = 'a', long offset = 1000, long keys = 10) =>
        new() { Role = role, Id = History(history), Offset = offset, Keys = keys, Appending = true, At = 1_700_000_000, Changed = 1_699_990_000 };

    /// <summary>Files that hold what the fact of the data says.</summary>
    public static RedisDisk Disk(string data, long offset = 1000, char history = 'a') => data switch
    {
        Stored.Aof => new(true, null, new(1, "appendonly.aof.1.incr.aof", 500, "appendonly.aof.1.base.rdb", 88, true, "")),
        Stored.Rdb => new(true, new(500, 1_699_999_000, 10, new(History(history), offset), ""), null),
        _ => new(true, null, null),
    };

    private static RedisNotes Notes(MemberInput input, RedisGoal goal, int primary, string data) => new()
    {
        Uid = input.ResourceUid,
        Ordinal = input.Ordinal,
        DataDir = "/d",
        ConfDir = "/c",
        Keeps = Kept.Of(goal.Settings),
        Own = Held(RoleOf(goal, input.Ordinal, primary)),
        Files = NotedFiles.Of(Disk(data)),
        CopyOf = input.Ordinal == primary ? "" : goal.Members.First(m => m.Ordinal == primary).Address,
        Peers = goal.Others.ToImmutableSortedDictionary(p => p.Ordinal, p => Held(RoleOf(goal, p.Ordinal, primary))),
    };

    /// <summary>As the goal says, with keys.</summary>
    public static RedisState Converged(MemberInput input, RedisGoal goal, int primary = 0) => Nothing(input) with
    {
        Address = input.Absent ? "" : goal.Self.Address,
        Own = Held(RoleOf(goal, input.Ordinal, primary)),
        Disk = Disk(DataOf(goal)),
        Notes = Notes(input, goal, primary, DataOf(goal)),
        Package = RedisPackage.Installed,
        UnitFile = RedisRender.Digest(goal.UnitText),
        UnitText = goal.UnitText,
        UnitEnabled = goal.StartsItself ? "enabled" : "disabled",
        UnitActive = "active",
        ConfigFile = RedisRender.Digest(goal.ConfigText),
        ConfigText = goal.ConfigText,
        AuthFile = goal.AuthDigest,
        AuthLive = goal.AuthDigest,
        Writes = Writes.Taken,
        RoleFile = RoleOf(goal, input.Ordinal, primary),
        Role = RoleOf(goal, input.Ordinal, primary),
        Link = input.Ordinal == primary ? FactValue.Absent : Link.Up,
        DataDir = DataDirState.Ok,
        Data = DataOf(goal),
        Serving = Serving.Answering,
        Keys = Stored.Some,
        Live = goal.Settings,
        Peers = goal.Others.ToImmutableSortedDictionary(p => p.Ordinal, p => new RedisPeerState(p.Address, Serving.Answering, RoleOf(goal, p.Ordinal, primary),
            p.Ordinal == primary ? FactValue.Absent : Link.Up, Stored.Some)
        { Data = Held(RoleOf(goal, p.Ordinal, primary)) }),
    };

    private static string DataOf(RedisGoal goal) => goal.Persistent ? goal.Settings["appendonly"] == "yes" ? Stored.Aof : Stored.Rdb : Stored.None;

    public static string RoleOf(RedisGoal goal, int ordinal, int primary) =>
        ordinal == primary ? RedisRole.Primary : RedisRole.Follows(goal.Members.First(m => m.Ordinal == primary).Address);

    public static readonly Gen<string> Spec = Gen.Select(Gen.Bool, Gen.Bool, Gen.OneOf("0", "256Mi"), Gen.OneOf("noeviction", "allkeys-lru"), Gen.OneOf(16, 32),
        (aof, save, max, policy, databases) => $$$"""{"replicas":2,"memory":{"max":"{{{max}}}","policy":"{{{policy}}}"},"databases":{{{databases}}},"persistence":{"appendonly":{{{(aof ? "true" : "false")}}}{{{(save ? "" : ",\"save\":[]")}}}}}""");

    public static readonly Gen<MemberInput> Inputs = Gen.Select(Gen.Int[0, 2], Gen.Int[0, 2], Gen.OneOf(1, 3), Spec, Gen.OneOf(0, 0, 0, 1, 2),
        (ordinal, primary, members, spec, going) => Input(members == 1 ? 0 : ordinal, members == 1 ? 0 : primary, members,
            members == 1 ? spec.Replace("\"replicas\":2,", "", StringComparison.Ordinal) : spec, absent: going > 0, teardown: going == 2));

    private static Gen<string> Often(string usual, params string[] others) => Gen.OneOf([usual, usual, usual, .. others]);

    private static Gen<RedisPeerState> Peer(string address, string[] roles) => Gen.Select(
        Often(Serving.Answering, Serving.Refused, Serving.Hung, Serving.Loading, Serving.Denied, FactValue.Unseen("unreachable")),
        Gen.OneOf(roles), Often(Link.Up, Link.Down, Link.Syncing, Link.Lagging), Often(Stored.Some, Stored.None), Positions, Gen.Bool,
        (serving, role, link, keys, at, isLong) => serving == Serving.Answering
            ? new RedisPeerState(address, serving, role, role == RedisRole.Primary ? FactValue.Absent : link, keys) { Data = Held(role, at.History, at.Offset, keys == Stored.Some ? 10 : 0) }
            : new RedisPeerState(address, serving == Serving.Denied && isLong ? RedisPeerState.StruckOff : serving) { IsLong = isLong, IsStruck = serving == Serving.Denied && isLong });

    /// <summary>Mostly one history, at some places of it.</summary>
    private static readonly Gen<(char History, long Offset)> Positions = Gen.Select(Gen.OneOf('a', 'a', 'a', 'b'), Gen.OneOf(1000L, 1000L, 900L, 1100L), (history, offset) => (history, offset));

    /// <summary>Any state of the host and of what it sees, unseen, lagging and hung ones among them.</summary>
    public static Gen<RedisState> State(MemberInput input)
    {
        var wanted = Goal(input with { Absent = false });
        var other = wanted with { ConfigText = wanted.ConfigText.Replace("timeout 0", "timeout 9", StringComparison.Ordinal), UnitText = wanted.UnitText + "# by hand\n" };
        string[] roles = [RedisRole.Primary, .. wanted.Others.Select(m => RedisRole.Follows(m.Address))];
        string[] peerRoles = [RedisRole.Primary, .. wanted.Members.Select(m => RedisRole.Follows(m.Address))];
        var host = Gen.Select(Often(RedisPackage.Installed, FactValue.Absent, RedisPackage.Broken), Often("goal", "absent", "other", "stale"), Often("enabled", "disabled"),
            Often("goal", "absent", "other", "transitional", "mode"), Often("goal", "absent", "old", "other"), Gen.OneOf([.. roles, FactValue.Absent, "other"]),
            Often(DataDirState.Ok, FactValue.Absent, "wrong:0:0:700"), Often(Stored.Aof, Stored.Rdb, Stored.None),
            (package, unit, enabled, config, auth, roleFile, dir, data) => (package, unit, enabled, config, auth, roleFile, dir, data));
        var server = Gen.Select(Often(Serving.Answering, Serving.Refused, Serving.Refused, Serving.Hung, Serving.Loading, Serving.Denied), Gen.OneOf(roles),
            Often(Link.Up, Link.Down, Link.Syncing, Link.Lagging), Gen.OneOf("", "", "timeout", "databases", "appendonly", "maxmemory"), Often(Stored.Some, Stored.None),
            Often("active", "inactive", "failed", "activating"), Gen.Select(Gen.Bool, Positions, Gen.OneOf("noted", "noted", "none", "more"), (flag, at, notes) => (flag, at, notes)), Often("goal", "old", "mixed"),
            (serving, role, link, drift, keys, active, more, auth) => (serving, role, link, drift, keys, active, more.flag, auth, more.at, more.notes));
        var peers = wanted.Others.Select(p => Peer(p.Address, [.. peerRoles.Where(r => r != RedisRole.Follows(p.Address))])).ToArray();
        var peersGen = peers.Length == 0 ? Gen.Const(Array.Empty<RedisPeerState>()) : Gen.Select(peers[0], peers[1], (a, b) => new[] { a, b });
        return Gen.Select(host, server, peersGen, (h, s, p) => Build(input, wanted, other, h, s, p));
    }

    private static RedisState Build(MemberInput input, RedisGoal goal, RedisGoal other,
        (string package, string unit, string enabled, string config, string auth, string roleFile, string dir, string data) h,
        (string serving, string role, string link, string drift, string keys, string active, bool flag, string auth, (char History, long Offset) at, string notes) s, RedisPeerState[] peers)
    {
        var old = new RedisAuth(input.NodeUid, input.ResourceUid, "an-old-one").Digest;
        var text = h.config switch { "absent" => null, "other" => other.ConfigText, "transitional" => AofOrder.TextWithout(goal), _ => goal.ConfigText };
        var state = Nothing(input) with
        {
            Package = h.package,
            UnitText = h.unit switch { "absent" => null, "other" => other.UnitText, _ => goal.UnitText },
            UnitEnabled = h.enabled,
            UnitStale = h.unit == "stale" ? Yes.It : Yes.No,
            ConfigText = text,
            ConfigFile = text is null ? FactValue.Absent : RedisRender.Digest(text) + (h.config == "mode" ? "!mode" : ""),
            AuthFile = h.auth switch { "absent" => FactValue.Absent, "old" => old, "other" => "other:k1", _ => goal.AuthDigest },
            RoleFile = h.roleFile,
            DataDir = h.dir,
            Data = h.dir == FactValue.Absent ? Stored.None : h.data,
            DropIns = s.flag ? RedisSettings.None : RedisSettings.None.Add("/etc/systemd/system/x.d/o.conf", "[Service]\n"),
            UnitActive = s.serving == Serving.Refused ? s.active == "active" ? "inactive" : s.active : "active",
            End = s.serving != Serving.Refused || s.flag ? ServerEnd.Whole : ServerEnd.Unseen,
            Peers = goal.Others.Zip(peers).ToImmutableSortedDictionary(x => x.First.Ordinal, x => x.Second),
            Address = input.Absent ? "" : goal.Self.Address,
            Disk = h.dir == FactValue.Absent ? RedisDisk.Nothing : Disk(h.data, s.at.Offset, s.at.History),
        };
        if (s.notes != "none")
            state = state with { Notes = Notes(input, goal, 0, h.dir == FactValue.Absent ? Stored.None : h.data) with { Files = NotedFiles.Of(Disk(s.notes == "more" ? Stored.Aof : h.data)), Own = Held(s.role, s.at.History, s.at.Offset) } };
        state = state with { UnitFile = state.UnitText is null ? FactValue.Absent : RedisRender.Digest(state.UnitText) };
        if (s.serving != Serving.Answering) return state with { Serving = s.serving };
        var drift = s.drift switch { "timeout" => "77", "databases" => "3", "appendonly" => goal.Settings["appendonly"] == "yes" ? "no" : "yes", "maxmemory" => "1048576", _ => "" };
        var live = s.drift.Length == 0 ? goal.Settings : goal.Settings.SetItem(s.drift, drift);
        return state with
        {
            Serving = s.serving,
            Role = s.role,
            Link = s.role == RedisRole.Primary ? FactValue.Absent : s.link,
            Fork = s.role == RedisRole.Primary && state.Peers.Values.Any(p => p.Leads) ? s.flag ? RedisFork.Clean : RedisFork.Written : FactValue.Absent,
            AuthLive = s.auth switch { "old" => old, "mixed" => "mixed:k", _ => goal.AuthDigest },
            Writes = Writes.Taken,
            Keys = s.keys,
            Own = Held(s.role, s.at.History, s.at.Offset, s.keys == Stored.Some ? 10 : 0),
            Live = live,
            // Whose link is up is in one history with the other, and where it is.
            Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value.Answers && p.Value.Keys == Stored.Some
                && ((p.Value.Role == RedisRole.Follows(goal.Self.Address) && p.Value.Link is Link.Up or Link.Lagging) || (s.role == RedisRole.Follows(p.Value.Address) && s.link is Link.Up or Link.Lagging))
                ? p.Value with { Data = Held(p.Value.Role, s.at.History, s.at.Offset) } : p.Value),
        };
    }

    public static readonly Gen<(MemberInput Input, RedisState State)> Cases = Inputs.SelectMany(input => State(input).Select(state => (input, state)));

    public static PlanRequest Request(MemberInput input) => new(new(input.NodeUid, input.ResourceUid, input.Generation), "g", input.Protect) { Teardown = input.Teardown };

    public static Plan<RedisGoal, RedisState> Plan(MemberInput input, RedisState state, Agent<RedisGoal, RedisState>? agent = null) =>
        new Planner<RedisGoal, RedisState>(agent ?? new RedisAgent(Scope(input))).Plan(Request(input), input.Absent ? null : Goal(input), state, Attempts.None(Now), [], []);
}
