using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.Coordinator.Agents.Orchestrator;

/// <summary>Whether what a member reserves fits a host. Memory and cores are never promised twice; what is there already is never moved for it.</summary>
internal static class PlacementRoom
{
    /// <summary>Null when the host has room for one more member; else why not, naming the host.</summary>
    public static string? WhyNone(PlacementGoal goal, HostView host) => Why(host, goal.Shape.MemoryBytes, goal.Shape.CpuMillis);

    /// <summary>Null when the member can have on its host what it is to reserve, which it can always if that is no more than it has.</summary>
    public static string? WhyNotGrow(PlacementGoal goal, HostView? host, MemberView member)
    {
        var (memory, cpu) = (goal.Shape.MemoryBytes - member.MemoryBytes, goal.Shape.CpuMillis - member.CpuMillis);
        if ((memory <= 0 && cpu <= 0) || host is null) return null;
        return Why(host, memory, cpu, grows: true);
    }

    /// <summary>Thousandths of what can be reserved that are free; 0 for members that reserve nothing, so that it decides nothing.</summary>
    public static long FreeShare(PlacementGoal goal, HostView host) =>
        goal.Shape.MemoryBytes > 0 && host is { Allocatable.MemoryBytes: > 0, Free: { } free } ? free.MemoryBytes / Math.Max(1, host.Allocatable.MemoryBytes / 1000) : 0;

    /// <summary>The hosts with this member's reservation on one of them.</summary>
    public static ImmutableSortedDictionary<string, HostView> With(ImmutableSortedDictionary<string, HostView> hosts, PlacementGoal goal, string resource, int ordinal, string node) =>
        Hold.Of(goal.Shape.MemoryBytes, goal.Shape.CpuMillis, goal.Shape.Port) is { } hold && hosts.TryGetValue(node, out var host)
            ? hosts.SetItem(node, host with { Holds = host.Holds.SetItem(Placement.KeyOf(resource, ordinal), hold) }) : hosts;

    private static string? Why(HostView host, long memory, int cpu, bool grows = false)
    {
        if (memory <= 0 && cpu <= 0) return null;
        if (host is not { Allocatable: { } all, Free: { } free }) return $"{host.Name}: has not told its memory and cores";
        if (memory > free.MemoryBytes)
            return $"{host.Name}: {Size(free.MemoryBytes)} free of {Size(all.MemoryBytes)}, wants {(grows ? Size(memory, up: true) + " more" : Size(memory, up: true))}";
        if (cpu > free.CpuMillis)
            return $"{host.Name}: {Cores(free.CpuMillis)} free of {Cores(all.CpuMillis)} cores, wants {(grows ? Cores(cpu) + " more" : Cores(cpu))}";
        return null;
    }

    /// <summary>With one decimal, never more than there is and never less than is wanted.</summary>
    internal static string Size(long bytes, bool up = false)
    {
        if (bytes <= 0) return "0";
        var (unit, name) = bytes >= 1L << 30 ? (1L << 30, "Gi") : (1L << 20, "Mi");
        var tenths = up ? (Int128.CreateChecked(bytes) * 10 + unit - 1) / unit : Int128.CreateChecked(bytes) * 10 / unit;
        return string.Create(CultureInfo.InvariantCulture, $"{tenths / 10}{(tenths % 10 == 0 ? "" : "." + (tenths % 10).ToString(CultureInfo.InvariantCulture))}{name}");
    }

    internal static string Cores(int millis) => (Math.Max(0, millis) / 1000m).ToString("0.###", CultureInfo.InvariantCulture);
}
