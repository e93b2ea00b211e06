using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes.Tools;

/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Image">File that it begins with; empty = nothing.</param>
/// <param name="ImageFormat">qcow2 or raw.</param>
internal sealed record VolumeArgs(string Path, string Format, long Size, string Image, string ImageFormat);

/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes that it is to have.</param>
/// <param name="Domain">Uuid of the machine that runs with it; empty = none does.</param>
/// <param name="Target">Its name there.</param>
internal sealed record GrowVolumeArgs(string Path, string Format, long Size, string Domain, string Target);

[JsonSerializable(typeof(VolumeArgs)), JsonSerializable(typeof(GrowVolumeArgs))]
internal sealed partial class VolumeJson : JsonSerializerContext;

/// <summary>A tool of a volume. The actuator is null where nothing is applied: in tests of planning.</summary>
internal abstract class VolumeTool<TArgs>(string name, JsonTypeInfo<TArgs> json, VolumeScope scope, VolumeActuator? actuator, params System.Collections.Immutable.ImmutableArray<string> kinds)
    : Tool<VolumeGoal, VolumeState, TArgs>(name, 1, json, kinds)
    where TArgs : class
{
    protected static readonly TimeSpan Soon = TimeSpan.FromSeconds(5);

    protected VolumeScope Scope => scope;

    protected VolumeActuator Actuator => actuator ?? throw new InvalidOperationException($"{Name} was made to plan, not to act.");

    protected static Timing Within(TimeSpan timeout) => new(timeout, timeout, TimeSpan.FromMilliseconds(200));
}

/// <summary>Fetches the image that the volume begins with; the host's instances share it.</summary>
internal sealed class FetchVolumeImage(VolumeScope scope, VolumeActuator? actuator)
    : VolumeTool<FetchArgs>("fetch-image", InstanceJson.Default.FetchArgs, scope, actuator, VolumeKinds.Image)
{
    public override IEnumerable<Move<FetchArgs>> Propose(VolumeGoal? goal, VolumeState state, Difference difference)
    {
        if (goal?.Image is not { } image) yield break;
        if (goal.Unsigned is [var unsigned, ..])
        {
            yield return Move.Wait<FetchArgs>(unsigned.Text);
            yield break;
        }
        var args = new FetchArgs(image.Name, image.Spec.Url, image.Spec.Sha256, image.Spec.Format);
        // How large a volume becomes that takes its size from the image is known when the image is here.
        yield return goal.Size == 0 ? Move.DoThenLook(args, 1, difference.Text) : Move.Do(args, 1, difference.Text);
    }

    public override Footprint Touches(VolumeState state, FetchArgs args) => new([], [VolumeFacts.Image]);
    public override VolumeState Predict(VolumeState state, FetchArgs args) => state with { Image = Present.It };
    public override VolumeState During(VolumeState state, FetchArgs args) => state;
    public override Assessment Assess(VolumeState state, FetchArgs args) => Assessment.Safe;
    public override Undo Inverse(VolumeState before, FetchArgs args) => Undo.Keep("an image is a copy that instances may use by now");
    public override Timing Timing(FetchArgs args) => new(TimeSpan.FromHours(12), TimeSpan.FromMinutes(3), TimeSpan.FromMilliseconds(500));

    public override Status? Observe(VolumeState observed, FetchArgs args)
    {
        if (observed.Image == Present.It) return null;
        if (observed.Download is not { } download) return new(Phase.NotStarted);
        return download.Failed.Length > 0 ? new(Phase.Failed, null, download.Failed) : new(Phase.Running, download.Done);
    }

    public override string Describe(FetchArgs args) => $"fetch image {args.Name} from {args.Url}";
    public override ValueTask ApplyAsync(FetchArgs args, ToolContext context) => Actuator.FetchAsync(args);
}

