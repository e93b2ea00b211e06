using AgentMetal.Cli.Plan;
using AgentMetal.Cli.Rendering;

namespace AgentMetal.Cli.Approve;

/// <summary>What a person reads before signing: the signed fields verbatim, the words beside them.</summary>
internal sealed class HeldView(Screen screen, Approvers? approvers)
{
    internal void Write(ReviewedPlan reviewed)
    {
        var (held, plan) = (reviewed.Held, reviewed.Held.Plan);
        screen.Line(Piece.Strong(plan.ResourceKey), $"   member {plan.Ordinal} on {reviewed.Node.Name}   held plan {held.Id}, gives up {When.Until(held.ExpiresUnixMs, screen.Clock)}");
        screen.Line(Piece.Quiet($"resource uid {plan.ResourceUid}   generation {plan.Generation}   signed by host {reviewed.Node.Name} ({reviewed.Node.Uid})"));
        var number = 0;
        foreach (var step in plan.Steps)
        {
            screen.Line("");
            screen.Line($"  {++number}  ", new(step.Risk, RiskWords.ToneOf(step.Risk)), "  ", Piece.Strong(StepTable.Words(step)));
            var lines = new Table(new(""), new("", Overflow.Wrap, 30)) { Bare = true, Indent = 5 };
            // Words are not signed; the call is. So the call is always shown.
            lines.Add("call", $"{step.Tool}@{step.ToolVersion} {step.Args}");
            if (step.Why.Length > 0) lines.Add("why", step.Why);
            if (step.RiskReasons.Count > 0) lines.Add("because", RiskWords.Of(step.RiskReasons));
            lines.Add("lost", step.LosesData ? Piece.Bad("the data that this step deletes") : "no data");
            lines.Add("undo", StepTable.UndoWords(step));
            foreach (var fact in step.Basis) lines.Add("rests on", $"{fact.Key} = {fact.Value}");
            foreach (var fact in step.Expect) lines.Add("makes", $"{fact.Key} = {fact.Value}");
            lines.Add("hash", step.Hash);
            lines.Write(screen);
        }
        screen.Line("");
        screen.Line($"  {reviewed.Asking.Length} of {plan.Steps.Count} steps need a signature; it takes {approvers?.ToString() ?? "the approver set that the root signed"}.");
    }
}
