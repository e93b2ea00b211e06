using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>The directories below which instances live; other ones only in tests.</summary>
internal sealed record InstanceRoots
{
    public string Lib { get; init; } = "/var/lib/agentmetal";

    /// <summary>Programs of QEMU and of the seed's file system.</summary>
    public string QemuImg { get; init; } = "/usr/bin/qemu-img";
    public string Xorriso { get; init; } = "/usr/bin/xorriso";
    public string Emulator { get; init; } = "/usr/bin/qemu-system-x86_64";
    public string Daemon { get; init; } = "/usr/sbin/libvirtd";

    /// <summary>Programs without which there are no machines, and the packages that bring them.</summary>
    public IEnumerable<(string Path, string Package)> Needed => [(Daemon, "libvirt-daemon-system"), (Emulator, "qemu-system-x86"), (QemuImg, "qemu-utils"), (Xorriso, "xorriso")];

    /// <summary>"qemu" for QEMU, with the accelerator that the host has; "test" for libvirt's test driver.</summary>
    public string TestType { get; init; } = "";
}

/// <summary>
/// Where everything of one instance is, and what it is called in libvirt. The name is what people read in `virsh list`; project and name may both hold
/// hyphens, so where "a-b" + "c" and "a" + "b-c" would meet, the hyphenated project gets a suffix that no name can hold.
/// </summary>
internal sealed record InstanceLayout
{
    /// <summary>Names of the domain and of the directory.</summary>
    public required string Id { get; init; }

    /// <summary>Follows from the resource's uid, so that a domain made by somebody else is never taken for ours.</summary>
    public required string Uuid { get; init; }

    public required string Dir { get; init; }
    public required string DirParent { get; init; }
    public required string ImageDir { get; init; }

    /// <summary>Id of the last request that was carried out.</summary>
    public string Request => Dir + "/request";

    /// <summary>Digest of the goal that the machine was last as wanted by.</summary>
    public string Settled => Dir + "/settled";

    /// <summary>Where the export that a request asks for is.</summary>
    public string Export(string request) => Path.GetDirectoryName(DirParent) + "/exports/" + Id + "-" + request;

    /// <summary>Cards for which an address is kept, or may be: one a line.</summary>
    public string Reserved => Dir + "/reserved";

    /// <summary>What libvirt writes down of the machine while it runs; only watched, never read.</summary>
    public string Status => "/run/libvirt/qemu/" + Id + ".xml";

    public string ConsoleLog => Dir + "/console.log";

    /// <summary>Names in <see cref="Dir"/> that are of this host and not of the machine: what the guest wrote to its console, what networks here keep, what is being made.</summary>
    public static bool StaysHere(string name) => name is "reserved" or "seed" or "console.log" or "hung" or "owner" || name.StartsWith("console.log.", StringComparison.Ordinal) || name.EndsWith(".partial", StringComparison.Ordinal);

    /// <summary>The uuid of the domain whose directory it is: it follows from the resource's uid, and the directory's name does not.</summary>
    public string OwnerMark => Dir + "/owner";

    /// <summary>What waits for a restart that nobody has signed yet, aspect by aspect.</summary>
    public string Held => Dir + "/held";

    /// <summary>The run of the machine in which its guest did not shut down when it was asked to.</summary>
    public string Hung => Dir + "/hung";

    /// <summary>Which card has which address, for when libvirt does not know the machine.</summary>
    public string Cards => Dir + "/cards";

    public OwnFiles Own => new(Dir, Path.GetDirectoryName(DirParent) + "/volumes");

    /// <summary>How far a change is that is on trial, and which one was taken back last.</summary>
    public string Trial => Dir + "/trial.json";
    public string Reverted => Dir + "/reverted.json";

    /// <summary>A disk's file; the name is an RFC 1123 label.</summary>
    public string Disk(string name, string format) => Dir + "/" + name + "." + format;

    /// <summary>The name says what is in it, so a seed that is there is the right one.</summary>
    public string Seed(string digest) => Dir + "/seed-" + digest[..16] + ".iso";

    /// <summary>Shared by all instances of the host.</summary>
    public string Image(string sha256, string format) => ImageDir + "/" + sha256 + "." + format;

    /// <param name="project">RFC 1123 label, checked by the caller.</param>
    /// <param name="name">RFC 1123 label, checked by the caller.</param>
    /// <param name="resourceUid">The resource's uid.</param>
    /// <param name="ordinal">Which member.</param>
    /// <param name="roots">The directories below which instances live.</param>
    public static InstanceLayout Of(string project, string name, string resourceUid, int ordinal, InstanceRoots roots)
    {
        var digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(project + "/" + name)));
        var id = project.Contains('-', StringComparison.Ordinal) ? $"{project}-{name}_{digest[..8]}" : $"{project}-{name}";
        return new()
        {
            Id = id,
            Uuid = UuidOf(resourceUid, ordinal),
            Dir = roots.Lib + "/instances/" + id,
            DirParent = roots.Lib + "/instances",
            ImageDir = roots.Lib + "/images",
        };
    }

    /// <summary>Version 8 of RFC 9562: what is in it is our own affair.</summary>
    private static string UuidOf(string resourceUid, int ordinal)
    {
        var hash = Hash("agentmetal/instance-uuid/v1", resourceUid, ordinal);
        hash[6] = (byte)((hash[6] & 0x0F) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Guid(hash.AsSpan(0, 16), bigEndian: true).ToString("D");
    }

    /// <summary>The address of a card that was given none: of QEMU's range, the same for ever.</summary>
    public static string MacOf(string resourceUid, int nic)
    {
        var hash = Hash("agentmetal/instance-mac/v1", resourceUid, nic);
        return string.Create(CultureInfo.InvariantCulture, $"52:54:00:{hash[0]:x2}:{hash[1]:x2}:{hash[2]:x2}");
    }

    private static byte[] Hash(string domain, string uid, int number) => SHA256.HashData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{domain}\n{uid}\n{number}")));
}

/// <summary>An image as an instance on this host uses it.</summary>
/// <param name="Name">Of the Image resource.</param>
/// <param name="Spec">What it is, as the coordinator says; its digest counts only when an operator has signed it.</param>
internal sealed record UsedImage(string Name, ImageSpec Spec);
