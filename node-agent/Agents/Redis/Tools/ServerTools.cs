using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.NodeAgent.Agents.Redis.Data;
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

    /// <summary>Why a start with this role would lose data, as the gate judges it; null = it would not.</summary>
    public static GateAnswer? Loses(RedisState s, string role) => s.Answers ? null
        : RedisCopies.Judge(s, role) is { Gate: not Gate.Up } answer && !(answer.Gate == Gate.Follow && answer.Role == role) ? answer : null;
}

/// <summary>Starts a member that is down, with the role that its data and its peers give it.</summary>
internal sealed class Start(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("start", RedisJson.Default.RoleArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" }) yield break;
        var choice = RedisRoles.ForStart(goal, state);
        if (Starting.Missing(goal, state) is { } missing) yield return Move.Wait<RoleArgs>(missing);
        else if (Damage.Wait(state, choice) is { } damaged) yield return Move.Wait<RoleArgs>(damaged);
        else if (state.Port == Port.Taken)
            yield return Move.Wait<RoleArgs>(string.Create(CultureInfo.InvariantCulture, $"port {goal.Self.Port} is taken by another process: end it, or change spec.port (ss -ltnp sport = :{goal.Self.Port})"), RedisRoles.Soon);
        else if (choice.Role is { } role) yield return Move.Do(choice.Code.Length == 0 ? new RoleArgs(role) : new RoleArgs(role, choice.Loss, KeepFor(state)), 20, choice.Why);
        else yield return Move.Wait<RoleArgs>(choice.Why, choice.Retry);
    }

    protected override string? LossOf(RoleArgs args) => args.Loss;
    protected override RoleArgs Losing(RoleArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, RoleArgs args) => PeersGrow(state, args.Role);

    public override Footprint Touches(RedisState state, RoleArgs args) =>
        new([.. Starting.Reads(state, args.Role), RedisFacts.Gate(args.Role)], [RedisFacts.RoleFile, .. RedisFacts.OfServer]) { ActsBlind = args.Loss is not null };

    public override RedisState Predict(RedisState state, RoleArgs args) => Starting.Up(state, args.Role);
    public override RedisState During(RedisState state, RoleArgs args) => state.Down() with { RoleFile = args.Role };

    public override Assessment Assess(RedisState state, RoleArgs args) => args.Loss is not null || Starting.Loses(state, args.Role) is not null
        ? new(RiskLevel.Dangerous, [Starting.Loses(state, args.Role) is { Code.Length: > 0 } answer ? answer.Code : "replaces-data"], LosesData: true) : Moderate("start");

    public override Undo Inverse(RedisState before, RoleArgs args) => Assess(before, args).LosesData
        ? Undo.Impossible("what is not taken along is gone" + (args.Keep is null ? "" : "; the copy stays in " + args.Keep)) : Undo.Keep("it was down");

    public override Timing Timing(RoleArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, RoleArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(RoleArgs args) =>
        (RedisRole.Followed(args.Role) is { } whom ? $"start member, follow {whom}" : "start member as primary") + Lost(args.Loss, args.Keep);
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.StartAsync(args.Role, args.Loss is not null, args.Keep, context.Stop);
}

/// <summary>
/// Lets a server save whose last save failed, once there is room for it: until one succeeds it refuses every write (stop-writes-on-bgsave-error), and its save rules may not try again for an hour.
/// </summary>
internal sealed class Save(RedisScope scope, RedisActuator? actuator)
    : RedisTool<PathArgs>("save", RedisJson.Default.PathArgs, scope, actuator, Kind.Writes)
{
    public override IEnumerable<Move<PathArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is { Adopt: "" } && difference.Subject.Length == 0 && state is { Answers: true, Writes: Writes.Refused, HasRoomToSave: true })
            yield return Move.Do(new PathArgs(Scope.Layout.DataDir + "/dump.rdb"), 20, difference.Text);
    }

    public override Footprint Touches(RedisState state, PathArgs args) => new([RedisFacts.Serving], [RedisFacts.Writes, .. state.Data == Stored.None ? [RedisFacts.Data] : ImmutableArray<string>.Empty]);

    public override RedisState Predict(RedisState state, PathArgs args) => state with
    {
        Writes = Writes.Taken,
        HasRoomToSave = false,
        Room = "",
        Data = state.Data == Stored.None ? Stored.Rdb : state.Data,
    };

    public override RedisState During(RedisState state, PathArgs args) => state;
    public override Assessment Assess(RedisState state, PathArgs args) => Moderate("save");
    public override Undo Inverse(RedisState before, PathArgs args) => Undo.Keep("what it holds is on its disk too");
    public override Timing Timing(PathArgs args) => new(TimeSpan.FromHours(2), TimeSpan.FromHours(2), TimeSpan.FromSeconds(1));
    public override string Describe(PathArgs args) => "save to " + args.Path;
    public override ValueTask ApplyAsync(PathArgs args, ToolContext context) => Actuator.SaveAgainAsync(context.Stop);
}

