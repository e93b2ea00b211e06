using System.Collections.Immutable;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <param name="Package">Debian package name.</param>
internal sealed record PackageArgs(string Package);

/// <param name="To">"ok" or "-".</param>
/// <param name="Loss">What was in the directory that is made anew, at most; null = nothing.</param>
internal sealed record DirArgs(string To, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Loss = null);

/// <param name="Text">The whole file; null = none.</param>
internal sealed record TextArgs(string? Text);

/// <param name="Digest">Of a password that is in auth.conf, auth.conf.previous or the goal; "-" = no file.</param>
internal sealed record AuthArgs(string Digest);

/// <param name="Path">Of the drop-in.</param>
/// <param name="Text">Null = none.</param>
internal sealed record DropInArgs(string Path, string? Text);

/// <param name="On">Whether a boot starts it.</param>
internal sealed record EnableArgs(bool On);

/// <param name="Role">"primary" or "follows:host:port".</param>
/// <param name="Loss">What may be lost by it, at most; null = nothing. It is signed with the step.</param>
/// <param name="Keep">Where a copy of this member's data is kept first; null = none is.</param>
internal sealed record RoleArgs(string Role,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Loss = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Keep = null);

/// <param name="Role">The role to come up with.</param>
/// <param name="Text">redis.conf.</param>
/// <param name="To">"host:port" of the replica that takes the role of the primary first; null = nobody does.</param>
/// <param name="Loss">What may be lost by it, at most; null = nothing.</param>
/// <param name="Keep">Where a copy of this member's data is kept first; null = none is.</param>
internal sealed record ReconfigureArgs(string Role, string Text,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? To = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Loss = null,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] string? Keep = null);

/// <param name="Key">Setting.</param>
/// <param name="Value">As CONFIG GET shows it.</param>
internal sealed record SetArgs(string Key, string Value);

/// <param name="Ordinal">Who becomes primary.</param>
/// <param name="To">host:port.</param>
internal sealed record HandoverArgs(int Ordinal, string To);

/// <param name="Path">Of the backup or directory.</param>
internal sealed record PathArgs(string Path);

[JsonSerializable(typeof(PackageArgs)), JsonSerializable(typeof(DirArgs)), JsonSerializable(typeof(TextArgs)), JsonSerializable(typeof(AuthArgs)),
 JsonSerializable(typeof(DropInArgs)), JsonSerializable(typeof(EnableArgs)), JsonSerializable(typeof(RoleArgs)), JsonSerializable(typeof(ReconfigureArgs)),
 JsonSerializable(typeof(SetArgs)), JsonSerializable(typeof(HandoverArgs)), JsonSerializable(typeof(PathArgs)), JsonSerializable(typeof(UnitArgs)), JsonSerializable(typeof(AsideArgs)), JsonSerializable(typeof(RepairArgs))]
internal sealed partial class RedisJson : JsonSerializerContext;

/// <summary>A tool of a Redis member. The actuator is null where nothing is applied: on a coordinator, in an audit, in tests of planning.</summary>
internal abstract class RedisTool<TArgs>(string name, JsonTypeInfo<TArgs> json, RedisScope scope, RedisActuator? actuator, params ImmutableArray<string> kinds)
    : Tool<RedisGoal, RedisState, TArgs>(name, 1, json, kinds)
    where TArgs : class
{
    protected static readonly TimeSpan Shortly = TimeSpan.FromMilliseconds(200);

    protected RedisScope Scope => scope;

    protected RedisActuator Actuator => actuator ?? throw new InvalidOperationException($"{Name} was made to plan, not to act.");

    protected static Timing Within(TimeSpan timeout) => new(timeout, timeout, Shortly);

    protected static Assessment Moderate(params ImmutableArray<string> why) => Assessment.Moderate(why);

    /// <summary>What a step that loses data says of it, and of the copy that is kept first.</summary>
    protected static string Lost(string? loss, string? keep) => loss is null ? ""
        : $"; lost: {loss}; " + (keep is null ? "no copy is kept first" : "this member's data is copied first, to " + keep);

    /// <summary>Where a copy is kept before data is replaced, if there is room.</summary>
    protected string? KeepFor(RedisState state) => state.HasRoom && (state.Answers ? state.Keys == Stored.Some : state.Data != Stored.None)
        ? Scope.Layout.CopyBefore(Scope.ResourceUid, state.Own?.Id ?? state.Notes?.Own?.Id ?? "", state.Answers ? ".rdb" : ".tar") : null;

    /// <summary>What the call may lose, as it is signed; null = nothing, or the call has no such text.</summary>
    protected virtual string? LossOf(TArgs args) => null;

    /// <summary>The same call with another text of what it may lose.</summary>
    protected virtual TArgs Losing(TArgs args, string loss) => args;

    /// <summary>Whether what it may lose is being written to, so that a figure of this moment would be too low when a signature is there.</summary>
    protected virtual bool Grows(RedisState state, TArgs args) => false;

    public sealed override string? Outgrown(TArgs shown, TArgs now) => LossOf(shown) is { } signed && LossOf(now) is { } asked && Losing(shown, asked).Equals(now)
        ? LossText.Outgrown(signed, asked) : base.Outgrown(shown, now);

    public sealed override TArgs ToShow(RedisState state, TArgs args) => LossOf(args) is { } loss && Grows(state, args) ? Losing(args, LossText.WithRoom(loss)) : args;

    /// <summary>Of a step that makes this member the primary: what another member that answers holds goes on growing until that one follows.</summary>
    protected static bool PeersGrow(RedisState state, string role) => role == RedisRole.Primary && state.Peers.Any(p => p.Value.Answers && RedisCopies.IsWritten(state, p.Key, p.Value));

    protected static string Mark(string? text) => text is null ? FactValue.Absent : RedisRender.Digest(text);
}