/// <summary>Makes the data of a volume that has none, empty or as a copy of its image.</summary>
internal sealed class CreateVolume(VolumeScope scope, VolumeActuator? actuator)
    : VolumeTool<VolumeArgs>("create-volume", VolumeJson.Default.VolumeArgs, scope, actuator, VolumeKinds.Missing, VolumeKinds.Programs, VolumeKinds.Unsigned, VolumeKinds.Owner, VolumeKinds.Other)
{
    public override IEnumerable<Move<VolumeArgs>> Propose(VolumeGoal? goal, VolumeState state, Difference difference)
    {
        if (goal is null) yield break;
        // What only a person can put right: the difference says how.
        if (difference.Kind != VolumeKinds.Missing) yield return Move.Wait<VolumeArgs>(difference.Text);
        else if (state.Programs != Hypervisor.Ok) yield return Move.Wait<VolumeArgs>(state.Programs);
        else if (state.Mark == Mark.Other) yield return Move.Wait<VolumeArgs>("the mark of another Volume is there");
        else if (goal.Unsigned is [var unsigned, ..]) yield return Move.Wait<VolumeArgs>(unsigned.Text);
        else if (goal.Image is not { } image) yield return Move.Do(new VolumeArgs(goal.Path, goal.Format, goal.Size, "", ""), 2, difference.Text);
        else if (state.Image != Present.It || (goal.Size == 0 && state.ImageSize == 0)) yield return Move.Wait<VolumeArgs>($"image {image.Name} comes first");
        else if (goal.Size > 0 && state.ImageSize > goal.Size) yield return Move.Wait<VolumeArgs>($"image {image.Name} has {Quantity.Format(state.ImageSize)}: set spec.size to that or more");
        else yield return Move.Do(new VolumeArgs(goal.Path, goal.Format, goal.Size > 0 ? goal.Size : state.ImageSize, Scope.ImageFile(image), image.Spec.Format), 2, difference.Text);
    }

    public override Footprint Touches(VolumeState state, VolumeArgs args) => new([VolumeFacts.Users], [VolumeFacts.File, VolumeFacts.Mark]);
    public override VolumeState Predict(VolumeState state, VolumeArgs args) => state.With(args.Format, args.Size) with { Mark = Mark.Ours };
    public override VolumeState During(VolumeState state, VolumeArgs args) => state;

    /// <summary>A volume that was there: that it is gone may be a file system that is not mounted, and a new one would hide it.</summary>
    public override Assessment Assess(VolumeState state, VolumeArgs args) =>
        state.Mark == FactValue.Absent && state.Users == User.None ? Assessment.Moderate("create") : Assessment.Dangerous("volume-was-there");

    public override Undo Inverse(VolumeState before, VolumeArgs args) => Undo.Keep("a volume that nobody uses yet goes with its resource");
    public override Timing Timing(VolumeArgs args) => Within(TimeSpan.FromMinutes(60));
    public override string Describe(VolumeArgs args) => $"create {args.Path}, {Quantity.Format(args.Size)}{(args.Image.Length > 0 ? ", from its image" : ", empty")}";
    public override ValueTask ApplyAsync(VolumeArgs args, ToolContext context) => Actuator.CreateAsync(args, context.Stop);
}

/// <summary>Takes over a file that has the volume's name and no mark: one whose making was cut off at the end, or that a person put back.</summary>
internal sealed class MarkVolume(VolumeScope scope, VolumeActuator? actuator)
    : VolumeTool<PathArgs>("mark-volume", InstanceJson.Default.PathArgs, scope, actuator, VolumeKinds.Unmarked)
{
    public override IEnumerable<Move<PathArgs>> Propose(VolumeGoal? goal, VolumeState state, Difference difference)
    {
        if (goal is not null) yield return Move.Do(new PathArgs(Scope.Layout.Mark), 2, difference.Text);
    }

    public override Footprint Touches(VolumeState state, PathArgs args) => new([VolumeFacts.File], [VolumeFacts.Mark]);
    public override VolumeState Predict(VolumeState state, PathArgs args) => state with { Mark = Mark.Ours };
    public override Assessment Assess(VolumeState state, PathArgs args) => Assessment.Moderate("adopt");
    public override Undo Inverse(VolumeState before, PathArgs args) => Undo.Keep("the data is as it was");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromSeconds(30));
    public override string Describe(PathArgs args) => "take over the data that is there: write " + args.Path;

    public override ValueTask ApplyAsync(PathArgs args, ToolContext context)
    {
        Actuator.MarkIt();
        return default;
    }
}

