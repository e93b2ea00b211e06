using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>What a start makes of a state, shared by all tools that start the server.</summary>
internal static class Starting
{
    public static readonly Timing Timing = new(TimeSpan.FromHours(6), TimeSpan.FromMinutes(1), TimeSpan.FromMilliseconds(200));

    /// <summary>The server up with a role and what its files say.</summary>
    public static RedisState Up(RedisState s, string role)
    {
        var follows = RedisRole.Followed(role);
        var lead = follows is null ? null : s.Peers.Values.FirstOrDefault(p => p.Address == follows);
        var keeps = s.Answers ? s.Keys != Stored.Some || RedisSettings.Persists(s.FileSettings) || s.Peers.IsEmpty : RedisRoles.KeepsData(s);
        return s with
        {
            Serving = Serving.Answering,
            UnitActive = "active",
            RoleFile = role,
            Role = role,
            Link = follows is null ? FactValue.Absent : lead is { Leads: true } ? Link.Up : Link.Down,
            AuthLive = s.AuthFile,
            Writes = Writes.Taken,
            Fork = FactValue.Absent,
            Live = s.FileSettings,
            Keys = lead is { Leads: true } ? lead.Keys : keeps && s.Data != Stored.None ? Stored.Some : Stored.None,
            ComesUpEmpty = follows is null && (!keeps || s.Data == Stored.None),
            Progress = null,
            Rewriting = false,
            Detail = "",
        };
    }

    /// <summary>Loading from disk and a sync from the primary take as long as they take; both show progress.</summary>
    public static Status? Observe(RedisState s, string role) => s switch
    {
        { Serving: Serving.Loading } => new(Phase.Running, s.Progress, "reads its data"),
        { Answers: true, Link: Link.Syncing } when s.Role == role => new(Phase.Running, s.Progress, "syncs with its primary"),
        { UnitActive: "activating" } => new(Phase.Running, s.Progress, "starts"),
        // It went down again while we waited (stopped by hand, its unit deleted): waiting on brings nothing.
        { IsDown: true } => new(Phase.NotStarted),
        _ => null,
    };

    public static ImmutableArray<string> Reads(RedisState s, string role) => role == RedisRole.Primary && !RedisRoles.KeepsData(s)
        ? [RedisFacts.DataDir, RedisFacts.UnitFile, RedisFacts.ConfigFile, RedisFacts.AuthFile, RedisFacts.Port, RedisFacts.Data, RedisFacts.PeersPrimary, RedisFacts.PeersKeys]
        : [RedisFacts.DataDir, RedisFacts.UnitFile, RedisFacts.ConfigFile, RedisFacts.AuthFile, RedisFacts.Port, RedisFacts.PeersPrimary];

    /// <summary>What must be in place before a start; null = everything is.</summary>
    public static string? Missing(RedisGoal goal, RedisState s)
    {
        if (s.Package != RedisPackage.Installed) return "the package is installed first";
        if (s.DataDir != DataDirState.Ok) return "the data directory is put right first";
        if (s.UnitFile != RedisRender.Digest(goal.UnitText) || s.UnitStale == Yes.It) return "the unit is written first";
        if (!s.DropIns.IsEmpty) return "the overrides of the unit are removed first";
        if (s.AuthFile != goal.AuthDigest) return "auth.conf is written first";
        return s.ConfigFile != RedisRender.Digest(AofOrder.TextToStart(goal, s)) ? "redis.conf is written first" : null;
    }

    /// <summary>A replica that replaces data of its own by an empty set of its primary's.</summary>
    public static bool ReplacesData(RedisState s, string role) => RedisRole.Followed(role) is { } address
        && (s.Answers ? s.Keys == Stored.Some : s.Data != Stored.None)
        && s.Peers.Values.Any(p => p.Address == address && p.Leads && p.Keys == Stored.None);
}

