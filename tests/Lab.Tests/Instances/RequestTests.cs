using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.Instances;

/// <summary>What people ask of a machine in a word, with the programs that are shipped.</summary>
[Story("instance", 45)]
public sealed class RequestTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(3);

    [Fact]
    public async Task Restart_AskedOnce_BootsOnceMoreAndResetWaitsForASignature()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("asked"), stop)).OrThrow();
        try
        {
            var (host, before) = await Machines.WhereAsync(fleet, "asked", stop);
            await Machines.SaysAsync(host, "asked", "ready ", 1, Boot, stop);
            (await fleet.CliAsync(stop, "restart", "instance/asked")).OrThrow();
            var after = await Machines.FindAsync(host, "asked", stop);
            Assert.NotNull(after);
            Assert.NotEqual(before, after);
            await Machines.SaysAsync(host, "asked", "ready ", 2, Boot, stop);

            // Nobody has signed: the same process, and no third boot.
            var asked = await fleet.CliAsync(stop, "reset", "instance", "asked");
            Assert.Equal(4, asked.ExitCode);
            Assert.Equal(after, await Machines.FindAsync(host, "asked", stop));
            (await fleet.CliAsync(stop, "approve", "instance/asked", "--yes", "--reason", "test")).OrThrow();
            await Machines.SaysAsync(host, "asked", "ready ", 3, Boot, stop);
            Assert.Equal(after, await Machines.FindAsync(host, "asked", stop));

            (await fleet.CliAsync(stop, "stop", "instance/asked")).OrThrow();
            Assert.Null(await Machines.FindAsync(host, "asked", stop));
            Assert.Equal(1, (await fleet.CliAsync(stop, "restart", "instance/asked")).ExitCode);
            (await fleet.CliAsync(stop, "start", "instance/asked")).OrThrow();
            Assert.NotNull(await Machines.FindAsync(host, "asked", stop));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "asked"); }
    }
}