/// <summary>Makes a volume larger: through the machine that runs with it, or the file alone.</summary>
internal sealed class GrowVolume(VolumeScope scope, VolumeActuator? actuator)
    : VolumeTool<GrowVolumeArgs>("grow-volume", VolumeJson.Default.GrowVolumeArgs, scope, actuator, VolumeKinds.Small)
{
    public override IEnumerable<Move<GrowVolumeArgs>> Propose(VolumeGoal? goal, VolumeState state, Difference difference)
    {
        if (goal is null) yield break;
        var running = state.Running.Split(' ') is [var domain, var target] ? (Domain: domain, Target: target) : (Domain: "", Target: "");
        if (state.Mark == Mark.Other) yield return Move.Wait<GrowVolumeArgs>("the mark of another Volume is there");
        else if (state.Programs != Hypervisor.Ok && running.Domain.Length == 0) yield return Move.Wait<GrowVolumeArgs>(state.Programs);
        else yield return Move.Do(new GrowVolumeArgs(goal.Path, goal.Format, goal.Size, running.Domain, running.Target), 3, difference.Text);
    }

    public override Footprint Touches(VolumeState state, GrowVolumeArgs args) => new([VolumeFacts.Running], [VolumeFacts.File]);
    public override VolumeState Predict(VolumeState state, GrowVolumeArgs args) => state.With(args.Format, args.Size);
    public override VolumeState During(VolumeState state, GrowVolumeArgs args) => state;
    public override Assessment Assess(VolumeState state, GrowVolumeArgs args) => Assessment.Moderate("grow");
    public override Undo Inverse(VolumeState before, GrowVolumeArgs args) => Undo.Keep("a volume never shrinks");
    public override Timing Timing(GrowVolumeArgs args) => Within(TimeSpan.FromMinutes(2));
    public override string Describe(GrowVolumeArgs args) => $"grow it to {Quantity.Format(args.Size)}{(args.Domain.Length > 0 ? $" while a machine runs with it as {args.Target}" : "")}";
    public override ValueTask ApplyAsync(GrowVolumeArgs args, ToolContext context) => Actuator.GrowAsync(args, context.Stop);
}

/// <summary>Deletes the data of a volume that no domain names, and then its mark.</summary>
internal sealed class RemoveVolume(VolumeScope scope, VolumeActuator? actuator)
    : VolumeTool<PathArgs>("remove-volume", InstanceJson.Default.PathArgs, scope, actuator, VolumeKinds.Present)
{
    public override IEnumerable<Move<PathArgs>> Propose(VolumeGoal? goal, VolumeState state, Difference difference)
    {
        if (goal is not null) yield break;
        if (state.Users != User.None && state.File != FactValue.Absent && !FactValue.IsUnseen(state.Users))
            yield return Move.Wait<PathArgs>($"{state.Users} has it as a disk: take it out there first (virsh dumpxml)", Soon);
        else yield return Move.Do(new PathArgs(state.Path), 30, difference.Text);
    }

    public override Footprint Touches(VolumeState state, PathArgs args) => new([VolumeFacts.Users], [VolumeFacts.File, VolumeFacts.Mark, VolumeFacts.Partial]);
    public override VolumeState Predict(VolumeState state, PathArgs args) => state with { File = FactValue.Absent, Size = 0, Mark = FactValue.Absent, Partial = FactValue.Absent };
    public override VolumeState During(VolumeState state, PathArgs args) => state with { File = FactValue.Absent, Size = 0 };
    public override Assessment Assess(VolumeState state, PathArgs args) => state.File == FactValue.Absent ? Assessment.Moderate("remove") : new(RiskLevel.Dangerous, ["data-loss"], LosesData: true);
    public override Undo Inverse(VolumeState before, PathArgs args) => before.File == FactValue.Absent ? Undo.Keep("there was no data") : Undo.Impossible("the data is gone");
    public override Timing Timing(PathArgs args) => Within(TimeSpan.FromMinutes(5));
    public override string Describe(PathArgs args) => "delete " + args.Path;

    public override ValueTask ApplyAsync(PathArgs args, ToolContext context)
    {
        Actuator.Remove(args.Path);
        return default;
    }
}
