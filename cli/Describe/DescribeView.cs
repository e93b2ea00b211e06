using System.Text.Json;
using AgentMetal.Cli.Apply;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Plan;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Describe;

/// <summary>One resource: is it ready, since when not, why, and what next.</summary>
/// <param name="screen">Where.</param>
/// <param name="nameOf">The approver's name by key id; null = nobody's that this home knows.</param>
internal sealed class DescribeView(Screen screen, Func<string, string?>? nameOf = null)
{
    internal void Write(Resource r, IReadOnlyList<Held> held, IReadOnlyList<Event> events)
    {
        screen.Line(Piece.Strong(Resources.Key(r)), $"   generation {r.Metadata.Generation}   uid {r.Metadata.Uid}{(r.Metadata.Protect ? "   protected" : "")}");
        Conditions(r, held);
        Members(r);
        foreach (var m in r.Status?.Members.OrderBy(m => m.Ordinal) ?? Enumerable.Empty<MemberStatus>()) new DetailsView(screen).Write(m.NodeName, m.Details);
        Drift(r);
        Approvals(held);
        Signatures(r);
        Spec(r);
        foreach (var (key, value) in r.Status?.Outputs.OrderBy(o => o.Key, StringComparer.Ordinal) ?? Enumerable.Empty<KeyValuePair<string, string>>())
            screen.Line(Piece.Quiet("Output     "), $"{key} = {value}");
        if (events.Count == 0) return;
        screen.Line("");
        screen.Line(Piece.Quiet("Events"));
        Events.EventTable.Of(screen, events, resources: false).Write(screen);
    }

    private void Conditions(Resource r, IReadOnlyList<Held> held)
    {
        var table = new Table(new(""), new(""), new("", Overflow.Wrap, 30)) { Bare = true };
        foreach (var c in Ordered(r)) table.Add(c.Type, new(c.Status, ToneOf(c)), Sentence(c));
        if (r.Status is null || r.Status.Conditions.Count == 0)
            table.Add("Ready", Piece.Warn("Unknown"), $"no host has reported yet; declared {When.ClockAndAge(r.Metadata.CreatedUnixMs, screen.Clock)}");
        else if (r.Status.ObservedGeneration > 0 && r.Status.ObservedGeneration < r.Metadata.Generation)
            table.Add("Note", "", $"the hosts speak of generation {r.Status.ObservedGeneration}; generation {r.Metadata.Generation} is on its way");
        if (r.Metadata.DeletedUnixMs != 0)
            table.Add("Deleting", "", $"since {When.ClockAndAge(r.Metadata.DeletedUnixMs, screen.Clock)}; it goes when every host has acknowledged");
        table.Write(screen);
        var next = Ordered(r).Select(c => c.NextCommand).Concat(r.Status?.Members.SelectMany(m => m.Conditions).Where(c => c.Status != "True").Select(c => c.NextCommand) ?? [])
            .Where(n => n.Length > 0 && !IsThis(n, r)).Distinct(StringComparer.Ordinal).ToList();
        if (held.Count > 0 && !next.Any(n => n.StartsWith("agentmetal approve", StringComparison.Ordinal))) next.Add($"agentmetal approve {Resources.Short(r)}");
        if (next.Count == 0 && Resources.Find(r, "Ready") is { Status: not "True" }) next.Add($"agentmetal events --for {Resources.Short(r)}");
        if (next.Count > 0) screen.Line(Piece.Strong("Next"), "       " + string.Join("   ·   ", next));
    }

    /// <summary>Who reads this has run that.</summary>
    private static bool IsThis(string command, Resource r) => command.StartsWith($"agentmetal describe {r.Kind.ToLowerInvariant()} {r.Metadata.Name}", StringComparison.Ordinal)
        || command.StartsWith($"agentmetal describe {Resources.Short(r)}", StringComparison.Ordinal);

