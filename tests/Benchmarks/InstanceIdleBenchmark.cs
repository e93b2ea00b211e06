using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.Benchmarks;

/// <summary>
/// What watching a hundred virtual machines costs that run and do nothing, on libvirt's test driver: a host in memory, so that nothing but the watching is
/// measured. The shipped agentmetald has taken them over. Beside it are what people watch machines with: virsh that waits for events, and
/// virsh that reads the numbers of all of them every second, as virt-manager does for its graphs.
/// </summary>
internal static class InstanceIdleBenchmark
{
    private const int Machines = 100;
    private const string Node = "/var/lib/bench-node.xml";
    private const string Uri = "test://" + Node;
    private static readonly TimeSpan s_settle = TimeSpan.FromSeconds(30);

    public static async Task RunAsync(BenchmarkOptions options, BenchmarkReport report, CancellationToken stop)
    {
        var window = TimeSpan.FromSeconds(options.IdleSeconds);
        await using var fleet = await Fleet.StartAsync(stop, ["vm-1"], PrepareAsync);
        var host = fleet.Lab.Hosts[0];
        await Task.Delay(s_settle, stop);
        (await UnitCost.OverAsync(host, "agentmetald", window, stop)).Report(report, "instance-idle", "agentmetald", "no machine");

        (await fleet.ApplyAsync(string.Concat(Enumerable.Range(1, Machines).Select(Adopting)), stop, "--timeout", "3m")).OrThrow();
        await Task.Delay(s_settle, stop);
        (await UnitCost.OverAsync(host, "agentmetald", window, stop)).Report(report, "instance-idle", "agentmetald", $"{Machines} machines");

        await PeerAsync("bench-event", "virsh event", $"exec virsh -q -c {Uri} event --all --loop");
        await PeerAsync("bench-poll", "virsh domstats, every 1 s", $"while sleep 1; do echo domstats; done | virsh -q -c {Uri} >/dev/null");

        async Task PeerAsync(string unit, string who, string script)
        {
            await host.RunAsync(["systemd-run", "-q", "--unit", unit, "sh", "-c", script], cancellationToken: stop);
            await Task.Delay(TimeSpan.FromSeconds(5), stop);
            (await UnitCost.OverAsync(host, unit, window, stop)).Report(report, "instance-idle", who, $"{Machines} machines");
            await host.ShellAsync("systemctl stop \"$1\"", stop, unit);
        }
    }

    private static async Task PrepareAsync(LabHost host)
    {
        var domains = string.Concat(Enumerable.Range(1, Machines).Select(i => string.Create(CultureInfo.InvariantCulture,
            $"<domain type='test'><name>vm-{i}</name><uuid>11111111-2222-4333-8444-{i:x12}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os></domain>")));
        await host.WriteFileAsync(Node, $"<node><cpu><mhz>2000</mhz><model>i986</model><active>16</active><nodes>1</nodes><sockets>1</sockets><cores>16</cores><threads>1</threads></cpu><memory>8192000</memory>{domains}</node>");
        await host.WriteFileAsync("/etc/systemd/system/agentmetald.service.d/libvirt.conf", $"[Service]\nExecStart=\nExecStart=/usr/bin/agentmetald run --libvirt {Uri}\n");
    }

    private static string Adopting(int number) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: idle-{{number}} }
        spec: { memory: 16Mi, reserve: { memory: 4Mi, cpuMillis: 1 }, adopt: { domain: vm-{{number}} } }
        ---

        """;
}
