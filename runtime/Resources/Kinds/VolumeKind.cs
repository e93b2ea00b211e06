using System.Collections.Immutable;
using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>What a person wants of a volume, typed. Made only from a spec that its schema has accepted.</summary>
/// <param name="Size">Bytes; 0 = as large as the image.</param>
/// <param name="Format">qcow2 or raw.</param>
/// <param name="Image">Name of the Image it begins with; empty = it begins empty.</param>
/// <param name="PlacementLabels">Labels a host must have.</param>
public sealed record VolumeSpec(long Size, string Format, string Image, ImmutableSortedDictionary<string, string> PlacementLabels)
{
    /// <summary>Reads a spec that <see cref="VolumeKind.Schema"/> accepted.</summary>
    /// <exception cref="JsonException">It did not.</exception>
    public static VolumeSpec Parse(ReadOnlyMemory<byte> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(canonical);
            var s = document.RootElement;
            return new(Quantity.Parse(s.GetProperty("size").GetString()!)!.Value, s.GetProperty("format").GetString()!, s.GetProperty("image").GetString()!,
                s.GetProperty("placement").GetProperty("labels").EnumerateObject().ToImmutableSortedDictionary(p => p.Name, p => p.Value.GetString()!, StringComparer.Ordinal));
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
        {
            throw new JsonException("not a spec that the schema of Volume accepted: " + e.Message, e);
        }
    }
}

/// <summary>The kind Volume: a disk that outlives the instances that use it.</summary>
public static class VolumeKind
{
    /// <summary>Its name.</summary>
    public const string Name = "Volume";

    private const long MinSize = 1L << 20;

    /// <summary>Fields, rules and documentation.</summary>
    public static KindSchema Schema { get; } = new()
    {
        Kind = Name,
        Aliases = ["volume", "volumes", "vol"],
        Doc = "A disk on one host that outlives instances: an Instance names it in spec.disks[].volume and is placed where it is. One instance at a time uses it; deleting that leaves it as it is.",
        Rules = Rules,
        DeclaredRules = static (before, after) => before is { } had && (VolumeSpec.Parse(had), VolumeSpec.Parse(after)) is var (was, now) && now.Size > 0 && was.Size > now.Size && was.Format == now.Format
            ? [new("spec.size", $"{Quantity.Format(now.Size)} is less than the {Quantity.Format(was.Size)} that it has: a volume never shrinks", $"leave it at {Quantity.Format(was.Size)}, or make a smaller volume and copy what is in this one")] : [],
        Spec =
        [
            new("size", FieldType.Bytes, "Size; 0 = as large as the image. A volume can grow while a machine uses it, and never shrinks.") { Default = "0", Min = 0, Max = 1L << 46, Effect = "live" },
            new("format", FieldType.Choice, "How it is kept on the host. qcow2 takes the space that is written; raw is faster.") { Default = "qcow2", Choices = ["qcow2", "raw"], Immutable = true },
            new("image", FieldType.Text, "Name of an Image that it begins with, as a copy of its own; empty = an empty disk.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Immutable = true },
            new("placement", FieldType.Group, "Where it may be.")
            {
                Fields = [new("labels", FieldType.TextMap, "Labels a host must have.") { Default = new SortedDictionary<string, object?>(StringComparer.Ordinal), Max = 16 }],
            },
        ],
    };

    private static IEnumerable<FieldError> Rules(ReadOnlyMemory<byte> canonical)
    {
        var s = VolumeSpec.Parse(canonical);
        if (s.Image.Length == 0 && s.Size < MinSize) yield return new("spec.size", s.Size == 0 ? "is required for a volume without an image" : $"{Quantity.Format(s.Size)} is less than 1Mi");
        if (s.Size % 512 != 0) yield return new("spec.size", "is not a multiple of 512 bytes");
    }
}
