using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.TestKit;

internal abstract class ClusterTool<TArgs>(string name, JsonTypeInfo<TArgs> json, FakeWorld<ClusterState>? world, params ImmutableArray<string> kinds)
    : Tool<ClusterGoal, ClusterState, TArgs>(name, 1, json, kinds)
    where TArgs : class
{
    protected FakeWorld<ClusterState> World => world ?? throw new InvalidOperationException("this agent only plans");

    public override string Describe(TArgs args) => Name + " " + args;

    public override ValueTask ApplyAsync(TArgs args, ToolContext context) => World.Make(context, s => During(s, args), s => Predict(s, args));
}

internal sealed class StartTool(FakeWorld<ClusterState>? world) : ClusterTool<StartArgs>("start", ClusterJson.Default.StartArgs, world, "missing", "down")
{
    public override IEnumerable<Move<StartArgs>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        var first = state.PrimaryName ?? (state.Members.IsEmpty ? goal!.Members[0] : null);
        if (first is null) yield return Move.Wait<StartArgs>("no primary to follow"); // A lost primary never comes back as primary by itself.
        else if (first == difference.Subject && !state.Members.IsEmpty) yield return Move.Wait<StartArgs>("it leads");
        else if (first != difference.Subject && state.Members.IsEmpty) yield return Move.Wait<StartArgs>("the first member leads");
        else yield return Move.Do(new StartArgs(difference.Subject, first == difference.Subject ? "" : first, goal!.Config, goal.Live), 10, "");
    }

    public override Footprint Touches(ClusterState state, StartArgs args) =>
        new(["primary"], [.. ClusterState.FactsOf(args.Member), "members", "serving", .. args.Follows.Length == 0 ? ["primary"] : ImmutableArray<string>.Empty]);

    public override ClusterState Predict(ClusterState state, StartArgs args) => state.With(args.Member, new ClusterMember(true, args.Follows, args.Config, args.Live, true));

    public override ClusterState During(ClusterState state, StartArgs args) => state.With(args.Member, new ClusterMember(false, args.Follows, args.Config, args.Live, false));

    public override Assessment Assess(ClusterState state, StartArgs args) => Assessment.Moderate("create");

    public override Undo Inverse(ClusterState before, StartArgs args) => before.Members.ContainsKey(args.Member) ? Undo.Keep("it was down")
        : Undo.By(new("remove", JsonSerializer.Serialize(new OnMember(args.Member), ClusterJson.Default.OnMember)));
}

internal sealed class FollowTool(FakeWorld<ClusterState>? world) : ClusterTool<FollowArgs>("follow", ClusterJson.Default.FollowArgs, world, "unlinked")
{
    public override IEnumerable<Move<FollowArgs>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        yield return state.PrimaryName is { } p ? Move.Do(new FollowArgs(difference.Subject, p), 5, "") : Move.Wait<FollowArgs>("no primary yet");
    }

    public override Footprint Touches(ClusterState state, FollowArgs args) => new(["primary", $"m/{args.Member}/up"], [$"m/{args.Member}/follows", $"m/{args.Member}/sync", "serving"]);

    public override ClusterState Predict(ClusterState state, FollowArgs args) => state.With(args.Member, m => m with { Follows = args.Follows, InSync = true });

    public override ClusterState During(ClusterState state, FollowArgs args) => state.With(args.Member, m => m with { Follows = args.Follows, InSync = false });

    public override Assessment Assess(ClusterState state, FollowArgs args) => Assessment.Moderate("resync");

    public override Undo Inverse(ClusterState before, FollowArgs args) => before.Members[args.Member] is { InSync: true, Unseen: null } m
        ? By(args with { Follows = m.Follows }) : Undo.Keep("it was behind");
}

internal sealed class PromoteTool(FakeWorld<ClusterState>? world) : ClusterTool<OnMember>("promote", ClusterJson.Default.OnMember, world, "no-primary", "restart-config", "extra")
{
    public override IEnumerable<Move<OnMember>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        if (goal is null || (difference.Kind != "no-primary" && difference.Subject != state.PrimaryName)) yield break; // Enables only what the primary's role blocks.
        foreach (var (name, m) in state.Members)
        {
            if (name == difference.Subject || !goal.Members.Contains(name) || !m.Up || m.Unseen is not null) continue;
            if (difference.Kind != "no-primary" && m.Config != goal.Config) yield return Move.Wait<OnMember>($"{name} is to be restarted first");
            else if (!m.InSync) yield return Move.Wait<OnMember>($"{name} is behind", TimeSpan.FromSeconds(5));
            else yield return Move.Do(new OnMember(name), 50, "") with { Ask = "failover-target" };
        }
    }

    public override Footprint Touches(ClusterState state, OnMember args) =>
        new(["members", $"m/{args.Member}/up", $"m/{args.Member}/sync", $"m/{state.PrimaryName ?? args.Member}/sync"], ["primary", "serving", .. state.Members.Keys.Select(n => $"m/{n}/follows")]) { Turns = ["disruption"] };

    public override ClusterState Predict(ClusterState state, OnMember args) => state with
    {
        Members = state.Members.ToImmutableSortedDictionary(m => m.Key, m => m.Key == args.Member ? m.Value with { Follows = "" }
            : m.Value.Primary || m.Value.Follows == (state.PrimaryName ?? m.Value.Follows) ? m.Value with { Follows = args.Member } : m.Value, StringComparer.Ordinal),
    };

    public override Assessment Assess(ClusterState state, OnMember args) => Assessment.Moderate("role-change");

    public override Undo Inverse(ClusterState before, OnMember args) => before.PrimaryName is not { } p ? Undo.Keep("the lost primary must not lead again by itself")
        : before.Members.All(m => m.Key == p || m.Value.Follows == p) ? By(new OnMember(p)) : Undo.Keep("not all followed the primary, and a promotion makes them");
}

