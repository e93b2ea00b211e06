using System.Collections.Immutable;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Coordinator.Agents.Snapshot;

/// <summary>
/// The fleet half of Snapshot: one member, on the host of its instance. It stays where it was made: on another host there would be another moment under its
/// name. An instance can be deleted with its snapshots, which are in its disks: so the reference is a weak one.
/// </summary>
internal sealed class SnapshotFleet : IFleetKind
{
    public string Kind => SnapshotKind.Name;

    public FleetShape Read(ReadOnlyMemory<byte> spec) => new()
    {
        Members = 1,
        Port = 0,
        Primary = 0,
        Labels = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal),
        SpreadOverHosts = false,
    };

    public IEnumerable<Reference> References(ReadOnlyMemory<byte> spec) => [new("spec.instance", InstanceKind.Name, SnapshotSpec.Parse(spec).Instance, Bond.Stays, Weak: true)];
}
