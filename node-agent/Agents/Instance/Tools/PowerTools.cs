using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Starts a machine that is off, as it is defined.</summary>
internal sealed class Start(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DomainArgs>("start", InstanceJson.Default.DomainArgs, scope, actuator, Kind.Power)
{
    public override IEnumerable<Move<DomainArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null || goal.Power == Power.Off) yield break;
        if (state.Power == Power.Suspended) yield return Move.Wait<DomainArgs>("the guest put itself to sleep; it is woken from outside with virsh dompmwakeup");
        if (state.Power != Power.Off) yield break;
        if (NotReady(goal, state, toStart: true) is { } why) yield return Move.Wait<DomainArgs>(why);
        else yield return Move.Do(new DomainArgs(Scope.Uuid), 10, difference.Text);
    }

    public override Footprint Touches(InstanceState state, DomainArgs args) =>
        new([InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Accelerator], [InstanceFacts.Power, InstanceFacts.Live]);

    public override InstanceState Predict(InstanceState state, DomainArgs args) => state with { Power = Power.Running, Live = state.Config, Detail = "", Cause = "" };
    public override InstanceState During(InstanceState state, DomainArgs args) => state.Off();
    public override Assessment Assess(InstanceState state, DomainArgs args) => Moderate("start");
    public override Undo Inverse(InstanceState before, DomainArgs args) => Undo.Keep("a machine that is to run is not stopped again");
    public override Timing Timing(DomainArgs args) => Within(TimeSpan.FromMinutes(3));
    public override string Describe(DomainArgs args) => "start the machine";
    public override ValueTask ApplyAsync(DomainArgs args, ToolContext context) => Actuator.StartAsync(context.Stop);
}

/// <summary>Holds the machine still; its memory stays.</summary>
internal sealed class Pause(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DomainArgs>("pause", InstanceJson.Default.DomainArgs, scope, actuator, Kind.Power)
{
    public override IEnumerable<Move<DomainArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Power == Power.Paused && state.Power == Power.Running) yield return Move.Do(new DomainArgs(Scope.Uuid), 10, difference.Text);
    }

    public override Footprint Touches(InstanceState state, DomainArgs args) => new([InstanceFacts.Domain], [InstanceFacts.Power]);
    public override InstanceState Predict(InstanceState state, DomainArgs args) => state with { Power = Power.Paused };
    public override Assessment Assess(InstanceState state, DomainArgs args) => Moderate("pause");
    public override Undo Inverse(InstanceState before, DomainArgs args) => Undo.By(new("resume", System.Text.Json.JsonSerializer.Serialize(args, InstanceJson.Default.DomainArgs)));
    public override Timing Timing(DomainArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(DomainArgs args) => "pause the machine";
    public override ValueTask ApplyAsync(DomainArgs args, ToolContext context) => Actuator.PauseAsync(true, context.Stop);
}

/// <summary>Lets a machine that is held go on.</summary>
internal sealed class Resume(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DomainArgs>("resume", InstanceJson.Default.DomainArgs, scope, actuator, Kind.Power)
{
    public override IEnumerable<Move<DomainArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Power != Power.Running || state.Power != Power.Paused) yield break;
        // It would write, and stand still again at once. Nobody signals that there is room.
        if (state.NoRoom.Length > 0) yield return Move.Wait<DomainArgs>(state.NoRoom, InstanceDifferences.Soon);
        else yield return Move.Do(new DomainArgs(Scope.Uuid), 10, difference.Text);
    }

    public override Footprint Touches(InstanceState state, DomainArgs args) => new([InstanceFacts.Domain], [InstanceFacts.Power]);
    public override InstanceState Predict(InstanceState state, DomainArgs args) => state with { Power = Power.Running };
    public override Assessment Assess(InstanceState state, DomainArgs args) => Moderate("resume");
    public override Undo Inverse(InstanceState before, DomainArgs args) => Undo.By(new("pause", System.Text.Json.JsonSerializer.Serialize(args, InstanceJson.Default.DomainArgs)));
    public override Timing Timing(DomainArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(DomainArgs args) => "resume the machine";
    public override ValueTask ApplyAsync(DomainArgs args, ToolContext context) => Actuator.PauseAsync(false, context.Stop);
}

/// <summary>Asks the guest to shut down, and where that is allowed switches it off when its time is over.</summary>
internal sealed class ShutDown(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<StopArgs>("shut-down", InstanceJson.Default.StopArgs, scope, actuator, Kind.Power, Kind.Present)
{
    /// <summary>Of a machine that is deleted: whoever signs that its disks go has no use for a guest that does not stop.</summary>
    private const int TeardownSeconds = 30;

    public override IEnumerable<Move<StopArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal is null && difference.Kind == Kind.Present && difference.Subject == Part.Power)
        {
            if (state.IsUp) yield return Move.Do(new StopArgs(TeardownSeconds, true), 10, difference.Text);
            else yield return Move.Wait<StopArgs>($"it is {state.Power}", InstanceDifferences.Soon);
        }
        // A guest that is held does not hear that it should shut down.
        else if (goal?.Power == Power.Off && difference.Kind == Kind.Power && state.Power == Power.Running && (goal.Spec.ForceAllowed || state.Hung != Yes.It))
            yield return Move.Do(new StopArgs(goal.Spec.ShutdownSeconds, goal.Spec.ForceAllowed), 10, difference.Text);
    }

    public override Footprint Touches(InstanceState state, StopArgs args) => new([InstanceFacts.Domain], [InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Hung]);
    public override InstanceState Predict(InstanceState state, StopArgs args) => state.Off();
    public override Status? Observe(InstanceState observed, StopArgs args) => Hangs(observed, args.Seconds, args.Force);
    public override Assessment Assess(InstanceState state, StopArgs args) => Moderate("stop");
    public override Undo Inverse(InstanceState before, StopArgs args) => Undo.Keep("starting it again is a new decision");
    public override Timing Timing(StopArgs args) => Within(TimeSpan.FromSeconds(args.Seconds + 30));
    public override string Describe(StopArgs args) => $"shut the guest down, within {args.Seconds} s{(args.Force ? ", else switch it off" : "")}";
    public override ValueTask ApplyAsync(StopArgs args, ToolContext context) => Actuator.ShutDownAsync(args, context.Stop);
}

