using AgentMetal.TestKit;
using CsCheck;

namespace AgentMetal.Runtime.Tests.Engine;

/// <summary>Random goals and states of the toy cluster.</summary>
internal static class Samples
{
    private static readonly Gen<string> s_name = Gen.Int[0, 6].Select(i => "m" + i);

    private static readonly Gen<ClusterGoal?> s_goal = Gen.Select(s_name.Array[1, 5], Gen.Int[0, 2], Gen.Int[0, 2], Gen.Int[0, 9],
        (names, config, live, dice) => dice == 0 ? null : ClusterGoal.Of(config, live, names));

    private static readonly Gen<(string Name, int Down, int Lost, int Config, int Live, int Fog)> s_member =
        Gen.Select(s_name, Gen.Int[0, 3], Gen.Int[0, 4], Gen.Int[0, 2], Gen.Int[0, 2], Gen.Int[0, 3]);

    /// <summary>Everything can be seen and every copy is in step: every goal can be reached.</summary>
    internal static readonly Gen<(ClusterGoal? Goal, ClusterState State)> Clear = Of(fog: false);

    /// <summary>Some members cannot be seen, some are behind.</summary>
    internal static readonly Gen<(ClusterGoal? Goal, ClusterState State)> Foggy = Of(fog: true);

    private static Gen<(ClusterGoal? Goal, ClusterState State)> Of(bool fog) => Gen.Select(s_goal, s_member.Array[0, 5], (goal, drawn) =>
    {
        var members = drawn.DistinctBy(m => m.Name).ToList();
        var state = ClusterState.Empty;
        foreach (var m in members)
        {
            var leads = m.Name == members[0].Name;
            state = state.With(m.Name, new ClusterMember(leads || m.Down > 0, leads ? "" : m.Lost > 0 ? members[0].Name : "m9", m.Config, m.Live, !fog || m.Fog != 1)
            {
                Unseen = fog && m.Fog == 0 ? "timeout" : null,
            });
        }
        return (goal, state);
    });
}
