using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>What only a step of ours changes of a machine, beside its guest, and how it is told that something else did.</summary>
internal static class InstanceTold
{
    private const string Definition = "definition", Outside = "by hand (virsh) or by another program";

    public static ImmutableSortedDictionary<string, string> Watched(InstanceGoal? goal, InstanceState s)
    {
        if (goal is null || s.Domain != Owner.Ours) return MemberDetails.None;
        var seen = MemberDetails.None.ToBuilder();
        foreach (var (key, fact) in (ReadOnlySpan<(string, string)>)[(InstanceFacts.Power, InstanceFacts.Power), (InstanceFacts.Autostart, InstanceFacts.Autostart), (Definition, InstanceFacts.Config)])
            if (InstanceFacts.Value(s, fact) is var value && !FactValue.IsUnseen(value)) seen[key] = value;
        return seen.ToImmutable();
    }

    public static string? Words(string key, string was, string now) => key switch
    {
        // What was on its way is no news where it arrives: it may have been our own stop.
        InstanceFacts.Power when was == Power.Stopping || now == Power.Stopping => null,
        InstanceFacts.Power when now.StartsWith(Power.Off, StringComparison.Ordinal) => $"the machine went {now} (it was {was}): by its guest, {Outside}",
        InstanceFacts.Power when now == Power.Running => $"the machine is {now} (it was {was}): by its host's start, {Outside}",
        InstanceFacts.Power => $"the machine is {now} (it was {was}): {Outside}",
        Definition => "the machine's definition was changed " + Outside,
        _ => $"{key} is {now} (it was {was}): changed {Outside}",
    };
}
