using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A machine made from one that is there.</summary>
[Story("instance", 30)]
public sealed class CloneTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    [Fact]
    public async Task Clone_HasTheDataAndAnotherAddress_AndBothRun()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + """
            apiVersion: agentmetal.io/v1
            kind: Instance
            metadata: { name: original }
            spec: { memory: 96Mi, disks: [ { name: root, image: busybox-disk } ], nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed } }
            """, stop)).OrThrow();
        try
        {
            var (host, _) = await Machines.WhereAsync(fleet, "original", stop);
            Assert.Equal("1", await Machines.SaysAsync(host, "original", "boots ", 1, Boot, stop));
            (await fleet.CliAsync(stop, "clone", "instance/original", "copied", "--no-wait")).OrThrow();
            await Fleet.EventuallyAsync(host, "the copy waits and says for what", TimeSpan.FromSeconds(90), async () =>
                (await fleet.CliAsync(stop, "describe", "instance", "copied")).Stdout.Contains("agentmetal stop instance/original", StringComparison.Ordinal), stop);
            (await fleet.CliAsync(stop, "stop", "instance/original")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(host, "copied", "boots ", 1, Boot, stop)); // On the same host, and it counts on.
            (await fleet.CliAsync(stop, "start", "instance/original")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(host, "original", "boots ", 2, Boot, stop));
            Assert.NotNull(await Machines.FindAsync(host, "copied", stop));
            string[] macs = [await MacAsync("original"), await MacAsync("copied")];
            Assert.NotEqual(macs[0], macs[1]);

            async Task<string> MacAsync(string name) => (await Machines.VirshAsync(host, stop, "domiflist", "default-" + name)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1].Trim();
        }
        finally { await Machines.RemoveAsync(fleet, stop, "original", "copied"); }
    }
}
