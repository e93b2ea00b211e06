using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Reads assignments of the kind Volume and makes what converges one.</summary>
/// <param name="readers">The host, to look.</param>
/// <param name="writers">The host, to act.</param>
/// <param name="roots">The directories below which volumes live.</param>
internal sealed class VolumeMember(InstanceReaders readers, InstanceWriters writers, InstanceRoots roots) : MemberAgent<VolumeGoal, VolumeState>
{
    private static readonly ImmutableArray<string> Formats = ["qcow2", "raw"];

    public override string Kind => VolumeKind.Name;

    public override GoalResult<VolumeGoal> ReadGoal(MemberInput input)
    {
        var errors = new List<SpecError>();
        // These become names of files; the coordinator has checked them, and is not believed.
        if (Names.LabelError(input.Project) is { } project) errors.Add(new("metadata.project", project));
        if (Names.LabelError(input.Name) is { } name) errors.Add(new("metadata.name", name));
        if (input.Ordinal != 0) errors.Add(new("ordinal", $"{input.Ordinal} is not 0: a volume is one disk"));
        if (errors.Count > 0) return GoalResult<VolumeGoal>.Unsupported([.. errors]);
        if (input.Absent) return GoalResult<VolumeGoal>.Of(null);
        var (_, problems) = VolumeKind.Schema.Validate(input.Spec);
        errors.AddRange(problems.Select(Said));
        if (errors.Count > 0) return GoalResult<VolumeGoal>.Unsupported([.. errors]);
        var spec = VolumeSpec.Parse(input.Spec);
        var image = Image(input, spec, errors);
        if (errors.Count > 0) return GoalResult<VolumeGoal>.Unsupported([.. errors]);
        var unsigned = image is not null && input.IsTrusted(ImageKind.Purpose, image.Spec.Sha256) is { IsTrusted: false } outcome
            ? ImmutableArray.Create(($"{ImageKind.Purpose} {image.Spec.Sha256}", outcome.Problem)) : [];
        return GoalResult<VolumeGoal>.Of(new(Layout(input).File(spec.Format), spec.Format, spec.Size, image, unsigned));
    }

    public override Agent<VolumeGoal, VolumeState> AgentFor(MemberInput input)
    {
        var scope = Scope(input);
        return new VolumeAgent(scope, new VolumeActuator(scope, writers));
    }

    public override IStateObserver<VolumeState> ObserverFor(MemberInput input) => new VolumeObserver(Scope(input), readers, writers.Images);

    /// <summary>Its file, and not the directory of all of them. Machines matter only to one that is to go: until the last of them has let go of it.</summary>
    public override MemberWatch WatchFor(MemberInput input) =>
        new([], [.. Scope(input).Files.Select(f => f.Path)], null) { Topics = input.Absent ? [DomainTopics.Of("")] : [] };

    public override bool IsGone(VolumeState state) => state is { Mark: Mark.Other } or { File: FactValue.Absent, Mark: FactValue.Absent, Partial: FactValue.Absent };

    internal VolumeScope Scope(MemberInput input)
    {
        var (layout, goal) = (Layout(input), ReadGoal(input).Goal);
        var formats = goal is not null ? [goal.Format] : VolumeKind.Schema.Validate(input.Spec).Errors.IsEmpty && !input.Spec.IsEmpty ? [VolumeSpec.Parse(input.Spec).Format] : Formats;
        return new() { Layout = layout, Roots = roots, Uid = input.ResourceUid, Goal = goal, Files = [.. formats.Select(f => (layout.File(f), f))] };
    }

    private static UsedImage? Image(MemberInput input, VolumeSpec spec, List<SpecError> errors)
    {
        if (spec.Image.Length == 0) return null;
        const string path = "spec.image";
        if (!input.References.TryGetValue(ImageKind.Name + "/" + spec.Image, out var bytes))
        {
            errors.Add(new(path, $"Image {input.Project}/{spec.Image} did not come with the assignment"));
            return null;
        }
        var (_, problems) = ImageKind.Schema.Validate(bytes);
        errors.AddRange(problems.Select(p => Said(p) with { Path = $"{path}: Image {spec.Image} {p.Path}" }));
        if (!problems.IsEmpty) return null;
        var image = ImageSpec.Parse(bytes);
        if (image.Format is "qcow2" or "raw") return new(spec.Image, image);
        errors.Add(new(path, $"Image {spec.Image} is a {image.Format}, not qcow2 or raw"));
        return null;
    }

    private static SpecError Said(FieldError p) => new(p.Path, p.Note.Length > 0 ? $"{p.Message}: {p.Note}" : p.Message);

    private VolumeLayout Layout(MemberInput input) => VolumeLayout.Of(input.Project, input.Name, roots);
}
