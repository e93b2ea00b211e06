using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>What a guest has written on a volume is there for the next instance that uses it, and goes only when somebody signs that.</summary>
[Story("instance", 20)]
public sealed class VolumeTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    private const string Data = "/var/lib/agentmetal/volumes/default-lasting.qcow2";

    private static string Volume(string size) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Volume
        metadata: { name: lasting }
        spec: { size: {{size}}, image: busybox-disk }
        ---

        """;

    private static string OnVolume(string name) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: 96Mi, disks: [ { name: root, volume: lasting } ], nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }, snapshots: { every: 1d, keep: 1 } }
        ---

        """;

    [Fact]
    public async Task Volume_OutlivesItsInstances_GrowsWhileOneRunsAndGoesWhenSigned()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Volume("256Mi") + OnVolume("first"), stop)).OrThrow();
        var (host, before) = await Machines.WhereAsync(fleet, "first", stop);
        Assert.Equal("1", await Machines.SaysAsync(host, "first", "boots ", 1, Boot, stop));

        // One at a time, and not deleted while it is used.
        var second = await fleet.ApplyAsync(OnVolume("second"), stop);
        Assert.Contains("Volume default/lasting is used by Instance default/first", second.Stderr, StringComparison.Ordinal);
        var refused = await fleet.CliAsync(stop, "delete", "volume", "lasting", "--yes", "--no-wait");
        Assert.Contains("is used by Instance default/first", refused.Stderr, StringComparison.Ordinal);

        // It grows under the machine that runs.
        (await fleet.ApplyAsync(Volume("320Mi"), stop)).OrThrow();
        await Machines.SaysAsync(host, "first", $"disk vda {320 * 2048}", 1, TimeSpan.FromSeconds(90), stop);
        Assert.Equal(before, await Machines.FindAsync(host, "first", stop));

        // An instance without disks of its own goes without a signature, and the next one counts on.
        Assert.Contains("auto-", await host.ShellAsync($"qemu-img snapshot -U -l {Data}", stop), StringComparison.Ordinal);
        (await fleet.CliAsync(stop, "delete", "instance", "first", "--yes", "--wait")).OrThrow();
        Assert.Equal("", await host.ShellAsync("ls -d /var/lib/agentmetal/instances/default-first 2>/dev/null || true", stop));
        // It leaves none of its snapshots in there.
        Assert.Equal("", await host.ShellAsync($"qemu-img snapshot -l {Data}", stop));
        (await fleet.ApplyAsync(OnVolume("second"), stop)).OrThrow();
        Assert.NotNull(await Machines.FindAsync(host, "second", stop));
        Assert.Equal("2", await Machines.SaysAsync(host, "second", "boots ", 1, Boot, stop));
        (await fleet.CliAsync(stop, "delete", "instance", "second", "--yes", "--wait")).OrThrow();

        // A domain that somebody made by hand has it too: then nobody's signature is even asked for.
        await host.ShellAsync($"""
            cat >/tmp/by-hand.xml <<XML
            <domain type='qemu'><name>by-hand</name><memory unit='MiB'>64</memory><os><type arch='x86_64'>hvm</type></os>
            <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{Data}'/><target dev='vda' bus='virtio'/></disk></devices></domain>
            XML
            virsh -q -c qemu:///system define /tmp/by-hand.xml
            """, stop);
        await fleet.CliAsync(stop, "delete", "volume", "lasting", "--yes", "--no-wait");
        await Fleet.EventuallyAsync(host, "the deletion waits for the domain that names the file", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "describe", "volume", "lasting")).Stdout.Contains("by-hand has it as a disk", StringComparison.Ordinal), stop);
        await Machines.VirshAsync(host, stop, "undefine", "by-hand");
        await Fleet.EventuallyAsync(host, "the deletion waits for an approval", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("Volume default/lasting", StringComparison.Ordinal), stop);
        Assert.Equal(Data, await host.ShellAsync($"ls {Data}", stop));
        (await fleet.CliAsync(stop, "approve", "volume/lasting", "--yes", "--reason", "no longer used")).OrThrow();
        await Fleet.EventuallyAsync(host, "the data and its mark are gone", TimeSpan.FromSeconds(60), async () =>
            await host.ShellAsync("ls /var/lib/agentmetal/volumes /var/lib/agentmetal/volume-marks | grep lasting || true", stop) == "", stop);
        await Fleet.EventuallyAsync(host, "the resource is gone", TimeSpan.FromSeconds(60), async () =>
            !(await fleet.CliAsync(stop, "get", "volumes", "-o", "json")).Stdout.Contains("lasting", StringComparison.Ordinal), stop);
    }
}
