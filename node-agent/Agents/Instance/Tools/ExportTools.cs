using AgentMetal.NodeAgent.Agents.Instance.Exports;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Tools;

/// <summary>Writes an export of a machine that is off, because a person asked for it. It goes on beside the passes and is seen in the state.</summary>
internal sealed class ExportOnce(InstanceScope scope, InstanceActuator? actuator)
    : InstanceTool<RequestArgs>("export-once", InstanceJson.Default.RequestArgs, scope, actuator, Kind.Request)
{
    public override IEnumerable<Move<RequestArgs>> Propose(InstanceGoal? goal, InstanceState state, Difference difference)
    {
        if (Requests.Asked(goal, InstanceRequest.Export) is not { } asked) yield break;
        if (state.Dir != Present.It) yield return Move.Wait<RequestArgs>("the directory comes first");
        else if (goal!.Disks.FirstOrDefault(d => d.Volume.Length > 0) is { } used) yield return Move.Wait<RequestArgs>($"disk {used.Name} is Volume {used.Volume}, which is not exported: take it out, or take the request back with spec.request.action: none");
        else if (goal.Disks.FirstOrDefault(d => !state.DiskStates.ContainsKey(d.Name)) is { } missing) yield return Move.Wait<RequestArgs>($"disk {missing.Name} comes first");
        else if (state.Power != Power.Off) yield return Move.Wait<RequestArgs>($"it is {state.Power}, and is exported while it is off: agentmetal stop instance/{goal.Name}", InstanceDifferences.Soon);
        // Before a start that is wanted: what is asked for of a machine that is off is asked of what it has now.
        else yield return Move.Do(new RequestArgs(asked.Action, asked.Id), 9, difference.Text);
    }

    public override Footprint Touches(InstanceState state, RequestArgs args) => new([InstanceFacts.Power, InstanceFacts.Dir, InstanceFacts.Request, .. state.Disks.Keys.Select(InstanceFacts.Disk)], [InstanceFacts.Request]);
    public override InstanceState Predict(InstanceState state, RequestArgs args) => state with { Request = args.Id };
    public override InstanceState During(InstanceState state, RequestArgs args) => state;
    public override Assessment Assess(InstanceState state, RequestArgs args) => Moderate("export");
    public override Undo Inverse(InstanceState before, RequestArgs args) => Undo.Keep("an export is a copy that a person removes");
    public override Timing Timing(RequestArgs args) => new(TimeSpan.FromHours(12), TimeSpan.FromMinutes(30), TimeSpan.FromSeconds(1));

    public override Status? Observe(InstanceState observed, RequestArgs args)
    {
        if (observed.Request == args.Id) return null;
        if (observed.Export is not { } export) return new(Phase.NotStarted);
        return export.Failed.Length > 0 ? new(Phase.Failed, null, export.Failed) : new(Phase.Running, export.Written, $"{export.Text}, {export.Written >> 20} MiB written");
    }

    public override string Describe(RequestArgs args) => $"export it to {Scope.Layout.Export(args.Id)}";

    public override ValueTask ApplyAsync(RequestArgs args, ToolContext context)
    {
        Actuator.Export(args.Id);
        return default;
    }
}
