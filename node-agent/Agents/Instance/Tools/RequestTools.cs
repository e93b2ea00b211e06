using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>When a request is carried out, and when its machine's start has done it already.</summary>
internal static class Requests
{
    /// <summary>The request that waits, if it is this one.</summary>
    public static InstanceRequest? Asked(InstanceGoal? goal, params ReadOnlySpan<string> actions) => goal?.Spec.Request is { IsGiven: true } asked && actions.Contains(asked.Action) ? asked : null;

    /// <summary>A machine that is made with the request, or is about to be started anyway: its first boot is all that a restart or a reset would bring.</summary>
    public static bool IsDoneByStart(InstanceGoal goal, InstanceState s) => s.Domain == FactValue.Absent || (s.Power == Power.Off && goal.Power == Power.Running && !InstanceDrift.IsPowerByHand(goal, s));

    /// <summary>Why a machine that has to run for it does not do it now; null = it can.</summary>
    public static string? NotRunning(InstanceGoal goal, InstanceState s) => goal.Power == Power.Running && InstanceDrift.IsPowerByHand(goal, s) ? $"it was {(s.Power == Power.Off ? "stopped" : "paused")} by hand, and spec.drift is report: agentmetal restart instance/NAME, or spec.drift: revert"
        : s.Power == Power.Running && goal.Power == Power.Running ? null
        : goal.Power != Power.Running ? $"it is {s.Power}, and spec.power is {goal.Spec.Power}: agentmetal start instance/NAME, or take it back with spec.request.action: none"
        : $"it is {s.Power}";

    /// <summary>A guest that shuts down is off in a moment, and then its start does it.</summary>
    public static TimeSpan? Soon(InstanceState s) => s.Power == Power.Stopping ? InstanceDifferences.Soon : null;
}

