using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>
/// kill -9 of agentmetald at journal boundaries of a machine's life: create with a disk, a change while it runs, one that restarts it, deletion. It converges,
/// one QEMU runs it, it was started as often as it had to be, and no file or definition is left that nobody owns; all of that seen without the product.
/// </summary>
[Story("instance", 65)]
public sealed class MachineCrashTests(SharedFleet shared)
{
    private static readonly CrashLives All = new(limit: 72, ("create", 16), ("live", 8), ("restart", 8), ("delete", 10));

    public static TheoryData<int, string> Lives() => All.Data(sample: 2);

    [Theory]
    [MemberData(nameof(Lives))]
    public async Task Daemon_KilledAtAJournalBoundaryOfEachOperation_ConvergesAndLeavesOneMachine(int life, string boundaries)
    {
        if (All.At(life, boundaries) is not { } at) return;
        var stop = TestContext.Current.CancellationToken;
        var run = new Life(await shared.GetAsync(), $"doomed{life}", at, stop);
        try { await run.LiveAsync(); }
        finally { await run.EndAsync(); }
    }

    private sealed class Life(Fleet fleet, string name, Dictionary<string, int> at, CancellationToken stop)
    {
        /// <summary>Processes that run the domain $1, by their program: this text stands on the command line of a shell, too.</summary>
        private const string Processes = """for p in /proc/[0-9]*; do case $(readlink "$p/exe") in */qemu-system-*) ! grep -aqsF "guest=$1," "$p/cmdline" || echo "${p#/proc/}";; esac; done""";

        private readonly JournalKills kills = new(fleet, All, at, stop);

        private string Domain => "default-" + name;

        public async Task LiveAsync()
        {
            await kills.DuringAsync("create", () => DeclareAsync("memory: 96Mi, maxMemory: 160Mi, disks: [ { name: data, size: 32Mi } ]"));
            var (host, first) = await AloneAsync();
            await ExpectAsync(host, starts: 1, memory: 96, maxMemory: 160, disk: 32);
            await Machines.SaysAsync(host, name, "ready ", 1, TimeSpan.FromMinutes(3), stop); // Memory is given back by a guest, not by a boot loader.

            await kills.DuringAsync("live", () => DeclareAsync("memory: 128Mi, maxMemory: 160Mi, disks: [ { name: data, size: 48Mi } ]"));
            Same(first, (await AloneAsync()).Qemu);
            await ExpectAsync(host, starts: 1, memory: 128, maxMemory: 160, disk: 48);

            await kills.DuringAsync("restart", () => DeclareAsync("memory: 128Mi, maxMemory: 192Mi, disks: [ { name: data, size: 48Mi } ]"));
            Assert.Equal(host.Name, (await AloneAsync()).Host.Name);
            await ExpectAsync(host, starts: 2, memory: 128, maxMemory: 192, disk: 48);

            await kills.DuringAsync("delete", () => Machines.RemoveAsync(fleet, stop, name));
            foreach (var one in fleet.Lab.Hosts) Assert.Equal("", await LeftAsync(one));
        }

        /// <summary>Nothing is left on the fleet, also after a failure.</summary>
        public async Task EndAsync()
        {
            await kills.EndAsync();
            await Machines.RemoveAsync(fleet, stop, name);
        }

        private async Task DeclareAsync(string spec)
        {
            var yaml = await Machines.ImagesAsync(stop) + $$"""
                apiVersion: agentmetal.io/v1
                kind: Instance
                metadata: { name: {{name}} }
                spec: { boot: { kernel: busybox-kernel, initrd: busybox-initrd, cmdline: "{{VmImages.CommandLine}}" }, nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }, restart: allowed, {{spec}} }
                """;
            var result = await fleet.ApplyAsync(yaml, stop, "--timeout", "120s");
            if (!result.Succeeded) Assert.Fail($"{kills.Doing}: {result.Stdout}{result.Stderr}\n{string.Join('\n', await Task.WhenAll(fleet.Lab.Hosts.Select(DaemonAsync)))}");
        }

        /// <summary>The one process that runs it on all hosts, also where libvirt knows nothing of it.</summary>
        private async Task<(LabHost Host, Qemu Qemu)> AloneAsync()
        {
            var processes = new List<string>();
            foreach (var host in fleet.Lab.Hosts)
                processes.AddRange((await host.ShellAsync(Processes, stop, Domain)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(p => $"{host.Name} {p}"));
            if (processes.Count != 1) Assert.Fail($"{kills.Doing}: these run {name}: {string.Join("; ", processes)}");
            return await Machines.WhereAsync(fleet, name, stop);
        }

        private async Task ExpectAsync(LabHost host, int starts, int memory, int maxMemory, int disk)
        {
            // QEMU's log has one such line for each start, by whomever.
            var started = await host.ShellAsync($"grep -c 'starting up libvirt' /var/log/libvirt/qemu/{Domain}.log || true", stop);
            if (started != starts.ToString(CultureInfo.InvariantCulture)) Assert.Fail($"{kills.Doing}: it was started {started} times, not {starts}\n{await DaemonAsync(host)}");
            var files = await host.ShellAsync($"ls -A /var/lib/agentmetal/instances/{Domain}; ls -A /var/lib/agentmetal/images | grep -v -E '^[0-9a-f]{{64}}\\.(kernel|initrd|qcow2|raw)$' || true", stop);
            Assert.Equal(["cards", "console.log", "data.qcow2", "owner"], files.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal));
            foreach (var which in (string[])["", "--inactive"])
                Assert.Contains($"<memory unit='KiB'>{maxMemory * 1024}</memory>", await host.ShellAsync($"virsh -q -c qemu:///system dumpxml {which} {Domain}", stop), StringComparison.Ordinal);
            Assert.Contains($"<currentMemory unit='KiB'>{memory * 1024}</currentMemory>", await host.ShellAsync($"virsh -q -c qemu:///system dumpxml --inactive {Domain}", stop), StringComparison.Ordinal);
            var size = await host.ShellAsync($"qemu-img info -U /var/lib/agentmetal/instances/{Domain}/data.qcow2 | sed -n 's/^virtual size:.*(\\(.*\\) bytes)/\\1/p'", stop);
            Assert.Equal((disk * 1024L * 1024).ToString(CultureInfo.InvariantCulture), size);
        }

        /// <summary>All that a host still has of it.</summary>
        private Task<string> LeftAsync(LabHost host) => host.ShellAsync($"""
            {Processes}
            virsh -q -c qemu:///system list --all --name | grep -x {Domain} || true
            ls -d /var/lib/agentmetal/instances/{Domain}* /etc/libvirt/qemu/{Domain}.xml /etc/libvirt/qemu/autostart/{Domain}.xml /run/libvirt/qemu/{Domain}.* 2>/dev/null || true
            """, stop, Domain);

        private void Same(Qemu before, Qemu now)
        {
            if (before != now) Assert.Fail($"{kills.Doing}: {now} runs it, and {before} did before");
        }

        private Task<string> DaemonAsync(LabHost host) => host.ShellAsync("journalctl -u agentmetald -o short-precise -n 30 --no-pager", stop);
    }
}
