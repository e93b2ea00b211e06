using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A process that runs a virtual machine, as its host numbers it.</summary>
/// <param name="Domain">Name in libvirt.</param>
/// <param name="Pid">Process id.</param>
/// <param name="Started">Clock ticks after the machine's boot: with the id, which process it is.</param>
internal sealed record Qemu(string Domain, int Pid, long Started);

/// <summary>Virtual machines on hosts, seen without the product: processes, virsh, console logs.</summary>
internal static class Machines
{
    /// <summary>The machines that run on a host.</summary>
    public static async Task<Qemu[]> RunningAsync(LabHost host, CancellationToken stop)
    {
        // libvirt's file may outlive a process that was killed, and the id may be another's by then.
        var lines = await host.ShellAsync("""
            for f in /run/libvirt/qemu/*.pid; do
              p=$(cat "$f" 2>/dev/null) && grep -aqs qemu-system "/proc/$p/cmdline" || continue
              echo "$(basename "$f" .pid) $p $(sed 's/.*) //' "/proc/$p/stat" | cut -d' ' -f20)"
            done
            """, stop);
        return [.. lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' '))
            .Select(f => new Qemu(f[0], int.Parse(f[1], CultureInfo.InvariantCulture), long.Parse(f[2], CultureInfo.InvariantCulture)))];
    }

    /// <summary>The machine of an instance of the project default, or null where it does not run.</summary>
    public static async Task<Qemu?> FindAsync(LabHost host, string instance, CancellationToken stop) =>
        (await RunningAsync(host, stop)).FirstOrDefault(q => q.Domain == "default-" + instance);

    /// <summary>Where the instance runs.</summary>
    public static async Task<(LabHost Host, Qemu Qemu)> WhereAsync(Fleet fleet, string instance, CancellationToken stop)
    {
        foreach (var host in fleet.Lab.Hosts)
            if (await FindAsync(host, instance, stop) is { } qemu) return (host, qemu);
        throw new InvalidOperationException($"{instance} runs on no host");
    }

    /// <summary>virsh on the host; its output.</summary>
    public static Task<string> VirshAsync(LabHost host, CancellationToken stop, params string[] arguments) =>
        host.ShellAsync("""exec virsh -q -c qemu:///system "$@" """, stop, arguments);

    /// <summary>All that the machine has said on its serial port.</summary>
    public static Task<string> ConsoleAsync(LabHost host, string instance, CancellationToken stop) =>
        host.ShellAsync("""cat "/var/lib/agentmetal/instances/default-$1/console.log" 2>/dev/null || true""", stop, instance);

    /// <summary>Waits until the guest has said a line that begins so, for the n-th time; what came after it on that line.</summary>
    public static async Task<string> SaysAsync(LabHost host, string instance, string words, int times, TimeSpan within, CancellationToken stop)
    {
        string[] said = [];
        await Fleet.EventuallyAsync(host, $"{instance} says \"{words}\" {times} times", within, async () =>
        {
            said = [.. (await ConsoleAsync(host, instance, stop)).Split('\n').Where(l => l.StartsWith("agentmetal-vm " + words, StringComparison.Ordinal))];
            return said.Length >= times;
        }, stop);
        return said[times - 1]["agentmetal-vm ".Length..][words.Length..].Trim();
    }

    /// <summary>An instance of the small machine that boots its kernel.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="more">More of the spec: fields in flow style, each with a comma before it.</param>
    /// <param name="words">More words of the kernel's command line.</param>
    public static string Small(string name, string more = "", string words = "") => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: 96Mi, boot: { kernel: busybox-kernel, initrd: busybox-initrd, cmdline: "{{VmImages.CommandLine}} {{words}}" }, nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }{{more}} }
        ---

        """;

    /// <summary>The images that <see cref="Small"/> needs, and the disk.</summary>
    public static async Task<string> ImagesAsync(CancellationToken stop) => string.Concat(
        await VmImages.ResourceAsync("busybox", "vmlinuz", "busybox-kernel", "kernel", $"file://{VmImages.OnHosts}/vmlinuz", stop),
        await VmImages.ResourceAsync("busybox", "initrd", "busybox-initrd", "initrd", $"file://{VmImages.OnHosts}/initrd", stop),
        await VmImages.ResourceAsync("busybox", "busybox.qcow2", "busybox-disk", "qcow2", $"file://{VmImages.OnHosts}/busybox.qcow2", stop));

    /// <summary>Deletes instances with all that they have, signing what has to be signed, and waits until they are gone.</summary>
    public static async Task RemoveAsync(Fleet fleet, CancellationToken stop, params string[] names)
    {
        foreach (var name in names) await fleet.CliAsync(stop, "delete", "instance", name, "--yes", "--no-wait");
        await Fleet.EventuallyAsync($"{string.Join(", ", names)} gone", TimeSpan.FromMinutes(3), async () =>
        {
            var held = (await fleet.CliAsync(stop, "approve", "--list", "-o", "json")).Stdout;
            foreach (var name in names.Where(n => held.Contains($"\"Instance default/{n}\"", StringComparison.Ordinal)))
                await fleet.CliAsync(stop, "approve", "instance/" + name, "--yes", "--reason", "test");
            var left = (await fleet.CliAsync(stop, "get", "instances", "-o", "json")).Stdout;
            return !names.Any(n => left.Contains($"\"name\": \"{n}\"", StringComparison.Ordinal) || left.Contains($"\"name\":\"{n}\"", StringComparison.Ordinal));
        }, stop);
    }
}
