using System.Buffers;
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.Runtime.Audit;

/// <summary>The bodies of the engine's audit records: typed facts as JSON, no prose.</summary>
public static class AuditBody
{
    /// <summary>A step with its risk, undo and facts.</summary>
    public static string Of(Step step, string? detail = null, string? by = null, string? runId = null, ImmutableArray<Fact> seen = default) => Write(w =>
    {
        w.WriteString("step", step.Hash);
        w.WriteString("tool", step.Tool);
        w.WriteNumber("toolVersion", step.ToolVersion);
        w.WriteString("args", step.Args);
        w.WriteString("difference", step.Difference);
        w.WriteString("risk", step.Risk.Level.ToString());
        Strings(w, "reasons", step.Risk.Reasons);
        w.WriteString("undo", step.Undo.Kind.ToString());
        Facts(w, "basis", step.Basis);
        Facts(w, "expect", step.Expect);
        if (!seen.IsDefaultOrEmpty) Facts(w, "seen", seen);
        if (detail is { Length: > 0 }) w.WriteString("detail", detail);
        if (by is { Length: > 0 }) w.WriteString("approvedBy", by);
        if (runId is not null) w.WriteString("run", runId);
    });

    /// <summary>A plan: hash, differences, steps, decisions with their reasoner, alternatives.</summary>
    public static string Of<TGoal, TState>(Plan<TGoal, TState> plan, string? runId = null)
        where TGoal : class => Write(w =>
    {
        w.WriteString("plan", plan.Hash);
        w.WriteString("outcome", plan.Outcome.ToString());
        Strings(w, "differences", plan.Differences.Select(d => d.Key));
        w.WriteStartArray("steps");
        foreach (var s in plan.Steps) w.WriteStringValue(s.Hash + " " + s.Tool + " " + s.Risk.Level);
        w.WriteEndArray();
        w.WriteStartArray("decisions");
        foreach (var d in plan.Decisions)
        {
            w.WriteStartObject();
            w.WriteString("question", d.Question);
            w.WriteString("option", d.Option);
            w.WriteString("by", d.By);
            w.WriteEndObject();
        }
        w.WriteEndArray();
        if (!plan.BeyondQuestions.IsEmpty) Strings(w, "beyondMaxQuestions", plan.BeyondQuestions);
        if (runId is not null) w.WriteString("run", runId);
    });

    /// <summary>A few named texts.</summary>
    public static string Of(params ReadOnlySpan<(string Name, string Value)> fields)
    {
        var copy = fields.ToArray();
        return Write(w => { foreach (var (name, value) in copy) w.WriteString(name, value); });
    }

    private static string Write(Action<Utf8JsonWriter> fill)
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            fill(writer);
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    private static void Strings(Utf8JsonWriter w, string name, IEnumerable<string> values)
    {
        w.WriteStartArray(name);
        foreach (var v in values) w.WriteStringValue(v);
        w.WriteEndArray();
    }

    private static void Facts(Utf8JsonWriter w, string name, ImmutableArray<Fact> facts)
    {
        w.WriteStartObject(name);
        foreach (var (key, value) in facts) w.WriteString(key, value);
        w.WriteEndObject();
    }
}
