using System.Globalization;
using System.Text.RegularExpressions;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Faults;

[Story("lab", 20, Heart = true)]
public sealed partial class NetworkTests(SharedLab shared)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Partition_TwoHosts_LoseEachOtherAndNobodyElseUntilHealed()
    {
        var lab = await shared.GetAsync();
        var (a, b, c) = (lab["edge-1"], lab["edge-2"], lab["edge-3"]);
        Assert.True(await a.ReachesAsync(b.Address));

        await lab.PartitionAsync(a, b, Cancellation);

        Assert.True(await a.IsCutOffFromAsync(b.Address));
        // Each direction on its own: an echo is lost when either is cut.
        Assert.False(await ArrivesAsync(a, b, expected: false));
        Assert.False(await ArrivesAsync(b, a, expected: false));
        Assert.True(await a.ReachesAsync(c.Address));
        Assert.True(await b.ReachesAsync("control"));
        await lab.HealAsync(Cancellation);
        Assert.True(await a.ReachesAsync(b.Address));
    }

    [Fact]
    public async Task Partition_FromControl_LeavesTheHostsTogether()
    {
        var lab = await shared.GetAsync();

        await lab.PartitionFromControlAsync(lab["edge-1"], Cancellation);

        Assert.True(await lab["edge-1"].IsCutOffFromAsync("control"));
        Assert.True(await lab["edge-2"].ReachesAsync("control"));
        Assert.True(await lab["edge-1"].ReachesAsync(lab["edge-2"].Address));
        await lab.HealAsync(Cancellation);
    }

    [Fact]
    public async Task PartitionOneWay_Datagrams_ArriveOnlyInTheOtherDirection()
    {
        var lab = await shared.GetAsync();
        var (a, b) = (lab["edge-1"], lab["edge-2"]);
        // Both know the other's hardware address, so that only the datagram itself is subject to the fault.
        Assert.True(await a.ReachesAsync(b.Address));

        await lab.PartitionOneWayAsync(a, b, Cancellation);

        Assert.False(await ArrivesAsync(a, b, expected: false));
        Assert.True(await ArrivesAsync(b, a));
        await lab.HealAsync(Cancellation);
        Assert.True(await ArrivesAsync(a, b));
    }

    [Fact]
    public async Task Isolate_RebootedHost_IsStillAlone()
    {
        var lab = await shared.GetAsync();
        var host = lab["edge-3"];

        await lab.IsolateAsync(host, Cancellation);
        await host.RebootAsync(Cancellation);

        Assert.True(await host.IsCutOffFromAsync("control"));
        Assert.True(await lab["edge-1"].IsCutOffFromAsync(host.Address));
        await lab.HealAsync(Cancellation);
        Assert.True(await host.ReachesAsync("control"));
    }

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(50, 55, 92)] // 75% of the round trips are expected; the bounds are five standard deviations wide
    [InlineData(100, 100, 100)]
    public async Task Loss_HalfInEachDirection_LosesThreeOfFourRoundTrips(int percent, int atLeast, int atMost)
    {
        var lab = await shared.GetAsync();
        var (a, b) = (lab["edge-1"], lab["edge-2"]);
        Assert.True(await a.ReachesAsync(b.Address));

        await lab.LossAsync(b, percent, Cancellation);

        var output = (await a.RunAsync(["ping", "-q", "-c", "200", "-i", "0.005", "-W", "1", b.Address], cancellationToken: Cancellation)).Stdout;
        var lost = double.Parse(LossPattern().Match(output).Groups[1].Value, CultureInfo.InvariantCulture);
        Assert.InRange(lost, atLeast, atMost);
        await lab.HealAsync(Cancellation);
    }

    [GeneratedRegex(@"([\d.]+)% packet loss")]
    private static partial Regex LossPattern();

    /// <summary>Sends one datagram and says whether it was received within a second.</summary>
    /// <summary>One that is to arrive is sent again until it does: only that it never arrives is a claim of the other direction.</summary>
    private static async Task<bool> ArrivesAsync(LabHost from, LabHost to, bool expected = true)
    {
        await to.ShellAsync("systemd-run -q --collect --unit=lab-receive -p RuntimeMaxSec=120 socat -u UDP-RECV:4000 CREATE:/run/lab-received", Cancellation);
        await to.WaitForAsync("ss -lun | grep -q :4000", TimeSpan.FromSeconds(60), Cancellation);
        var arrived = false;
        for (var i = 0; i < (expected ? 40 : 3) && !arrived; i++)
        {
            await from.ShellAsync("""echo hello | socat -u - UDP-SENDTO:"$1":4000; sleep 0.5""", Cancellation, to.Address);
            arrived = (await to.ShellAsync("cat /run/lab-received 2>/dev/null || true", Cancellation)).StartsWith("hello", StringComparison.Ordinal);
        }
        await to.ShellAsync("systemctl stop lab-receive; rm -f /run/lab-received", Cancellation);
        return arrived;
    }
}
