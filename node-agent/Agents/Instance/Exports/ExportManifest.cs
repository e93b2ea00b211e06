using System.Security.Cryptography;
using System.Text;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance.Exports;

/// <summary>One disk of an export.</summary>
/// <param name="Disk">Its name in the instance.</param>
/// <param name="File">In the directory.</param>
/// <param name="Sha256">Of the file.</param>
/// <param name="Size">Bytes that a guest sees.</param>
internal sealed record ExportedDisk(string Disk, string File, string Sha256, long Size);

/// <summary>What an export can be declared again with. A spec is written as JSON, which is YAML: the same bytes mean the same to every reader.</summary>
internal static class ExportManifest
{
    /// <param name="project">Of the instance.</param>
    /// <param name="name">Of the instance.</param>
    /// <param name="spec">As it is declared; canonical JSON.</param>
    /// <param name="directory">Where the export is.</param>
    /// <param name="disks">Its own disks, all of them.</param>
    /// <param name="images">Kernel and initial memory disk that it boots, which are not in the export.</param>
    public static string Of(string project, string name, ReadOnlyMemory<byte> spec, string directory, IReadOnlyList<ExportedDisk> disks, IReadOnlyList<UsedImage> images)
    {
        var text = new StringBuilder("# Declares the exported instance again: agentmetal import -f manifest.yaml [--name NEW] [--to HOST] [--base-url URL]\n# What cloud-init was told is in it, secrets too: keep it as you keep those.\n");
        foreach (var image in images) Document(text, ImageKind.Name, project, image.Name, ImageOf(image.Spec.Url, image.Spec.Sha256, image.Spec.Format));
        foreach (var disk in disks) Document(text, ImageKind.Name, project, ImageName(disk), ImageOf($"file://{directory}/{disk.File}", disk.Sha256, "qcow2"));
        Document(text, InstanceKind.Name, project, name, Instance(spec, disks));
        return text.ToString();
    }

    /// <summary>Named after its content: what is imported twice is one Image.</summary>
    public static string ImageName(ExportedDisk disk) => $"{disk.Disk}-{disk.Sha256[..12]}";

    private static byte[] Instance(ReadOnlyMemory<byte> spec, IReadOnlyList<ExportedDisk> disks)
    {
        var map = (SortedDictionary<string, object?>)CanonicalJson.Parse(spec).Value!;
        map.Remove("request");
        map.Remove("source");
        foreach (var item in ((List<object?>)map["disks"]!).Cast<SortedDictionary<string, object?>>())
            if (disks.FirstOrDefault(d => d.Disk == (string)item["name"]!) is { } disk) (item["image"], item["size"]) = (ImageName(disk), Quantity.Format(disk.Size));
        return CanonicalJson.Write(map);
    }

    private static byte[] ImageOf(string url, string sha256, string format) =>
        CanonicalJson.Write(new SortedDictionary<string, object?>(StringComparer.Ordinal) { ["url"] = url, ["sha256"] = sha256, ["format"] = format });

    /// <summary>Project and name have passed a closed alphabet.</summary>
    private static void Document(StringBuilder text, string kind, string project, string name, byte[] spec) =>
        text.Append("---\napiVersion: ").Append(Resource.ApiVersion).Append("\nkind: ").Append(kind).Append("\nmetadata: { project: \"").Append(project).Append("\", name: \"").Append(name).Append("\" }\nspec: ").Append(Encoding.UTF8.GetString(spec)).Append('\n');

    public static async Task<string> DigestAsync(string file, CancellationToken stop)
    {
        await using var stream = File.OpenRead(file);
        return Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, stop));
    }
}
