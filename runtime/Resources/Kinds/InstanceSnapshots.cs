using System.Globalization;
using System.Text;
using System.Text.Json;

namespace AgentMetal.Runtime.Resources.Kinds;

/// <summary>Snapshots that the host makes of a machine by itself.</summary>
/// <param name="Every">Between two; zero = none are made.</param>
/// <param name="Keep">How many are kept.</param>
public sealed record InstanceSnapshots(TimeSpan Every, int Keep)
{
    /// <summary>The least time between two.</summary>
    public static readonly TimeSpan MinEvery = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan s_maxEvery = TimeSpan.FromDays(30);

    /// <summary>Whether any are made.</summary>
    public bool Scheduled => Every > TimeSpan.Zero;

    /// <summary>Its documentation and the rules of each field.</summary>
    internal static Field Field { get; } = new("snapshots", FieldType.Group,
        "Snapshots that the host makes by itself while the machine runs, also without the coordinator: auto-20261128t120000z and so on (UTC), disks and memory. The guest stands still while its memory is written. Those that are there when the schedule is taken back stay until the instance goes.")
    {
        Fields =
        [
            new("every", FieldType.Text, "Time between two: 30s, 15m, 6h or 1d; 0 = none.") { Default = "0", MaxLength = 8, Check = EveryError, Effect = "live" },
            new("keep", FieldType.Integer, "How many of them are kept; the oldest are deleted.") { Default = 7L, Min = 1, Max = 64, Effect = "live" },
        ],
    };

    internal static IEnumerable<FieldError> Rules(InstanceSpec s)
    {
        if (!s.Snapshots.Scheduled) yield break;
        foreach (var error in DiskRules(s, "spec.snapshots.every")) yield return error;
    }

    /// <summary>What keeps a machine from having snapshots at all.</summary>
    internal static IEnumerable<FieldError> DiskRules(InstanceSpec s, string path)
    {
        if (s.AdoptDomain.Length > 0) yield return new(path, "cannot be set for a domain that was taken over: only its power is managed", "virsh snapshot-create-as " + s.AdoptDomain);
        else if (s.Disks.IsEmpty) yield return new(path, "needs a disk: a snapshot is kept in the machine's disks, and there is none", "name a disk in spec.disks, or leave it out");
        for (var i = 0; i < s.Disks.Length; i++)
            if (s.Disks[i].Format == "raw") yield return new($"spec.disks[{i}].format", $"is raw, which cannot hold the snapshots of {path}", "qcow2");
    }

    /// <summary>A spec that an earlier version stored has no such field.</summary>
    internal static InstanceSnapshots Read(JsonElement spec) =>
        spec.TryGetProperty("snapshots", out var s) ? new(Parse(s.GetProperty("every").GetString()!) ?? TimeSpan.Zero, s.GetProperty("keep").GetInt32()) : new(TimeSpan.Zero, 7);

    private static string? EveryError(string text) => Parse(text) switch
    {
        null => "is not a time such as 30s, 15m, 6h or 1d",
        { } every when every != TimeSpan.Zero && every < MinEvery => "is less than 30s: a machine would do little else",
        { } every when every > s_maxEvery => "is more than 30d",
        _ => null,
    };

    private static TimeSpan? Parse(string text)
    {
        if (text == "0") return TimeSpan.Zero;
        if (text.Length is < 2 or > 8 || !int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number)) return null;
        return text[^1] switch
        {
            's' => TimeSpan.FromSeconds(number),
            'm' => TimeSpan.FromMinutes(number),
            'h' => TimeSpan.FromHours(number),
            'd' => TimeSpan.FromDays(number),
            _ => null,
        };
    }
}

/// <summary>How the host tries a change that needs a restart, and takes it back by itself.</summary>
public sealed record InstanceAutoRevert
{
    /// <summary>Whether it does.</summary>
    public required bool Enabled { get; init; }

    /// <summary>Seconds within which the probe has to pass.</summary>
    public required int Seconds { get; init; }

    /// <summary>Text that the guest says on its serial console after the start; empty = not asked for.</summary>
    public required string ConsoleText { get; init; }

