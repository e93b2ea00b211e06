using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <summary>
/// Writes redis.conf and restarts, as one: a restart that fails takes the file back with it. A primary whose data would not come back hands its role to a
/// replica that is in sync first, in the same turn, and comes up as a replica; the wanted primary has the role again afterwards.
/// </summary>
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
        else if (state.Role == RedisRole.Primary && !goal.IsPrimary && !IsGone(state.Peers.GetValueOrDefault(goal.PrimaryOrdinal))) yield return Move.Wait<ReconfigureArgs>("it hands over first");
        else if (Args(goal, state) is { Loss: not null } && state.Leads && Away(state) is { Value: not null } away)
            yield return Move.Wait<ReconfigureArgs>($"member {away.Key} does not answer ({Serving.Said(away.Value.Serving)}), and what is only here would go with a restart: the role goes there first, or that is asked to be signed when it is away for a minute", RedisRoles.Later);
        else yield return Move.Do(Args(goal, state), 40, difference.Text);
    }

    protected override string? LossOf(ReconfigureArgs args) => args.Loss;
    protected override ReconfigureArgs Losing(ReconfigureArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, ReconfigureArgs args) => RedisCopies.IsWritten(state);

    /// <summary>Nobody waits for it any more: it is away for a minute, or its host was struck off.</summary>
    private static bool IsGone(RedisPeerState? peer) => peer is { Answers: false } && (peer.IsLong || peer.IsStruck);

    /// <summary>Who may come back and take the role before what only this member has goes.</summary>
    private static KeyValuePair<int, RedisPeerState> Away(RedisState s) => s.Peers.FirstOrDefault(p => !p.Value.Answers && !IsGone(p.Value));

    private ReconfigureArgs Args(RedisGoal goal, RedisState state)
    {
        var args = new ReconfigureArgs(state.Role, goal.ConfigText);
        if (Loss(state, args) is null) return args;
        if (state.Leads && Heir(goal, state) is { } heir) return args with { Role = RedisRole.Follows(heir), To = heir };
        return args with { Loss = Loss(state, args), Keep = KeepFor(state) };
    }

    /// <summary>A replica of this primary that has all it has.</summary>
    private static string? Heir(RedisGoal goal, RedisState s) => s.Peers.Where(p => p.Value.Answers && p.Value.Role == RedisRole.Follows(goal.Self.Address) && p.Value.Link == Link.Up)
        .OrderByDescending(p => p.Value.Data?.Offset ?? 0).ThenBy(p => p.Key).Select(p => p.Value.Address).FirstOrDefault();

    public override Footprint Touches(RedisState state, ReconfigureArgs args)
    {
        ImmutableArray<string> reads = [.. Starting.Reads(state, args.Role).Remove(RedisFacts.ConfigFile), RedisFacts.PeersKeys, RedisFacts.Missing, .. ReadsAof(args.Text) ? [RedisFacts.Data] : ImmutableArray<string>.Empty];
        ImmutableArray<string> writes = [RedisFacts.ConfigFile, RedisFacts.RoleFile, .. RedisFacts.OfServer];
        if (Heir(state, args) is not { } heir) return new(reads, writes) { Turns = [Scope.Turn] };
        return new([.. reads.Remove(RedisFacts.PeersPrimary), RedisFacts.Peer(heir, "serving")],
            [.. writes, RedisFacts.Peer(heir, "role"), RedisFacts.Peer(heir, "link"), RedisFacts.PeersPrimary])
        { Turns = [Scope.Turn] };
    }

    private static int? Heir(RedisState s, ReconfigureArgs args) => args.To is null ? null
        : s.Peers.Where(p => p.Value.Address == args.To).Select(p => (int?)p.Key).FirstOrDefault();

    public override RedisState Predict(RedisState state, ReconfigureArgs args)
    {
        var after = state with { ConfigFile = Mark(args.Text), ConfigText = args.Text };
        if (Heir(state, args) is { } heir) after = after with { Peers = state.Peers.SetItem(heir, state.Peers[heir] with { Role = RedisRole.Primary, Link = FactValue.Absent }) };
        var keeps = args.To is not null || Loss(state, args) is null;
        return Starting.Up(after, args.Role) with
        {
            Keys = keeps ? state.Keys : Stored.None,
            Own = keeps ? state.Own : null,
            ComesUpEmpty = args.Role == RedisRole.Primary && (state.Keys == Stored.None || !keeps),
        };
    }

    public override RedisState During(RedisState state, ReconfigureArgs args) =>
        (Heir(state, args) is { } heir ? state with { Peers = state.Peers.SetItem(heir, state.Peers[heir] with { Role = RedisRole.Primary, Link = FactValue.Absent }) } : state)
        .Down() with
        { RoleFile = args.Role, ConfigFile = Mark(args.Text), ConfigText = args.Text };

    public override Assessment Assess(RedisState state, ReconfigureArgs args)
    {
        if (args.To is not null) return Moderate("restart", "role-change");
        if (args.Loss is null && Loss(state, args) is null) return Moderate("restart");
        var why = state.Writes == Writes.Refused ? "cannot-save" : RedisSettings.Persists(RedisRender.Parse(args.Text)) ? "files-missing" : "not-persistent";
        return new(RiskLevel.Dangerous, [why], LosesData: true);
    }

    /// <summary>
    /// What the server would not find again; null = it finds all. One that stops writes its dump, if it keeps any and can write; one that starts with an
    /// append-only file reads nothing else. A replica has it again from its primary.
    /// </summary>
    private static string? Loss(RedisState s, ReconfigureArgs args)
    {
        if (s.Keys != Stored.Some) return null;
        if (args.Role != RedisRole.Primary && s.Peers.Values.Any(p => p.Answers && RedisRole.Follows(p.Address) == args.Role && RedisCopies.Takes(s, p))) return null;
        var keys = s.Own is { } own ? AtMost.Keys(own.Keys) : "all keys";
        if (ReadsAof(args.Text))
            return s.Data != Stored.Aof || s.Disk.DamageFor(appendOnly: true) is not null ? $"what is only in memory, {keys}: its append-only file is not there as a whole"
                : s.Writes == Writes.Refused ? "what it could not write to its append-only file" : null;
        if (!RedisSettings.Persists(RedisRender.Parse(args.Text))) return $"all that is only in memory, {keys}";
        return s.Writes == Writes.Refused ? $"what it could not save, {(s.Own is { } taken ? AtMost.Keys(Math.Max(taken.Changes, 1)) : keys)}" : null;
    }

    private static bool ReadsAof(string text) => RedisRender.Parse(text).GetValueOrDefault("appendonly") == "yes";

    public override Undo Inverse(RedisState before, ReconfigureArgs args)
    {
        if (Assess(before, args).LosesData) return Undo.Impossible("what is only in memory is gone after a restart" + (args.Keep is null ? "" : "; the copy stays in " + args.Keep));
        if (args.To is not null) return Undo.Keep("the new primary has every write; the role goes back by itself");
        return before.ConfigText is { } text && before.ConfigFile == Mark(text) && before.RoleFile == before.Role && before.Live.SequenceEqual(RedisRender.Parse(text))
            ? By(new(before.Role, text)) : Undo.Keep("what it ran with was in no file of ours");
    }

    public override Timing Timing(ReconfigureArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, ReconfigureArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(ReconfigureArgs args) => (args.To is null ? "" : $"hand the role of the primary to {args.To}, then ") + "write redis.conf and restart member" + Lost(args.Loss, args.Keep);
    public override ValueTask ApplyAsync(ReconfigureArgs args, ToolContext context) => Actuator.ReconfigureAsync(args, context.Stop);
}
