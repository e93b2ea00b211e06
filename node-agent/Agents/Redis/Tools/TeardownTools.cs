using System.Collections.Immutable;
using System.Text.Json;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>Where the data of a member that goes still is.</summary>
internal static class OtherCopy
{
    /// <summary>A primary that answers now, whose replica this member was, and that has data if this member has.</summary>
    public static bool Exists(RedisScope scope, RedisState s) => !scope.Teardown
        && RedisRole.Followed(s.Answers ? s.Role : s.RoleFile) is { } address
        && s.Peers.Values.Any(p => p.Address == address && p.Leads && (s.Data == Stored.None || RedisCopies.Takes(s, p)));

    /// <summary>There is data that goes with this member.</summary>
    public static bool WouldBeLost(RedisScope scope, RedisState s) => (s.Data != Stored.None || s.Keys == Stored.Some) && !Exists(scope, s);
}

/// <summary>A last copy of the data, before it goes: the server's own dump while it answers, the files of one that is down.</summary>
internal sealed class LastBackup(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PathArgs>("last-backup", RedisJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public static bool IsDue(RedisScope scope, RedisState s) => s.Backup == FactValue.Absent && s.HasRoom && OtherCopy.WouldBeLost(scope, s)
        && ((s.Answers && s.Keys == Stored.Some) || (s.IsDown && s.Data != Stored.None));

    public override IEnumerable<Move<PathArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null || !IsDue(Scope, state)) yield break;
        var (path, of) = state.IsDown ? (Scope.Layout.ColdBackup(Scope.ResourceUid, Scope.Generation), Part.Data) : (Scope.Layout.Backup(Scope.ResourceUid, Scope.Generation), Part.Server);
        if (difference.Subject == of) yield return Move.Do(new PathArgs(path), 10, "a last copy before the data goes");
    }

    private bool IsCold(PathArgs args) => args.Path == Scope.Layout.ColdBackup(Scope.ResourceUid, Scope.Generation);

    public override Footprint Touches(RedisState state, PathArgs args) =>
        IsCold(args) ? new([RedisFacts.Serving, RedisFacts.UnitActive, RedisFacts.Data], [RedisFacts.Backup])
        : state.Data == Stored.None ? new([RedisFacts.Serving], [RedisFacts.Backup, RedisFacts.Data]) : new([RedisFacts.Serving, RedisFacts.Data], [RedisFacts.Backup]);

    public override RedisState Predict(RedisState state, PathArgs args) => state with { Backup = Present, Data = state.Data == Stored.None ? Stored.Rdb : state.Data };
    public override RedisState During(RedisState state, PathArgs args) => state;
    public override Assessment Assess(RedisState state, PathArgs args) => Assessment.Safe;
    public override Undo Inverse(RedisState before, PathArgs args) => Undo.Keep("an extra backup hurts nobody");
    public override Timing Timing(PathArgs args) => new(TimeSpan.FromHours(2), TimeSpan.FromHours(2), TimeSpan.FromSeconds(1));
    public override string Describe(PathArgs args) => IsCold(args) ? $"last backup, the files of {Scope.Layout.DataDir}, to {args.Path}" : "last backup to " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) =>
        IsCold(args) ? Actuator.ArchiveAsync(args.Path, context.Stop) : Actuator.BackUpAsync(args.Path, context.Stop);

    public const string Present = "present";
}

/// <summary>Stops a member that goes.</summary>
internal sealed class Stop(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PathArgs>("stop", RedisJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Server || LastBackup.IsDue(Scope, state)) yield break;
        if (!Scope.Teardown && state.Leads && state.Peers.Values.Any(p => p.Answers && p.Role != RedisRole.Primary))
            yield return Move.Wait<PathArgs>("it is primary and others follow it: move the primary first (spec.primary)", RedisRoles.Later);
        else yield return Move.Do(new PathArgs(Scope.Layout.Unit), 20, "the member is to go");
    }

    public override Footprint Touches(RedisState state, PathArgs args) =>
        new([RedisFacts.UnitEnabled, RedisFacts.Data, RedisFacts.Held, .. Scope.Teardown ? ImmutableArray<string>.Empty : [RedisFacts.PeersKeys]], RedisFacts.OfServer)
        { Turns = state.Answers ? [Scope.Turn] : [], ActsBlind = true };
    public override RedisState Predict(RedisState state, PathArgs args) => state.Down();

    /// <summary>
    /// A replica that has not caught up may hold the only copy of what its primary lost. Where the whole resource goes, nothing of a peer is asked: each has its own
    /// signed step, and one peer's progress must not void what was signed for the others.
    /// </summary>
    public override Assessment Assess(RedisState state, PathArgs args) =>
        OnlyInMemory(state) ? new(RiskLevel.Dangerous, ["memory-only"], LosesData: true)
        : !Scope.Teardown && state.Answers && state.Role != RedisRole.Primary && state.Link != Link.Up && state.Keys == Stored.Some ? Assessment.Dangerous("replica-behind")
        : Scope.Teardown || !OtherCopy.WouldBeLost(Scope, state) ? Moderate("stop") : Assessment.Dangerous("last-member");

    public override Undo Inverse(RedisState before, PathArgs args) => OnlyInMemory(before) ? Undo.Impossible("what only its memory holds is gone")
        : RanAsItsFilesSay(before)
        ? Undo.By(new("start", JsonSerializer.Serialize(new RoleArgs(before.Role), RedisJson.Default.RoleArgs)))
        : Undo.Keep("it did not run as its files say");

    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(5));
    public override string Describe(PathArgs args) => "stop " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.StopAsync(context.Stop);

    /// <summary>It keeps nothing on disk, or somebody deleted its files under it, and no other member has all of it: here it is the stop that loses data, and not the removal of the files.</summary>
    private bool OnlyInMemory(RedisState s) => s is { Answers: true, Keys: Stored.Some } && !IsOnDisk(s)
        && (Scope.Teardown || !s.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some && RedisCopies.Takes(s, p)));

    /// <summary>An append-only file has each write; a server with snapshots writes one when it is stopped, if it can.</summary>
    private static bool IsOnDisk(RedisState s) => s.Writes != Writes.Refused
        && (s.FileSettings.GetValueOrDefault("appendonly") == "yes" ? s.Data == Stored.Aof : s.Data != Stored.None && RedisSettings.Persists(s.FileSettings));

    /// <summary>Only then does a start bring back exactly what ran.</summary>
    private static bool RanAsItsFilesSay(RedisState s) => s is { Answers: true, UnitActive: "active", Fork: FactValue.Absent } && s.Writes != Writes.Refused && s.RoleFile == s.Role && s.AuthLive == s.AuthFile
        && s.Live.SequenceEqual(s.FileSettings)
        && (s.Role == RedisRole.Primary || (s.Link == Link.Up && s.Peers.Values.Any(p => p.Leads && s.Role == RedisRole.Follows(p.Address))));
}

