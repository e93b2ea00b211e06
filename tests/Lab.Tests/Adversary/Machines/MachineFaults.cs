using System.Globalization;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>The faults of a virtual machine in the lab by name, as they are drawn.</summary>
internal static class MachineFaults
{
    /// <summary>Names that disks have; a new one is the next that is free.</summary>
    public static readonly string[] Disks = ["a", "b", "c", "d"];

    public static IReadOnlyList<FaultKind> All { get; } = [.. Kinds()];

    private static IEnumerable<FaultKind> Kinds()
    {
        static string One(Random r, params string[] of) => of[r.Next(of.Length)];
        static string Place(Random r) => r.Next(3).ToString(CultureInfo.InvariantCulture);
        yield return new("virsh", 6, r => One(r, "undefine", "destroy", "destroy", "detach-live", "detach-config", "detach-both",
            "attach-live", "attach-config", "link") is var what && what.StartsWith("detach", StringComparison.Ordinal) ? [what, Place(r)]
                : [what]);
        yield return new("define", 3, r => [One(r, "drop", "swap", "memory"), Place(r)]);
        yield return new("file", 4, r => [One(r, "move", "replace", "cut"), Place(r)]);
        yield return new("daemon", 4, r => [One(r, "stop", "kill", "kill", "start")]);
        yield return new("spec", 9, r => One(r, "remove", "remove", "add", "add", "rename", "reverse", "format", "front", "memory",
            "power", "policy", "grow") switch
        {
            "power" => ["power", One(r, "running", "running", "stopped", "paused")],
            "policy" => ["policy", One(r, "ask", "allowed")],
            "reverse" => ["reverse"],
            "memory" => ["memory", One(r, "32Mi", "48Mi", "64Mi")],
            "add" => ["add"],
            "front" => ["front"],
            var what => [what, Place(r)],
        });
        yield return new("snapshot", 3, _ => ["make"]);
        yield return new("revert", 2, _ => ["last"]);
        yield return new("drop-snapshot", 1, _ => ["last"]);
        yield return new("mark", 2, r => [One(r, "remove", "others")]);
        yield return new("old-db", 2, _ => ["host"]);
        yield return new("power", 3, r => [One(r, "off", "cycle", "cycle")]);
        yield return new("libvirtd", 2, r => [One(r, "restart", "kill")]);
        yield return new("migrate", 2, _ => ["other"]);
        yield return new("coordinator", 1, r => [One(r, "kill", "start")]);
        yield return new("delete", 1, _ => ["it"]);
    }
}
