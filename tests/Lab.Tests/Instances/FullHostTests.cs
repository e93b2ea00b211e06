using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.Instances;

/// <summary>A host without room: a guest that cannot write is held, which is said, and goes on when there is some.</summary>
[Story("instance", 30)]
public sealed class FullHostTests(SharedFleet shared)
{
    private const string Dir = "/var/lib/agentmetal/instances/default-greedy";
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    [Fact]
    public async Task Disk_FullUnderAMachine_HoldsItAndIsSaidUntilThereIsRoom()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        await host.ShellAsync($"mkdir -p {Dir}", stop);
        await host.SizeLimitedMountAsync(Dir, 48L << 20, stop);
        try
        {
            var greedy = Machines.Small("greedy", $$""", disks: [ { name: root, size: 40Mi } ], placement: { labels: { host: {{host.Name}} } }""");
            (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + greedy, stop)).OrThrow();
            await Machines.SaysAsync(host, "greedy", "ready ", 1, Boot, stop);
            var before = await Machines.FindAsync(host, "greedy", stop);

            // The guest writes on and on; the host has no room for it.
            await host.FillAsync(Dir, stop);
            await host.RunAsync(["env", "NO_COLOR=1", Fleet.HostCli, "local", "console", "instance/greedy", "--wait", "3s"], stdin: "dd if=/dev/zero of=/dev/vda bs=64k count=200; sync; echo written-$((6*7))\n"u8.ToArray(), cancellationToken: stop);
            await Fleet.EventuallyAsync(host, "QEMU holds the guest", TimeSpan.FromSeconds(60), async () =>
                (await Machines.VirshAsync(host, stop, "domstate", "--reason", "default-greedy")).Contains("I/O error", StringComparison.Ordinal), stop);
            await SaidAsync(fleet, host, $"file system of {Dir}/root.qcow2 is full", stop);
            await Task.Delay(TimeSpan.FromSeconds(8), stop);
            Assert.False(await ResumedAsync(fleet, stop));

            await host.FreeAsync(Dir, stop);
            await Fleet.EventuallyAsync(host, "the guest goes on and has written all of it", TimeSpan.FromSeconds(60), async () =>
                (await Machines.ConsoleAsync(host, "greedy", stop)).Contains("written-42", StringComparison.Ordinal), stop);
            Assert.True(await ResumedAsync(fleet, stop)); // By the agent: only its looking at the room is behind that.
            Assert.Equal(before, await Machines.FindAsync(host, "greedy", stop));
            (await fleet.ApplyAsync(greedy, stop, "--timeout", "60s")).OrThrow();
        }
        finally
        {
            await host.UnmountAsync(Dir, stop);
            await Machines.RemoveAsync(fleet, stop, "greedy");
        }
    }

    private static async Task<bool> ResumedAsync(Fleet fleet, CancellationToken stop) => (await fleet.CliAsync(stop, "events", "-o", "json")).OrThrow().Stdout.Split("\"resource\"")
        .Any(e => e.Contains("Instance default/greedy", StringComparison.Ordinal) && e.Contains("resume the machine", StringComparison.Ordinal));

    private static async Task SaidAsync(Fleet fleet, Testing.LabHost host, string reason, CancellationToken stop) =>
        await Fleet.EventuallyAsync(host, $"describe says: {reason}", TimeSpan.FromSeconds(60), async () =>
            (await fleet.CliAsync(stop, "describe", "instance", "greedy")).Stdout.ReplaceLineEndings(" ").Contains(reason, StringComparison.OrdinalIgnoreCase), stop);
}
