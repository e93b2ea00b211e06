namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>The numbers of libvirt-domain.h in words: those that virsh prints, where it has one.</summary>
internal static class LibvirtWords
{
    private static readonly string[] Running =
        ["unknown", "booted", "migrated", "restored", "from-snapshot", "unpaused", "migration-canceled", "save-canceled", "wakeup", "crashed", "post-copy", "post-copy-failed"];

    private static readonly string[] Paused =
        ["unknown", "user", "migration", "save", "dump", "ioerror", "watchdog", "from-snapshot", "shutting-down", "snapshot", "crashed", "starting-up", "post-copy", "post-copy-failed"];

    private static readonly string[] ShutOff = ["unknown", "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot", "daemon"];

    // virDomainEventType and its details, in the order of their numbers.
    private static readonly (string Event, string[] Details)[] Events =
    [
        ("defined", ["added", "updated", "renamed", "from-snapshot"]),
        ("undefined", ["removed", "renamed"]),
        ("started", ["booted", "migrated", "restored", "from-snapshot", "wakeup"]),
        ("suspended", ["paused", "migrated", "ioerror", "watchdog", "restored", "from-snapshot", "api-error", "post-copy", "post-copy-failed"]),
        ("resumed", ["unpaused", "migrated", "from-snapshot", "post-copy", "post-copy-failed"]),
        ("stopped", ["shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "from-snapshot"]),
        ("shutdown", ["finished", "guest", "host"]),
        ("suspended", ["pm-memory", "pm-disk"]),
        ("crashed", ["panicked", "crash-loaded"]),
    ];

    /// <summary>virDomainState.</summary>
    internal static DomainPower PowerOf(int state) => state switch
    {
        1 or 2 => DomainPower.Running,
        3 => DomainPower.Paused,
        4 => DomainPower.ShuttingDown,
        5 => DomainPower.ShutOff,
        6 => DomainPower.Crashed,
        7 => DomainPower.Suspended,
        _ => DomainPower.Unknown,
    };

    /// <summary>The reason of a state: vir DomainRunningReason, PausedReason, ShutoffReason and so on.</summary>
    internal static string ReasonOf(int state, int reason) => state switch
    {
        1 => At(Running, reason),
        3 => At(Paused, reason),
        4 => At(["unknown", "user"], reason),
        5 => At(ShutOff, reason),
        6 => At(["unknown", "panicked"], reason),
        _ => "unknown",
    };

    /// <summary>A lifecycle event: virDomainEventType and its detail.</summary>
    internal static (string Event, string Detail) EventOf(int type, int detail) =>
        type >= 0 && type < Events.Length ? (Events[type].Event, At(Events[type].Details, detail)) : ("changed", "unknown");

    /// <summary>A version number of libvirt's, 1,000,000 * major + 1,000 * minor + release; empty for 0.</summary>
    internal static string VersionOf(nuint version) =>
        version == 0 ? "" : string.Create(null, $"{version / 1_000_000}.{version / 1_000 % 1_000}.{version % 1_000}");

    // A newer libvirt has words that we do not know.
    private static string At(string[] words, int index) => index >= 0 && index < words.Length ? words[index] : "unknown";
}