/// <summary>Starts a member that is down, with the role that its peers' word gives it.</summary>
internal sealed class Start(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("start", RedisJson.Default.RoleArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" }) yield break;
        var choice = RedisRoles.ForStart(goal, state);
        if (Starting.Missing(goal, state) is { } missing) yield return Move.Wait<RoleArgs>(missing);
        else if (state.Port == Port.Taken)
            yield return Move.Wait<RoleArgs>(string.Create(CultureInfo.InvariantCulture, $"port {goal.Self.Port} is taken by another process: end it, or change spec.port (ss -ltnp sport = :{goal.Self.Port})"), RedisRoles.Soon);
        else if (choice.Role is { } role) yield return Move.Do(new RoleArgs(role), 20, choice.Why);
        else yield return Move.Wait<RoleArgs>(choice.Why, choice.Retry);
    }

    public override Footprint Touches(RedisState state, RoleArgs args) => new(Starting.Reads(state, args.Role), [RedisFacts.RoleFile, .. RedisFacts.OfServer]);
    public override RedisState Predict(RedisState state, RoleArgs args) => Starting.Up(state, args.Role);
    public override RedisState During(RedisState state, RoleArgs args) => state.Down() with { RoleFile = args.Role };

    public override Assessment Assess(RedisState state, RoleArgs args) => Starting.ReplacesData(state, args.Role)
        ? new(RiskLevel.Dangerous, ["replaces-data"], LosesData: true) : Moderate("start");

    public override Undo Inverse(RedisState before, RoleArgs args) => Starting.ReplacesData(before, args.Role)
        ? Undo.Impossible("its data is replaced by the primary's empty set") : Undo.Keep("it was down");

    public override Timing Timing(RoleArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, RoleArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(RoleArgs args) => RedisRole.Followed(args.Role) is { } whom ? $"start member, follow {whom}" : "start member as primary";
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.StartAsync(args.Role, context.Stop);
}

/// <summary>Ends a server that does not answer, and starts it again. Its purpose is to act without sight.</summary>
internal sealed class Restart(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("restart", RedisJson.Default.RoleArgs, scope, actuator, Kind.Mute)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        var choice = RedisRoles.ForStart(goal, state);
        if (Starting.Missing(goal, state) is { } missing) yield return Move.Wait<RoleArgs>(missing);
        else if (choice.Role is { } role) yield return Move.Do(new RoleArgs(role), 30, difference.Text);
        else yield return Move.Wait<RoleArgs>(choice.Why, choice.Retry);
    }

    public override Footprint Touches(RedisState state, RoleArgs args) =>
        new(Starting.Reads(state, args.Role), [RedisFacts.RoleFile, .. RedisFacts.OfServer]) { ActsBlind = true };

    public override RedisState Predict(RedisState state, RoleArgs args) => Starting.Up(state, args.Role);
    public override RedisState During(RedisState state, RoleArgs args) => state.Down() with { RoleFile = args.Role };

    public override Assessment Assess(RedisState state, RoleArgs args) => Starting.ReplacesData(state, args.Role)
        ? new(RiskLevel.Dangerous, ["replaces-data"], LosesData: true)
        : IsLastCopy(state) ? new(RiskLevel.Dangerous, ["last-copy"], LosesData: true) : Moderate("restart");

    public override Undo Inverse(RedisState before, RoleArgs args) => Starting.ReplacesData(before, args.Role) ? Undo.Impossible("its data is replaced by the primary's empty set")
        : IsLastCopy(before) ? Undo.Impossible("what only this member had in memory is gone") : Undo.Keep("it did not answer");

    /// <summary>
    /// Without persistence a member that does not answer may still hold in memory what no other has: one that leads, or whose link to a hung
    /// primary still stands, has it too; one that was cut off before has less. Alone it is what its spec asked for: a cache, repaired by a restart.
    /// </summary>
    private static bool IsLastCopy(RedisState s) => !s.Peers.IsEmpty && !RedisSettings.Persists(s.FileSettings)
        && !s.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some && (p.Leads || p.Link == Link.Up));

    public override Timing Timing(RoleArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, RoleArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(RoleArgs args) => RedisRole.Followed(args.Role) is { } whom ? $"end and restart member, follow {whom}" : "end and restart member as primary";
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.KillAndStartAsync(args.Role, context.Stop);
}