/// <summary>
/// Ends a server that does not answer, politely first, and starts it again. Its purpose is to act without sight; what its memory may hold and nothing
/// else does makes it a step that is signed.
/// </summary>
internal sealed class Restart(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("restart", RedisJson.Default.RoleArgs, scope, actuator, Kind.Mute)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        var choice = RedisRoles.ForStart(goal, state);
        var loss = Loss(state);
        if (Starting.Missing(goal, state) is { } missing) yield return Move.Wait<RoleArgs>(missing);
        else if (choice.Role is not { } role) yield return Move.Wait<RoleArgs>(choice.Why, choice.Retry);
        else if (loss is null && choice.Code.Length == 0) yield return Move.Do(new RoleArgs(role), 30, difference.Text);
        else yield return Move.Do(new RoleArgs(role, string.Join("; ", new[] { loss, choice.Code.Length == 0 ? null : choice.Loss }.OfType<string>()), KeepFor(state)), 30, difference.Text);
    }

    protected override string? LossOf(RoleArgs args) => args.Loss;
    protected override RoleArgs Losing(RoleArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, RoleArgs args) => PeersGrow(state, args.Role);

    public override Footprint Touches(RedisState state, RoleArgs args) =>
        new([.. Starting.Reads(state, args.Role), RedisFacts.Gate(args.Role)], [RedisFacts.RoleFile, .. RedisFacts.OfServer]) { ActsBlind = true };

    public override RedisState Predict(RedisState state, RoleArgs args) => Starting.Up(state, args.Role);
    public override RedisState During(RedisState state, RoleArgs args) => state.Down() with { RoleFile = args.Role };

    public override Assessment Assess(RedisState state, RoleArgs args) => Starting.Loses(state, args.Role) is { } answer
        ? new(RiskLevel.Dangerous, [answer.Code.Length > 0 ? answer.Code : "replaces-data"], LosesData: true)
        : args.Loss is not null || Loss(state) is not null ? new(RiskLevel.Dangerous, ["last-copy"], LosesData: true) : Moderate("restart");

    public override Undo Inverse(RedisState before, RoleArgs args) => Assess(before, args).LosesData
        ? Undo.Impossible("what only this member had in memory is gone" + (args.Keep is null ? "" : "; a copy of its files stays in " + args.Keep)) : Undo.Keep("it did not answer");

    /// <summary>
    /// What its memory may hold and neither its files nor a peer has; null = nothing. An append-only file has each write before it is acknowledged; a
    /// replica whose link stood has what it was sent, and what a replica itself holds came from its primary. That it was empty when it was last noted proves nothing.
    /// </summary>
    private static string? Loss(RedisState s)
    {
        var settings = s.FileSettings;
        if (Kept.Of(settings) == Kept.AppendOnly && s.Disk.Aof is { Damage: "" } && s.Notes?.Own?.Appending != false) return null;
        // What a primary took after it was noted last may have reached nobody, whatever its replicas have of what was noted.
        if (s.Peers.Values.Any(p => p.Answers && ((p.Keys == Stored.Some && (p.Leads || p.Link == Link.Up) && s.Notes?.Own is { } own && own.Role != RedisRole.Primary && p.Data?.Position.Covers(own.Position) == true)
            || (s.Notes is { Own: { } copy } notes && notes.CopyOf == p.Address && p.Leads && p.Data?.Id == copy.Id)))) return null;
        if (s.Notes?.Own is not { } noted) return "all that is only in its memory";
        var (what, keys) = Kept.Of(settings) == Kept.Snapshots ? ("what it took since its last good save", noted.Changes) : ("all that is only in its memory", noted.Keys);
        return $"{what}, {AtMost.Keys(keys)} when that was noted, {AtMost.Time(noted.At)}, and what it took since";
    }

    public override Timing Timing(RoleArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, RoleArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(RoleArgs args) =>
        (RedisRole.Followed(args.Role) is { } whom ? $"end and restart member, follow {whom}" : "end and restart member as primary") + Lost(args.Loss, args.Keep);
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.EndAndStartAsync(args.Role, Loss, args.Loss is not null, args.Keep, context.Stop);
}