/// <summary>Switches the machine off as if its plug were pulled: after an orderly shutdown has failed, or for a guest that is held.</summary>
internal sealed class SwitchOff(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<DomainArgs>("switch-off", InstanceJson.Default.DomainArgs, scope, actuator, Kind.Power)
{
    public override IEnumerable<Move<DomainArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        // Dearer than an orderly shutdown: it is chosen when that has failed.
        if (goal?.Power == Power.Off && state.Power is not Power.Off) yield return Move.Do(new DomainArgs(Scope.Uuid), 500, "the guest does not shut down");
    }

    public override Footprint Touches(InstanceState state, DomainArgs args) => new([InstanceFacts.Domain], [InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Hung]);
    public override InstanceState Predict(InstanceState state, DomainArgs args) => state.Off();
    public override Assessment Assess(InstanceState state, DomainArgs args) => Assessment.Dangerous("switches-off");
    public override Undo Inverse(InstanceState before, DomainArgs args) => Undo.Keep("starting it again is a new decision");
    public override Timing Timing(DomainArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(DomainArgs args) => "switch the machine off: what the guest has not written is lost";
    public override ValueTask ApplyAsync(DomainArgs args, ToolContext context) => Actuator.SwitchOffAsync(context.Stop);
}

/// <summary>
/// Shuts the guest down, defines the machine as it is declared, and starts it: one step, so that what it brings is in force by it and by no other start. Of a
/// machine that is off it is the start that brings what was held. A guest that does not let go of a disk, or does not take one, has it so by its next start.
/// </summary>
internal sealed class Restart(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<ChangeArgs>("restart", InstanceJson.Default.ChangeArgs, scope, actuator, Kind.Restart, Kind.Live)
{
    /// <summary>Dearer than all that is done while it runs: it is chosen when that has failed.</summary>
    private const int InsteadOfLive = 500;

    public override IEnumerable<Move<ChangeArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (goal?.Config is not { } config || Trials.IsNeeded(goal, state)) yield break;
        if (NotReady(goal, state, toStart: true, config) is { } why) yield return Move.Wait<ChangeArgs>(why);
        else if (state.Power is not (Power.Running or Power.Off)) yield return Move.Wait<ChangeArgs>($"it is {state.Power}");
        else
        {
            var (seconds, force) = StopOf(goal, state);
            yield return Move.Do(new ChangeArgs(seconds, force, DomainXml.Render(config, Scope.Emulator), InForce.Brings(InForce.Of(state), config), InForce.Leaves(goal, state)), difference.Kind == Kind.Live ? InsteadOfLive : 50, difference.Text);
        }
    }

    public override Footprint Touches(InstanceState state, ChangeArgs args) =>
        new([InstanceFacts.Domain, InstanceFacts.Dir], [InstanceFacts.Config, InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Held, InstanceFacts.Hung]);

    public override InstanceState Predict(InstanceState state, ChangeArgs args) => state.As(args.Xml) is var s
        ? s with { Power = Power.Running, Live = s.Config, Held = FactValue.Absent, Hung = FactValue.Absent, Cause = "", Detail = "" } : s;

    public override InstanceState During(InstanceState state, ChangeArgs args) => state.Off();
    public override Status? Observe(InstanceState observed, ChangeArgs args) => Hangs(observed, args.Seconds, args.Force);

    public override Assessment Assess(InstanceState state, ChangeArgs args)
    {
        List<string> why = [];
        if (Scope.Goal is not { } goal || !InForce.IsFree(goal)) why.Add("restart");
        if (args.Force && Scope.Goal?.Spec.ForceAllowed != true) why.Add("switches-off");
        if (DomainXml.Parse(args.Xml ?? "").Config is { } to && InForce.OutOfUse(Scope.Layout.Own, InForce.Of(state), to).Any()) why.Add("disk-out-of-use");
        return why.Count > 0 ? Assessment.Dangerous([.. why]) : Moderate("restart");
    }

    public override Undo Inverse(InstanceState before, ChangeArgs args) => Undo.Keep("what runs is not stopped for it");
    public override Timing Timing(ChangeArgs args) => Within(TimeSpan.FromSeconds(args.Seconds + 180));

    public override string Describe(ChangeArgs args) => $"restart the machine{With(args.Brings, args.Leaves)}; {StopText(args.Seconds, args.Force)}";

    /// <summary>What a signature of it is for.</summary>
    public static string With(string? brings, string? leaves) => $"{(brings is { Length: > 0 } ? " with another definition: " + brings : "")}{(leaves is { Length: > 0 } ? "; " + leaves : "")}";

    public override ValueTask ApplyAsync(ChangeArgs args, ToolContext context) => Actuator.RestartAsync(new(args.Seconds, args.Force), args.Xml ?? "", context.Stop);
}
