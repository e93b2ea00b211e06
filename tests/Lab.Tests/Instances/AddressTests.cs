using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>An address that a spec names is the guest's, by the programs that are shipped; and one that cannot be is refused where a person sees why.</summary>
[Story("instance", 35)]
public sealed class AddressTests(SharedFleet shared)
{
    [Fact]
    public async Task Address_Named_IsTheGuestsAndNoOtherMachineGetsIt()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        string Named(string name, string address) => On(host, name).Replace("{ network: default }", $$"""{ network: default, ip: {{address}} }""", StringComparison.Ordinal);
        var images = await Machines.ImagesAsync(stop);
        var bad = await fleet.ApplyAsync(images + Named("known", "192.168.122"), stop, "--no-wait");
        Assert.True(bad.ExitCode == 2 && (bad.Stdout + bad.Stderr).Contains("spec.nics[0].ip", StringComparison.Ordinal), bad.Stdout + bad.Stderr);
        try
        {
            (await fleet.ApplyAsync(images + Named("known", "192.168.122.201"), stop)).OrThrow();
            Assert.Equal("192.168.122.201", await Machines.SaysAsync(host, "known", "ready ", 1, TimeSpan.FromMinutes(3), stop));
            Assert.True((await host.RunAsync(["ping", "-q", "-c", "1", "-W", "2", "192.168.122.201"], cancellationToken: stop)).Succeeded);

            (await fleet.ApplyAsync(Named("late", "192.168.122.201") + Named("lost", "10.9.9.9"), stop, "--no-wait")).OrThrow();
            foreach (var (name, reason) in ((string, string)[])[("late", "192.168.122.201 of network default is kept for"), ("lost", "10.9.9.9 is no address that network default can lend")])
                await Fleet.EventuallyAsync(host, $"describe says of {name}: {reason}", TimeSpan.FromSeconds(60), async () =>
                    (await fleet.CliAsync(stop, "describe", "instance", name)).Stdout.ReplaceLineEndings(" ").Contains(reason, StringComparison.Ordinal), stop);
            Assert.Null(await Machines.FindAsync(host, "late", stop));

            await Machines.RemoveAsync(fleet, stop, "known");
            Assert.Equal("192.168.122.201", await Machines.SaysAsync(host, "late", "ready ", 1, TimeSpan.FromMinutes(3), stop));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "known", "late", "lost"); }
        Assert.DoesNotContain("<host ", await Machines.VirshAsync(host, stop, "net-dumpxml", "default"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Address_LentToAMachineThatIsGone_IsTheNextOnes()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        var images = await Machines.ImagesAsync(stop);
        try
        {
            (await fleet.ApplyAsync(images + On(host, "before"), stop)).OrThrow();
            var address = await Machines.SaysAsync(host, "before", "ready ", 1, TimeSpan.FromMinutes(3), stop);
            Assert.Contains(address + "/", await Machines.VirshAsync(host, stop, "net-dhcp-leases", "default"), StringComparison.Ordinal);
            await Machines.RemoveAsync(fleet, stop, "before");

            (await fleet.ApplyAsync(On(host, "after").Replace("{ network: default }", $$"""{ network: default, ip: {{address}} }""", StringComparison.Ordinal), stop)).OrThrow();
            Assert.Equal(address, await Machines.SaysAsync(host, "after", "ready ", 1, TimeSpan.FromMinutes(3), stop));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "before", "after"); }
    }

    private static string On(LabHost host, string name) => Machines.Small(name, $$""", placement: { labels: { host: {{host.Name}} } }""");
}
