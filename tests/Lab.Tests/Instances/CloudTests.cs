using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A whole Debian with cloud-init, fetched over HTTP.</summary>
[Story("instance", 45)]
public sealed class CloudTests(SharedFleet shared)
{
    /// <summary>About a minute on two idle cores, three beside other work.</summary>
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(8);

    [Fact]
    public async Task CloudImage_WithASeed_BootsAndSaysItsAddress()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        using var server = new FileServer(await VmImages.DirectoryAsync("cloud", stop), fleet.Lab.GatewayAddress);
        var yaml = await VmImages.ResourceAsync("cloud", "cloud.qcow2", "debian", "qcow2", server.Url + "cloud.qcow2", stop) + """
            apiVersion: agentmetal.io/v1
            kind: Instance
            metadata: { name: cloudy }
            spec:
              memory: 320Mi
              disks: [ { name: root, image: debian, size: 2Gi } ]
              nics: [ { network: default } ]
              guestAgent: true
              cloudInit:
                enabled: true
                hostname: cloudy
                userData: |
                  #cloud-config
                  runcmd:
                    # Its own line: the prompt for a login stands on the same console, without an end of its line, when it comes first.
                    - printf '\nseeded %s %s\n' "$(hostname)" "$(df -B1M --output=size / | tail -n 1)" >/dev/ttyS0
            """;
        (await fleet.ApplyAsync(yaml, stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "cloudy", stop);
        string said = "", console = "";
        try
        {
            await Fleet.EventuallyAsync(host, "cloud-init carries out what it was told", Boot, async () =>
                (said = (console = await Machines.ConsoleAsync(host, "cloudy", stop)).Split('\n').FirstOrDefault(l => l.StartsWith("seeded ", StringComparison.Ordinal)) ?? "").Length > 0, stop);
        }
        catch (Xunit.Sdk.XunitException)
        {
            // How far it came, and whether it still runs.
            TestContext.Current.TestOutputHelper?.WriteLine((await fleet.CliAsync(stop, "describe", "instance", "cloudy")).Stdout);
            TestContext.Current.TestOutputHelper?.WriteLine(console[Math.Max(0, console.Length - 4000)..]);
            throw;
        }
        var words = said.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("cloudy", words[1]);
        Assert.InRange(int.Parse(words[2], CultureInfo.InvariantCulture), 1500, 2048); // The image's own file system has less than 1 GiB.
        var address = (await Machines.VirshAsync(host, stop, "domifaddr", "default-cloudy")).Split(' ', StringSplitOptions.RemoveEmptyEntries)[^1].Split('/')[0];
        Assert.StartsWith("192.168.122.", address, StringComparison.Ordinal);
        await Fleet.EventuallyAsync(host, $"the status names {address}", TimeSpan.FromSeconds(60), async () =>
            (await fleet.CliAsync(stop, "get", "instance", "cloudy", "-o", "json")).Stdout.Contains(address, StringComparison.Ordinal), stop);
        await Machines.RemoveAsync(fleet, stop, "cloudy");
    }
}
