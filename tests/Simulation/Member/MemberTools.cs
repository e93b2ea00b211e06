using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Simulation;

internal abstract class MemberTool(string name, string kind) : Tool<MemberGoal, MemberState, MemberArgs>(name, 1, MemberJson.Default.MemberArgs, [kind])
{
    /// <summary>Roles and restarts are one lock: never two hosts in the middle of either.</summary>
    protected static readonly ImmutableArray<string> s_turn = ["disruption"];

    private static readonly Timing s_bounds = new(TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(30), TimeSpan.FromSeconds(1));

    public override IEnumerable<Move<MemberArgs>> Propose(MemberGoal? goal, MemberState state, Difference difference) =>
        [Move.Do(new MemberArgs(state.Me, goal?.Config ?? 0), 1, "")];

    public override Assessment Assess(MemberState state, MemberArgs args) => Assessment.Moderate(Name);

    public override Undo Inverse(MemberState before, MemberArgs args) => Undo.Keep("leaving it is no regression");

    public override Timing Timing(MemberArgs args) => s_bounds;

    public override string Describe(MemberArgs args) => Name + " " + args.Member;

    // The simulation makes the change itself, in two events: begun and complete.
    public override ValueTask ApplyAsync(MemberArgs args, ToolContext context) => throw new InvalidOperationException("not carried out here");
}

internal sealed class Create() : MemberTool("create", "missing")
{
    public override Footprint Touches(MemberState state, MemberArgs args) => new([], ["own/exists", "own/up", "own/role", "own/config"]);

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = new(true, true, false, args.Config) };

    public override MemberState During(MemberState state, MemberArgs args) => state with { Own = new(true, false, false, args.Config) };
}

/// <summary>Whatever it was, it comes back as a replica: nobody leads again by itself.</summary>
internal sealed class Start() : MemberTool("start", "down")
{
    public override Footprint Touches(MemberState state, MemberArgs args) => new(["own/exists"], ["own/up", "own/role"]);

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = state.Own with { Up = true, Leads = false } };

    public override MemberState During(MemberState state, MemberArgs args) => state with { Own = state.Own with { Leads = false } };
}

internal sealed class Configure() : MemberTool("configure", "config")
{
    public override Footprint Touches(MemberState state, MemberArgs args) => new(["own/exists"], ["own/config", "own/up"]) { Turns = s_turn };

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = state.Own with { Config = args.Config, Up = true } };

    public override MemberState During(MemberState state, MemberArgs args) => state with { Own = state.Own with { Up = false } };

    public override Undo Inverse(MemberState before, MemberArgs args) => before.Own.Up ? By(args with { Config = before.Own.Config }) : Undo.Keep("it was down");
}

internal sealed class Demote() : MemberTool("demote", "role")
{
    public override IEnumerable<Move<MemberArgs>> Propose(MemberGoal? goal, MemberState state, Difference difference)
    {
        if (state.Own.Leads) yield return Move.Do(new MemberArgs(state.Me, 0), 1, "");
    }

    public override Footprint Touches(MemberState state, MemberArgs args) => new(["own/up"], ["own/role"]) { Turns = s_turn };

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = state.Own with { Leads = false } };
}

/// <summary>Only in sight of every peer, and only when none of them leads.</summary>
internal sealed class Promote() : MemberTool("promote", "role")
{
    public override IEnumerable<Move<MemberArgs>> Propose(MemberGoal? goal, MemberState state, Difference difference)
    {
        if (state.Own.Leads) yield break;
        if (state.Peers.ContainsValue("primary")) yield return Move.Wait<MemberArgs>("another leads", TimeSpan.FromSeconds(2));
        else if (state.Peers.Values.Any(FactValue.IsUnseen)) yield return Move.Wait<MemberArgs>("a peer cannot be seen", TimeSpan.FromSeconds(2));
        else yield return Move.Do(new MemberArgs(state.Me, 0), 2, "");
    }

    public override Footprint Touches(MemberState state, MemberArgs args) => new(["own/up", .. state.Peers.Keys.Select(p => "peer/" + p)], ["own/role"]) { Turns = s_turn };

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = state.Own with { Leads = true } };
}

internal sealed class Wipe() : MemberTool("wipe", "extra")
{
    public override Footprint Touches(MemberState state, MemberArgs args) => new([], ["own/exists", "own/up", "own/role", "own/config"]);

    public override MemberState Predict(MemberState state, MemberArgs args) => state with { Own = Server.None };

    public override MemberState During(MemberState state, MemberArgs args) => state with { Own = state.Own with { Up = false } };

    public override Assessment Assess(MemberState state, MemberArgs args) => Assessment.Dangerous("data-loss") with { LosesData = true };

    public override Undo Inverse(MemberState before, MemberArgs args) => Undo.Impossible("the data is gone");
}
