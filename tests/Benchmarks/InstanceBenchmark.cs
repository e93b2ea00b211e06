using System.Globalization;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.LabTests.Instances;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// From the definition of a virtual machine to its running, beside virsh on the same host and with the very definition that ours has: define, autostart, start.
/// Rounds of both alternate. Ours is the time between the host's own events, and looks, journals and confirms each of the three; what libvirt itself needs
/// for the three calls is virsh's own measure of them, so that the rest of ours is our overhead. Then what watching machines that run costs.
/// </summary>
internal static class InstanceBenchmark
{
    private const int Rounds = 20;
    private const int Watched = 10;
    private const string Definition = "/tmp/virsh-bench.xml";

    public static async Task RunAsync(BenchmarkReport report, CancellationToken stop)
    {
        await using var fleet = await Fleet.StartAsync(stop, ["vm-1"], more: [new(await VmImages.DirectoryAsync("busybox", stop), VmImages.OnHosts)]);
        var host = fleet.Lab.Hosts[0];
        // The first brings the images, and libvirt finds out what QEMU can do. It stays, switched off, because the peer boots the same files.
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("warm", ", power: stopped"), stop, "--timeout", "3m")).OrThrow();
        await host.ShellAsync($"""
            virsh -q -c qemu:///system dumpxml --inactive default-warm | sed -e 's|<name>default-warm</name>|<name>virsh-bench</name>|' -e '/<uuid>/d' -e '/<title>/d' \
              -e 's|/var/lib/agentmetal/instances/default-warm/console.log|/tmp/virsh-bench.log|' -e '/<mac address/d' >{Definition}
            ! grep -n default-warm {Definition}
            """, stop);
        await OursAsync(fleet, stop);
        await TheirsAsync(host, stop);
        List<double> ours = [], commands = [], calls = [], overhead = [];
        for (var i = 0; i < Rounds; i++)
        {
            // Who comes first changes, so that neither always finds the caches of the other.
            var first = i % 2 == 0 ? await OursAsync(fleet, stop) : 0;
            var (three, own) = await TheirsAsync(host, stop);
            var mine = i % 2 == 0 ? first : await OursAsync(fleet, stop);
            ours.Add(mine);
            commands.Add(three);
            calls.Add(own);
            overhead.Add(mine - own);
        }
        report.Add("instance", "agentmetald", "define to running", "ms", ours, "1.1 x virsh");
        report.Add("instance", "virsh", "define, autostart, start: three commands", "ms", commands);
        report.Add("instance", "libvirt", "the same three calls, by virsh --timing", "ms", calls);
        report.Add("instance", "agentmetald", "beyond libvirt's own time, same round", "ms", overhead);
        await WatchAsync(fleet, host, report, stop);
    }

    private static async Task<double> OursAsync(Fleet fleet, CancellationToken stop)
    {
        (await fleet.ApplyAsync(Machines.Small("bench"), stop, "--timeout", "3m")).OrThrow();
        var events = JsonDocument.Parse((await fleet.CliAsync(stop, "events", "-o", "json")).OrThrow().Stdout).RootElement.GetProperty("items").EnumerateArray()
            .Where(e => e.GetProperty("resource").GetString() == "Instance default/bench").ToList();
        var began = At(events, "StepStarted", "define");
        var ended = At(events, "StepDone", "start the machine");
        await Machines.RemoveAsync(fleet, stop, "bench");
        return (ended - began).TotalMilliseconds;
    }

    private static DateTimeOffset At(List<JsonElement> events, string reason, string text) => events
        .Where(e => e.GetProperty("reason").GetString() == reason && e.GetProperty("message").GetString()!.Contains(text, StringComparison.Ordinal)).Select(e => e.GetProperty("at").GetDateTimeOffset()).Order().Last();

    /// <summary>Milliseconds of three commands as a person types them, and of the three calls alone through one connection.</summary>
    private static async Task<(double Commands, double Calls)> TheirsAsync(LabHost host, CancellationToken stop)
    {
        var said = await host.ShellAsync($$"""
            gone() { virsh -q -c qemu:///system destroy virsh-bench; virsh -q -c qemu:///system undefine virsh-bench; } >/dev/null
            virsh() { command virsh -c qemu:///system "$@"; }
            began=$(date +%s%N)
            virsh -q define {{Definition}} && virsh -q autostart virsh-bench && virsh -q start virsh-bench
            ended=$(date +%s%N)
            gone
            echo $(( (ended - began) / 1000 ))
            virsh --timing 'define {{Definition}}; autostart virsh-bench; start virsh-bench' | sed -n 's/^(Time: \(.*\) ms)/\1/p' | awk '{ s += $1 } END { print s }'
            gone
            """, stop);
        var numbers = said.Split('\n').Select(n => double.Parse(n, CultureInfo.InvariantCulture)).ToArray();
        return (numbers[0] / 1000, numbers[1]);
    }

    /// <summary>Machines that run and do nothing: what agentmetald takes for watching them, over a minute.</summary>
    private static async Task WatchAsync(Fleet fleet, LabHost host, BenchmarkReport report, CancellationToken stop)
    {
        (await fleet.ApplyAsync(string.Concat(Enumerable.Range(0, Watched).Select(i => Machines.Small("idle" + i, ", reserve: { cpuMillis: 50 }"))), stop, "--timeout", "3m")).OrThrow();
        await Task.Delay(TimeSpan.FromSeconds(45), stop); // Guests boot, and are looked at while they do.
        var seen = await UnitCost.OverAsync(host, "agentmetald", TimeSpan.FromSeconds(60), stop);
        seen.Report(report, "instance", "agentmetald", $"{Watched} machines run idle");
    }
}