/// <summary>Writes redis.conf and restarts, as one: a restart that fails takes the file back with it.</summary>
internal sealed class Reconfigure(RedisScope scope, RedisActuator? actuator)
    : RedisTool<ReconfigureArgs>("reconfigure", RedisJson.Default.ReconfigureArgs, scope, actuator, Kind.RestartSetting)
{
    public override IEnumerable<Move<ReconfigureArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null || !state.Answers) yield break;
        if (state.AuthFile != goal.AuthDigest || state.AuthLive != goal.AuthDigest) yield return Move.Wait<ReconfigureArgs>("the password is set first");
        else if (state.DataDir != DataDirState.Ok) yield return Move.Wait<ReconfigureArgs>("the data directory is put right first");
        else if (state.UnitFile != RedisRender.Digest(goal.UnitText) || state.UnitStale == Yes.It || !state.DropIns.IsEmpty) yield return Move.Wait<ReconfigureArgs>("the unit is written first");
        else if (RedisSettings.Live.Any(k => state.Live.GetValueOrDefault(k) != goal.Settings[k])) yield return Move.Wait<ReconfigureArgs>("live settings are set first");
        else if (state.Rewriting) yield return Move.Wait<ReconfigureArgs>("the append-only file is being written", RedisRoles.Soon);
        else if (RedisRoles.ForLive(goal, state) is { } other) yield return Move.Wait<ReconfigureArgs>("its role is put right first: " + other.Why, other.Retry);
        else if (state.Role == RedisRole.Primary && !goal.IsPrimary) yield return Move.Wait<ReconfigureArgs>("it hands over first");
        else yield return Move.Do(new ReconfigureArgs(state.Role, goal.ConfigText), 40, difference.Text);
    }

    public override Footprint Touches(RedisState state, ReconfigureArgs args) =>
        new([.. Starting.Reads(state, args.Role).Remove(RedisFacts.ConfigFile), RedisFacts.PeersKeys, .. ReadsAof(args.Text) ? [RedisFacts.Data] : ImmutableArray<string>.Empty], [RedisFacts.ConfigFile, RedisFacts.RoleFile, .. RedisFacts.OfServer])
        { Turns = [Scope.Turn] };

    public override RedisState Predict(RedisState state, ReconfigureArgs args) =>
        Starting.Up(state with { ConfigFile = Mark(args.Text), ConfigText = args.Text }, args.Role) with
        {
            Keys = ComesBack(state, args) ? state.Keys : Stored.None,
            ComesUpEmpty = args.Role == RedisRole.Primary && (state.Keys == Stored.None || !ComesBack(state, args)),
        };

    public override RedisState During(RedisState state, ReconfigureArgs args) =>
        state.Down() with { RoleFile = args.Role, ConfigFile = Mark(args.Text), ConfigText = args.Text };

    /// <summary>A replica that comes up empty has its keys again from its primary, if that one has any.</summary>
    public override Assessment Assess(RedisState state, ReconfigureArgs args) => state.Keys == Stored.Some && !ComesBack(state, args)
        && (args.Role == RedisRole.Primary || !state.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some))
        ? new(RiskLevel.Dangerous, [RedisSettings.Persists(RedisRender.Parse(args.Text)) ? "files-missing" : "not-persistent"], LosesData: true) : Moderate("restart");

    /// <summary>
    /// Whether the server finds again what it has now. One that stops writes its dump, if it keeps any; one that starts with an append-only file reads
    /// nothing else, so where that file was deleted under it, it comes up empty.
    /// </summary>
    private static bool ComesBack(RedisState state, ReconfigureArgs args) => ReadsAof(args.Text) ? state.Data == Stored.Aof : RedisSettings.Persists(RedisRender.Parse(args.Text));

    private static bool ReadsAof(string text) => RedisRender.Parse(text).GetValueOrDefault("appendonly") == "yes";

    public override Undo Inverse(RedisState before, ReconfigureArgs args)
    {
        if (Assess(before, args).LosesData) return Undo.Impossible("what is only in memory is gone after a restart");
        return before.ConfigText is { } text && before.ConfigFile == Mark(text) && before.RoleFile == before.Role && before.Live.SequenceEqual(RedisRender.Parse(text))
            ? By(new(before.Role, text)) : Undo.Keep("what it ran with was in no file of ours");
    }

    public override Timing Timing(ReconfigureArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, ReconfigureArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(ReconfigureArgs args) => "write redis.conf and restart member";
    public override ValueTask ApplyAsync(ReconfigureArgs args, ToolContext context) => Actuator.ReconfigureAsync(args.Role, args.Text, context.Stop);
}
