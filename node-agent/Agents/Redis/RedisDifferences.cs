using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>The closed set of difference kinds of a Redis member.</summary>
internal static class Kind
{
    public const string Unseen = "unseen", Package = "package", DataDirMissing = "data-dir-missing", DataDirWrong = "data-dir-wrong", Config = "config",
        Auth = "auth", Unit = "unit", DropIn = "drop-in", Enabled = "enabled", Down = "down", Starting = "starting", Mute = "mute", RestartSetting = "restart-setting",
        LiveSetting = "live-setting", RoleFile = "role-file", Role = "role", Writes = "writes", Handover = "handover", Primary = "primary", Link = "link", Adoption = "adoption",
        Present = "present";
}

/// <summary>All that is not as wanted of one member; what a person sees as drift.</summary>
internal static class RedisDifferences
{
    private const string Teardown = "teardown";

    public static IEnumerable<Difference> Of(RedisGoal? goal, RedisState s)
    {
        var unseen = Unseen(s).ToList();
        if (unseen.Count > 0) return unseen;
        if (goal is null) return OfTeardown(s);
        if (goal.Adopt.Length > 0) return OfAdopted(goal, s);
        return [.. OfHost(goal, s), .. OfServer(goal, s), .. s.Answers ? OfRole(goal, s) : []];
    }

    /// <summary>Own facts that could not be read: nothing is concluded from them, and nothing is done meanwhile.</summary>
    private static IEnumerable<Difference> Unseen(RedisState s)
    {
        foreach (var key in (ImmutableArray<string>)[RedisFacts.Package, RedisFacts.UnitFile, RedisFacts.UnitActive, RedisFacts.UnitEnabled, RedisFacts.ConfigFile,
            RedisFacts.AuthFile, RedisFacts.RoleFile, RedisFacts.DataDir, RedisFacts.Data, RedisFacts.Serving])
            if (FactValue.IsUnseen(RedisFacts.Value(s, key)))
                yield return new(Kind.Unseen, key, $"{key} cannot be read: {RedisFacts.Value(s, key)}") { ClearsAfter = RedisRoles.Later };
    }

    private static IEnumerable<Difference> OfHost(RedisGoal goal, RedisState s)
    {
        if (s.Package != RedisPackage.Installed) yield return new(Kind.Package, RedisLayout.Package, $"package {RedisLayout.Package} is {s.Package}");
        if (s.DataDir == FactValue.Absent) yield return new(Kind.DataDirMissing, "", "the data directory does not exist");
        else if (s.DataDir != DataDirState.Ok) yield return new(Kind.DataDirWrong, "", "the data directory is wrong: " + s.DataDir);
        if (s.ConfigFile != RedisRender.Digest(goal.ConfigText))
            yield return new(Kind.Config, "", s.ConfigFile == FactValue.Absent ? "redis.conf is missing" : "redis.conf is not as declared");
        else if (s.IsDown && s.ConfigFile != RedisRender.Digest(AofOrder.TextToStart(goal, s)))
            yield return new(Kind.Config, "", "redis.conf would make the server come up without the dump that is there: its append-only file is gone");
        if (s.AuthFile != goal.AuthDigest || (s.Answers && s.AuthLive != goal.AuthDigest))
            yield return new(Kind.Auth, "", s.AuthFile == FactValue.Absent ? "auth.conf is missing" : "the password is not the declared one");
        if (s.UnitFile != RedisRender.Digest(goal.UnitText)) yield return new(Kind.Unit, "", s.UnitFile == FactValue.Absent ? "the unit is missing" : "the unit is not as declared");
        else if (s.UnitStale == Yes.It) yield return new(Kind.Unit, "", "systemd has not read the unit as it is on disk");
        foreach (var path in s.DropIns.Keys) yield return new(Kind.DropIn, path, $"{path} overrides the unit");
        if (s.UnitFile != FactValue.Absent && (s.UnitEnabled == "enabled") != goal.StartsItself)
            yield return new(Kind.Enabled, "", $"the unit is {s.UnitEnabled}, wants {(goal.StartsItself ? "enabled" : "disabled")}");
    }