    private string Sentence(Condition c)
    {
        if (c.Status == "True") return c.Message;
        var retry = c.RetryUnixMs > 0 ? $"; looked at again {When.Again(c.RetryUnixMs, screen.Clock)}" : "";
        return $"since {When.ClockAndAge(c.SinceUnixMs, screen.Clock)}   {(c.Message.Length > 0 ? c.Message : c.Reason)}{retry}";
    }

    private void Members(Resource r)
    {
        if (r.Status is null || r.Status.Members.Count == 0) return;
        screen.Line("");
        var table = new Table(new("#"), new("ON"), new("PHASE"), new("ADDRESS"), new("IS", Overflow.Cut, 12), new("REPORTED"), new("BLOCKED BY", Overflow.Wrap, 16));
        foreach (var m in r.Status.Members.OrderBy(m => m.Ordinal))
        {
            var blocker = m.Conditions.FirstOrDefault(c => c.Type == "Ready" && c.Status != "True") ?? m.Conditions.FirstOrDefault(c => c.Status != "True");
            table.Add($"{m.Ordinal}", m.NodeName, new(m.Phase, m.Phase == "Converged" ? Tone.Good : Tone.Warn), m.Address, m.Summary,
                When.Age(m.ReportedUnixMs, screen.Clock), blocker is null ? "" : blocker.Message.Length > 0 ? blocker.Message : blocker.Reason);
        }
        table.Write(screen);
    }

    private void Drift(Resource r)
    {
        var drift = r.Status?.Members.SelectMany(m => m.Drift.Select(d => (m.NodeName, d))).ToArray() ?? [];
        if (drift.Length == 0) return;
        screen.Line("");
        screen.Line(Piece.Quiet("Not as wanted"));
        foreach (var (node, d) in drift) screen.Line($"  {node}  {(d.Text.Length > 0 ? d.Text : d.Key)}");
    }

    private void Approvals(IReadOnlyList<Held> held)
    {
        foreach (var h in held)
        {
            screen.Line("");
            screen.Line(Piece.Warn("Waits for a signature  "), $"{h.Id} on {h.Plan.NodeName}, since {When.ClockAndAge(h.CreatedUnixMs, screen.Clock)}, gives up {When.Until(h.ExpiresUnixMs, screen.Clock)}");
            StepTable.Of(h.Plan.Steps).Write(screen);
        }
    }

    /// <summary>Who has signed what hosts execute of it.</summary>
    private void Signatures(Resource r)
    {
        foreach (var (purpose, sha256) in DigestSigning.Executes(r))
        {
            var by = r.Digests.Where(d => d.Purpose == purpose && d.Sha256 == sha256).Select(d => nameOf?.Invoke(d.KeyId) ?? "key " + (d.KeyId.Length > 8 ? d.KeyId[..8] : d.KeyId)).Distinct(StringComparer.Ordinal).ToArray();
            screen.Line(Piece.Quiet("Signed     "), $"{purpose} {DigestSigning.Short(sha256)} ", by.Length > 0 ? $"by {string.Join(", ", by)}" : Piece.Warn("by nobody: hosts wait with it; apply it where an approver's key is"));
        }
    }

    private void Spec(Resource r)
    {
        if (r.Spec.IsEmpty) return;
        screen.Line("");
        screen.Line(Piece.Quiet("Spec"));
        var reader = new Utf8JsonReader(r.Spec.Span);
        foreach (var line in Yaml.Of(JsonElement.ParseValue(ref reader)).TrimEnd('\n').Split('\n')) screen.Line("  " + line);
    }

    private static IEnumerable<Condition> Ordered(Resource r) => (r.Status?.Conditions ?? Enumerable.Empty<Condition>())
        .OrderBy(c => Array.IndexOf(["Ready", "Serving", "Unsteady", "Placed", "Approved", "Waiting", "Unsupported"], c.Type) is >= 0 and var at ? at : 99).ThenBy(c => c.Type, StringComparer.Ordinal);

    private static Tone ToneOf(Condition c) => c.Type is "Unsteady" or "Drifted" ? Tone.Warn : c.Status switch { "True" => Tone.Good, "False" => Tone.Bad, _ => Tone.Warn };
}
