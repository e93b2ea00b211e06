using System.Globalization;
using System.Text.Json.Serialization;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <param name="From">What is moved, a name in the data directory.</param>
/// <param name="To">Its name there afterwards.</param>
/// <param name="Loss">What the member goes on without, at most; null = a peer has all of it.</param>
internal sealed record AsideArgs(string From, string To,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Loss = null);

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

    /// <summary>A start as primary goes on with what stands before the damage.</summary>
    public static bool IsCut(RedisState s, string role) => role == RedisRole.Primary && AppendOnly(s) && s.Disk.Aof is { BadAt: not null };

    /// <summary>Why a start waits; null = nothing is damaged.</summary>
    public static string? Wait(RedisState s, RoleChoice choice) => choice.Role is not { } role || Of(s) is not { } damage ? null
        : damage + (IsCut(s, role) ? "; it is cut first" : "; it is set aside first") + (choice.Code.Length == 0 ? "" : ", once that is signed");
}

/// <summary>
/// Moves a damaged file aside, within the data directory: the member then comes up without it, behind a peer that gives the data back. Where nothing tells
/// that one has all of it, and where nobody has it and it cannot be cut, that is signed. The file is kept.
/// </summary>
internal sealed class SetAside(RedisScope scope, RedisActuator? actuator)
    : RedisTool<AsideArgs>("set-aside", RedisJson.Default.AsideArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<AsideArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" } || Damage.Of(state) is not { } damage || RedisRoles.ForStart(goal, state) is not { Role: { } role } choice || Damage.IsCut(state, role)) yield break;
        var from = Damage.AppendOnly(state) ? "appendonlydir" : "dump.rdb";
        var size = Damage.AppendOnly(state) ? state.Disk.Aof!.PartSize : state.Disk.Dump!.Size;
        var to = string.Create(CultureInfo.InvariantCulture, $"{from}.damaged-{size}");
        yield return choice.Code.Length == 0 ? Move.Do(new AsideArgs(from, to), 8, damage + "; its primary has the data")
            : Move.Do(new AsideArgs(from, to, choice.Loss), 8, damage + "; " + choice.Why);
    }

    protected override string? LossOf(AsideArgs args) => args.Loss;
    protected override AsideArgs Losing(AsideArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, AsideArgs args) => PeersGrow(state, RedisRole.Primary);

    public override Footprint Touches(RedisState state, AsideArgs args) =>
        new([RedisFacts.Serving, RedisFacts.UnitActive, RedisFacts.Missing, RedisFacts.Gate(state.RoleFile)], [RedisFacts.Data]);

    public override RedisState Predict(RedisState state, AsideArgs args) => state with
    {
        Disk = args.From == "dump.rdb" ? state.Disk with { Dump = null } : state.Disk with { Aof = null },
        Data = args.From != "dump.rdb" && state.Disk.Dump is { IsEmpty: false } ? Stored.Rdb : Stored.None,
    };

    public override Assessment Assess(RedisState state, AsideArgs args) => args.Loss is null ? Moderate("repair") : new(RiskLevel.Dangerous, ["data-damaged"], LosesData: true);
    public override Undo Inverse(RedisState before, AsideArgs args) => Undo.Keep("a damaged file is not put back; it is kept as " + args.To);
    public override Timing Timing(AsideArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(AsideArgs args) => $"set {args.From} aside as {Scope.Layout.DataDir}/{args.To}"
        + (args.Loss is null ? "" : $", and go on without it; lost: {args.Loss}; the files stay there");
    public override ValueTask ApplyAsync(AsideArgs args, ToolContext context) => Actuator.SetAsideAsync(args.From, args.To, context.Stop);
}

/// <summary>Cuts a damaged append-only file at its damage (redis-check-aof --fix) and starts the server, where nobody has the data otherwise: signed, with a copy first.</summary>
internal sealed class Repair(RedisScope scope, RedisActuator? actuator)
    : RedisTool<RepairArgs>("repair", RedisJson.Default.RepairArgs, scope, actuator, Kind.Down)
{
    public override IEnumerable<Move<RepairArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (goal is not { Adopt: "" } || !Damage.AppendOnly(state) || state.Disk.Aof is not { BadAt: { } bad } aof) yield break;
        if (RedisRoles.ForStart(goal, state) is not { Role: { } role, Code.Length: > 0 } choice || role != RedisRole.Primary || Starting.Missing(goal, state) is not null) yield break;
        // Those that follow it afterwards get what is left in place of their own.
        var loss = string.Create(CultureInfo.InvariantCulture, $"what stands behind byte {bad} of {aof.Part}, {aof.PartSize - bad} bytes") + (choice.Code == "data-missing" ? "" : "; " + choice.Loss);
        yield return Move.Do(new RepairArgs(role, aof.Part, loss, KeepFor(state)), 15, Damage.Of(state)!);
    }

    protected override string? LossOf(RepairArgs args) => args.Loss;
    protected override RepairArgs Losing(RepairArgs args, string loss) => args with { Loss = loss };
    protected override bool Grows(RedisState state, RepairArgs args) => PeersGrow(state, args.Role);

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
