using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>One disk as it is wanted.</summary>
/// <param name="Name">RFC 1123 label.</param>
/// <param name="Target">Name in the guest: vda.</param>
/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes; 0 = as the image is.</param>
/// <param name="Image">What it begins with; null = nothing.</param>
internal sealed record DiskGoal(string Name, string Target, string Path, string Format, long Size, UsedImage? Image)
{
    /// <summary>Name of the Volume that it is: it is made, grown and deleted by that. Empty = the instance's own.</summary>
    public string Volume { get; init; } = "";

    /// <summary>The disk of another instance that it begins as a copy of, without the ending that says its format; empty = it does not.</summary>
    public string Source { get; init; } = "";
}

/// <param name="Dir">Of the instance.</param>
/// <param name="Volumes">Directory of all volumes.</param>
internal sealed record OwnFiles(string Dir, string Volumes)
{
    public static readonly OwnFiles None = new("", "");

    /// <summary>Whether a file is one of ours: another disk is somebody's, who attached it.</summary>
    public bool Has(string path) => Dir.Length > 0 && (path.StartsWith(Dir + "/", StringComparison.Ordinal) || path.StartsWith(Volumes + "/", StringComparison.Ordinal));
}

/// <summary>The seed of cloud-init.</summary>
/// <param name="Digest">Of all that is in it.</param>
/// <param name="Path">Its file.</param>
/// <param name="UserData">user-data.</param>
/// <param name="MetaData">meta-data.</param>
internal sealed record SeedGoal(string Digest, string Path, string UserData, string MetaData);

/// <param name="Name">Of the other instance.</param>
/// <param name="Domain">What it is called in libvirt.</param>
/// <param name="Dir">Where its disks are.</param>
internal sealed record SourceGoal(string Name, string Domain, string Dir);

/// <summary>What is wanted of one virtual machine.</summary>
internal sealed record InstanceGoal
{
    public required InstanceSpec Spec { get; init; }

    /// <summary>What libvirt is to know of it; its type follows from the host and is set by Aim. Null for a domain that was taken over.</summary>
    public required DomainConfig? Config { get; init; }

    public ImmutableArray<DiskGoal> Disks { get; init; } = [];

    /// <summary>Files that are its own, or a volume's.</summary>
    public OwnFiles Own { get; init; } = OwnFiles.None;

    /// <summary>Addresses that cards have which were given none, in the order in which they are given out.</summary>
    public ImmutableArray<string> OwnMacs { get; init; } = [];

    /// <summary>Every image that it needs on the host, each once.</summary>
    public ImmutableArray<UsedImage> Images { get; init; } = [];

    public SeedGoal? Seed { get; init; }

    /// <summary>The instance's project and name, and its spec as it was declared: what an export says again.</summary>
    public string Project { get; init; } = "";
    public string Name { get; init; } = "";
    public ReadOnlyMemory<byte> Declared { get; init; }

    /// <summary>Whose disks its own begin as copies of; null = nobody's.</summary>
    public SourceGoal? Source { get; init; }

    public ImmutableArray<string> Networks { get; init; } = [];

    /// <summary>By card (<see cref="Card"/>): the address that its network keeps for it.</summary>
    public ImmutableSortedDictionary<string, string> Addresses { get; init; } = Aspect.None;

    public ImmutableArray<string> Bridges { get; init; } = [];

    /// <summary>What it would execute and no operator has signed, by purpose and digest, in words.</summary>
    public ImmutableArray<(string Key, string Text)> Unsigned { get; init; } = [];

    /// <summary>The domain that was taken over; empty = it has its own.</summary>
    public string Adopt { get; init; } = "";

    /// <summary>Of what a trial of it would try; see <see cref="Trials"/>.</summary>
    public string ChangeDigest => Config is null ? "" : Trials.Digest(Config, Spec.AutoRevert.Text);

    /// <summary>It was tried and taken back, and the definition that is there stays; set by Aim.</summary>
    public bool TakenBack { get; init; }

    /// <summary>Whether snapshots are looked at.</summary>
    public bool NeedsSnapshots => Adopt.Length == 0 && (Spec.Snapshots.Scheduled || Spec.AutoRevert.Enabled || Spec.Request.Action == InstanceRequest.Revert || MoveTo is not null);

    /// <summary>Where it comes from; null = it is this host's from the beginning.</summary>
    public PeerAddress? MoveFrom { get; init; }

    /// <summary>Where it goes; null = it stays.</summary>
    public PeerAddress? MoveTo { get; init; }

    /// <summary>Another host reads it: it stays off, also when the host starts. Set by Aim.</summary>
    public bool IsOffered { get; init; }

    /// <summary>Of all that is wanted of the machine, for <see cref="InstanceDrift"/>.</summary>
    public string Digest { get; init; } = "";

    public bool ReportsDrift => Spec.ReportsDrift;

    /// <summary>running, off or paused, in the words of the power fact.</summary>
    public string Power => IsOffered ? Instance.Power.Off : Spec.Power switch { "running" => Instance.Power.Running, "paused" => Instance.Power.Paused, _ => Instance.Power.Off };

    public string Autostart => Spec.Autostart && !IsOffered ? Yes.It : Yes.No;
}