/// <summary>Remembers a request without doing anything, where the start that comes is what it asks for. Requests of later kinds may not be noted so: each names itself here.</summary>
internal sealed class NoteRequest(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<RequestArgs>("note-request", InstanceJson.Default.RequestArgs, scope, actuator, Kind.Request)
{
    public override IEnumerable<Move<RequestArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (Requests.Asked(goal, InstanceRequest.Restart, InstanceRequest.Reset) is not { } asked || !Requests.IsDoneByStart(goal!, state)) yield break;
        if (state.Dir != Present.It) yield return Move.Wait<RequestArgs>("the directory comes first");
        else yield return Move.Do(new RequestArgs(asked.Action, asked.Id), 3, "its start does it");
    }

    public override Footprint Touches(InstanceState state, RequestArgs args) => new([InstanceFacts.Dir, InstanceFacts.Domain, InstanceFacts.Power, InstanceFacts.Request], [InstanceFacts.Request]);
    public override InstanceState Predict(InstanceState state, RequestArgs args) => state with { Request = args.Id };
    public override InstanceState During(InstanceState state, RequestArgs args) => state;
    public override Assessment Assess(InstanceState state, RequestArgs args) => Assessment.Safe;
    public override Undo Inverse(InstanceState before, RequestArgs args) => Undo.Keep("a request is not asked for again by an undo");
    public override Timing Timing(RequestArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(RequestArgs args) => $"note that {args.Action} ({args.Id}) is done by its start";

    public override ValueTask ApplyAsync(RequestArgs args, ToolContext context)
    {
        Actuator.NoteRequest(args.Id);
        return default;
    }
}

/// <summary>
/// Shuts the guest down and starts it as it is defined, because a person asked for it. A crash between the start and the marker restarts it once more:
/// at least once is what a restart may be, and a marker written first could lose it.
/// </summary>
internal sealed class RestartOnce(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<RestartArgs>("restart-once", InstanceJson.Default.RestartArgs, scope, actuator, Kind.Request)
{
    public override IEnumerable<Move<RestartArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (Requests.Asked(goal, InstanceRequest.Restart) is not { } asked || Requests.IsDoneByStart(goal!, state)) yield break;
        // What a person stopped by hand is started by the one who asks for a restart.
        if (Trials.IsNeeded(goal!, state)) yield return Move.Wait<RestartArgs>("the change that is tried comes first");
        else if ((state.Power == Power.Off && InstanceDrift.IsPowerByHand(goal!, state) ? null : Requests.NotRunning(goal!, state)) is { } not) yield return Move.Wait<RestartArgs>(not, Requests.Soon(state));
        else if (NotReady(goal!, state, toStart: true) is { } why) yield return Move.Wait<RestartArgs>(why);
        else
        {
            // Cheaper than the restart that a change needs: where that needs no signature, what a person asked for brings the change with it. What waits for one waits on.
            var (seconds, force) = StopOf(goal!, state);
            var brings = goal!.Config is { } config && InForce.IsHeldBack(goal, state) && !InForce.NeedsSignature(goal, state) && NotReady(goal, state, toStart: true, config) is null;
            yield return Move.Do(new RestartArgs(asked.Id, seconds, force, brings ? DomainXml.Render(goal.Config!, Scope.Emulator) : ""), 45, difference.Text);
        }
    }

    public override Footprint Touches(InstanceState state, RestartArgs args) =>
        new([InstanceFacts.Domain, InstanceFacts.Config, InstanceFacts.Dir, InstanceFacts.Request, InstanceFacts.Settled], [InstanceFacts.Power, InstanceFacts.Live, InstanceFacts.Request, InstanceFacts.Settled, InstanceFacts.Hung, .. args.Xml is { Length: > 0 } ? [InstanceFacts.Config] : Array.Empty<string>()]);

    public override InstanceState Predict(InstanceState state, RestartArgs args) => state.As(args.Xml) is var s
        ? s with { Power = Power.Running, Live = s.Config, Request = args.Id, Settled = InstanceDrift.Plain(state.Settled), Hung = FactValue.Absent } : s;
    public override Status? Observe(InstanceState observed, RestartArgs args) => Hangs(observed, args.Seconds, args.Force);
    public override InstanceState During(InstanceState state, RestartArgs args) => state.Off() with { Settled = InstanceDrift.AsBusy(state.Settled) };
    public override Assessment Assess(InstanceState state, RestartArgs args) => args.Force && Scope.Goal?.Spec.ForceAllowed != true ? Assessment.Dangerous("switches-off") : Moderate("restart");
    public override Undo Inverse(InstanceState before, RestartArgs args) => Undo.Keep("a restart is not taken back");
    public override Timing Timing(RestartArgs args) => Within(TimeSpan.FromSeconds(args.Seconds + 180));
    public override string Describe(RestartArgs args) => $"restart the machine, as was asked for ({args.Id}); the guest has {args.Seconds} s to shut down{(args.Force ? ", else it is switched off" : "")}";

    public override async ValueTask ApplyAsync(RestartArgs args, ToolContext context)
    {
        if (Scope.Goal is { ReportsDrift: true } goal) await Actuator.RestartSettledAsync(goal.Digest, new StopArgs(args.Seconds, args.Force), args.Xml ?? "", context.Stop);
        else await Actuator.RestartAsync(new StopArgs(args.Seconds, args.Force), args.Xml ?? "", context.Stop);
        Actuator.NoteRequest(args.Id);
    }
}

/// <summary>Presses the reset button, because a person asked for it. A crash before the marker presses it once more: the guest that boots again has written nothing yet.</summary>
internal sealed class Reset(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<RequestArgs>("reset", InstanceJson.Default.RequestArgs, scope, actuator, Kind.Request)
{
    public override IEnumerable<Move<RequestArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (Requests.Asked(goal, InstanceRequest.Reset) is not { } asked || Requests.IsDoneByStart(goal!, state)) yield break;
        if (Requests.NotRunning(goal!, state) is { } why) yield return Move.Wait<RequestArgs>(why, Requests.Soon(state));
        else if (state.Dir != Present.It) yield return Move.Wait<RequestArgs>("the directory comes first");
        else yield return Move.Do(new RequestArgs(asked.Action, asked.Id), 45, difference.Text);
    }

    public override Footprint Touches(InstanceState state, RequestArgs args) => new([InstanceFacts.Domain, InstanceFacts.Power, InstanceFacts.Dir, InstanceFacts.Request], [InstanceFacts.Request]);
    public override InstanceState Predict(InstanceState state, RequestArgs args) => state with { Request = args.Id };
    public override InstanceState During(InstanceState state, RequestArgs args) => state;
    public override Assessment Assess(InstanceState state, RequestArgs args) => Assessment.Dangerous("reset");
    public override Undo Inverse(InstanceState before, RequestArgs args) => Undo.Keep("a reset is not taken back");
    public override Timing Timing(RequestArgs args) => Within(TimeSpan.FromMinutes(1));
    public override string Describe(RequestArgs args) => $"press the machine's reset button, as was asked for ({args.Id}): what the guest has not written is lost";

    public override async ValueTask ApplyAsync(RequestArgs args, ToolContext context)
    {
        await Actuator.ResetAsync(context.Stop);
        Actuator.NoteRequest(args.Id);
    }
}
