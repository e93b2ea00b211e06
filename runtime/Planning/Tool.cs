using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Planning;

/// <summary>What a running call may know.</summary>
/// <param name="stepKey">The idempotency key: the same for every attempt at this step, also after a crash.</param>
/// <param name="outputs">Values bound by earlier steps of this run.</param>
/// <param name="stop">Ends the call when the daemon stops; the journal then holds an open intent.</param>
public sealed class ToolContext(string stepKey, IReadOnlyDictionary<string, string> outputs, CancellationToken stop)
{
    /// <summary>The idempotency key of the step.</summary>
    public string StepKey => stepKey;

    /// <summary>Cancelled when the daemon stops.</summary>
    public CancellationToken Stop => stop;

    /// <summary>The value of a Later, as observed when the step that makes it was confirmed.</summary>
    public string Resolve(Later<string> value) => value.Token is null ? value.Value! : outputs[FactValue.Later(value.Token)];
}

/// <summary>A tool as the planner and the executor see it, its argument type closed over.</summary>
public abstract class Tool<TGoal, TState>(string name, int version, ImmutableArray<string> resolves)
    where TGoal : class
{
    /// <summary>Kebab-case; unique within the agent; hashed.</summary>
    public string Name => name;

    /// <summary>Raised when what the call does changes its meaning; voids approved steps of the earlier one.</summary>
    public int Version => version;

    /// <summary>The difference kinds that this tool may answer.</summary>
    public ImmutableArray<string> Resolves => resolves;

    /// <summary>The calls for one difference, their arguments closed over.</summary>
    public abstract IEnumerable<Proposal<TState>> ProposeBound(TGoal? goal, TState state, Difference difference);

    /// <summary>A call from its serialised arguments (a step that travelled or was journalled).</summary>
    /// <exception cref="JsonException">The arguments are not this tool's.</exception>
    public abstract Proposal<TState> Bind(string args);

    /// <summary>The proposed call with arguments that were shown before, if whoever signed those has signed it; else null.</summary>
    public abstract Proposal<TState>? AsShown(Proposal<TState> proposed, string shown);

    /// <summary>The proposed call as it is shown to people for the first time: figures in it have room to grow.</summary>
    public abstract Proposal<TState> ToShow(Proposal<TState> proposed, TState state);

    /// <summary>Why whoever signed what was shown has not signed what is shown now, for people.</summary>
    public abstract string Outgrown(string shown, string now);
}

/// <summary>One kind of change. Everything but ApplyAsync is pure: no I/O, clock, randomness or statics that change.</summary>
public abstract class Tool<TGoal, TState, TArgs>(string name, int version, JsonTypeInfo<TArgs> json, params ImmutableArray<string> resolves)
    : Tool<TGoal, TState>(name, version, resolves)
    where TGoal : class
    where TArgs : class
{
    /// <summary>Calls that remove this difference, or make its removal possible; or why not now. null goal = teardown.</summary>
    public abstract IEnumerable<Move<TArgs>> Propose(TGoal? goal, TState state, Difference difference);

    /// <summary>What the call depends on and changes.</summary>
    public abstract Footprint Touches(TState state, TArgs args);

    /// <summary>The state once the call is complete.</summary>
    public abstract TState Predict(TState state, TArgs args);

    /// <summary>The worst state while it runs, and where a crash leaves it (a restart: down). Invariants see it.</summary>
    public virtual TState During(TState state, TArgs args) => Predict(state, args);

    /// <summary>How risky this call is in this state.</summary>
    public abstract Assessment Assess(TState state, TArgs args);

    /// <summary>How to take it back, from the state after and from During; uses only facts in Reads and Writes of before.</summary>
    public abstract Undo Inverse(TState before, TArgs args);

    /// <summary>Its bounds.</summary>
    public virtual Timing Timing(TArgs args) => Planning.Timing.Default;

    /// <summary>How far the call is, seen from outside. null = decide by facts alone (all expected = Done, else NotStarted).</summary>
    public virtual Status? Observe(TState observed, TArgs args) => null;

    /// <summary>For people: "set maxmemory=512mb". Never hashed; never holds a secret.</summary>
    public abstract string Describe(TArgs args);

    /// <summary>
    /// Why whoever signed this call with the one arguments has not signed it with the others; null = what was signed says at least as much. Only what says how much is
    /// lost at most may differ, and the signed figure is not the lower one; what cannot be compared is not signed.
    /// </summary>
    public virtual string? Outgrown(TArgs shown, TArgs now) => shown.Equals(now) ? null : "it is another step now: " + Describe(now);

    /// <summary>The arguments as a person is asked about them: how much is lost at most, with room for what comes before the signature does.</summary>
    public virtual TArgs ToShow(TState state, TArgs args) => args;

    /// <summary>Starts or resumes the change; may return before it is complete. Safe to call again in any Phase but Done.</summary>
    /// <exception cref="WorldException">The world refused or broke.</exception>
    public abstract ValueTask ApplyAsync(TArgs args, ToolContext context);

    /// <summary>An undo by another call of this tool.</summary>
    public Undo By(TArgs args) => Undo.By(new(Name, JsonSerializer.Serialize(args, json)));

    /// <inheritdoc />
    public sealed override Proposal<TState> Bind(string args) =>
        new Bound(this, new Move<TArgs>(JsonSerializer.Deserialize(args, json) ?? throw new JsonException($"{Name}: arguments are null"), 0, ""));

    /// <inheritdoc />
    public sealed override IEnumerable<Proposal<TState>> ProposeBound(TGoal? goal, TState state, Difference difference)
    {
        foreach (var move in Propose(goal, state, difference)) yield return new Bound(this, move);
    }

    /// <inheritdoc />
    public sealed override Proposal<TState>? AsShown(Proposal<TState> proposed, string shown)
    {
        if (proposed is not Bound { Move.Args: { } args } bound || Read(shown) is not { } before || Outgrown(before, args) is not null) return null;
        return new Bound(this, bound.Move with { Args = before });
    }

    /// <inheritdoc />
    public sealed override Proposal<TState> ToShow(Proposal<TState> proposed, TState state) =>
        proposed is Bound { Move.Args: { } args } bound && ToShow(state, args) is var asked && !asked.Equals(args) ? new Bound(this, bound.Move with { Args = asked }) : proposed;

    /// <inheritdoc />
    public sealed override string Outgrown(string shown, string now) =>
        Read(now) is not { } asked ? "it is another step now" : Read(shown) is { } before && Outgrown(before, asked) is { } why ? why : "it is another step now: " + Describe(asked);

    private TArgs? Read(string args)
    {
        try { return JsonSerializer.Deserialize(args, json); }
        catch (JsonException) { return null; }
    }

    private string Serialize(TArgs args) => JsonSerializer.Serialize(args, json);

    private sealed class Bound(Tool<TGoal, TState, TArgs> tool, Move<TArgs> move) : Proposal<TState>(tool.Name, tool.Version)
    {
        private Footprint? _touches;

        public Move<TArgs> Move => move;

        public override int Cost => move.Cost;
        public override string Why => move.Why;
        public override bool EndsPlan => move.EndsPlan;
        public override string? Blocked => move.Blocked;
        public override TimeSpan? RetryAfter => move.RetryAfter;
        public override string? Ask => move.Ask;
        public override string? Remedies => move.Remedies;
        public override string Text => tool.Describe(move.Args!);
        public override Timing Timing => tool.Timing(move.Args!);

        public override Footprint Touches(TState state) => _touches ??= tool.Touches(state, move.Args!);
        public override TState Predict(TState state) => tool.Predict(state, move.Args!);
        public override TState During(TState state) => tool.During(state, move.Args!);
        public override Assessment Assess(TState state) => tool.Assess(state, move.Args!);
        public override Undo Inverse(TState state) => tool.Inverse(state, move.Args!);
        public override Status? Observe(TState state) => tool.Observe(state, move.Args!);
        public override ValueTask ApplyAsync(ToolContext context) => tool.ApplyAsync(move.Args!, context);
        protected override string Serialize() => tool.Serialize(move.Args!);
    }
}