/// <summary>Removes the data directory.</summary>
internal sealed class RemoveData(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PathArgs>("remove-data", RedisJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Data || LastBackup.IsDue(Scope, state)) yield break;
        if (!state.IsDown) yield return Move.Wait<PathArgs>("the server is stopped first");
        else yield return Move.Do(new PathArgs(Scope.Layout.DataDir), 30, "the member is to go");
    }

    public override Footprint Touches(RedisState state, PathArgs args) =>
        new([RedisFacts.Serving, RedisFacts.UnitActive, RedisFacts.RoleFile, RedisFacts.Backup], [RedisFacts.DataDir, RedisFacts.Data]);

    public override RedisState Predict(RedisState state, PathArgs args) => state with { DataDir = FactValue.Absent, Data = Stored.None };
    public override RedisState During(RedisState state, PathArgs args) => state with { Data = Stored.None };

    public override Assessment Assess(RedisState state, PathArgs args)
    {
        if (!OtherCopy.WouldBeLost(Scope, state)) return Moderate(OtherCopy.Exists(Scope, state) ? "replica-data" : "no-data");
        var risk = new Assessment(RiskLevel.Dangerous, ["data-loss"], LosesData: true);
        if (state.Backup == FactValue.Absent) risk = risk.Raise(RiskLevel.Dangerous, "no-last-backup");
        return !Scope.Teardown && state.Peers.Values.Any(p => !p.Seen) ? risk.Raise(RiskLevel.Dangerous, "peers-unseen") : risk;
    }

    public override Undo Inverse(RedisState before, PathArgs args) => OtherCopy.WouldBeLost(Scope, before)
        ? Undo.Impossible(before.Backup == FactValue.Absent ? "the data is gone" : "the data is gone; the last backup stays")
        : Undo.Keep(before.Data == Stored.None ? "there was no data" : "the primary has the data");

    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(5));
    public override string Describe(PathArgs args) => "delete the data in " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.RemoveData();
}

/// <summary>Removes unit and configuration, once the data is gone.</summary>
internal sealed class RemoveFiles(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PathArgs>("remove-files", RedisJson.Default.PathArgs, scope, actuator, Kind.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not null || difference.Subject != Part.Files) yield break;
        if (!state.IsDown || state.DataDir != FactValue.Absent) yield return Move.Wait<PathArgs>("the data goes first");
        else if (state.UnitEnabled == "enabled") yield return Move.Wait<PathArgs>("the unit is disabled first");
        else yield return Move.Do(new PathArgs(Scope.Layout.ConfDir), 40, "the member is to go");
    }

    public override Footprint Touches(RedisState state, PathArgs args) => new([RedisFacts.DataDir, RedisFacts.Serving, RedisFacts.UnitEnabled],
        [RedisFacts.UnitFile, RedisFacts.UnitActive, RedisFacts.UnitStale, RedisFacts.DropIns, RedisFacts.ConfigFile, RedisFacts.AuthFile, RedisFacts.RoleFile]);

    public override RedisState Predict(RedisState state, PathArgs args) => state with
    {
        UnitFile = FactValue.Absent,
        UnitText = null,
        UnitActive = "inactive",
        UnitStale = Yes.No,
        DropIns = RedisSettings.None,
        ConfigFile = FactValue.Absent,
        ConfigText = null,
        AuthFile = FactValue.Absent,
        RoleFile = FactValue.Absent,
    };

    public override Assessment Assess(RedisState state, PathArgs args) => Moderate("remove");
    public override Undo Inverse(RedisState before, PathArgs args) => Undo.Keep("a unit without its data is of no use");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(PathArgs args) => "remove unit and configuration of " + Scope.Layout.Unit;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.RemoveFilesAsync(context.Stop);
}
