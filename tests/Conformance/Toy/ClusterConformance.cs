using AgentMetal.Runtime.Planning;
using AgentMetal.TestKit;
using CsCheck;

namespace AgentMetal.Conformance.Toy;

/// <summary>The toy of the engine's own tests keeps the rules too, else those tests prove less than they say.</summary>
public sealed class ClusterConformance : AgentConformance
{
    private protected override ISuite Suite { get; } = new Suite<ClusterGoal, ClusterState>(new ClusterSamples());
}

internal sealed class ClusterSamples : Samples<ClusterGoal, ClusterState>
{
    private static readonly ClusterGoal s_goal = ClusterGoal.Of(1, 1, "m0", "m1", "m2");

    private static readonly Gen<string> s_name = Gen.Int[0, 6].Select(i => "m" + i);

    private static readonly Gen<ClusterGoal?> s_wanted = Gen.Select(s_name.Array[1, 5], Gen.Int[0, 2], Gen.Int[0, 2], Gen.Int[0, 9],
        (names, config, live, dice) => dice == 0 ? null : ClusterGoal.Of(config, live, names));

    private static readonly Gen<(string Name, int Down, int Lost, int Config, int Live, int Fog)> s_member =
        Gen.Select(s_name, Gen.Int[0, 3], Gen.Int[0, 4], Gen.Int[0, 2], Gen.Int[0, 2], Gen.Int[0, 6]);

    public override IReadOnlyCollection<string> Kinds => ["missing", "unseen", "down", "unlinked", "restart-config", "live-config", "extra", "no-primary"];

    public override Gen<Case<ClusterGoal, ClusterState>> Any { get; } = Gen.Select(s_wanted, s_member.Array[0, 5], (goal, drawn) =>
    {
        var members = drawn.DistinctBy(m => m.Name).ToList();
        var state = ClusterState.Empty;
        foreach (var m in members)
        {
            var leads = m.Name == members[0].Name;
            state = state.With(m.Name, new ClusterMember(leads || m.Down > 0, leads ? "" : m.Lost > 0 ? members[0].Name : "m9", m.Config, m.Live, m.Fog != 1)
            {
                Unseen = m.Fog == 0 ? "timeout" : null,
            });
        }
        return Of("", goal, state);
    });

    public override IReadOnlyList<Case<ClusterGoal, ClusterState>> Journeys { get; } =
    [
        Of("create", s_goal, ClusterState.Empty),
        Of("configure", s_goal with { Config = 2, Live = 3 }, ClusterState.Healthy("m0", "m1", "m2")),
        Of("switch", s_goal with { Members = s_goal.Members.Remove("m0") }, ClusterState.Healthy("m0", "m1", "m2")),
        Of("repair", s_goal, ClusterState.Healthy("m0", "m1", "m2").With("m0", m => m with { Up = false }).With("m2", m => m with { Live = 7 })),
        Of("remove", s_goal with { Members = s_goal.Members.Remove("m2") }, ClusterState.Healthy("m0", "m1", "m2")),
        Of("delete", null, ClusterState.Healthy("m0", "m1", "m2")),
    ];

    /// <summary>A member that is behind catches up.</summary>
    public override ClusterState Settle(ClusterState state) => state.PrimaryName is not { } p ? state
        : state.Members.Where(m => m.Value is { Up: true, Unseen: null } && m.Value.Follows == p).Aggregate(state, (s, m) => s.With(m.Key, x => x with { InSync = true }));

    public override IEnumerable<ClusterState> Between(ClusterState a, ClusterState b)
    {
        foreach (var name in a.Members.Keys.Union(b.Members.Keys)) yield return a.With(name, b.Members.GetValueOrDefault(name));
        yield return a with { Backup = b.Backup };
        yield return b;
    }

    public override bool HoldsData => true;

    public override bool Loses(ClusterState before, ClusterState after) => before is { Members.IsEmpty: false } && after.Members.IsEmpty;

    private static Case<ClusterGoal, ClusterState> Of(string name, ClusterGoal? goal, ClusterState state) => new(name, new ClusterAgent(), goal, state, PlanChecks.Request);
}
