using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A guest that sends with an address that is not its own is not heard, unless its card may. Seen on both sides of the filter: on the guest's own cable and on the bridge behind it.</summary>
[Story("instance", 40)]
public sealed class SpoofTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    /// <param name="Name">Of the instance.</param>
    /// <param name="Address">That it claims and was given by nobody.</param>
    /// <param name="Word">When: after its lease, or with its very first packet.</param>
    private sealed record Liar(string Name, string Address, string Word, bool May);

    private static readonly Liar[] s_liars =
    [
        new("liar", "192.168.122.77", "am.spoof", May: false),
        new("early-liar", "192.168.122.78", "am.spoof-first", May: false),
        new("router", "192.168.122.79", "am.spoof", May: true),
    ];

    [Fact]
    public async Task Packets_WithAnAddressOfAnother_ReachTheBridgeOnlyWhereTheCardMay()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        string[] names = [.. s_liars.Select(l => l.Name)];
        var yaml = string.Concat(s_liars.Select(l => Machines.Small(l.Name, $$""", placement: { labels: { host: {{host.Name}} } }""", $"{l.Word}={l.Address}")
            .Replace("nics: [ { network: default } ]", $$"""nics: [ { network: default, spoofing: {{(l.May ? "allowed" : "denied")}} } ]""", StringComparison.Ordinal)));
        await KeepFromThemAsync(host, "add", stop);
        try
        {
            (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + yaml, stop)).OrThrow();
            foreach (var liar in s_liars)
            {
                await Machines.SaysAsync(host, liar.Name, "spoofing " + liar.Address, 1, Boot, stop);
                var own = await Machines.SaysAsync(host, liar.Name, "nic eth0 ", 1, Boot, stop);
                // The filter lets through what is the guest's own.
                await Fleet.EventuallyAsync(host, $"{liar.Name} is reached at {own}", TimeSpan.FromSeconds(90), async () =>
                    (await host.RunAsync(["ping", "-q", "-c", "1", "-W", "2", own], cancellationToken: stop)).Succeeded, stop);
            }
            var heard = await Task.WhenAll(s_liars.Select(l => HeardAsync(host, l, stop)));
            foreach (var (liar, (cable, bridge)) in s_liars.Zip(heard))
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{liar}: {cable.Length} packets on its cable, {bridge.Length} on the bridge");
                Said(cable, liar, "on its cable");
                if (liar.May) Said(bridge, liar, "on the bridge");
                else Assert.True(bridge.Length == 0, $"{liar} was heard on the bridge: {bridge.FirstOrDefault()}\n{await host.ShellAsync("ebtables -t nat -L 2>&1 | head -80", stop)}");
            }
        }
        finally
        {
            await Machines.RemoveAsync(fleet, stop, names);
            await KeepFromThemAsync(host, "delete", stop);
        }
    }

    /// <summary>The network lends none of the addresses that they claim: one that a liar was lent would be its own.</summary>
    private static async Task KeepFromThemAsync(LabHost host, string how, CancellationToken stop)
    {
        foreach (var (liar, i) in s_liars.Select((l, i) => (l, i)))
            await host.ShellAsync("""
                virsh="virsh -q -c qemu:///system"
                $virsh net-update default "$1" ip-dhcp-host "<host mac='52:54:00:ff:ff:0$2' ip='$3'/>" --config $($virsh net-list --name | grep -qx default && echo --live)
                """, stop, how, i.ToString(System.Globalization.CultureInfo.InvariantCulture), liar.Address);
    }

    /// <summary>It sent both: an ARP that claims the address, and IP from it.</summary>
    private static void Said(string[] packets, Liar liar, string where)
    {
        Assert.True(packets.Any(p => p.Contains("ARP", StringComparison.Ordinal)), $"no ARP of {liar} {where}");
        Assert.True(packets.Any(p => p.Contains($"{liar.Address} > 192.168.122.1: ICMP echo request", StringComparison.Ordinal)), $"no IP of {liar} {where}");
    }

    /// <summary>What comes with the liar's stolen address as its sender in eight seconds: at the end of the guest's cable, before any filter, and on the bridge.</summary>
    private static async Task<(string[] Cable, string[] Bridge)> HeardAsync(LabHost host, Liar liar, CancellationToken stop)
    {
        var cable = await host.ShellAsync($"virsh -q -c qemu:///system domiflist default-{liar.Name} | awk '{{print $1}}'", stop);
        var heard = await Task.WhenAll(ListenAsync(cable), ListenAsync("virbr0"));
        return (heard[0], heard[1]);

        async Task<string[]> ListenAsync(string device) => (await host.ShellAsync($"timeout 8 tcpdump -nnl -Q in -i {device} src host {liar.Address} 2>/dev/null || true", stop)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
