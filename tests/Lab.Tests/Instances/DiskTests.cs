using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>What a guest has written stays until somebody who may says that it goes.</summary>
[Story("instance", 55)]
public sealed class DiskTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    private static string OnDisk(string name, string image, string more = "") => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: 96Mi, disks: [ { name: root, image: {{image}} } ], nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }{{more}} }
        ---

        """;

    [Fact]
    public async Task Delete_WithADisk_WaitsForAnApprovalAndThenLeavesNothing()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + OnDisk("precious-vm", "busybox-disk"), stop)).OrThrow();
        var (host, before) = await Machines.WhereAsync(fleet, "precious-vm", stop);
        await Machines.SaysAsync(host, "precious-vm", "boots ", 1, Boot, stop);

        await fleet.CliAsync(stop, "delete", "instance", "precious-vm", "--yes", "--no-wait");
        await Fleet.EventuallyAsync(host, "the deletion waits for an approval", TimeSpan.FromSeconds(90), async () =>
            (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("precious-vm", StringComparison.Ordinal), stop);
        Assert.Equal(before, await Machines.FindAsync(host, "precious-vm", stop)); // Nothing has begun.

        (await fleet.CliAsync(stop, "approve", "instance/precious-vm", "--yes", "--reason", "no longer used")).OrThrow();
        await Fleet.EventuallyAsync(host, "machine, definition and disk are gone", TimeSpan.FromSeconds(120), async () =>
            await host.ShellAsync("ls -d /var/lib/agentmetal/instances/default-precious-vm 2>/dev/null || true; virsh -q -c qemu:///system list --all --name | grep -x default-precious-vm || true", stop) == "", stop);
        Assert.Null(await Machines.FindAsync(host, "precious-vm", stop));
    }

    /// <summary>The second boot counts on from what the first one wrote, although everything on the host was killed between them.</summary>
    [Fact]
    public async Task Data_OfAGuest_SurvivesThePowerCutOfItsHost()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + OnDisk("counting", "busybox-disk"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "counting", stop);
        try
        {
            Assert.Equal("1", await Machines.SaysAsync(host, "counting", "boots ", 1, Boot, stop));
            await host.PowerOffAsync(stop);
            await host.StartAsync(stop);
            Assert.Equal("2", await Machines.SaysAsync(host, "counting", "boots ", 2, Boot, stop));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "counting"); }
    }
}
