using System.Collections.Immutable;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.TestKit;

/// <summary>A tool whose every answer a test may replace; as it stands it flips the switch, safely, and knows the way back.</summary>
public sealed class FlipTool(string name = "flip", int version = 1) : Tool<Panel, Panel, Flip>(name, version, PanelJson.Default.Flip, ["switch"])
{
    /// <summary>Where changes are made.</summary>
    public FakeWorld<Panel>? World { get; init; }

    /// <summary>The moves for a difference.</summary>
    public Func<Panel?, Panel, Difference, IEnumerable<Move<Flip>>> Moves { get; init; } = static (goal, _, d) => [Move.Do(new Flip(d.Subject, goal?[d.Subject] ?? FactValue.Absent), 1, "")];

    /// <summary>Facts it depends on.</summary>
    public Func<Flip, ImmutableArray<string>> Reads { get; init; } = static _ => [];

    /// <summary>Facts it changes.</summary>
    public Func<Flip, ImmutableArray<string>> Writes { get; init; } = static f => [f.Switch];

    /// <summary>Facts it changes, where that depends on the state; null = <see cref="Writes"/>.</summary>
    public Func<Panel, Flip, ImmutableArray<string>>? WritesIn { get; init; }

    /// <summary>Its words for people; null = what it does.</summary>
    public Func<Flip, string>? Words { get; init; }

    /// <summary>The state once complete.</summary>
    public Func<Panel, Flip, Panel> After { get; init; } = static (s, f) => s.With(f.Switch, f.To);

    /// <summary>The worst state while it runs; null = as after.</summary>
    public Func<Panel, Flip, Panel>? While { get; init; }

    /// <summary>Its risk.</summary>
    public Func<Panel, Flip, Assessment> Risk { get; init; } = static (_, _) => Assessment.Safe;

    /// <summary>Its inverse; null = flip back.</summary>
    public Func<Panel, Flip, Undo>? Back { get; init; }

    /// <summary>How far it is.</summary>
    public Func<Panel, Flip, Status?> Sees { get; init; } = static (_, _) => null;

    /// <summary>Its bounds.</summary>
    public Timing Bounds { get; init; } = Runtime.Planning.Timing.Default;

    /// <summary>Its cross-host locks.</summary>
    public ImmutableArray<string> Turns { get; init; } = [];

    /// <summary>Whether it may act without sight.</summary>
    public bool Blind { get; init; }

    /// <summary>What is there once the world has done it; null = as predicted.</summary>
    public Func<Panel, Flip, Panel>? Really { get; init; }

    /// <summary>What is asked for, when so much is needed.</summary>
    public Func<int, int> Room { get; init; } = static most => most;

    /// <inheritdoc />
    public override string? Outgrown(Flip shown, Flip now)
    {
        ArgumentNullException.ThrowIfNull(shown);
        ArgumentNullException.ThrowIfNull(now);
        return shown with { Most = now.Most } != now ? base.Outgrown(shown, now) : now.Most > shown.Most ? $"signed for {shown.Most}, now {now.Most}" : null;
    }

    /// <inheritdoc />
    public override Flip ToShow(Panel state, Flip args)
    {
        ArgumentNullException.ThrowIfNull(args);
        return args with { Most = Room(args.Most) };
    }

    /// <inheritdoc />
    public override IEnumerable<Move<Flip>> Propose(Panel? goal, Panel state, Difference difference) => Moves(goal, state, difference);

    /// <inheritdoc />
    public override Footprint Touches(Panel state, Flip args) => new(Reads(args), WritesIn?.Invoke(state, args) ?? Writes(args)) { Turns = Turns, ActsBlind = Blind };

    /// <inheritdoc />
    public override Panel Predict(Panel state, Flip args) => After(state, args);

    /// <inheritdoc />
    public override Panel During(Panel state, Flip args) => (While ?? After)(state, args);

    /// <inheritdoc />
    public override Assessment Assess(Panel state, Flip args) => Risk(state, args);

    /// <inheritdoc />
    public override Undo Inverse(Panel before, Flip args) => Back?.Invoke(before, args) ?? By(args with { To = before[args.Switch] });

    /// <inheritdoc />
    public override Timing Timing(Flip args) => Bounds;

    /// <inheritdoc />
    public override Status? Observe(Panel observed, Flip args) => Sees(observed, args);

    /// <inheritdoc />
    public override string Describe(Flip args) => Words?.Invoke(args) ?? $"{Name} {args.Switch} to {args.To}";

    /// <inheritdoc />
    public override ValueTask ApplyAsync(Flip args, ToolContext context) =>
        World!.Make(context, s => During(s, args), s => (Really ?? After)(s, args));

    /// <summary>An undo by another value of the same switch.</summary>
    public Undo To(string name, string value) => By(new Flip(name, value));
}
