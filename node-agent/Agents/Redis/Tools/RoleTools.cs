using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>Writes the role that the server has into role.conf, so that a restart by systemd keeps it.</summary>
internal sealed class WriteRole(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("write-role", RedisJson.Default.RoleArgs, scope, actuator, Kind.RoleFile)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null) yield break;
        if (state.Package != RedisPackage.Installed) yield return Move.Wait<RoleArgs>("the package brings the group that reads it");
        else if (state.Role != RedisRole.Primary && RedisRole.Target(state.Role) is null) yield return Move.Wait<RoleArgs>($"{state.Role} is no role for a file");
        else yield return Move.Do(new RoleArgs(state.Role), 3, difference.Text);
    }

    public override Footprint Touches(RedisState state, RoleArgs args) => new([RedisFacts.Role], [RedisFacts.RoleFile]);
    public override RedisState Predict(RedisState state, RoleArgs args) => state with { RoleFile = args.Role };
    public override Assessment Assess(RedisState state, RoleArgs args) => Assessment.Safe;
    public override Undo Inverse(RedisState before, RoleArgs args) => Undo.Keep("role.conf says what is so");
    public override Timing Timing(RoleArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(RoleArgs args) => "record the role " + args.Role;
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.WriteRole(args.Role);
}

/// <summary>Makes a running member follow another. What only this member may have is replaced by that: such a step is signed, and keeps a copy first.</summary>
internal sealed class Follow(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("follow", RedisJson.Default.RoleArgs, scope, actuator, Kind.Role)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null || RedisRoles.ForLive(goal, state) is not { Role: { } role } choice || role == RedisRole.Primary) yield break;
        if (state.AuthFile != goal.AuthDigest || state.AuthLive != goal.AuthDigest) yield return Move.Wait<RoleArgs>("the password is set first");
        else if (Lead(state, role) is { Role: var whom } && whom != RedisRole.Primary) yield return Move.Wait<RoleArgs>($"{RedisRole.Followed(role)} is no primary", RedisRoles.Soon);
        else yield return Move.Do(choice.Code.Length == 0 ? new RoleArgs(role) : new RoleArgs(role, choice.Loss, KeepFor(state)), 10, choice.WhyHolds);
    }

    protected override string? LossOf(RoleArgs args) => args.Loss;
    protected override RoleArgs Losing(RoleArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, RoleArgs args) => RedisCopies.IsWritten(state);

    public override Footprint Touches(RedisState state, RoleArgs args) =>
        new([RedisFacts.Serving, RedisFacts.PeersPrimary, .. Compared(state, args.Role)], [RedisFacts.Role, RedisFacts.RoleFile, RedisFacts.Link, RedisFacts.Fork]);

    public override RedisState Predict(RedisState state, RoleArgs args) => state with
    {
        Role = args.Role,
        RoleFile = args.Role,
        Link = Lead(state, args.Role) is { Leads: true } ? Link.Up : Link.Down,
        Keys = Lead(state, args.Role) is { Leads: true } lead ? lead.Keys : state.Keys,
        Own = Lead(state, args.Role) is { Leads: true } source ? source.Data : state.Own,
        Fork = FactValue.Absent,
    };

    public override RedisState During(RedisState state, RoleArgs args) => Predict(state, args) with { Link = Link.Syncing };

    /// <summary>Judged anew in the state of the moment, whatever the arguments say: they can only add.</summary>
    public override Assessment Assess(RedisState state, RoleArgs args) => Loses(state, args)
        ? new(RiskLevel.Dangerous, [state.Leads ? "two-primaries" : "replaces-data"], LosesData: true) : Moderate("role-change");

    public override Undo Inverse(RedisState before, RoleArgs args) => Loses(before, args)
        ? Undo.Impossible("what only this member has is replaced" + (args.Keep is null ? "" : "; the copy stays in " + args.Keep))
        : Undo.Keep("what it followed before was not the primary");

    public override Timing Timing(RoleArgs args) => Starting.Timing;

    public override Status? Observe(RedisState observed, RoleArgs args) => observed.Role == args.Role && observed.Link == Link.Syncing
        ? new(Phase.Running, observed.Progress, "syncs with its primary") : null;

    public override string Describe(RoleArgs args) => "follow " + RedisRole.Followed(args.Role) + Lost(args.Loss, args.Keep);
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.FollowAsync(args.Role, args.Loss, args.Keep, now => Against(now, args), context.Stop);

    /// <summary>The facts that say what is replaced by what.</summary>
    internal static ImmutableArray<string> Compared(RedisState state, string role)
    {
        foreach (var (ordinal, peer) in state.Peers)
            if (RedisRole.Follows(peer.Address) == role) return [RedisFacts.Peer(ordinal, "takes"), RedisFacts.Peer(ordinal, "role")];
        return [];
    }

    private static RedisPeerState? Lead(RedisState state, string role) => state.Peers.Values.FirstOrDefault(p => RedisRole.Follows(p.Address) == role);

    /// <summary>What stands against it right before it is done; null = nothing.</summary>
    private static string? Against(RedisState now, RoleArgs args) => Lead(now, args.Role) is not { Leads: true } lead ? $"{RedisRole.Followed(args.Role)} is not seen to be primary any more"
        : args.Loss is null && Loses(now, args) ? $"{RedisRole.Followed(args.Role)} is not seen any more to hold all that is here"
        : args.Loss is not null && now.Keys == Stored.Some && lead.Keys == Stored.None ? $"{RedisRole.Followed(args.Role)} holds no key any more" : null;

    private static bool Loses(RedisState state, RoleArgs args) => args.Loss is not null || Lead(state, args.Role) is not { } lead || !RedisCopies.Takes(state, lead);
}