    private static IEnumerable<Difference> OfServer(RedisGoal goal, RedisState s)
    {
        switch (s.Serving)
        {
            case Serving.Answering when s.UnitActive is "active" or "reloading":
                foreach (var key in RestartSettings(goal, s))
                    yield return new(Kind.RestartSetting, key, Differs(goal, s, key));
                foreach (var key in RedisSettings.Live)
                    if (s.Live.GetValueOrDefault(key, FactValue.Absent) != goal.Settings[key]) yield return new(Kind.LiveSetting, key, Differs(goal, s, key));
                // No tool answers it: the server takes writes again by itself once its disk does.
                if (s.Writes == Writes.Refused) yield return new(Kind.Writes, "", NoWrites(s with { MemoryFull = "" })) { ClearsAfter = RedisRoles.Later };
                // Neither does any tool answer this: what may be thrown away, and how much memory it may have, people decide.
                if (s.MemoryFull.Length > 0) yield return new(Kind.Writes, "memory", NoWrites(s)) { ClearsAfter = RedisRoles.Later };
                break;
            case Serving.Answering or Serving.Loading when s.UnitActive is "activating" or "deactivating" or "active" or "reloading":
                yield return new(Kind.Starting, "", $"the server is {s.Serving}, its unit {s.UnitActive}") { ClearsAfter = RedisRoles.Soon };
                break;
            case Serving.Refused when s.UnitActive is "inactive" or "failed":
                yield return new(Kind.Down, "", "the server is down" + (s.Detail.Length > 0 ? ": " + s.Detail : ""));
                break;
            case Serving.Refused when s.UnitActive is "activating" or "deactivating":
                yield return new(Kind.Starting, "", "the unit is " + s.UnitActive) { ClearsAfter = RedisRoles.Soon };
                break;
            case Serving.Hung when s.UnitActive == "deactivating":
                // A server that saves before it ends answers nothing meanwhile; systemd's own patience ends it, and nobody else may cut the save short.
                yield return new(Kind.Starting, "", "the unit is being stopped, and its server answers nothing (it may be saving)") { ClearsAfter = RedisRoles.Soon };
                break;
            case Serving.Refused or Serving.Hung or Serving.Denied:
                yield return new(Kind.Mute, "", s.Serving switch
                {
                    Serving.Hung => "the server takes connections and answers none",
                    Serving.Denied => "the server takes no password that is known here",
                    _ => $"the unit is {s.UnitActive} and nothing listens",
                });
                break;
            default:
                yield return new(Kind.Adoption, "", $"a server that the unit did not start ({s.UnitActive}) answers on the member's socket");
                break;
        }
    }

    private static IEnumerable<Difference> OfRole(RedisGoal goal, RedisState s)
    {
        if (RedisRoles.ForLive(goal, s) is { } other)
            // Two kinds: a member that has made its move and waits for others must not hold its own move back.
            yield return new(other.Role is null ? Kind.Primary : Kind.Role, "", $"it is {s.Role}; {other.Why}") { ClearsAfter = other.Role is null ? other.Retry : null };
        else if (s.Role == RedisRole.Primary && !goal.IsPrimary)
            yield return new(Kind.Handover, "", $"it is primary, and member {goal.PrimaryOrdinal} is to be");
        else if (s.Role != RedisRole.Primary && s.Link != Link.Up)
            yield return new(Kind.Link, "", $"the link to {RedisRole.Followed(s.Role)} is {s.Link}") { ClearsAfter = RedisRoles.Soon };
        else if (s.Role != RedisRole.Primary && s.Role != RedisRole.Follows(goal.Wanted.Address))
            yield return new(Kind.Primary, "", $"member {goal.PrimaryOrdinal} is to be primary and is not yet") { ClearsAfter = RedisRoles.Soon };
        // Beside another primary the file must keep the role that a restart should give it.
        if (s.RoleFile != s.Role && IsMember(goal, s.Role) && !(s.Leads && s.Peers.Values.Any(p => p.Leads)))
            yield return new(Kind.RoleFile, "", $"role.conf says {s.RoleFile}, the server is {s.Role}");
    }

    /// <summary>A stranger whom a hand made it follow is no role that a start should give it.</summary>
    private static bool IsMember(RedisGoal goal, string role) => role == RedisRole.Primary || (RedisRole.Followed(role) is { } address && goal.MemberAt(address) is not null);

