using System.Text.Json;
using AgentMetal.LabTests.Fleets;

namespace AgentMetal.LabTests.Instances;

/// <summary>What a machine does is shown to people by the programs that are shipped, on the fleet and on its host alone.</summary>
[Story("instance", 30)]
public sealed class DetailsTests(SharedFleet shared)
{
    [Fact]
    public async Task Details_OfARunningMachine_AreShownAndItsConsoleOnlyWhereItMayBe()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("shown") + Machines.Small("hidden", ", consoleInStatus: false"), stop)).OrThrow();
        try
        {
            var (host, _) = await Machines.WhereAsync(fleet, "shown", stop);
            var address = await Machines.SaysAsync(host, "shown", "ready ", 1, TimeSpan.FromMinutes(3), stop);
            Dictionary<string, string> details = [];
            await Fleet.EventuallyAsync(host, "the details have rates, the address and the console", TimeSpan.FromSeconds(90), async () =>
            {
                details = await DetailsAsync(fleet, "shown", stop);
                return details.ContainsKey("cpuPercent") && details.GetValueOrDefault("addresses", "").Contains(address, StringComparison.Ordinal) && details.GetValueOrDefault("console", "").Contains("agentmetal-vm ready", StringComparison.Ordinal);
            }, stop);
            TestContext.Current.TestOutputHelper?.WriteLine(string.Join("; ", details.Select(d => d.Key + "=" + d.Value.ReplaceLineEndings(" | "))));
            Assert.Equal("running", details["power"]);
            Assert.InRange(long.Parse(details["memoryUsed"], System.Globalization.CultureInfo.InvariantCulture), 16L << 20, 2L << 30);
            Assert.Contains("networkSentPerSecond", details.Keys);

            var described = (await fleet.CliAsync(stop, "describe", "instance", "shown")).OrThrow().Stdout;
            Assert.Contains("addresses  " + address, described, StringComparison.Ordinal);
            Assert.Contains("    agentmetal-vm ready", described, StringComparison.Ordinal);
            Assert.Contains("agentmetal-vm ready", await host.ShellAsync($"NO_COLOR=1 COLUMNS=2000 {Fleet.HostCli} local why instance/shown", stop), StringComparison.Ordinal);

            var quiet = await DetailsAsync(fleet, "hidden", stop);
            Assert.Contains("power", quiet.Keys);
            Assert.DoesNotContain("console", quiet.Keys);
            // What a guest prints is in no event and no audit record.
            Assert.DoesNotContain("agentmetal-vm ready", (await fleet.CliAsync(stop, "events")).Stdout + (await fleet.CliAsync(stop, "audit")).Stdout, StringComparison.Ordinal);
        }
        finally { await Machines.RemoveAsync(fleet, stop, "shown", "hidden"); }
    }

    private static async Task<Dictionary<string, string>> DetailsAsync(Fleet fleet, string name, CancellationToken stop)
    {
        using var document = JsonDocument.Parse((await fleet.CliAsync(stop, "get", "instance", name, "-o", "json")).OrThrow().Stdout);
        var root = document.RootElement;
        var resource = root.TryGetProperty("items", out var items) ? items[0] : root;
        return resource.GetProperty("status").GetProperty("members")[0].TryGetProperty("details", out var details)
            ? details.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetString()!, StringComparer.Ordinal) : [];
    }
}
