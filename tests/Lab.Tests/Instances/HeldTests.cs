using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.Instances;

/// <summary>What nobody signed is in force by no start, with the programs that are shipped: strangers' cases of machines.</summary>
[Story("instance", 30)]
public sealed class HeldTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(3);

    private static string With(string disks) => Machines.Small("kept-disks", $", disks: [ {disks} ], restart: ask");

    [Fact]
    public async Task Disk_ReplacedAndDenied_IsTheOldOneAfterThePoweroffOfItsGuest()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + With("{ name: a, size: 16Mi }, { name: b, size: 16Mi }"), stop)).OrThrow();
        try
        {
            var (host, before) = await Machines.WhereAsync(fleet, "kept-disks", stop);
            await Machines.SaysAsync(host, "kept-disks", "ready ", 1, Boot, stop);
            await fleet.ApplyAsync(With("{ name: a, size: 16Mi, format: raw }, { name: b, size: 16Mi }"), stop, "--no-wait");
            await Fleet.EventuallyAsync(host, "the change waits, and says which file is out of use", TimeSpan.FromSeconds(90), async () =>
                (await fleet.CliAsync(stop, "approve", "--list", "-o", "json")).Stdout.Contains("a.qcow2", StringComparison.Ordinal), stop);
            (await fleet.CliAsync(stop, "deny", "instance/kept-disks", "--yes", "--reason", "test")).OrThrow();

            // The guest switches itself off: it is started with what it had, and nothing of the change is there.
            await Machines.VirshAsync(host, stop, "shutdown", "default-kept-disks");
            await Fleet.EventuallyAsync(host, "it runs again", TimeSpan.FromSeconds(90), async () => await Machines.FindAsync(host, "kept-disks", stop) is { } now && now != before, stop);
            var disks = await Machines.VirshAsync(host, stop, "domblklist", "default-kept-disks");
            Assert.Contains("a.qcow2", disks, StringComparison.Ordinal);
            Assert.DoesNotContain("a.raw", disks + await host.ShellAsync("ls /var/lib/agentmetal/instances/default-kept-disks", stop), StringComparison.Ordinal);
        }
        finally { await Machines.RemoveAsync(fleet, stop, "kept-disks"); }
    }
}