    /// <summary>Of a server that was taken over only what can be set while it runs, and that it runs.</summary>
    private static IEnumerable<Difference> OfAdopted(RedisGoal goal, RedisState s)
    {
        if (s.Adopted == "missing") yield return new(Kind.Adoption, "unit", $"{goal.Adopt} does not exist: correct spec.adopt.unit");
        else if (s.Serving is Serving.Loading || s.UnitActive is "activating" or "deactivating")
            yield return new(Kind.Starting, "", $"the server is {s.Serving}, its unit {s.UnitActive}") { ClearsAfter = RedisRoles.Soon };
        else if (s.IsDown) yield return new(Kind.Down, "", $"{goal.Adopt} is down");
        else if (s.Serving == Serving.Denied) yield return new(Kind.Adoption, "password", $"{goal.Adopt} asks for a password: adoption needs a server without one");
        else if (!s.Answers) yield return new(Kind.Adoption, "server", $"nothing usable answers on port {goal.Self.Port} ({s.Serving}) although {goal.Adopt} is {s.UnitActive}: correct spec.port, or restart it by hand");
        else if (s.UnitActive is not ("active" or "reloading")) yield return new(Kind.Adoption, "server", $"port {goal.Self.Port} is answered by another server than {goal.Adopt}");
        else
        {
            foreach (var key in RedisSettings.Adopted)
                if (s.Live.GetValueOrDefault(key, FactValue.Absent) != goal.Settings[key]) yield return new(Kind.LiveSetting, key, Differs(goal, s, key));
            foreach (var key in RestartSettings(goal, s))
                yield return new(Kind.Adoption, key, Differs(goal, s, key) + $": only a restart applies it, and a server that was taken over is not restarted; change it in the files of {goal.Adopt}");
        }
    }

    /// <summary>One group: a delete that cannot be finished does not begin.</summary>
    private static IEnumerable<Difference> OfTeardown(RedisState s)
    {
        if (s.UnitEnabled == "enabled") yield return new(Kind.Enabled, "", "the unit is enabled and is to go") { Group = Teardown };
        if (s.Serving != Serving.Refused || s.UnitActive is not ("inactive" or "failed"))
            yield return new(Kind.Present, Part.Server, "the server runs and is to go") { Group = Teardown };
        if (s.DataDir != FactValue.Absent) yield return new(Kind.Present, Part.Data, "the data directory is to go") { Group = Teardown };
        if (s.UnitFile != FactValue.Absent || s.ConfigFile != FactValue.Absent || s.AuthFile != FactValue.Absent || s.RoleFile != FactValue.Absent || !s.DropIns.IsEmpty)
            yield return new(Kind.Present, Part.Files, "unit and configuration are to go") { Group = Teardown };
    }

    /// <summary>Settings that only a restart brings to what is declared.</summary>
    public static IEnumerable<string> RestartSettings(RedisGoal goal, RedisState s) =>
        RedisSettings.Restart.Where(key => s.Live.GetValueOrDefault(key, FactValue.Absent) != goal.Settings[key]);

    internal static string NoWrites(RedisState s) => s.MemoryFull.Length > 0 ? $"writes are refused (OOM): {s.MemoryFull}, policy noeviction: delete keys, raise spec.memory.max, or choose a policy that evicts"
        : $"every write is refused (MISCONF), because the server could not write to its disk: {s.Room}; "
            + (s.HasRoomToSave ? "its last save failed, and there is room for one now: it takes writes again once it has saved"
            : "free space there, or look at its log (journalctl -u)");

    private static string Differs(RedisGoal goal, RedisState s, string key) =>
        $"{key} is {Shown(s.Live.GetValueOrDefault(key, FactValue.Absent))}, wants {Shown(goal.Settings[key])}";

    private static string Shown(string value) => value.Length == 0 ? "empty" : value;
}

/// <summary>The parts of a member that go one after the other.</summary>
internal static class Part
{
    public const string Server = "server", Data = "data", Files = "files";
}

/// <summary>Values of the package fact.</summary>
internal static class RedisPackage
{
    public const string Installed = "installed", Broken = "broken";
}

/// <summary>Values of the data directory fact besides absent.</summary>
internal static class DataDirState
{
    public const string Ok = "ok";
}

/// <summary>Values of a yes-or-no fact.</summary>
internal static class Yes
{
    public const string It = "yes", No = "no";
}
