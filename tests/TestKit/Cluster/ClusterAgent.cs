using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.TestKit;

/// <summary>
/// A toy with all that is hard about a replicated service: a primary that may not be restarted, roles that move, a quorum, a last copy, a value that only the
/// server knows.
/// </summary>
public sealed class ClusterAgent : Agent<ClusterGoal, ClusterState>
{
    /// <summary>An agent that acts on a world, or only plans.</summary>
    public ClusterAgent(FakeWorld<ClusterState>? world = null, Random? shuffle = null)
    {
        Tool<ClusterGoal, ClusterState>[] tools =
        [
            new StartTool(world), new FollowTool(world), new PromoteTool(world), new SetLiveTool(world), new RestartTool(world), new RemoveTool(world), new BackupTool(world),
        ];
        shuffle?.Shuffle(tools);
        Tools = [.. tools];
    }

    /// <inheritdoc />
    public override string Name => "cluster";

    /// <inheritdoc />
    public override ImmutableArray<Tool<ClusterGoal, ClusterState>> Tools { get; }

    /// <inheritdoc />
    public override ImmutableArray<Invariant<ClusterGoal, ClusterState>> Invariants { get; } =
    [
        new("one-primary", Strength.Never, "m/", static (_, _, s) => s.Members.Count(m => m.Value is { Up: true, Primary: true }) > 1 ? "two primaries" : null),
        new("keep-serving", Strength.Guard, "m/", static (goal, before, s) =>
            goal is not null && before.Members.Count > 1 && s.Serving < before.Serving && s.Serving < (goal.Members.Count / 2) + 1 ? $"{s.Serving} left serving" : null),
        new("keep-primary", Strength.Guard, "m/", static (goal, before, s) =>
            goal is not null && before.Members.Count > 1 && before.PrimaryName is not null && s.PrimaryName is null ? "no primary left" : null),
    ];

    /// <inheritdoc />
    public override IEnumerable<Difference> Differences(ClusterGoal? goal, ClusterState state)
    {
        foreach (var name in goal?.Members ?? [])
            foreach (var difference in OfMember(goal!, state, name)) yield return difference;
        foreach (var name in state.Members.Keys.Where(n => goal is null || !goal.Members.Contains(n)))
            yield return new("extra", name, $"{name} is not wanted") { Group = goal is null ? "teardown" : null };
        if (goal is not null && !state.Members.IsEmpty && state.PrimaryName is null) yield return new("no-primary", "", "nobody is primary");
    }

    private static IEnumerable<Difference> OfMember(ClusterGoal goal, ClusterState state, string name)
    {
        if (!state.Members.TryGetValue(name, out var m)) { yield return new("missing", name, $"{name} does not exist"); yield break; }
        if (m.Unseen is not null) { yield return new("unseen", name, $"{name} cannot be seen") { ClearsAfter = TimeSpan.FromSeconds(10) }; yield break; }
        if (!m.Up) { yield return new("down", name, $"{name} is down"); yield break; }
        if (!m.Primary && m.Follows != state.PrimaryName) yield return new("unlinked", name, $"{name} follows {m.Follows}");
        if (m.Config != goal.Config) yield return new("restart-config", name, $"{name} runs {m.Config}, wants {goal.Config}");
        if (m.Live != goal.Live) yield return new("live-config", name, $"{name} runs {m.Live}, wants {goal.Live}");
    }

    /// <inheritdoc />
    public override string Fact(ClusterState state, string key) => state.Fact(key);

    /// <inheritdoc />
    public override IEnumerable<string> FactKeys(ClusterState state) => [.. state.Members.Keys.SelectMany(n => ClusterState.FactsOf(n)), "primary", "serving", "members", "backup"];

    /// <inheritdoc />
    public override string Summary(ClusterGoal? goal, ClusterState state) => $"{state.Serving} of {state.Members.Count} serve";
}
