using System.Collections.Immutable;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.Coordinator.Agents.Image;

/// <summary>The fleet half of Image: an entry of the catalogue. Hosts fetch it with the instances that refer to it, so it has no members of its own.</summary>
internal sealed class ImageFleet : IFleetKind
{
    public string Kind => ImageKind.Name;

    public bool HasMembers => false;

    public FleetShape Read(ReadOnlyMemory<byte> spec) => new()
    {
        Members = 0,
        Port = 0,
        Primary = 0,
        Labels = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal),
        SpreadOverHosts = false,
    };
}
