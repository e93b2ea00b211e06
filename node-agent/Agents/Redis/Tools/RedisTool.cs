using System.Collections.Immutable;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <param name="Package">Debian package name.</param>
internal sealed record PackageArgs(string Package);

/// <param name="To">"ok" or "-".</param>
internal sealed record DirArgs(string To);

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
internal sealed record RoleArgs(string Role);

/// <param name="Role">The role to come up with.</param>
/// <param name="Text">redis.conf.</param>
internal sealed record ReconfigureArgs(string Role, string Text);

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
 JsonSerializable(typeof(SetArgs)), JsonSerializable(typeof(HandoverArgs)), JsonSerializable(typeof(PathArgs)), JsonSerializable(typeof(UnitArgs))]
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

    protected static string Mark(string? text) => text is null ? FactValue.Absent : RedisRender.Digest(text);
}
