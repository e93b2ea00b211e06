using System.Globalization;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>What the kernel counts of one control group's memory.</summary>
/// <param name="Kills">Processes of it that the kernel killed for memory, since the group was made.</param>
/// <param name="Limit">Bytes; null = none.</param>
/// <param name="Peak">Most bytes that it ever had; null where the kernel does not count it.</param>
internal sealed record MemoryFigures(long Kills, long? Limit, long? Peak);

/// <summary>Reads what the kernel killed for memory.</summary>
internal interface IMemoryEvents
{
    /// <summary>Kills on this host since it booted; null where the kernel does not say.</summary>
    long? HostKills();

    /// <summary>systemd says itself which unit's process the kernel killed for memory (cgroup v2): the count of the host, which has the kills of all units in it, proves nothing of one then.</summary>
    bool SystemdTells { get; }

    /// <summary>Of a unit's group while it is there; systemd removes it in the moment in which its last process is dead.</summary>
    /// <param name="controlGroup">As systemd names it: "/system.slice/redis-server.service".</param>
    MemoryFigures? Of(string controlGroup);
}

/// <summary>
/// From the files of cgroup v2 (memory.events, memory.max, memory.peak) or v1 (memory.oom_control, memory.limit_in_bytes, memory.max_usage_in_bytes), and from
/// oom_kill of /proc/vmstat, which outlives the group. Source: cgroups(7), the kernel's cgroup-v2 and cgroup-v1/memory documents.
/// </summary>
internal sealed class MemoryEvents(string groups = "/sys/fs/cgroup", string vmstat = "/proc/vmstat") : IMemoryEvents
{
    /// <summary>v1 says "no limit" with the largest number of whole pages.</summary>
    private const long NoLimit = 1L << 62;

    public long? HostKills() => Field(vmstat, "oom_kill");

    public bool SystemdTells { get; } = File.Exists(groups + "/cgroup.controllers");

    public MemoryFigures? Of(string controlGroup)
    {
        if (controlGroup.Length < 2 || controlGroup[0] != '/' || controlGroup.Split('/').Contains("..")) return null;
        var v2 = groups + controlGroup;
        if (Field(v2 + "/memory.events", "oom_kill") is { } kills) return new(kills, Number(v2 + "/memory.max"), Number(v2 + "/memory.peak"));
        var v1 = groups + "/memory" + controlGroup;
        return Field(v1 + "/memory.oom_control", "oom_kill") is { } killed ? new(killed, Number(v1 + "/memory.limit_in_bytes"), Number(v1 + "/memory.max_usage_in_bytes")) : null;
    }

    private static long? Field(string path, string name)
    {
        foreach (var line in Text(path).Split('\n'))
            if (line.StartsWith(name + " ", StringComparison.Ordinal) && long.TryParse(line.AsSpan(name.Length + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var number)) return number;
        return null;
    }

    private static long? Number(string path) => long.TryParse(Text(path).Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number < NoLimit ? number : null;

    private static string Text(string path)
    {
        try { return File.ReadAllText(path); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return ""; }
    }
}
