using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>Another instance whose disks these begin as copies of.</summary>
public static class InstanceSource
{
    /// <summary>Its documentation and the rules of each field.</summary>
    internal static Field Field { get; } = new("source", FieldType.Group, "Another instance of the project whose disks of the same names these begin as copies of: agentmetal clone writes it. It is used when the disks are made, and not after; the source may be deleted then.")
    {
        Fields = [new("instance", FieldType.Text, "Its name; empty = none. It is placed first where that is, and the copy is made while that is off.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Immutable = true }],
    };

    internal static IEnumerable<FieldError> Rules(InstanceSpec s)
    {
        if (s.Source.Length == 0) yield break;
        if (s.AdoptDomain.Length > 0) yield return new("spec.source.instance", "cannot be set together with adopt.domain, which brings its own disks", "leave one of the two out");
        else if (!s.Disks.Any(d => d.Volume.Length == 0)) yield return new("spec.source.instance", "is set, and there is no disk that could be a copy", "leave it out");
        for (var i = 0; i < s.Disks.Length; i++)
            if (s.Disks[i].Image.Length > 0) yield return new($"spec.disks[{i}].image", "cannot be set together with source.instance: the disk begins as a copy", "leave it out");
    }

    /// <summary>A spec that an earlier version stored has no such field.</summary>
    internal static string Read(JsonElement spec) => spec.TryGetProperty("source", out var source) ? source.GetProperty("instance").GetString()! : "";
}
