using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Coordinator.Agents.Instance;

/// <summary>The fleet half of Instance: one member, which listens on no port of its host, reserves memory and processor time there, and needs its images.</summary>
internal sealed class InstanceFleet : IFleetKind
{
    public string Kind => InstanceKind.Name;

    public FleetShape Read(ReadOnlyMemory<byte> spec)
    {
        var instance = InstanceSpec.Parse(spec);
        return new()
        {
            Members = 1,
            Port = 0,
            Primary = 0,
            Labels = instance.PlacementLabels,
            SpreadOverHosts = false,
            MemoryBytes = instance.ReservedMemory,
            CpuMillis = instance.ReservedCpuMillis,
            Hypervisor = true,
            Adopt = instance.AdoptDomain,
            Node = instance.PlacementNode,
            CanMove = true,
            WhyItStays = instance.AdoptDomain.Length > 0 ? "it was taken over (spec.adopt.domain), and hosts hand over only what they made" : "",
        };
    }

    public IEnumerable<Reference> References(ReadOnlyMemory<byte> spec)
    {
        var instance = InstanceSpec.Parse(spec);
        foreach (var (path, image) in instance.Images) yield return new(path, ImageKind.Name, image);
        foreach (var (path, volume) in instance.Volumes) yield return new(path, VolumeKind.Name, volume, Bond.Stays, Alone: true);
        // Only where the copy is made: what it was made of may go, and it may be moved.
        if (instance.Source.Length > 0) yield return new("spec.source.instance", InstanceKind.Name, instance.Source, Bond.AtFirst, Weak: true);
    }
}
