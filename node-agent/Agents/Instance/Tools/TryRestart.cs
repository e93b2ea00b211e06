using System.Text.Json;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>
/// Restarts the machine as it is declared now and waits until it proves itself; if it does not in its time, the undo of this step puts it back to the
/// snapshot that was made before. Restart and probe are one step: a guest that goes off because of the change is no longer as a finished restart left it,
/// and an undo would stop there. How far it is is a file (trial.json), so that it goes on where it was when the daemon was killed.
/// </summary>
internal sealed class TryRestart(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<TryArgs>("try-restart", InstanceJson.Default.TryArgs, scope, actuator, Kind.Restart, Kind.Reverted)
{
    public override IEnumerable<Move<TryArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null) yield break;
        if (difference.Kind == Kind.Reverted) yield return Move.Wait<TryArgs>(difference.Text);
        if (!Trials.IsNeeded(goal, state)) yield break;
        if (NotReady(goal, state, toStart: true, goal.Config) is { } why) yield return Move.Wait<TryArgs>(why);
        else if (!Trials.HasBefore(goal, state)) yield return Move.Wait<TryArgs>("the snapshot before the change comes first");
        else yield return Move.Do(Args(goal, state), 50, difference.Text);
    }

    public override Footprint Touches(InstanceState state, TryArgs args) =>
        new([InstanceFacts.Domain, InstanceFacts.Snapshot(args.Snapshot)], [InstanceFacts.Config, InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Trial, InstanceFacts.Hung]);

    public override InstanceState Predict(InstanceState state, TryArgs args) => state.As(args.Xml) is var s
        ? s with { Power = Power.Running, Live = s.Config, Trial = FactValue.Absent, TrialOver = "", Hung = FactValue.Absent } : s;
    public override InstanceState During(InstanceState state, TryArgs args) => state.Off() with { Trial = args.Digest, TrialOver = "" };

    /// <summary>
    /// Also where a restart is allowed: if the probe does not pass, what the guest wrote since the snapshot is lost, and a coordinator in strange hands could
    /// name a probe that never passes. Whoever signs the change signs that it may be taken back.
    /// </summary>
    public override Assessment Assess(InstanceState state, TryArgs args)
    {
        List<string> why = ["restart", "auto-revert"];
        if (args.Force && Scope.Goal?.Spec.ForceAllowed != true) why.Add("switches-off");
        if (DomainXml.Parse(args.Xml ?? "").Config is { } to && InForce.OutOfUse(Scope.Layout.Own, InForce.Of(state), to).Any()) why.Add("disk-out-of-use");
        return Assessment.Dangerous([.. why]);
    }

    public override Undo Inverse(InstanceState before, TryArgs args) => Undo.By(new("revert-snapshot", JsonSerializer.Serialize(new RevertArgs(args.Snapshot, args.Digest, "", ""), InstanceJson.Default.RevertArgs)));

    public override Timing Timing(TryArgs args)
    {
        var timeout = TimeSpan.FromSeconds(args.StopSeconds + args.Seconds + 300);
        return new(timeout, timeout, TimeSpan.FromSeconds(1));
    }

    public override Status? Observe(InstanceState observed, TryArgs args) =>
        observed.Trial != args.Digest ? Hangs(observed, args.StopSeconds, args.Force) : observed.TrialOver.Length > 0 ? new(Phase.Failed, null, observed.TrialOver) : new(Phase.NotStarted, null, "on trial");

    public override string Describe(TryArgs args) =>
        $"restart the machine{Restart.With(args.Brings, args.Leaves)}; within {args.Seconds} s {Probe(args)}, else it goes back to snapshot {args.Snapshot}; {StopText(args.StopSeconds, args.Force)}";

    public override ValueTask ApplyAsync(TryArgs args, ToolContext context) => Actuator.TryRestartAsync(args, context.Stop);

    private TryArgs Args(InstanceGoal goal, InstanceState state)
    {
        InstanceAutoRevert a = goal.Spec.AutoRevert;
        var (seconds, force) = StopOf(goal, state);
        return new(goal.ChangeDigest, Trials.Before(goal), seconds, force, a.Seconds, a.ConsoleText, a.TcpPort, a.GuestAgent,
            DomainXml.Render(goal.Config!, Scope.Emulator), InForce.Brings(InForce.Of(state), goal.Config!), InForce.Leaves(goal, state));
    }

    private static string Probe(TryArgs a) => string.Join(" and ", ((string[])[a.ConsoleText.Length > 0 ? $"it says \"{a.ConsoleText}\"" : "", a.TcpPort > 0 ? $"port {a.TcpPort} answers" : "", a.GuestAgent ? "its agent answers" : ""]).Where(t => t.Length > 0));
}
