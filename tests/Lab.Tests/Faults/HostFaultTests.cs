using AgentMetal.Testing;

namespace AgentMetal.LabTests.Faults;

[Story("lab", 10)]
public sealed class HostFaultTests(SharedLab shared)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task SizeLimitedMount_Filled_RefusesWritesUntilFreed()
    {
        var host = (await shared.GetAsync())["edge-1"];
        await host.ShellAsync("mkdir -p /srv/small; chown daemon: /srv/small; chmod 750 /srv/small", Cancellation);

        await host.SizeLimitedMountAsync("/srv/small", 1024 * 1024, Cancellation);
        Assert.Equal("daemon 750", await host.ShellAsync("stat -c '%U %a' /srv/small", Cancellation));
        await host.FillAsync("/srv/small", Cancellation);

        var full = await host.RunAsync(["dd", "if=/dev/zero", "of=/srv/small/more", "count=1"], cancellationToken: Cancellation);
        Assert.Contains("No space left on device", full.Stderr, StringComparison.Ordinal);
        await host.FreeAsync("/srv/small", Cancellation);
        await host.ShellAsync("echo x >/srv/small/more", Cancellation);
        await host.UnmountAsync("/srv/small", Cancellation);
        Assert.Equal("", await host.ShellAsync("ls -A /srv/small", Cancellation));
    }

    [Fact]
    public async Task SizeLimitedMount_ServiceWithItsOwnMountNamespace_SeesItAppear()
    {
        var host = (await shared.GetAsync())["edge-1"];
        await host.ShellAsync(
            "mkdir -p /srv/seen; systemd-run -q --unit=lab-private -p PrivateTmp=yes -p ProtectSystem=full sleep 600", Cancellation);
        var pid = await host.MainPidAsync("lab-private", Cancellation);

        await host.SizeLimitedMountAsync("/srv/seen", 1024 * 1024, Cancellation);

        Assert.Contains(" /srv/seen ", await host.ReadFileAsync($"/proc/{pid}/mounts", Cancellation), StringComparison.Ordinal);
        await host.UnmountAsync("/srv/seen", Cancellation);
        await host.ShellAsync("systemctl stop lab-private", Cancellation);
    }

    [Fact]
    public async Task Fill_DirectoryOfTheMachinesDisk_IsRefused()
    {
        var host = (await shared.GetAsync())["edge-1"];

        var exception = await Assert.ThrowsAsync<LabException>(() => host.FillAsync("/srv", Cancellation));

        Assert.Contains("/srv is no size-limited mount", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Freeze_Redis_AcceptsConnectionsAndAnswersNothingUntilThawed()
    {
        var host = (await shared.GetAsync())["edge-1"];
        await host.StartServiceAsync("redis-server", Cancellation);
        await host.WaitForAsync("redis-cli ping | grep -q PONG", TimeSpan.FromSeconds(60), Cancellation);

        await host.FreezeAsync("redis-server", Cancellation);

        Assert.Equal("active", await host.ShellAsync("systemctl is-active redis-server", Cancellation));
        Assert.False((await host.RunAsync(["timeout", "-s", "KILL", "1", "redis-cli", "ping"], cancellationToken: Cancellation)).Succeeded);
        await host.ThawAsync("redis-server", Cancellation);
        Assert.Equal("PONG", await host.ShellAsync("redis-cli ping", Cancellation));
        await host.ShellAsync("systemctl stop redis-server", Cancellation);
    }

    [Fact]
    public async Task Kill_Service_EndsItsMainProcess()
    {
        var host = (await shared.GetAsync())["edge-1"];
        await host.ShellAsync("systemd-run -q --unit=lab-victim sleep 600", Cancellation);
        Assert.NotEqual(0, await host.MainPidAsync("lab-victim", Cancellation));

        await host.KillAsync("lab-victim", "KILL", Cancellation);

        await host.WaitForAsync("systemctl is-failed lab-victim", TimeSpan.FromSeconds(60), Cancellation);
        Assert.Equal("signal", await host.ShellAsync("systemctl show -P Result lab-victim; systemctl reset-failed lab-victim", Cancellation));
    }
}
