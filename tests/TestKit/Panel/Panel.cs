using System.Collections.Immutable;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.TestKit;

/// <summary>Named switches: the simplest world there is. Goal and state are both a panel.</summary>
public sealed record Panel(ImmutableSortedDictionary<string, string> Switches)
{
    private static readonly ImmutableSortedDictionary<string, string> s_none = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);

    /// <summary>The value of one switch; absent if it is not there.</summary>
    public string this[string name] => Switches.GetValueOrDefault(name, FactValue.Absent);

    /// <summary>A panel from names and values.</summary>
    public static Panel Of(params (string Name, string Value)[] switches) => new(s_none.SetItems(switches.Select(s => KeyValuePair.Create(s.Name, s.Value))));

    /// <summary>With one switch changed; absent removes it.</summary>
    public Panel With(string name, string value) => new(value == FactValue.Absent ? Switches.Remove(name) : Switches.SetItem(name, value));
}

/// <summary>Put one switch to one value.</summary>
/// <param name="Switch">Which.</param>
/// <param name="To">The value.</param>
/// <param name="Most">How much it costs at most.</param>
public sealed record Flip(string Switch, string To, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingDefault)] int Most = 0);

[JsonSerializable(typeof(Flip))]
internal sealed partial class PanelJson : JsonSerializerContext;

/// <summary>An agent whose tools and rules a test writes itself. A switch that is not as wanted is the difference "switch:name".</summary>
public sealed class PanelAgent(params ImmutableArray<FlipTool> tools) : Agent<Panel, Panel>
{
    /// <inheritdoc />
    public override string Name => "panel";

    /// <inheritdoc />
    public override ImmutableArray<Tool<Panel, Panel>> Tools { get; } = [.. tools];

    /// <inheritdoc />
    public override ImmutableArray<Invariant<Panel, Panel>> Invariants => Rules;

    /// <summary>The rules of the world.</summary>
    public ImmutableArray<Invariant<Panel, Panel>> Rules { get; init; } = [];

    /// <summary>How a goal is aimed at the world; null = as it is.</summary>
    public Func<Panel?, Panel, Panel?>? Aims { get; init; }

    /// <inheritdoc />
    public override Panel? Aim(Panel? spec, Panel state) => Aims is null ? spec : Aims(spec, state);

    /// <summary>Undo scope of a switch; null = itself.</summary>
    public Func<string, string?> GroupOf { get; init; } = static _ => null;

    /// <summary>Whether the difference of a switch clears by itself.</summary>
    public Func<string, TimeSpan?> ClearsAfter { get; init; } = static _ => null;

    /// <inheritdoc />
    public override IEnumerable<Difference> Differences(Panel? goal, Panel state) =>
        (goal is null ? state.Switches.Keys.Select(k => (Key: k, Value: FactValue.Absent)) : goal.Switches.Select(s => (s.Key, s.Value)))
        .Where(s => state[s.Key] != s.Value)
        .Select(s => new Difference("switch", s.Key, $"{s.Key} is {state[s.Key]}, wants {s.Value}") { Group = GroupOf(s.Key), ClearsAfter = ClearsAfter(s.Key) });

    /// <inheritdoc />
    public override string Fact(Panel state, string key) => state[key];

    /// <inheritdoc />
    public override IEnumerable<string> FactKeys(Panel state) => state.Switches.Keys;

    /// <inheritdoc />
    public override string Summary(Panel? goal, Panel state) => $"{state.Switches.Count} switches";
}
