using AgentMetal.Cli.Output;
using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Plan;

/// <summary>Who may approve, as the operator's home knows it.</summary>
/// <param name="Threshold">How many of them must.</param>
/// <param name="Names">Of the keys' holders.</param>
internal sealed record Approvers(int Threshold, IReadOnlyList<string> Names)
{
    public override string ToString() => $"{Threshold} of: {string.Join(", ", Names)}";
}

/// <summary>A plan for people: what differs, the steps with risk and undo, what it means, and the command that applies it.</summary>
internal sealed class PlanView(Screen screen, Approvers? approvers)
{
    /// <summary>Wider is not easier to read.</summary>
    private const int Widest = 120;

    /// <summary>What hosts add of one resource; more is one that shows off.</summary>
    private const int MostNotes = 8;

    internal void Write(PlanReply plan, string applyCommand)
    {
        var first = true;
        foreach (var resource in plan.Resources)
        {
            if (!first) screen.Line("");
            Header(resource, first ? $"plan {Short(plan.Hash)}  expires {When.Until(plan.ExpiresUnixMs, screen.Clock)}" : "");
            first = false;
            Changes(resource);
            Steps(resource);
        }
        screen.Line("");
        if (!plan.Resources.Any(HasSteps)) screen.Line(plan.Resources.Any(IsChange) ? "No host has anything to do for it." : "Nothing to change: what is declared is what runs.");
        if (plan.Resources.Any(r => HasSteps(r) || IsChange(r)))
            screen.Line(Piece.Strong("Apply with: "), $"{applyCommand} --plan {Short(plan.Hash)}");
    }

    internal static bool HasSteps(ResourcePlan r) => r.FleetSteps.Count > 0 || r.Members.Any(m => m.Steps.Count > 0);

    internal static bool IsChange(ResourcePlan r) => r.Action != "unchanged";

    internal static string Short(string hash) => hash.Length > 8 ? hash[..8] : hash;

    private void Header(ResourcePlan r, string right)
    {
        var generation = r.Resource.Metadata.Generation;
        var left = $"{Resources.Key(r.Resource)}  " + (r.Action switch
        {
            "created" => "new",
            "unchanged" => $"generation {generation}, unchanged",
            "deleted" => "delete",
            _ => $"generation {r.FromGeneration} -> {generation}",
        });
        if (right.Length == 0)
        {
            screen.Line(Piece.Strong(left));
            return;
        }
        var gap = Math.Min(screen.Width, Widest) - Plain.Width(left) - Plain.Width(right);
        screen.Line(Piece.Strong(left), new string(' ', Math.Max(3, screen.Width == Screen.Unbounded ? 3 : gap)), Piece.Quiet(right));
    }

    private void Changes(ResourcePlan r)
    {
        var table = new Table(new(""), new("", Overflow.Wrap, 12), new("", Overflow.Wrap, 16), new("", Overflow.Cut, 8)) { Bare = true, Indent = 2 };
        // What a new resource leaves alone is counted, not listed: it would hide what the person wrote.
        var defaults = r.Action != "created" ? [] : r.Changes.Where(c => FieldNotes.IsDefault(r.Resource.Kind, c.Path, c.After)).ToHashSet();
        foreach (var change in r.Changes.Where(c => !defaults.Contains(c)))
        {
            var path = change.Path.StartsWith("spec.", StringComparison.Ordinal) ? change.Path[5..] : change.Path;
            var note = FieldNotes.Of(r.Resource.Kind, change.Path);
            if (change.Before.Length == 0) table.Add(Piece.Good("+"), path, change.After, "");
            else if (change.After.Length == 0) table.Add(Piece.Warn("-"), path, change.Before, note);
            else table.Add(Piece.Warn("~"), path, $"{change.Before} -> {change.After}", r.Action == "created" ? "" : note);
        }
        foreach (var step in r.FleetSteps.Where(s => s.Tool is "assign" or "release"))
            table.Add(step.Tool == "assign" ? Piece.Good("+") : Piece.Warn("-"), "member", step.Text, step.Why);
        // Of a resource whose declaration does not change, what differs is drift.
        if (!IsChange(r))
            foreach (var member in r.Members)
                foreach (var drift in member.Differences) table.Add(Piece.Warn("!"), member.NodeName, drift.Text.Length > 0 ? drift.Text : drift.Key, "drift");
        if (table.Count > 0) table.Write(screen);
        if (defaults.Count > 0) screen.Line(Piece.Quiet($"     {defaults.Count} more fields have their defaults: agentmetal schema {r.Resource.Kind.ToLowerInvariant()}"));
    }

