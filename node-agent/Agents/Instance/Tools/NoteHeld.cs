using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>
/// Remembers, beside the disks, what a person is asked to sign for a restart: a machine that goes off meanwhile, and later stands still because that is
/// declared, must not get by its next start what nobody signed. Forgotten as soon as nothing waits.
/// </summary>
internal sealed class NoteHeld(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<HeldArgs>("note-held", InstanceJson.Default.HeldArgs, scope, actuator, Kind.Held)
{
    public override IEnumerable<Move<HeldArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is not null) yield return Move.Do(new HeldArgs(InForce.Held(goal, state)), 0, difference.Text);
    }

    public override Footprint Touches(InstanceState state, HeldArgs args) => new([InstanceFacts.Dir, InstanceFacts.Live, InstanceFacts.Config], [InstanceFacts.Held]);
    public override InstanceState Predict(InstanceState state, HeldArgs args) => state with { Held = args.Value };
    public override InstanceState During(InstanceState state, HeldArgs args) => state;
    public override Assessment Assess(InstanceState state, HeldArgs args) => Assessment.Safe;
    public override Undo Inverse(InstanceState before, HeldArgs args) => Undo.Keep("what waits follows from what is there");
    public override Timing Timing(HeldArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(HeldArgs args) => args.Value == FactValue.Absent ? "forget what waited for a signature" : "remember what waits for a signature";

    public override ValueTask ApplyAsync(HeldArgs args, ToolContext context)
    {
        Actuator.NoteHeld(args.Value);
        return default;
    }
}
