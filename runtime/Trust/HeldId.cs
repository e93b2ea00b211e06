using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.Runtime.Trust;

/// <summary>What people call a question by. It follows from the steps that ask for a signature and from nothing around them, so that it stays while they do.</summary>
public static class HeldId
{
    /// <param name="steps">Hash and risk of every step that is shown; where none is Dangerous, all of them ask.</param>
    public static string Of(IEnumerable<(string Hash, string Risk)> steps)
    {
        var all = steps.ToList();
        var asking = all.Where(s => s.Risk == nameof(RiskLevel.Dangerous)).ToList();
        var hash = new FieldHash("agentmetal/held-id/v1");
        foreach (var (step, _) in asking.Count > 0 ? asking : all) hash.Add(step);
        return hash.Hex()[..8];
    }
}
