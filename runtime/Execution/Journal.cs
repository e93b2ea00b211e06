using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Execution;

/// <summary>What happened to a step.</summary>
public enum Entry
{
    /// <summary>About to act; written before the effect.</summary>
    Intent,

    /// <summary>Confirmed by observation.</summary>
    Done,

    /// <summary>Will not complete; undo follows.</summary>
    Failed,

    /// <summary>About to undo.</summary>
    UndoIntent,

    /// <summary>As before the step.</summary>
    Undone,

    /// <summary>Undo ended here: a person is needed.</summary>
    UndoStopped,
}

/// <summary>One record of the host's write-ahead log.</summary>
/// <param name="Entry">What happened.</param>
/// <param name="StepHash">To which step.</param>
/// <param name="At">When.</param>
/// <param name="Before">The step's basis as seen at intent.</param>
/// <param name="After">The expected facts as seen at the end.</param>
/// <param name="Undo">The inverse computed at intent, from what was really there.</param>
/// <param name="Outputs">Later tokens bound by this step.</param>
/// <param name="Detail">For people.</param>
public sealed record JournalEntry(Entry Entry, string StepHash, DateTimeOffset At, ImmutableArray<Fact> Before, ImmutableArray<Fact> After, Undo? Undo,
    ImmutableSortedDictionary<string, string> Outputs, string Detail = "");

/// <summary>A plan that began to run, stored with its steps so that a restart resumes exactly it.</summary>
/// <param name="RunId">Unique per host.</param>
/// <param name="Key">The assignment.</param>
/// <param name="Subject">Whose plan.</param>
/// <param name="GoalHash">The goal it was planned for.</param>
/// <param name="PlanHash">The plan.</param>
/// <param name="Steps">In order.</param>
/// <param name="Started">When.</param>
public sealed record RunRecord(string RunId, string Key, PlanSubject Subject, string GoalHash, string PlanHash, ImmutableArray<Step> Steps, DateTimeOffset Started);

/// <summary>A run with what its journal holds.</summary>
public sealed record OpenRun(RunRecord Run, ImmutableArray<JournalEntry> Entries);

/// <summary>Serialises what the journal stores.</summary>
[JsonSourceGenerationOptions(UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.Never)]
[JsonSerializable(typeof(JournalEntry))]
[JsonSerializable(typeof(RunRecord))]
[JsonSerializable(typeof(ImmutableArray<Step>))]
[JsonSerializable(typeof(ImmutableArray<Fact>))]
[JsonSerializable(typeof(Attempt))]
public sealed partial class JournalJson : JsonSerializerContext
{
    /// <summary>One line of JSON.</summary>
    public static string Write(JournalEntry entry) => JsonSerializer.Serialize(entry, Default.JournalEntry);

    /// <summary>One line of JSON.</summary>
    public static string Write(RunRecord run) => JsonSerializer.Serialize(run, Default.RunRecord);

    /// <exception cref="JsonException">Not a journal entry.</exception>
    public static JournalEntry ReadEntry(string json) => JsonSerializer.Deserialize(json, Default.JournalEntry) ?? throw new JsonException("journal entry is null");

    /// <exception cref="JsonException">Not a run.</exception>
    public static RunRecord ReadRun(string json) => JsonSerializer.Deserialize(json, Default.RunRecord) ?? throw new JsonException("run is null");
}
