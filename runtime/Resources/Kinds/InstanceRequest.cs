using System.Collections.Immutable;
using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>What a person asks of a virtual machine once, said declaratively: the host carries it out once for each id, and remembers the last one.</summary>
/// <param name="Action">none, restart, reset or export.</param>
/// <param name="Id">RFC 1123 label; empty only where nothing is asked.</param>
public sealed record InstanceRequest(string Action, string Id)
{
    /// <summary>The actions.</summary>
    public const string Nothing = "none", Restart = "restart", Reset = "reset", Revert = "revert", Export = "export";

    /// <summary>Where a revert goes back to; empty with other actions.</summary>
    public string Snapshot { get; init; } = "";

    /// <summary>Nothing is asked.</summary>
    public static InstanceRequest None { get; } = new(Nothing, "");

    /// <summary>Whether something is asked.</summary>
    public bool IsGiven => Action != Nothing;

    /// <summary>Its documentation and the rules of each field.</summary>
    internal static Field Field { get; } = new("request", FieldType.Group,
        "What is done once: agentmetal restart and reset write it. The host does it once for each id and remembers the last id; another id, also an earlier one, is a new request. A machine that is made with a request, and one that is started anyway, has it done by its start. While spec.power is stopped or paused it waits.")
    {
        Fields =
        [
            new("action", FieldType.Choice, "restart: shut the guest down in order and start it as it is defined now (spec.shutdown says how long it has, and whether it may be switched off). reset: the reset button; what the guest has not written is lost, so it needs an approval. revert: put the machine back to spec.request.snapshot, its disks, memory and definition; what was written since is lost, so it needs an approval export: write the disks and a manifest to /var/lib/agentmetal/exports on its host, while it is off.") { Default = Nothing, Choices = [Nothing, Restart, Reset, Revert, Export], Effect = "once for each id" },
            new("id", FieldType.Text, "Which request it is; a new one for each.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Effect = "once for each id" },
            new("snapshot", FieldType.Text, "The snapshot that revert goes back to: one of the kind Snapshot, or one of the schedule.") { Default = "", MaxLength = 63, Check = static t => t.Length == 0 ? null : Names.LabelError(t), Effect = "with revert" },
        ],
    };

    internal static IEnumerable<FieldError> Rules(InstanceSpec s)
    {
        if (s.Request.Snapshot.Length > 0 && s.Request.Action != Revert) yield return new("spec.request.snapshot", $"needs action revert: {s.Request.Action} goes back to nothing", "leave it out");
        if (!s.Request.IsGiven) yield break;
        if (s.Request is { Action: Revert, Snapshot: "" }) yield return new("spec.request.snapshot", "is required with action revert", "agentmetal revert instance/NAME --to SNAPSHOT writes it");
        if (s.Request.Id.Length == 0) yield return new("spec.request.id", $"is required with action {s.Request.Action}: it is done once for each id", $"agentmetal {s.Request.Action} instance/NAME writes both");
        if (s.AdoptDomain.Length > 0) yield return new("spec.request.action", $"cannot be {s.Request.Action} for a domain that was taken over: only its power is managed", $"virsh {(s.Request.Action switch { Reset => "reset", Revert => "snapshot-revert", Export => "dumpxml", _ => "reboot" })} {s.AdoptDomain}");
    }

    /// <summary>A spec that an earlier version stored has no such field.</summary>
    internal static InstanceRequest Read(JsonElement spec) =>
        spec.TryGetProperty("request", out var r) ? new(r.GetProperty("action").GetString()!, r.GetProperty("id").GetString()!) { Snapshot = r.TryGetProperty("snapshot", out var to) ? to.GetString()! : "" } : None;
}
