using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Coordinator.Agents.Instance;

/// <summary>The fleet half of Volume: one member, which reserves nothing of its host but its place there.</summary>
internal sealed class VolumeFleet : IFleetKind
{
    public string Kind => VolumeKind.Name;

    public FleetShape Read(ReadOnlyMemory<byte> spec) => new()
    {
        Members = 1,
        Port = 0,
        Primary = 0,
        Labels = VolumeSpec.Parse(spec).PlacementLabels,
        SpreadOverHosts = false,
        Hypervisor = true, // The machine that uses it goes where it is.
    };

    public IEnumerable<Reference> References(ReadOnlyMemory<byte> spec) => VolumeSpec.Parse(spec).Image is { Length: > 0 } image ? [new("spec.image", ImageKind.Name, image)] : [];
}
