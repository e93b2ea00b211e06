using System.Reflection;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes.VolumeSamples;

namespace AgentMetal.Conformance.Instance;

/// <summary>The node half of Volume. That its predictions are what qemu-img and libvirt do is shown on a host of the lab.</summary>
public sealed class VolumeConformance : AgentConformance
{
    private protected override ISuite Suite { get; } = new Suite<VolumeGoal, VolumeState>(new VolumeCases());
}

internal sealed class VolumeCases : Samples<VolumeGoal, VolumeState>
{
    public override IReadOnlyCollection<string> Kinds { get; } =
        [.. typeof(VolumeKinds).GetFields(BindingFlags.Public | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => (string)f.GetRawConstantValue()!)];

    public override Gen<Case<VolumeGoal, VolumeState>> Any { get; } = Inputs.SelectMany(i => State(i).Select(s => Of("", i, s)));

    public override IReadOnlyList<Case<VolumeGoal, VolumeState>> Journeys { get; } =
    [
        Of("create", Volume(), Nothing(Volume())),
        Of("create from an image", Volume(FromImage), Nothing(Volume(FromImage))),
        Of("take over what is there", Volume(), Converged(Volume()) with { Mark = FactValue.Absent }),
        Of("make anew what was lost", Volume(), Nothing(Volume()) with { Mark = Mark.Ours }),
        Of("grow", Volume("""{"size":"2Gi"}"""), Converged(Volume())),
        Of("grow while a machine runs with it", Volume("""{"size":"2Gi"}"""), Converged(Volume()) with { Users = "default-web", Running = Running }),
        Of("delete", Volume(absent: true), Converged(Volume(absent: true))),
        Of("delete what is left", Volume(absent: true), Nothing(Volume(absent: true)) with { Mark = Mark.Ours, Partial = Present.It }),
    ];

    public override bool HoldsData => true;

    /// <summary>A download ends, and with it the size of what it fetched is known.</summary>
    public override VolumeState Settle(VolumeState s) => s with { Download = null, ImageSize = s.Image == Present.It ? 2L << 30 : 0 };

    /// <summary>A volume has few facts: two of them are changed together too.</summary>
    public override IEnumerable<VolumeState> Between(VolumeState a, VolumeState b) => s_parts.SelectMany((p, i) => s_parts.Take(i + 1).Select(q => q(p(a, b), b)));

    private static readonly Func<VolumeState, VolumeState, VolumeState>[] s_parts =
    [
        (a, b) => a with { Programs = b.Programs }, (a, b) => a with { File = b.File, Size = b.Size }, (a, b) => a with { Mark = b.Mark }, (a, b) => a with { Users = b.Users }, (a, b) => a with { Running = b.Running },
        (a, b) => a with { Image = b.Image, ImageSize = b.ImageSize }, (a, b) => a with { Partial = b.Partial },
    ];

    public override bool Loses(VolumeState before, VolumeState after) => before.File != FactValue.Absent && after.File == FactValue.Absent;

    private static Case<VolumeGoal, VolumeState> Of(string name, MemberInput input, VolumeState state) => new(name, new VolumeAgent(NodeHalf.Scope(input)), NodeHalf.ReadGoal(input).Goal, state,
        new PlanRequest(new(new string('a', 32), input.ResourceUid, input.Generation), "goal", input.Protect) { Teardown = input.Teardown });
}
