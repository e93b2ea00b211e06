using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance.Snapshots;

/// <summary>What is wanted: one moment of a machine.</summary>
/// <param name="Name">Of the snapshot.</param>
/// <param name="Machine">"Instance default/hello".</param>
internal sealed record SnapshotGoal(string Name, string Machine);

/// <summary>What is fixed for one snapshot while one pass lasts.</summary>
internal sealed record SnapshotScope
{
    /// <summary>RFC 1123 label.</summary>
    public required string Name { get; init; }

    /// <summary>"Instance default/hello": the title of its domain.</summary>
    public required string Machine { get; init; }

    /// <summary>Of the machine; its uuid is not in it, because only its name is known here.</summary>
    public required InstanceLayout Layout { get; init; }

    /// <summary>Follows from the resource's uid, so that a namesake is never taken for it.</summary>
    public required string Owner { get; init; }

    /// <summary>Says that it was made, and how large it was: one that is gone afterwards is not made anew, with another content under its name.</summary>
    public string Marker => $"{Layout.Dir}/snapshot-{Owner}.json";
}

/// <summary>Reads assignments of the kind Snapshot and makes what converges one.</summary>
internal sealed class SnapshotMember(InstanceReaders readers, InstanceWriters writers, InstanceRoots roots) : MemberAgent<SnapshotGoal, MomentState>
{
    public override string Kind => SnapshotKind.Name;

    public override GoalResult<SnapshotGoal> ReadGoal(MemberInput input)
    {
        var errors = new List<SpecError>();
        // These become names of files and snapshots; the coordinator has checked them, and is not believed.
        if (Names.LabelError(input.Project) is { } project) errors.Add(new("metadata.project", project));
        if (Names.LabelError(input.Name) is { } name) errors.Add(new("metadata.name", name));
        if (input.Ordinal != 0) errors.Add(new("ordinal", $"{input.Ordinal} is not 0: a snapshot is one moment"));
        var (_, problems) = SnapshotKind.Schema.Validate(input.Spec);
        errors.AddRange(problems.Select(p => new SpecError(p.Path, p.Message)));
        if (errors.Count > 0) return GoalResult<SnapshotGoal>.Unsupported([.. errors]);
        return GoalResult<SnapshotGoal>.Of(input.Absent ? null : new(input.Name, Scope(input).Machine));
    }

    public override Agent<SnapshotGoal, MomentState> AgentFor(MemberInput input)
    {
        var scope = Scope(input);
        return new SnapshotAgent(scope, new SnapshotActuator(scope, readers, writers));
    }

    public override IStateObserver<MomentState> ObserverFor(MemberInput input) => new SnapshotObserver(Scope(input), readers);

    /// <summary>Nothing happens to it that would have to be put right at once.</summary>
    public override MemberWatch WatchFor(MemberInput input) => new([], [], null);

    public override bool IsGone(MomentState state) => state.Snapshot != Moment.Ours;

    private SnapshotScope Scope(MemberInput input)
    {
        var instance = SnapshotSpec.Parse(input.Spec).Instance;
        return new()
        {
            Name = input.Name,
            Machine = $"{InstanceKind.Name} {input.Project}/{instance}",
            Layout = InstanceLayout.Of(input.Project, instance, "", 0, roots),
            Owner = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes("agentmetal/snapshot-owner/v1\n" + input.ResourceUid)))[..16],
        };
    }
}
