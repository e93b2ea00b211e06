using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.TestKit;

namespace AgentMetal.Conformance;

/// <summary>The same agent, whose calls change a world in memory as they predict: a crash can then be aimed, whatever the agent acts on.</summary>
internal sealed class Modelled<TGoal, TState>(Agent<TGoal, TState> inner, FakeWorld<TState> world) : Agent<TGoal, TState>
    where TGoal : class
{
    public override string Name => inner.Name;
    public override ImmutableArray<Tool<TGoal, TState>> Tools { get; } = [.. inner.Tools.Select(t => new ModelledTool(t, world))];
    public override ImmutableArray<Invariant<TGoal, TState>> Invariants => inner.Invariants;
    public override TGoal? Aim(TGoal? spec, TState state) => inner.Aim(spec, state);
    public override IEnumerable<Difference> Differences(TGoal? goal, TState state) => inner.Differences(goal, state);
    public override string Fact(TState state, string key) => inner.Fact(state, key);
    public override IEnumerable<string> FactKeys(TState state) => inner.FactKeys(state);
    public override bool IsRelative(string key) => inner.IsRelative(key);
    public override string Summary(TGoal? goal, TState state) => inner.Summary(goal, state);
    public override TimeSpan? ReviewAfter(TGoal? goal, TState state) => inner.ReviewAfter(goal, state);

    private sealed class ModelledTool(Tool<TGoal, TState> tool, FakeWorld<TState> world) : Tool<TGoal, TState>(tool.Name, tool.Version, tool.Resolves)
    {
        public override IEnumerable<Proposal<TState>> ProposeBound(TGoal? goal, TState state, Difference difference) =>
            tool.ProposeBound(goal, state, difference).Select(p => new ModelledCall(p, world));

        public override Proposal<TState> Bind(string args) => new ModelledCall(tool.Bind(args), world);

        public override Proposal<TState>? AsShown(Proposal<TState> proposed, string shown) =>
            tool.AsShown(((ModelledCall)proposed).Call, shown) is { } call ? new ModelledCall(call, world) : null;

        public override Proposal<TState> ToShow(Proposal<TState> proposed, TState state) => new ModelledCall(tool.ToShow(((ModelledCall)proposed).Call, state), world);
        public override string Outgrown(string shown, string now) => tool.Outgrown(shown, now);
    }

    private sealed class ModelledCall(Proposal<TState> call, FakeWorld<TState> world) : Proposal<TState>(call.Tool, call.ToolVersion)
    {
        public Proposal<TState> Call => call;

        public override int Cost => call.Cost;
        public override string Why => call.Why;
        public override bool EndsPlan => call.EndsPlan;
        public override string? Blocked => call.Blocked;
        public override TimeSpan? RetryAfter => call.RetryAfter;
        public override string? Ask => call.Ask;
        public override string? Remedies => call.Remedies;
        public override string Text => call.Text;
        public override Timing Timing => call.Timing;
        public override Footprint Touches(TState state) => call.Touches(state);
        public override TState Predict(TState state) => call.Predict(state);
        public override TState During(TState state) => call.During(state);
        public override Assessment Assess(TState state) => call.Assess(state);
        public override Undo Inverse(TState state) => call.Inverse(state);
        public override Status? Observe(TState state) => call.Observe(state);
        public override ValueTask ApplyAsync(ToolContext context) => world.Make(context, call.During, call.Predict);
        protected override string Serialize() => call.Args;
    }
}

/// <summary>The same agent with its tools, and what it says differs, in another order.</summary>
internal sealed class Shuffled<TGoal, TState>(Agent<TGoal, TState> inner, Random random) : Agent<TGoal, TState>
    where TGoal : class
{
    public override string Name => inner.Name;
    public override ImmutableArray<Tool<TGoal, TState>> Tools { get; } = [.. Mixed(inner.Tools, random)];
    public override ImmutableArray<Invariant<TGoal, TState>> Invariants => inner.Invariants;
    public override TGoal? Aim(TGoal? spec, TState state) => inner.Aim(spec, state);
    public override IEnumerable<Difference> Differences(TGoal? goal, TState state) => Mixed(inner.Differences(goal, state), random);
    public override string Fact(TState state, string key) => inner.Fact(state, key);
    public override IEnumerable<string> FactKeys(TState state) => inner.FactKeys(state);
    public override bool IsRelative(string key) => inner.IsRelative(key);
    public override string Summary(TGoal? goal, TState state) => inner.Summary(goal, state);

    private static T[] Mixed<T>(IEnumerable<T> all, Random random)
    {
        var mixed = all.ToArray();
        random.Shuffle(mixed);
        return mixed;
    }
}
