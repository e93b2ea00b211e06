using System.Globalization;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <param name="From">What is moved, a name in the data directory.</param>
/// <param name="To">Its name there afterwards.</param>
internal sealed record AsideArgs(string From, string To);

/// <param name="Role">The role to come up with.</param>
/// <param name="Part">The damaged part of the append-only file.</param>
/// <param name="Loss">What goes, at most.</param>
/// <param name="Keep">Where a copy of the directory is kept first; null = there is no room.</param>
internal sealed record RepairArgs(string Role, string Part, string Loss, string? Keep);

/// <summary>What a damaged file means for the member that has it.</summary>
internal static class Damage
{
    public static bool AppendOnly(RedisState s) => s.FileSettings.GetValueOrDefault("appendonly") == "yes";

    /// <summary>The damage that a start would meet; null = none is seen.</summary>
    public static string? Of(RedisState s) => s.Disk.DamageFor(AppendOnly(s));
}

/// <summary>
/// Moves a damaged file aside, within the data directory, where a peer gives the data back: the member then comes up empty behind it. The file is kept.
/// </summary>
internal sealed class SetAside(RedisScope scope, RedisActuator? actuator)
    : RedisTool<AsideArgs>("set-aside", RedisJson.Default.AsideArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<AsideArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" } || Damage.Of(state) is not { } damage || RedisRoles.ForStart(goal, state) is not { Role: { } role, Code: "" } || role == RedisRole.Primary) yield break;
        var from = Damage.AppendOnly(state) ? "appendonlydir" : "dump.rdb";
        var size = Damage.AppendOnly(state) ? state.Disk.Aof!.PartSize : state.Disk.Dump!.Size;
        yield return Move.Do(new AsideArgs(from, string.Create(CultureInfo.InvariantCulture, $"{from}.damaged-{size}")), 8, damage + "; its primary has the data");
    }

    public override Footprint Touches(RedisState state, AsideArgs args) =>
        new([RedisFacts.Serving, RedisFacts.UnitActive, RedisFacts.Missing, RedisFacts.Gate(state.RoleFile)], [RedisFacts.Data]);

    public override RedisState Predict(RedisState state, AsideArgs args) => state with
    {
        Disk = args.From == "dump.rdb" ? state.Disk with { Dump = null } : state.Disk with { Aof = null },
        Data = args.From != "dump.rdb" && state.Disk.Dump is { IsEmpty: false } ? Stored.Rdb : Stored.None,
    };

    public override Assessment Assess(RedisState state, AsideArgs args) => Moderate("repair");
    public override Undo Inverse(RedisState before, AsideArgs args) => Undo.Keep("a damaged file is not put back; it is kept as " + args.To);
    public override Timing Timing(AsideArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(AsideArgs args) => $"set {args.From} aside as {Scope.Layout.DataDir}/{args.To}";
    public override ValueTask ApplyAsync(AsideArgs args, ToolContext context) => Actuator.SetAsideAsync(args.From, args.To, context.Stop);
}

/// <summary>Cuts a damaged append-only file at its damage (redis-check-aof --fix) and starts the server, where nobody has the data otherwise: signed, with a copy first.</summary>
internal sealed class Repair(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RepairArgs>("repair", RedisJson.Default.RepairArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<RepairArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" } || !Damage.AppendOnly(state) || state.Disk.Aof is not { BadAt: { } bad } aof) yield break;
        if (RedisRoles.ForStart(goal, state) is not { Role: { } role, Code.Length: > 0 } || role != RedisRole.Primary || Starting.Missing(goal, state) is not null) yield break;
        var loss = string.Create(CultureInfo.InvariantCulture, $"what stands behind byte {bad} of {aof.Part}, {aof.PartSize - bad} bytes");
        yield return Move.Do(new RepairArgs(role, aof.Part, loss, KeepFor(state)), 15, Damage.Of(state)!);
    }

    public override Footprint Touches(RedisState state, RepairArgs args) =>
        new([.. Starting.Reads(state, args.Role), RedisFacts.Missing, RedisFacts.Gate(args.Role)], [RedisFacts.RoleFile, .. RedisFacts.OfServer]);

    public override RedisState Predict(RedisState state, RepairArgs args) => Starting.Up(state with { Disk = state.Disk with { Aof = state.Disk.Aof is { } aof ? aof with { Damage = "", BadAt = null } : null } }, args.Role);
    public override RedisState During(RedisState state, RepairArgs args) => state.Down() with { RoleFile = args.Role };
    public override Assessment Assess(RedisState state, RepairArgs args) => new(RiskLevel.Dangerous, ["data-damaged"], LosesData: true);
    public override Undo Inverse(RedisState before, RepairArgs args) => Undo.Impossible("what is cut off is gone" + (args.Keep is null ? "" : "; the copy stays in " + args.Keep));
    public override Timing Timing(RepairArgs args) => Starting.Timing;
    public override Status? Observe(RedisState observed, RepairArgs args) => Starting.Observe(observed, args.Role);
    public override string Describe(RepairArgs args) => $"cut {args.Part} at its damage (redis-check-aof) and start member as primary" + Lost(args.Loss, args.Keep);
    public override ValueTask ApplyAsync(RepairArgs args, ToolContext context) => Actuator.RepairAsync(args.Role, args.Keep, context.Stop);
}