internal sealed class SetLiveTool(FakeWorld<ClusterState>? world) : ClusterTool<SetTo>("set-live", ClusterJson.Default.SetTo, world, "live-config")
{
    public override IEnumerable<Move<SetTo>> Propose(ClusterGoal? goal, ClusterState state, Difference difference) => [Move.Do(new SetTo(difference.Subject, goal!.Live), 1, "")];

    public override Footprint Touches(ClusterState state, SetTo args) => new([$"m/{args.Member}/up"], [$"m/{args.Member}/live"]);

    public override ClusterState Predict(ClusterState state, SetTo args) => state.With(args.Member, m => m with { Live = args.To });

    public override Assessment Assess(ClusterState state, SetTo args) => Assessment.Safe;

    public override Undo Inverse(ClusterState before, SetTo args) => By(args with { To = before.Members[args.Member].Live });
}

internal sealed class RestartTool(FakeWorld<ClusterState>? world) : ClusterTool<SetTo>("restart", ClusterJson.Default.SetTo, world, "restart-config")
{
    public override IEnumerable<Move<SetTo>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        if (state.PrimaryName == difference.Subject && state.Members.Count > 1) yield return Move.Wait<SetTo>(difference.Subject + " is primary");
        else yield return Move.Do(new SetTo(difference.Subject, goal!.Config), 20, "");
    }

    public override Footprint Touches(ClusterState state, SetTo args) =>
        new(["primary"], [$"m/{args.Member}/up", $"m/{args.Member}/config", $"m/{args.Member}/sync", "serving", .. args.Member == state.PrimaryName ? ["primary"] : ImmutableArray<string>.Empty])
        { Turns = ["disruption"] };

    public override ClusterState Predict(ClusterState state, SetTo args) => state.With(args.Member, m => m with { Config = args.To, Up = true, InSync = true });

    public override ClusterState During(ClusterState state, SetTo args) => state.With(args.Member, m => m with { Up = false, InSync = false });

    public override Assessment Assess(ClusterState state, SetTo args) => state.Members.Count == 1 ? Assessment.Dangerous("only-member") : Assessment.Moderate("restart");

    public override Undo Inverse(ClusterState before, SetTo args) => before.Members[args.Member] is { InSync: true } m ? By(args with { To = m.Config }) : Undo.Keep("it was behind");
}

internal sealed class RemoveTool(FakeWorld<ClusterState>? world) : ClusterTool<OnMember>("remove", ClusterJson.Default.OnMember, world, "extra")
{
    public override IEnumerable<Move<OnMember>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        if (state.PrimaryName == difference.Subject && state.Members.Count > 1) yield return Move.Wait<OnMember>(difference.Subject + " is primary");
        else if (state.Members.Count == 1 && state.Backup is null) yield return Move.Wait<OnMember>("the last copy has no backup");
        else yield return Move.Do(new OnMember(difference.Subject), 100, "");
    }

    public override Footprint Touches(ClusterState state, OnMember args) => new(state.Members.Count == 1 ? ["primary", "backup"] : ["primary"],
        [.. ClusterState.FactsOf(args.Member), "members", "serving", .. args.Member == state.PrimaryName ? ["primary"] : ImmutableArray<string>.Empty]);

    public override ClusterState Predict(ClusterState state, OnMember args) => state.With(args.Member, (ClusterMember?)null);

    public override Assessment Assess(ClusterState state, OnMember args) =>
        state.Members.Count == 1 ? Assessment.Dangerous("data-loss") with { LosesData = true } : Assessment.Moderate("remove");

    public override Undo Inverse(ClusterState before, OnMember args) => before.Members.Count == 1 ? Undo.Impossible("the data is gone")
        : before.Members[args.Member] is { Up: true, InSync: true, Unseen: null } m
        ? Undo.By(new("start", JsonSerializer.Serialize(new StartArgs(args.Member, m.Follows, m.Config, m.Live), ClusterJson.Default.StartArgs)))
        : Undo.Keep("a dead copy is not worth bringing back");
}

internal sealed class BackupTool(FakeWorld<ClusterState>? world) : ClusterTool<BackupArgs>("backup", ClusterJson.Default.BackupArgs, world, "extra")
{
    public override IEnumerable<Move<BackupArgs>> Propose(ClusterGoal? goal, ClusterState state, Difference difference)
    {
        if (state.Members.Count == 1 && state.Backup is null) yield return Move.Do(new BackupArgs(difference.Subject, "last-backup"), 10, "");
    }

    public override Footprint Touches(ClusterState state, BackupArgs args) => new([$"m/{args.Of}/up"], ["backup"]);

    public override ClusterState Predict(ClusterState state, BackupArgs args) => state with { Backup = Later.From<string>(args.Token) };

    public override ClusterState During(ClusterState state, BackupArgs args) => state;

    public override Assessment Assess(ClusterState state, BackupArgs args) => Assessment.Safe;

    public override Undo Inverse(ClusterState before, BackupArgs args) => Undo.Keep("an extra backup hurts nobody");

    // The server names it; the name is not known before, and Apply does not return it.
    public override ValueTask ApplyAsync(BackupArgs args, ToolContext context) => World.Make(context, s => s, s => s with { Backup = Later.Known("rdb-" + World.Begun) });
}