/// <summary>Makes a replica primary where nobody is.</summary>
internal sealed class Promote(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RoleArgs>("promote", RedisJson.Default.RoleArgs, scope, actuator, Kind.Role, Kind.Primary)
{
    public override IEnumerable<Move<RoleArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (difference.Kind == Kind.Primary) yield return Move.Wait<RoleArgs>(difference.Text, difference.ClearsAfter);
        if (goal is null || difference.Kind != Kind.Role || RedisRoles.ForLive(goal, state) is not { Role: RedisRole.Primary } choice) yield break;
        yield return Move.Do(choice.Code.Length == 0 ? new RoleArgs(RedisRole.Primary) : new RoleArgs(RedisRole.Primary, choice.Loss), 10, choice.WhyHolds);
    }

    protected override string? LossOf(RoleArgs args) => args.Loss;
    protected override RoleArgs Losing(RoleArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, RoleArgs args) => PeersGrow(state, args.Role);

    public override Footprint Touches(RedisState state, RoleArgs args) =>
        new([RedisFacts.Serving, RedisFacts.PeersPrimary, RedisFacts.PeersSeen, .. state.Peers.Keys.Select(n => RedisFacts.Peer(n, "copy"))], [RedisFacts.Role, RedisFacts.RoleFile, RedisFacts.Link])
        { ActsBlind = args.Loss is not null };

    public override RedisState Predict(RedisState state, RoleArgs args) => state with
    {
        Role = args.Role,
        RoleFile = args.Role,
        Link = FactValue.Absent,
        ComesUpEmpty = state.Keys == Stored.None,
    };

    public override RedisState During(RedisState state, RoleArgs args) => state with { RoleFile = args.Role };

    /// <summary>Those that follow it afterwards, and theirs, get its data in place of their own.</summary>
    public override Assessment Assess(RedisState state, RoleArgs args) => args.Loss is not null || RedisCopies.Beyond(state).Any()
        ? new(RiskLevel.Dangerous, [RedisCopies.Beyond(state).Any() ? "unrelated-data" : "unseen-data"], LosesData: true) : Moderate("role-change");

    public override Undo Inverse(RedisState before, RoleArgs args) => Assess(before, args).LosesData
        ? Undo.Impossible("what the others hold is replaced as soon as they follow") : Undo.Keep("nobody else was primary");

    public override Timing Timing(RoleArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(RoleArgs args) => "become primary" + (args.Loss is null ? "" : $"; may be lost: {args.Loss}; no copy is kept of what lies on other hosts");
    public override ValueTask ApplyAsync(RoleArgs args, ToolContext context) => Actuator.PromoteAsync(context.Stop);
}

/// <summary>
/// Hands the role of the primary to a replica that is in sync: the server pauses writes until the replica has them all (FAILOVER, Redis 6.2).
/// A replica that does not get there in time leaves everything as it was.
/// </summary>
internal sealed class Handover(RedisScope scope, RedisActuator? actuator)
    : RedisTool<HandoverArgs>("handover", RedisJson.Default.HandoverArgs, scope, actuator, Kind.Handover)
{
    /// <summary>How long writes may be paused, milliseconds.</summary>
    internal const int TimeoutMs = 10_000;

    public override IEnumerable<Move<HandoverArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is null || !state.Peers.TryGetValue(goal.PrimaryOrdinal, out var peer)) yield break;
        var who = $"member {goal.PrimaryOrdinal}";
        var stay = $"; or this one stays primary with spec.primary: {goal.Ordinal}";
        if (peer.IsStruck) yield return Move.Wait<HandoverArgs>($"the host of {who} was struck off; it is made anew where there is room{stay}", RedisRoles.Later);
        else if (!peer.Seen) yield return Move.Wait<HandoverArgs>($"{who} does not answer ({Serving.Said(peer.Serving)})" + (peer.IsLong ? stay : ""), RedisRoles.Later);
        else if (!peer.Answers) yield return Move.Wait<HandoverArgs>($"{who} is down; its host starts it" + (peer.IsLong ? stay : ""), RedisRoles.Later);
        else if (peer.Role != RedisRole.Follows(goal.Self.Address)) yield return Move.Wait<HandoverArgs>($"{who} does not follow this member yet", RedisRoles.Soon);
        else if (peer.Link != Link.Up) yield return Move.Wait<HandoverArgs>($"{who} is {peer.Link}", RedisRoles.Soon);
        else if (state.AuthFile != goal.AuthDigest || state.AuthLive != goal.AuthDigest) yield return Move.Wait<HandoverArgs>("the password is set first");
        else yield return Move.Do(new HandoverArgs(goal.PrimaryOrdinal, peer.Address), 50, difference.Text);
    }

    public override Footprint Touches(RedisState state, HandoverArgs args) => new([RedisFacts.Serving, RedisFacts.Peer(args.Ordinal, "serving")],
        [RedisFacts.Role, RedisFacts.RoleFile, RedisFacts.Link, RedisFacts.Peer(args.Ordinal, "role"), RedisFacts.Peer(args.Ordinal, "link"), RedisFacts.PeersPrimary])
    { Turns = [Scope.Turn] };

    public override RedisState Predict(RedisState state, HandoverArgs args) => state with
    {
        Role = RedisRole.Follows(args.To),
        RoleFile = RedisRole.Follows(args.To),
        Link = Link.Up,
        Peers = state.Peers.SetItem(args.Ordinal, state.Peers[args.Ordinal] with { Role = RedisRole.Primary, Link = FactValue.Absent }),
    };

    /// <summary>role.conf is turned first: a primary that dies within the handover must not come back as primary beside the new one.</summary>
    public override RedisState During(RedisState state, HandoverArgs args) => state with { RoleFile = RedisRole.Follows(args.To) };

    public override Assessment Assess(RedisState state, HandoverArgs args) => Moderate("role-change");
    public override Undo Inverse(RedisState before, HandoverArgs args) => Undo.Keep("the new primary has every write; hand back with spec.primary");
    public override Timing Timing(HandoverArgs args) => Within(TimeSpan.FromMinutes(1));

    public override Status? Observe(RedisState observed, HandoverArgs args) => observed.Role == RedisRole.Follows(args.To) && observed.Link == Link.Syncing
        ? new(Phase.Running, observed.Progress, "syncs with the new primary") : null;

    public override string Describe(HandoverArgs args) => $"hand the role of the primary to member {args.Ordinal} ({args.To})";
    public override ValueTask ApplyAsync(HandoverArgs args, ToolContext context) => Actuator.HandOverAsync(args.To, TimeoutMs, context.Stop);
}

/// <summary>Values of the fork fact besides absent.</summary>
internal static class RedisFork
{
    public const string Clean = "clean", Written = "written";
}
