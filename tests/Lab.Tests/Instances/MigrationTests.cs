using System.Diagnostics;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>Machines that move between hosts, with the shipped programs: whatever happens on the way, one host has the machine at the end, with every byte, and the other has nothing.</summary>
[Story("instance", 105)]
public sealed class MigrationTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);
    private static readonly TimeSpan Move = TimeSpan.FromMinutes(2);
    private const string Address = "192.168.122.204";

    private static bool Soak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";

    [Fact]
    public async Task Migrate_AMachineThatRuns_GoesOnThereWithWhatItWrote()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var (from, to) = (fleet.Lab.Hosts[0], fleet.Lab.Hosts[1]);
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Yaml("wanderer", from, "running", "{ name: root, image: busybox-disk }").Replace("placement:", "snapshots: { every: 1d, keep: 2 }, placement:", StringComparison.Ordinal)
            .Replace("network: default", $"network: default, ip: {Address}", StringComparison.Ordinal), stop)).OrThrow();
        try
        {
            Assert.Equal("1", await Machines.SaysAsync(from, "wanderer", "boots ", 1, Boot, stop));
            Assert.Equal(Address, await Machines.SaysAsync(from, "wanderer", "ready ", 1, Boot, stop));
            var before = await Machines.FindAsync(from, "wanderer", stop);

            var asked = (await fleet.CliAsync(stop, "migrate", "instance/wanderer", "--to", to.Name, "--no-wait")).OrThrow();
            Assert.Contains($"shut down on {from.Name}", asked.Stderr, StringComparison.Ordinal);
            await Fleet.EventuallyAsync(from, "that it leaves waits for an approval", TimeSpan.FromSeconds(90), async () => (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("wanderer", StringComparison.Ordinal), stop);
            Assert.Equal(before, await Machines.FindAsync(from, "wanderer", stop)); // Nothing has begun.
            // What its schedule made stays behind, which is said before anybody signs.
            var snapshot = (await Machines.VirshAsync(from, stop, "snapshot-list", "default-wanderer", "--name")).Split('\n')[0].Trim();
            Assert.StartsWith("auto-", snapshot, StringComparison.Ordinal);
            Assert.Contains($"are deleted: {snapshot}", (await fleet.CliAsync(stop, "approve", "--list", "-o", "json")).Stdout, StringComparison.Ordinal);
            Assert.Equal("", await from.ShellAsync("ss -Hltn sport = :7444", stop));

            (await fleet.CliAsync(stop, "approve", "instance/wanderer", "--yes", "--reason", "test")).OrThrow();
            var since = Stopwatch.StartNew();
            Assert.Equal("2", await Machines.SaysAsync(to, "wanderer", "boots ", 1, Boot, stop)); // It counts on from what it wrote there.
            TestContext.Current.TestOutputHelper?.WriteLine($"from the approval to the second boot: {since.Elapsed.TotalSeconds:0.0} s");
            (await fleet.CliAsync(stop, "migrate", "instance/wanderer", "--to", to.Name, "--timeout", "120s")).OrThrow();
            await NothingLeftAsync(fleet, from, to, "wanderer", stop);
            // It keeps its address, and the network that it left has it for another.
            Assert.Equal(Address, await Machines.SaysAsync(to, "wanderer", "ready ", 1, Boot, stop));
            Assert.DoesNotContain(Address, await Machines.VirshAsync(from, stop, "net-dumpxml", "default") + await Machines.VirshAsync(from, stop, "net-dhcp-leases", "default"), StringComparison.Ordinal);
            await Fleet.EventuallyAsync(to, "its schedule goes on there", TimeSpan.FromSeconds(60), async () => (await Machines.VirshAsync(to, stop, "snapshot-list", "default-wanderer", "--name")).StartsWith("auto-", StringComparison.Ordinal), stop);
            Assert.Null(await Machines.FindAsync(from, "wanderer", stop));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "wanderer"); }
    }

    [Fact]
    public async Task Migrate_CalledOffBeforeTheTargetHasIt_StartsItAgainWhereItWas()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var (from, to) = (fleet.Lab.Hosts[2], fleet.Lab.Hosts[1]); // Its listener outlives the move.
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Yaml("homebody", from, "running", "{ name: root, image: busybox-disk }"), stop)).OrThrow();
        try
        {
            Assert.Equal("1", await Machines.SaysAsync(from, "homebody", "boots ", 1, Boot, stop));
            await fleet.Lab.PartitionAsync(from, to, stop);
            (await fleet.CliAsync(stop, "migrate", "instance/homebody", "--to", to.Name, "--no-wait")).OrThrow();
            await ApprovedAsync(fleet, from, "homebody", stop);
            await Fleet.EventuallyAsync(from, "it is off and offered", Move, async () => await from.ShellAsync("ls /var/lib/agentmetal/moves/*.offer 2>/dev/null || true", stop) != "" && await Machines.FindAsync(from, "homebody", stop) is null, stop);
            // A host that starts anew in the middle does not start what another one may read.
            await from.RebootAsync(stop);
            await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
            Assert.Null(await Machines.FindAsync(from, "homebody", stop));

            (await fleet.CliAsync(stop, "migrate", "instance/homebody", "--to", from.Name, "--no-wait")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(from, "homebody", "boots ", 2, Boot, stop));
            await fleet.Lab.HealAsync(stop);
            (await fleet.CliAsync(stop, "migrate", "instance/homebody", "--to", from.Name, "--timeout", "120s")).OrThrow();
            await NothingLeftAsync(fleet, to, from, "homebody", stop, called: true);
        }
        finally
        {
            await fleet.Lab.HealAsync(stop);
            await Machines.RemoveAsync(fleet, stop, "homebody");
        }
    }

    /// <summary>The network between the hosts breaks, the target loses its power, the coordinator is killed, and a byte of what has come is changed: the hosts finish what was approved, and take no byte that is not right.</summary>
    [Fact]
    public async Task Migrate_OfALargeDisk_OutlivesPartitionPowerCutAndAWrongByte()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var (from, to) = (fleet.Lab.Hosts[0], fleet.Lab.Hosts[1]);
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Yaml("heavy", from, "stopped", "{ name: root, image: busybox-disk }, { name: data, size: 400Mi, format: raw }"), stop)).OrThrow();
        try
        {
            var digest = await FillAsync(from, "heavy", 400, stop);
            (await fleet.CliAsync(stop, "migrate", "instance/heavy", "--to", to.Name, "--no-wait")).OrThrow();
            await ApprovedAsync(fleet, from, "heavy", stop);
            var partial = "";
            await Fleet.EventuallyAsync(to, "a part of it has come", Move, async () => (partial = await to.ShellAsync("find /var/lib/agentmetal/moves/*.incoming -name data.raw -size +16M 2>/dev/null || true", stop)) != "", stop);
            await fleet.Lab.PartitionAsync(from, to, stop);
            await fleet.KillCoordinatorAsync();
            await to.PowerOffAsync(stop);
            await to.StartAsync(stop);
            await to.ShellAsync($"""printf X | dd of="{partial}" bs=1 seek=100000 conv=notrunc 2>/dev/null""", stop);
            await Task.Delay(TimeSpan.FromSeconds(3), stop);
            Assert.Equal("", await to.ShellAsync("ls /var/lib/agentmetal/instances/default-heavy 2>/dev/null || true", stop)); // Nothing has its name before all is right.
            await fleet.Lab.HealAsync(stop);

            await Fleet.EventuallyAsync(to, "the hosts finish alone what was approved", Move, async () =>
                (await Machines.VirshAsync(to, stop, "list", "--all", "--name")).Contains("default-heavy", StringComparison.Ordinal)
                && await from.ShellAsync("ls -d /var/lib/agentmetal/instances/default-heavy 2>/dev/null || true", stop) == "", stop);
            Assert.Equal(digest, await DigestAsync(to, "heavy", stop));
            await fleet.StartCoordinatorAsync(stop);
            (await fleet.CliAsync(stop, "migrate", "instance/heavy", "--to", to.Name, "--timeout", "120s")).OrThrow();
            await NothingLeftAsync(fleet, from, to, "heavy", stop);
        }
        finally
        {
            await fleet.Lab.HealAsync(stop);
            await Machines.RemoveAsync(fleet, stop, "heavy");
        }
    }

    /// <summary>kill -9 of agentmetald at journal boundaries of a move, on both hosts: a sample, and all of them under AGENTMETAL_SOAK=1.</summary>
    [Fact]
    public async Task Migrate_DaemonsKilledAtJournalBoundaries_LeavesOneMachineAndEveryByte()
    {
        const string Once = "/run/agentmetal-crash-once", DropIn = "/run/systemd/system/agentmetald.service.d";
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        LabHost[] hosts = [fleet.Lab.Hosts[0], fleet.Lab.Hosts[1]];
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Yaml("killed", hosts[0], "stopped", "{ name: root, image: busybox-disk }, { name: data, size: 8Mi, format: raw }"), stop)).OrThrow();
        var random = new Random(int.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), out var seed) ? seed : 1);
        var killed = 0;
        try
        {
            var digest = await FillAsync(hosts[0], "killed", 8, stop);
            for (var (life, at) = (0, Soak ? 1 : random.Next(1, 9)); Soak ? at <= 60 : life < 4; life++, at = Soak ? at + 1 : random.Next(1, 30))
            {
                var (from, to) = (hosts[life % 2], hosts[(life + 1) % 2]);
                foreach (var host in hosts)
                    await host.ShellAsync($"""
                        touch {Once}; mkdir -p {DropIn}
                        printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=100ms\nEnvironment=AGENTMETAL_CRASH_AT={at} AGENTMETAL_CRASH_ONCE={Once}\n' >{DropIn}/crash.conf
                        systemctl daemon-reload; systemctl restart agentmetald
                        """, stop);
                await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
                (await fleet.CliAsync(stop, "migrate", "instance/killed", "--to", to.Name, "--no-wait")).OrThrow();
                await Fleet.EventuallyAsync(to, $"killed at boundary {at}, it arrives", Move, async () =>
                {
                    // The target first: what it has, the source must have lost before.
                    var there = await DefinedAsync(to, "killed", stop);
                    if (there) Assert.False(await DefinedAsync(from, "killed", stop), $"killed at boundary {at}: both hosts know it");
                    if ((await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("killed", StringComparison.Ordinal)) await fleet.CliAsync(stop, "approve", "instance/killed", "--yes", "--reason", "test");
                    return there;
                }, stop);
                (await fleet.CliAsync(stop, "migrate", "instance/killed", "--to", to.Name, "--timeout", "120s")).OrThrow();
                await NothingLeftAsync(fleet, from, to, "killed", stop);
                Assert.Equal(digest, await DigestAsync(to, "killed", stop));
                foreach (var host in hosts)
                    if (!(await host.RunAsync(["test", "-e", Once], cancellationToken: stop)).Succeeded) killed++;
                TestContext.Current.TestOutputHelper?.WriteLine($"boundary {at}: {killed} daemons killed so far");
            }
            Assert.True(killed > 1, $"{killed} daemons were killed");
        }
        finally
        {
            foreach (var host in hosts) await host.ShellAsync($"rm -rf {DropIn} {Once}; systemctl daemon-reload; systemctl restart agentmetald", stop);
            await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
            await Machines.RemoveAsync(fleet, stop, "killed");
        }
    }

    private static string Yaml(string name, LabHost on, string power, string disks) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: 96Mi, power: {{power}}, disks: [ {{disks}} ], nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }, placement: { node: {{on.Name}} } }
        ---

        """;

    private static async Task ApprovedAsync(Fleet fleet, LabHost host, string name, CancellationToken stop) =>
        await Fleet.EventuallyAsync(host, $"that {name} leaves is approved", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "approve", "instance/" + name, "--yes", "--reason", "test")).Succeeded, stop);

    private static async Task<string> FillAsync(LabHost host, string name, int mebibytes, CancellationToken stop)
    {
        await host.ShellAsync($"dd if=/dev/urandom of=/var/lib/agentmetal/instances/default-{name}/data.raw bs=1M count={mebibytes} conv=notrunc,fsync 2>/dev/null", stop);
        return await DigestAsync(host, name, stop);
    }

    private static Task<string> DigestAsync(LabHost host, string name, CancellationToken stop) => host.ShellAsync($"sha256sum </var/lib/agentmetal/instances/default-{name}/data.raw", stop);

    private static async Task<bool> DefinedAsync(LabHost host, string name, CancellationToken stop) => (await Machines.VirshAsync(host, stop, "list", "--all", "--name")).Contains("default-" + name, StringComparison.Ordinal);

    /// <summary>No machine, no file and no record on the one; no record on the other; and nobody listens.</summary>
    private static async Task NothingLeftAsync(Fleet fleet, LabHost gone, LabHost there, string name, CancellationToken stop, bool called = false)
    {
        await Fleet.EventuallyAsync(gone, $"nothing of {name} is left on {gone.Name}", TimeSpan.FromSeconds(60), async () =>
            await gone.ShellAsync($"ls -d /var/lib/agentmetal/instances/default-{name} /var/lib/agentmetal/moves/* 2>/dev/null || true; ss -Hltn sport = :7444", stop) == "" && !await DefinedAsync(gone, name, stop), stop);
        // Who called it off remembers that for a while, for the other to ask.
        if (!called) await Fleet.EventuallyAsync(there, $"{there.Name} has forgotten where {name} came from", TimeSpan.FromSeconds(60), async () => await there.ShellAsync("ls /var/lib/agentmetal/moves 2>/dev/null || true", stop) == "", stop);
        await Fleet.EventuallyAsync(there, $"one host is told of {name}", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "get", "instance", name, "-o", "json")).OrThrow().Stdout.Split("\"nodeName\"").Length - 1 <= 1, stop);
    }
}
