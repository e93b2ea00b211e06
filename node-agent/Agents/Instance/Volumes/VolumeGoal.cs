using System.Collections.Immutable;

namespace AgentMetal.NodeAgent.Agents.Instance.Volumes;

/// <summary>Where a volume is: its data, and beside it, where no other file system is ever mounted, that it was made.</summary>
/// <param name="Dir">Of all volumes' data.</param>
/// <param name="Id">Names the files; made of project and name as the directories of instances are.</param>
/// <param name="MarkDir">Of all volumes' marks.</param>
internal sealed record VolumeLayout(string Dir, string Id, string MarkDir)
{
    /// <summary>Holds the uid of the Volume whose data was made under this name.</summary>
    public string Mark => MarkDir + "/" + Id;

    /// <param name="format">qcow2 or raw.</param>
    public string File(string format) => Dir + "/" + Id + "." + format;

    /// <param name="project">RFC 1123 label, checked by the caller.</param>
    /// <param name="name">RFC 1123 label, checked by the caller.</param>
    /// <param name="roots">The directories below which instances live.</param>
    public static VolumeLayout Of(string project, string name, InstanceRoots roots) =>
        new(roots.Lib + "/volumes", InstanceLayout.Of(project, name, "", 0, roots).Id, roots.Lib + "/volume-marks");
}

/// <summary>What is wanted of one volume.</summary>
/// <param name="Path">Its file.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Size">Bytes; 0 = as the image is.</param>
/// <param name="Image">What it begins with; null = nothing.</param>
/// <param name="Unsigned">What it would begin with and no operator has signed, by purpose and digest, in words.</param>
internal sealed record VolumeGoal(string Path, string Format, long Size, UsedImage? Image, ImmutableArray<(string Key, string Text)> Unsigned);

/// <summary>What is fixed for one volume while one pass lasts.</summary>
internal sealed record VolumeScope
{
    public required VolumeLayout Layout { get; init; }

    public required InstanceRoots Roots { get; init; }

    /// <summary>Of the resource: whose mark it is.</summary>
    public required string Uid { get; init; }

    /// <summary>Null when the volume is to go.</summary>
    public VolumeGoal? Goal { get; init; }

    /// <summary>Files that may hold its data: one, or one of each format when what it was is not known any more.</summary>
    public required ImmutableArray<(string Path, string Format)> Files { get; init; }

    /// <summary>Shared with the instances of the host.</summary>
    public string ImageDir => Roots.Lib + "/images";

    public string ImageFile(UsedImage image) => ImageDir + "/" + image.Spec.Sha256 + "." + image.Spec.Format;
}
