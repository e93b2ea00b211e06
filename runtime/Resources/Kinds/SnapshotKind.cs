using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>What a person says of a snapshot, typed. Made only from a spec that its schema has accepted.</summary>
/// <param name="Instance">Name of the machine.</param>
public sealed record SnapshotSpec(string Instance)
{
    /// <summary>Reads a spec that <see cref="SnapshotKind.Schema"/> accepted.</summary>
    /// <exception cref="JsonException">It did not.</exception>
    public static SnapshotSpec Parse(ReadOnlyMemory<byte> canonical)
    {
        try
        {
            using var document = JsonDocument.Parse(canonical);
            return new(document.RootElement.GetProperty("instance").GetString()!);
        }
        catch (Exception e) when (e is KeyNotFoundException or InvalidOperationException)
        {
            throw new JsonException("not a spec that the schema of Snapshot accepted: " + e.Message, e);
        }
    }
}

/// <summary>The kind Snapshot: one moment of an instance, kept in its disks.</summary>
public static class SnapshotKind
{
    /// <summary>Its name.</summary>
    public const string Name = "Snapshot";

    /// <summary>Fields, rules and documentation.</summary>
    public static KindSchema Schema { get; } = new()
    {
        Kind = Name,
        Aliases = ["snapshot", "snapshots", "snap"],
        Doc = "One moment of an instance: its disks, and its memory if it ran, kept in its disks on its host. The guest stands still while its memory is written. It is made once and never anew, and goes with its instance. agentmetal revert instance/NAME --to SNAPSHOT goes back to it.",
        Spec =
        [
            new("instance", FieldType.Text, "Name of the instance.") { Required = true, MaxLength = 63, Check = Names.LabelError, Immutable = true },
        ],
    };
}