    /// <summary>A port on which the guest answers; 0 = not asked for.</summary>
    public required int TcpPort { get; init; }

    /// <summary>Whether qemu-guest-agent has to answer.</summary>
    public required bool GuestAgent { get; init; }

    /// <summary>Another number tries a change once more that was taken back.</summary>
    public required int Attempt { get; init; }

    /// <summary>Everything of it that makes a try another one.</summary>
    public string Text => string.Create(CultureInfo.InvariantCulture, $"{Seconds} {TcpPort} {(GuestAgent ? 1 : 0)} {Attempt} {ConsoleText}");

    /// <summary>Its documentation and the rules of each field.</summary>
    internal static Field Field { get; } = new("autoRevert", FieldType.Group,
        "A change that needs a restart of the running machine is tried: the host makes a snapshot (disks and memory), restarts, and asks the probe. If it does not pass in time the host itself puts the machine back to the snapshot, also without the coordinator, and what was written since is lost: therefore such a change waits for an approval, also with restart: allowed. One that was taken back is not tried again until the spec is another.")
    {
        Fields =
        [
            new("enabled", FieldType.Boolean, "Try changes.") { Default = false, Effect = "live" },
            new("seconds", FieldType.Integer, "Seconds after the start within which the probe has to pass.") { Default = 120L, Min = 10, Max = 3600, Effect = "live" },
            new("probe", FieldType.Group, "What has to be seen; all that is given.")
            {
                Fields =
                [
                    new("consoleText", FieldType.Text, "Text that the guest says on its serial console after the start; compared letter by letter.") { Default = "", MaxLength = 256, Effect = "live" },
                    new("tcpPort", FieldType.Integer, "A port on which the guest accepts a connection, at one of the addresses that the host knows of it; 0 = none.") { Default = 0L, Min = 0, Max = 65535, Effect = "live" },
                    new("guestAgent", FieldType.Boolean, "qemu-guest-agent answers.") { Default = false, Effect = "live" },
                ],
            },
            new("attempt", FieldType.Integer, "Another number tries a change once more that was taken back.") { Default = 0L, Min = 0, Max = 1_000_000, Effect = "live" },
        ],
    };

    internal static IEnumerable<FieldError> Rules(InstanceSpec s)
    {
        if (!s.AutoRevert.Enabled) yield break;
        foreach (var error in InstanceSnapshots.DiskRules(s, "spec.autoRevert.enabled")) yield return error;
        if (s.AutoRevert is { ConsoleText: "", TcpPort: 0, GuestAgent: false }) yield return new("spec.autoRevert.probe", "asks for nothing: every change would pass", "set consoleText, tcpPort or guestAgent");
        if (s.AutoRevert.GuestAgent && !s.GuestAgent) yield return new("spec.autoRevert.probe.guestAgent", "needs spec.guestAgent: without its channel no agent can answer", "set both to true");
        if (s.AutoRevert.TcpPort > 0 && s.Nics.IsEmpty && s.AdoptDomain.Length == 0) yield return new("spec.autoRevert.probe.tcpPort", "needs a network card in spec.nics");
        if (Encoding.UTF8.GetByteCount(s.AutoRevert.ConsoleText) > 1024) yield return new("spec.autoRevert.probe.consoleText", "is longer than 1024 bytes");
    }

    /// <summary>A spec that an earlier version stored has no such field.</summary>
    internal static InstanceAutoRevert Read(JsonElement spec)
    {
        if (!spec.TryGetProperty("autoRevert", out var a)) return new() { Enabled = false, Seconds = 120, ConsoleText = "", TcpPort = 0, GuestAgent = false, Attempt = 0 };
        var probe = a.GetProperty("probe");
        return new()
        {
            Enabled = a.GetProperty("enabled").GetBoolean(),
            Seconds = a.GetProperty("seconds").GetInt32(),
            ConsoleText = probe.GetProperty("consoleText").GetString()!,
            TcpPort = probe.GetProperty("tcpPort").GetInt32(),
            GuestAgent = probe.GetProperty("guestAgent").GetBoolean(),
            Attempt = a.GetProperty("attempt").GetInt32(),
        };
    }
}
