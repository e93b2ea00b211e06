using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// From the definition of a virtual machine to its running, beside virsh on the same host: define, autostart, start, of the same machine. Ours is the time
/// between the host's own events, and journals, looks and confirms each of the three; virsh is three commands in one shell. Then what watching machines costs.
/// </summary>
internal static class InstanceBenchmark
{
    private const int Rounds = 20;
    private const int Watched = 10;

    public static async Task RunAsync(BenchmarkReport report, CancellationToken stop)
    {
        var images = (await CommandRunner.RunAsync([Path.Combine(BenchmarkReport.Root, "tests/Lab/vm-images.sh"), "busybox"], TimeSpan.FromMinutes(20), cancellationToken: stop)).OrThrow().Stdout.Trim();
        await using var fleet = await Fleet.StartAsync(stop, ["vm-1"], more: [new(images, "/srv/images")]);
        var host = fleet.Lab.Hosts[0];
        (await fleet.ApplyAsync(Image(images, "vmlinuz", "kernel") + Image(images, "initrd", "initrd"), stop)).OrThrow();
        // The first brings the images, and libvirt finds out what QEMU can do.
        await OursAsync(fleet, "warm", stop);
        List<double> ours = [], theirs = [];
        for (var i = 0; i < Rounds; i++)
        {
            ours.Add(await OursAsync(fleet, "bench", stop));
            theirs.Add(await TheirsAsync(host, stop));
        }
        report.Add("instance", "agentmetald", "define to running", "ms", ours, "1.1 x virsh");
        report.Add("instance", "virsh", "define, autostart, start", "ms", theirs);
        await WatchAsync(fleet, host, report, stop);
    }

    private static async Task<double> OursAsync(Fleet fleet, string name, CancellationToken stop)
    {
        (await fleet.ApplyAsync(Machine(name), stop, "--timeout", "3m")).OrThrow();
        var events = JsonDocument.Parse((await fleet.CliAsync(stop, "events", "-o", "json")).OrThrow().Stdout).RootElement.GetProperty("items").EnumerateArray()
            .Where(e => e.GetProperty("resource").GetString() == "Instance default/" + name).ToList();
        var began = At(events, "StepStarted", "define domain");
        var ended = At(events, "StepDone", "start the machine");
        (await fleet.CliAsync(stop, "delete", "instance", name, "--yes", "--no-wait")).OrThrow();
        await Fleet.EventuallyAsync($"{name} is gone", TimeSpan.FromSeconds(90), async () =>
        {
            await fleet.CliAsync(stop, "approve", "instance/" + name, "--yes", "--reason", "benchmark");
            return (await fleet.CliAsync(stop, "get", "instance", name)).ExitCode == 3;
        }, stop);
        return (ended - began).TotalMilliseconds;
    }

    private static DateTimeOffset At(List<JsonElement> events, string reason, string text) => events
        .Where(e => e.GetProperty("reason").GetString() == reason && e.GetProperty("message").GetString()!.Contains(text, StringComparison.Ordinal)).Select(e => e.GetProperty("at").GetDateTimeOffset()).Last();

    private static async Task<double> TheirsAsync(LabHost host, CancellationToken stop) => double.Parse(await host.ShellAsync("""
        cat >/tmp/bench.xml <<XML
        <domain type='qemu'><name>virsh-bench</name><memory unit='MiB'>96</memory><vcpu>1</vcpu>
        <os><type arch='x86_64' machine='pc'>hvm</type><kernel>/srv/images/vmlinuz</kernel><initrd>/srv/images/initrd</initrd><cmdline>console=ttyS0 quiet</cmdline></os>
        <features><acpi/><apic/></features><devices><controller type='usb' model='none'/>
        <serial type='pty'><log file='/tmp/bench.log' append='on'/></serial><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices></domain>
        XML
        began=$(date +%s%N)
        virsh -q define /tmp/bench.xml && virsh -q autostart virsh-bench && virsh -q start virsh-bench
        ended=$(date +%s%N)
        virsh -q destroy virsh-bench; virsh -q undefine virsh-bench
        echo $(( (ended - began) / 1000 ))
        """, stop), CultureInfo.InvariantCulture) / 1000;

    /// <summary>Machines that run and do nothing: what agentmetald takes for watching them, over a minute.</summary>
    private static async Task WatchAsync(Fleet fleet, LabHost host, BenchmarkReport report, CancellationToken stop)
    {
        (await fleet.ApplyAsync(string.Concat(Enumerable.Range(0, Watched).Select(i => Machine("idle" + i))), stop, "--timeout", "3m")).OrThrow();
        await Task.Delay(TimeSpan.FromSeconds(45), stop); // Guests boot, and are looked at while they do.
        var before = await CpuAsync(host, stop);
        await Task.Delay(TimeSpan.FromSeconds(60), stop);
        report.Add("instance", "agentmetald", $"CPU with {Watched} idle machines", "% of a core", (await CpuAsync(host, stop) - before) / 60 * 100);
        report.Add("instance", "agentmetald", $"PSS with {Watched} idle machines", "MiB",
            double.Parse(await host.ShellAsync("awk '/^Pss:/ {print $2}' /proc/$(systemctl show -p MainPID --value agentmetald)/smaps_rollup", stop), CultureInfo.InvariantCulture) / 1024);
    }

    /// <summary>Seconds of a core that the daemon has used.</summary>
    private static async Task<double> CpuAsync(LabHost host, CancellationToken stop) => double.Parse(
        await host.ShellAsync("awk '{print ($14 + $15) / 100}' /proc/$(systemctl show -p MainPID --value agentmetald)/stat", stop), CultureInfo.InvariantCulture);

    private static string Image(string directory, string file, string format) => $"""
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata: {"{"} name: {format} {"}"}
        spec:
          url: file:///srv/images/{file}
          sha256: {Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(Path.Combine(directory, file))))}
          format: {format}
        ---

        """;

    private static string Machine(string name) => $"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: {"{"} name: {name} {"}"}
        spec:
          memory: 96Mi
          boot: {"{"} kernel: kernel, initrd: initrd, cmdline: "console=ttyS0 quiet" {"}"}
          reserve: {"{"} cpuMillis: 50 {"}"}
        ---

        """;
}
