using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Whose mark there is.</summary>
internal static class Mark
{
    public const string Ours = "ours", Other = "other";
}

/// <summary>Who uses a volume.</summary>
internal static class User
{
    public const string None = "none";
}

/// <summary>The planning facts of one volume.</summary>
internal sealed record VolumeState
{
    /// <summary>ok, or what is missing.</summary>
    public required string Programs { get; init; }

    /// <summary>"qcow2 1073741824"; "-" when there is none; text of one that cannot be used.</summary>
    public required string File { get; init; }

    /// <summary>ours, other or absent: that it was made once, and for whom.</summary>
    public required string Mark { get; init; }

    /// <summary>Names of all domains of libvirt, whoever made them, that name the file; none.</summary>
    public required string Users { get; init; }

    /// <summary>"uuid vdb" of the domain that runs with it; "-" when none does.</summary>
    public required string Running { get; init; }

    /// <summary>Of what it begins with: present or absent.</summary>
    public string Image { get; init; } = FactValue.Absent;

    /// <summary>Of a volume that is to go: what is left of an attempt to make it.</summary>
    public string Partial { get; init; } = FactValue.Absent;

    // Not facts.

    /// <summary>Bytes that a guest sees; 0 when that cannot be said.</summary>
    public long Size { get; init; }

    /// <summary>Where the file is.</summary>
    public required string Path { get; init; }

    /// <summary>Bytes that a guest would see of the image; 0 until it is there.</summary>
    public long ImageSize { get; init; }

    /// <summary>Of the image, while it runs or when it failed.</summary>
    public DownloadState? Download { get; init; }

    /// <summary>The same with this file.</summary>
    public VolumeState With(string format, long size) => this with { File = new DiskState(format, size, "").ToString(), Size = size };
}

/// <summary>Fact keys of a volume, and their values.</summary>
internal static class VolumeFacts
{
    public const string Programs = "programs", File = "file", Mark = "mark", Users = "users", Running = "running", Image = "image", Partial = "partial";

    public static readonly System.Collections.Immutable.ImmutableArray<string> Keys = [Programs, File, Mark, Users, Running, Image, Partial];

    public static string Value(VolumeState s, string key) => key switch
    {
        Programs => s.Programs,
        File => s.File,
        Mark => s.Mark,
        Users => s.Users,
        Running => s.Running,
        Image => s.Image,
        Partial => s.Partial,
        _ => throw new ArgumentOutOfRangeException(nameof(key), key, "not a fact of a volume"),
    };
}
