using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Redis.Tools;

/// <param name="Unit">A unit that somebody else made.</param>
internal sealed record UnitArgs(string Unit);

/// <summary>
/// Starts a server that was taken over, by its own unit and with its own files. What else is not as declared about it is said, and left to
/// the person who made it: nothing of it is restarted, rewritten or removed.
/// </summary>
internal sealed class StartAdopted(RedisScope scope, RedisActuator? actuator)
    : RedisTool<UnitArgs>("start-adopted", RedisJson.Default.UnitArgs, scope, actuator, Kind.Down, Kind.Adoption)
{
    public override IEnumerable<Move<UnitArgs>> Propose(RedisGoal? goal, RedisState state, Difference difference)
    {
        if (difference.Kind == Kind.Adoption) yield return Move.Wait<UnitArgs>(difference.Text);
        else if (goal is { Adopt.Length: > 0 }) yield return Move.DoThenLook(new UnitArgs(goal.Adopt), 20, difference.Text); // Its files say what it comes up with, and they are not ours to read.
    }

    public override Footprint Touches(RedisState state, UnitArgs args) => new([RedisFacts.Adopted], [RedisFacts.UnitActive, RedisFacts.Serving]);
    public override RedisState Predict(RedisState state, UnitArgs args) => state with { UnitActive = "active", Serving = Serving.Answering };
    public override RedisState During(RedisState state, UnitArgs args) => state;
    public override Assessment Assess(RedisState state, UnitArgs args) => Moderate("start");
    public override Undo Inverse(RedisState before, UnitArgs args) => Undo.Keep("it was down");
    public override Timing Timing(UnitArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(UnitArgs args) => "start " + args.Unit;
    public override ValueTask ApplyAsync(UnitArgs args, ToolContext context) => Actuator.StartAdoptedAsync(context.Stop);
}
