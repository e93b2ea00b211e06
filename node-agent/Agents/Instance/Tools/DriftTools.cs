using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Remembers by which goal the machine is as wanted, so that what a person changes from then on is told and left alone; or forgets it, before another goal is carried out.</summary>
internal sealed class NoteSettled(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<SettledArgs>("note-settled", InstanceJson.Default.SettledArgs, scope, actuator, Kind.Settled)
{
    public override IEnumerable<Move<SettledArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        // First of all: a crash halfway through another goal must not be taken for drift from this one.
        if (InstanceDrift.IsStale(goal, state)) yield return Move.Do(new SettledArgs(FactValue.Absent), 0, difference.Text);
        else yield return Move.Do(new SettledArgs(InstanceDrift.Wanted(goal, state)), 100, difference.Text);
    }

    public override Footprint Touches(InstanceState state, SettledArgs args) => new(args.Value == FactValue.Absent ? [InstanceFacts.Settled]
        : [InstanceFacts.Settled, InstanceFacts.Dir, InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Autostart, InstanceFacts.Power, InstanceFacts.Live], [InstanceFacts.Settled]);

    public override InstanceState Predict(InstanceState state, SettledArgs args) => state with { Settled = args.Value };
    public override InstanceState During(InstanceState state, SettledArgs args) => state;
    public override Assessment Assess(InstanceState state, SettledArgs args) => Assessment.Safe;
    public override Undo Inverse(InstanceState before, SettledArgs args) => Undo.Keep("what is remembered follows from what is there");
    public override Timing Timing(SettledArgs args) => Within(TimeSpan.FromSeconds(30));

    public override string Describe(SettledArgs args) => args.Value == FactValue.Absent ? "forget that it was as declared before"
        : args.Value.Split(' ') is [_, var power] ? $"remember that it is {power} by hand" : "remember that it is as declared";

    public override ValueTask ApplyAsync(SettledArgs args, ToolContext context)
    {
        Actuator.NoteSettled(args.Value);
        return default;
    }
}
