using AgentMetal.Testing;

namespace AgentMetal.LabTests.Hosts;

[Story("lab", 5)]
public sealed class PowerTests(SharedLab shared)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Reboot_RunningHost_KeepsDiskAndIdentityAndStartsNewProcesses()
    {
        var host = (await shared.GetAsync())["edge-2"];
        var (leader, id) = (host.LeaderPid, await host.ReadFileAsync("/etc/machine-id", Cancellation));
        // The service writes when it is stopped: an orderly reboot lets it, a killed host does not.
        await StopMarkerAsync(host);
        await host.ShellAsync("echo kept >/var/lib/lab-test/kept; echo lost >/run/lost", Cancellation);

        await host.RebootAsync(Cancellation);

        Assert.NotEqual(leader, host.LeaderPid);
        Assert.Equal(id, await host.ReadFileAsync("/etc/machine-id", Cancellation));
        Assert.Equal("kept", await host.ShellAsync("cat /var/lib/lab-test/kept", Cancellation));
        Assert.Equal("no", await host.ShellAsync("[ -e /run/lost ] && echo yes || echo no", Cancellation));
        Assert.Equal("yes", await host.ShellAsync("[ -e /var/lib/lab-test/stopped ] && echo yes || echo no", Cancellation));
        await host.ShellAsync("rm -r /var/lib/lab-test", Cancellation);
    }

    [Fact]
    public async Task PowerOff_RunningHost_StopsNothingInOrderAndStaysOff()
    {
        var lab = await shared.GetAsync();
        var host = lab["edge-2"];
        await StopMarkerAsync(host);

        await host.PowerOffAsync(Cancellation);

        var exception = await Assert.ThrowsAsync<LabException>(() => host.RunAsync(["true"], cancellationToken: Cancellation));
        Assert.Contains("edge-2 is off", exception.Message, StringComparison.Ordinal);
        Assert.True(await lab["edge-1"].IsCutOffFromAsync(host.Address));
        await host.StartAsync(Cancellation);
        Assert.True(await lab["edge-1"].ReachesAsync(host.Address));
        Assert.Equal("no", await host.ShellAsync("[ -e /var/lib/lab-test/stopped ] && echo yes || echo no", Cancellation));
        await host.ShellAsync("rm -rf /var/lib/lab-test", Cancellation);
    }

    private static async Task StopMarkerAsync(LabHost host) => await host.ShellAsync(
        """
        mkdir -p /var/lib/lab-test
        systemd-run -q --unit=lab-marker -p ExecStop='/bin/touch /var/lib/lab-test/stopped' sleep 3600
        """,
        Cancellation);
}