    private void Steps(ResourcePlan r)
    {
        var steps = r.FleetSteps.Concat(r.Members.SelectMany(m => m.Steps)).ToArray();
        if (steps.Length > 0)
        {
            screen.Line("");
            StepTable.Of(steps).Write(screen);
            for (var i = 0; i < steps.Length; i++)
                if (steps[i].Risk == "Dangerous") Danger(i + 1, steps[i], r);
        }
        foreach (var member in r.Members) Blocked(member);
        if (steps.Length == 0) return;
        screen.Line("");
        foreach (var note in r.Members.SelectMany(m => m.Notes).Where(n => n.Length > 0).Distinct(StringComparer.Ordinal).Take(MostNotes))
            foreach (var line in Plain.Wrap(char.ToUpperInvariant(note[0]) + note[1..], screen.Width == Screen.Unbounded ? Screen.Unbounded : Math.Min(screen.Width, Widest) - 2)) screen.Line("  " + line);
        screen.Line($"  During: {During(steps)}   Data: {Data(steps)}   Choice points: {Questions(r)}");
    }

    private void Danger(int number, Step step, ResourcePlan r)
    {
        screen.Line("");
        screen.Line("  ", Piece.Bad($"! step {number} is Dangerous: "), $"{StepTable.Words(step)} on {StepTable.On(step)}");
        var lines = new Table(new(""), new("", Overflow.Wrap, 30)) { Bare = true, Indent = 4 };
        lines.Add("because", RiskWords.Of(step.RiskReasons));
        lines.Add("lost", step.LosesData ? Piece.Bad("the data that this step deletes") : "no data");
        lines.Add("undo", StepTable.UndoWords(step));
        lines.Add("approval", approvers is null ? "by the approver set that the root signed (this home has none)" : approvers.ToString());
        lines.Add("then", $"agentmetal approve {Resources.Short(r.Resource)}   (after apply: the host asks for it with the final steps)");
        lines.Write(screen);
    }

    private void Blocked(PlanSummary member)
    {
        if (member.Error.Length > 0) screen.Line("  ", Piece.Warn($"! {member.NodeName} cannot plan: "), member.Error);
        foreach (var blocked in member.Blocked)
        {
            var retry = blocked.RetryAfterMs > 0 ? $"; tried again in {When.Length(TimeSpan.FromMilliseconds(blocked.RetryAfterMs))}" : blocked.Exhausted ? "; every remedy was tried" : "";
            screen.Line("  ", Piece.Warn($"! {member.NodeName} waits: "), $"{blocked.Difference.TrimEnd(':')}: {string.Join("; ", blocked.Reasons)}{retry}");
        }
    }

    private static string During(Step[] steps)
    {
        var broken = steps.Select((s, i) => (Number: i + 1, Guards: s.RiskReasons.Where(RiskWords.IsGuard).ToArray())).Where(s => s.Guards.Length > 0).ToArray();
        return broken.Length == 0 ? "no step breaks a guard of the service."
            : string.Join("; ", broken.Select(b => $"step {b.Number}: {string.Join(", ", b.Guards.Select(RiskWords.Of))}")) + ".";
    }

    private static string Data(Step[] steps)
    {
        var losing = steps.Select((s, i) => (s.LosesData, Number: i + 1)).Where(s => s.LosesData).Select(s => s.Number).ToArray();
        return losing.Length == 0 ? "nothing deleted." : $"deleted by step {string.Join(", ", losing)}.";
    }

    private static string Questions(ResourcePlan r)
    {
        var questions = r.Members.Sum(m => m.Questions);
        return questions == 0 ? "0 (no model needed)" : $"{questions}";
    }
}
