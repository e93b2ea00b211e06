using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Simulation;

/// <summary>What one host is told of its member; no goal at all = it is to be gone.</summary>
internal sealed record MemberGoal(string Primary, int Config);

/// <summary>A server on one host. Its role and config are on its disk.</summary>
internal sealed record Server(bool Exists, bool Up, bool Leads, int Config)
{
    internal static readonly Server None = new(false, false, false, 0);

    public override string ToString() => !Exists ? "none" : $"{(Up ? "up" : "down")}/{(Leads ? "primary" : "replica")}/{Config}";
}

/// <summary>What a host sees: its own server, and of each peer "primary", "replica", "down", "none" or unseen.</summary>
internal sealed record MemberState(string Me, Server Own, ImmutableSortedDictionary<string, string> Peers);

internal sealed record MemberArgs(string Member, int Config);

[JsonSerializable(typeof(MemberArgs))]
internal sealed partial class MemberJson : JsonSerializerContext;

/// <summary>The node half of a service with one primary: each host changes its own member and only looks at the others.</summary>
internal sealed class MemberAgent : Agent<MemberGoal, MemberState>
{
    public override string Name => "member";

    public override ImmutableArray<Tool<MemberGoal, MemberState>> Tools { get; } = [new Create(), new Start(), new Configure(), new Demote(), new Promote(), new Wipe()];

    public override ImmutableArray<Invariant<MemberGoal, MemberState>> Invariants { get; } =
    [
        new("one-primary", Strength.Never, "own/", static (_, _, s) => s.Own is { Up: true, Leads: true } && s.Peers.ContainsValue("primary") ? "two primaries" : null),
    ];

    public override IEnumerable<Difference> Differences(MemberGoal? goal, MemberState state)
    {
        var (me, own) = (state.Me, state.Own);
        if (goal is null)
        {
            if (own.Exists) yield return new("extra", me, "is not wanted");
        }
        else if (!own.Exists) yield return new("missing", me, "does not exist");
        else if (!own.Up) yield return new("down", me, "is down");
        else
        {
            if (own.Config != goal.Config) yield return new("config", me, $"runs {own.Config}, wants {goal.Config}");
            if (own.Leads != (goal.Primary == me)) yield return new("role", me, own.Leads ? "leads" : "follows");
        }
    }

    public override string Fact(MemberState state, string key) => key switch
    {
        "own/exists" => state.Own.Exists ? "yes" : "no",
        "own/up" => state.Own.Up ? "yes" : "no",
        "own/role" => !state.Own.Exists ? FactValue.Absent : state.Own.Leads ? "primary" : "replica",
        "own/config" => state.Own.Config.ToString(CultureInfo.InvariantCulture),
        _ => state.Peers.GetValueOrDefault(key[5..], FactValue.Absent),
    };

    public override IEnumerable<string> FactKeys(MemberState state) => ["own/exists", "own/up", "own/role", "own/config", .. state.Peers.Keys.Select(p => "peer/" + p)];

    public override string Summary(MemberGoal? goal, MemberState state) => state.Own.ToString();
}
