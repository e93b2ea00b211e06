using AgentMetal.Cli.Rendering;
using AgentMetal.Proto.V1;

namespace AgentMetal.Cli.Plan;

/// <summary>Steps as rows: on which host, what, how risky, how it is taken back, why.</summary>
internal static class StepTable
{
    internal static Table Of(IEnumerable<Step> steps)
    {
        var table = new Table(new("#"), new("on"), new("step", Overflow.Wrap, 24), new("risk"), new("undo", Overflow.Wrap, 10), new("why", Overflow.Wrap, 12)) { Indent = 2 };
        var number = 0;
        foreach (var step in steps)
            table.Add($"{++number}", On(step), Words(step), new(step.Risk, RiskWords.ToneOf(step.Risk)), UndoShort(step), step.Why);
        return table;
    }

    internal static string On(Step step) => step.NodeName.Length > 0 ? step.NodeName : step.NodeUid.Length > 0 ? step.NodeUid : "coordinator";

    internal static string Words(Step step) => step.Text.Length > 0 ? step.Text : $"{step.Tool} {step.Args}";

    internal static string UndoShort(Step step) => step.Undo?.Kind switch
    {
        "Call" => step.UndoText.Length > 0 ? step.UndoText : step.Undo.Tool,
        "Keep" => "keep",
        "Impossible" => "impossible",
        var other => other ?? "",
    };

    internal static string UndoWords(Step step) => step.Undo?.Kind switch
    {
        "Call" => $"{(step.UndoText.Length > 0 ? step.UndoText : "")} [{step.Undo.Tool} {step.Undo.Args}]".TrimStart(),
        "Keep" => "nothing to take back" + Because(step.Undo.Why),
        "Impossible" => "impossible" + Because(step.Undo.Why),
        var other => other ?? "",
    };

    private static string Because(string why) => why.Length == 0 ? "" : ": " + why;
}
