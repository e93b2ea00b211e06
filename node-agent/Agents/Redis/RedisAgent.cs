using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// The node half of Redis: one member converges itself and sees its peers over the network. Nobody is asked who is primary but the servers
/// themselves, and a member changes no other member, except that a primary hands its role over by Redis' own protocol.
/// </summary>
/// <param name="scope">The member.</param>
/// <param name="actuator">Carries changes out; null where none is.</param>
internal sealed class RedisAgent(RedisScope scope, RedisActuator? actuator = null) : Agent<RedisGoal, RedisState>
{
    public override string Name => "redis";

    public override ImmutableArray<Tool<RedisGoal, RedisState>> Tools { get; } =
    [
        new InstallPackage(scope, actuator), new CreateDataDir(scope, actuator), new FixDataDir(scope, actuator), new WriteConfig(scope, actuator),
        new WriteAuth(scope, actuator), new WriteUnit(scope, actuator), new RemoveDropIn(scope, actuator), new Enable(scope, actuator),
        new ConfigSet(scope, actuator), new WriteRole(scope, actuator), new Start(scope, actuator), new Restart(scope, actuator),
        new Reconfigure(scope, actuator), new Follow(scope, actuator), new Promote(scope, actuator), new Handover(scope, actuator),
        new LastBackup(scope, actuator), new Stop(scope, actuator), new RemoveData(scope, actuator), new RemoveFiles(scope, actuator),
        new StartAdopted(scope, actuator), new Save(scope, actuator), new SetAside(scope, actuator), new Repair(scope, actuator),
    ];

    public override ImmutableArray<Invariant<RedisGoal, RedisState>> Invariants { get; } =
    [
        new("one-primary", Strength.Never, "", static (_, before, after) => Primaries(after) > Math.Max(1, Primaries(before)) ? $"{Primaries(after)} primaries" : null),
        new("no-empty-primary", Strength.Never, "", static (_, before, after) => after is { Leads: true, ComesUpEmpty: true } && RedisRoles.HolderOfData(after) is { } holder
            && !(before.Leads && (before.ComesUpEmpty || before.Keys == Stored.None)) ? $"a primary without data would wipe member {holder}" : null),
        new("keep-serving", Strength.Guard, RedisFacts.Serving, static (goal, before, after) => goal is not null && before.Answers && !after.Answers
            && !after.Peers.Values.Any(p => p.Answers && (p.Role == RedisRole.Primary || p.Link == Link.Up)) ? "no other member serves" : null),
        new("keep-primary", Strength.Guard, RedisFacts.Role, static (goal, before, after) => goal is not null && Primaries(before) > 0 && Primaries(after) == 0
            && !before.Peers.IsEmpty ? "no primary left" : null),
    ];

    public override IEnumerable<Difference> Differences(RedisGoal? goal, RedisState state) => RedisDifferences.Of(goal, state);

    public override string Fact(RedisState state, string key) => RedisFacts.Value(state, key);

    public override IEnumerable<string> FactKeys(RedisState state) => RedisFacts.Keyed(state);

    public override bool IsRelative(string key) => RedisFacts.IsRelative(key);

    public override string Summary(RedisGoal? goal, RedisState state) => state.Serving switch
    {
        Serving.Answering when state.Role == RedisRole.Primary => state.Peers.IsEmpty ? "primary"
            : $"primary, {state.Online} of {state.Peers.Count} replicas in sync",
        Serving.Answering => $"replica of {RedisRole.Followed(state.Role)}, link {state.Link}{(state.Silent > 0 ? ", and nothing heard from it" : "")}",
        Serving.Refused => goal is null && state.DataDir == FactValue.Absent ? "gone" : "down",
        _ => state.Serving,
    };

    private static int Primaries(RedisState s) => (s.Leads ? 1 : 0) + s.Peers.Values.Count(p => p.Leads);
}
