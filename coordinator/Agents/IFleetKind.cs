using System.Collections.Immutable;

namespace AgentMetal.Coordinator.Agents;

/// <summary>The kind-specific part of a fleet half: what placement must know of a spec. Pure.</summary>
internal interface IFleetKind
{
    /// <summary>The kind as it is written in resources ("Redis").</summary>
    string Kind { get; }

    /// <summary>Reads a spec that passed validation.</summary>
    /// <exception cref="System.Text.Json.JsonException">It did not: a bug, because specs are validated where they enter.</exception>
    FleetShape Read(ReadOnlyMemory<byte> spec);

    /// <summary>Whether resources of this kind have members on hosts; one that has none is an entry that others refer to.</summary>
    bool HasMembers => true;

    /// <summary>Other resources of the same project that the spec refers to; each once.</summary>
    IEnumerable<Reference> References(ReadOnlyMemory<byte> spec) => [];
}

/// <summary>Whether a member must be on the host where a resource that its spec refers to has its member.</summary>
internal enum Bond
{
    /// <summary>Anywhere.</summary>
    None,

    /// <summary>When it is placed first, and not after: a copy is made where the original is.</summary>
    AtFirst,

    /// <summary>Always; when the two are apart it stays where it is, and that is said: what it has is there.</summary>
    Stays,

    /// <summary>Always, and it goes there by itself: it has nothing that is not the other's.</summary>
    Follows,
}

/// <summary>One resource that a spec refers to.</summary>
/// <param name="Path">The field that names it: "spec.disks[0].image".</param>
/// <param name="Kind">"Image".</param>
/// <param name="Name">Its name within the project.</param>
/// <param name="Bond">Whether members go where it is.</param>
/// <param name="Weak">It need not exist, its spec is not told to hosts, and it can be deleted.</param>
/// <param name="Alone">No other resource may refer to it at the same time.</param>
internal sealed record Reference(string Path, string Kind, string Name, Bond Bond = Bond.None, bool Weak = false, bool Alone = false);

/// <summary>What placement must know of a resource.</summary>
internal sealed record FleetShape
{
    /// <summary>How many members; ordinals run from 0. None: the kind has no members.</summary>
    public required int Members { get; init; }

    /// <summary>The port that each member listens on; a host can hold one member of it. 0 = members listen nowhere.</summary>
    public required int Port { get; init; }

    /// <summary>The ordinal that should be primary.</summary>
    public required int Primary { get; init; }

    /// <summary>A host must have all of these.</summary>
    public required ImmutableSortedDictionary<string, string> Labels { get; init; }

    /// <summary>No two members on one host.</summary>
    public required bool SpreadOverHosts { get; init; }

    /// <summary>Bytes of its host's memory that are kept for each member; 0 = none.</summary>
    public long MemoryBytes { get; init; }

    /// <summary>Thousandths of a core that are kept for each member; 0 = none.</summary>
    public int CpuMillis { get; init; }

    /// <summary>Members run virtual machines: a host that says that it cannot is given none while another one can.</summary>
    public bool Hypervisor { get; init; }

    /// <summary>Name of the host that members belong on; empty = any. One that is elsewhere is moved there, if it can be.</summary>
    public string Node { get; init; } = "";

    /// <summary>Whether hosts can hand a member of this kind over to each other, with its data.</summary>
    public bool CanMove { get; init; }

    /// <summary>Why this one is not handed over all the same; empty = it is.</summary>
    public string WhyItStays { get; init; } = "";

    /// <summary>Name of an existing thing to take over; empty = none.</summary>
    public string Adopt { get; init; } = "";

    /// <summary>Names of the secrets to mint with the first member: 32 random bytes each, as base64url text.</summary>
    public ImmutableArray<string> Secrets { get; init; } = [];
}
