using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Instance.Volumes.Tools;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Kinds of differences.</summary>
internal static class VolumeKinds
{
    public const string Programs = "programs", Unsigned = "unsigned", Image = "image", Owner = "owner", Missing = "missing", Small = "size", Other = "other", Unmarked = "mark", Present = "present";
}

/// <summary>The node half of Volume: one disk on this host, which is there whether an instance uses it or not.</summary>
/// <param name="scope">The volume.</param>
/// <param name="actuator">Carries changes out; null where none is.</param>
internal sealed class VolumeAgent(VolumeScope scope, VolumeActuator? actuator = null) : Agent<VolumeGoal, VolumeState>
{
    public override string Name => "volume";

    public override ImmutableArray<Tool<VolumeGoal, VolumeState>> Tools { get; } =
        [new FetchVolumeImage(scope, actuator), new CreateVolume(scope, actuator), new MarkVolume(scope, actuator), new GrowVolume(scope, actuator), new RemoveVolume(scope, actuator)];

    public override ImmutableArray<Invariant<VolumeGoal, VolumeState>> Invariants { get; } =
    [
        new("data-stays", Strength.Never, VolumeFacts.File, static (goal, before, after) => goal is not null && before.File != FactValue.Absent && after.File == FactValue.Absent ? "the data of a wanted volume would go" : null),
        new("unused-before-gone", Strength.Never, VolumeFacts.File, static (_, before, after) => before.File != FactValue.Absent && after.File == FactValue.Absent && before.Users != User.None ? $"{before.Users} would lose its disk" : null),
    ];

    public override IEnumerable<Difference> Differences(VolumeGoal? goal, VolumeState s)
    {
        if (goal is null)
        {
            // What was made for another Volume of the name is not this one's to delete.
            if (s.Mark == Mark.Other) yield break;
            if (s.File != FactValue.Absent || s.Mark != FactValue.Absent || s.Partial != FactValue.Absent) yield return new(VolumeKinds.Present, "", s.File == FactValue.Absent ? "what is left of it is to go" : "its data is to go");
            yield break;
        }
        if (s.Mark == Mark.Other)
            yield return new(VolumeKinds.Owner, "", $"what is there was made for another Volume of this name: to go on with its data remove {scope.Layout.Mark}, to begin anew move {goal.Path} away first");
        if (s.File == FactValue.Absent)
        {
            if (s.Programs != Hypervisor.Ok) yield return new(VolumeKinds.Programs, "", s.Programs);
            foreach (var (key, text) in goal.Unsigned) yield return new(VolumeKinds.Unsigned, key, text);
            // Only what it begins with: a volume that is there needs its image no more.
            if (goal.Image is { } image && s.Image != Instance.Present.It) yield return new(VolumeKinds.Image, image.Spec.Sha256, $"image {image.Name} is not on this host");
            yield return new(VolumeKinds.Missing, "", "its data is not there");
        }
        else if (s.Size == 0) yield return new(VolumeKinds.Other, "", $"{goal.Path}: {(FactValue.IsUnseen(s.File) ? "it cannot be read" : s.File)}");
        else
        {
            if (s.Mark == FactValue.Absent) yield return new(VolumeKinds.Unmarked, "", $"{goal.Path} is there, and not taken over yet");
            if (goal.Size > s.Size) yield return new(VolumeKinds.Small, "", $"it has {Quantity.Format(s.Size)}, wants {Quantity.Format(goal.Size)}");
            else if (goal.Size > 0 && goal.Size < s.Size) yield return new(VolumeKinds.Other, "size", $"it has {Quantity.Format(s.Size)}, and a volume never shrinks: set spec.size to {Quantity.Format(s.Size)} or more");
        }
    }

    public override string Fact(VolumeState state, string key) => VolumeFacts.Value(state, key);

    public override IEnumerable<string> FactKeys(VolumeState state) => VolumeFacts.Keys;

    public override string Summary(VolumeGoal? goal, VolumeState state)
    {
        if (goal is null) return state.File == FactValue.Absent ? "gone" : "going away";
        if (state.Download is { Failed.Length: 0 } d) return d.Total > 0 ? $"fetching its image, {100 * d.Done / d.Total}%" : $"fetching its image, {d.Done >> 20} MiB";
        if (state.Size == 0) return "not there yet";
        return Quantity.Format(state.Size) + (state.Users == User.None ? ", not used" : FactValue.IsUnseen(state.Users) ? "" : ", used by " + state.Users);
    }
}