/// <summary>One grounded tool call.</summary>
public abstract class Proposal<TState>(string tool, int toolVersion)
{
    private string? _args;
    private string? _key;

    /// <summary>The tool's name.</summary>
    public string Tool => tool;

    /// <summary>The tool's version.</summary>
    public int ToolVersion => toolVersion;

    /// <summary>The arguments as they are hashed and journalled.</summary>
    public string Args => _args ??= Serialize();

    /// <summary>Identity within a plan, label of an option, idempotency key: tool(args).</summary>
    public string Key => _key ??= tool + Args;

    /// <summary>Lower first.</summary>
    public abstract int Cost { get; }

    /// <summary>For people.</summary>
    public abstract string Why { get; }

    /// <summary>Whether the plan ends here, to look again.</summary>
    public abstract bool EndsPlan { get; }

    /// <summary>Why it may not be made now.</summary>
    public abstract string? Blocked { get; }

    /// <summary>When to look again, if it clears by itself.</summary>
    public abstract TimeSpan? RetryAfter { get; }

    /// <summary>The question it is one answer to.</summary>
    public abstract string? Ask { get; }

    /// <summary>The cause it remedies.</summary>
    public abstract string? Remedies { get; }

    /// <summary>The call in words.</summary>
    public abstract string Text { get; }

    /// <summary>Its bounds.</summary>
    public abstract Timing Timing { get; }

    /// <summary>What it depends on and changes; computed once, for the state it was proposed in.</summary>
    public abstract Footprint Touches(TState state);

    /// <summary>The state once complete.</summary>
    public abstract TState Predict(TState state);

    /// <summary>The worst state while it runs.</summary>
    public abstract TState During(TState state);

    /// <summary>The tool's own assessment.</summary>
    public abstract Assessment Assess(TState state);

    /// <summary>How to take it back.</summary>
    public abstract Undo Inverse(TState state);

    /// <summary>How far it is, or null to decide by facts.</summary>
    public abstract Status? Observe(TState state);

    /// <summary>Makes the change.</summary>
    public abstract ValueTask ApplyAsync(ToolContext context);

    /// <summary>The arguments as text.</summary>
    protected abstract string Serialize();
}

/// <summary>The world refused or broke; not a bug.</summary>
public sealed class WorldException : Exception
{
    /// <summary>With what the world said, for people; never holds a secret.</summary>
    public WorldException(string message, Exception? inner = null) : base(message, inner) { }
}
