using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Hosts;

[Story("lab", 15)]
public sealed class BootTests(SharedLab shared)
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Lab_ThreeHosts_BootWithNoFailedUnit()
    {
        await SharedLab.RequireCapabilityAsync();
        await Lab.PrepareAsync(Cancellation);
        var started = Stopwatch.GetTimestamp();

        await using var lab = await Lab.StartAsync(new LabOptions(), Cancellation);

        TestContext.Current.TestOutputHelper?.WriteLine($"three hosts: {Stopwatch.GetElapsedTime(started).TotalSeconds:0.00} s");
        Assert.Equal(["edge-1", "edge-2", "edge-3"], lab.Hosts.Select(host => host.Name));
        Assert.Equal([11, 12, 13], lab.Hosts.Select(host => int.Parse(host.Address.Split('.')[3], CultureInfo.InvariantCulture)));
        foreach (var host in lab.Hosts)
        {
            Assert.Equal("running", await host.ShellAsync("systemctl is-system-running", Cancellation));
            Assert.Equal(host.Name, await host.ShellAsync("hostname", Cancellation));
        }
    }

    [Fact]
    public async Task Hosts_OfOneLab_ReachEachOtherAndControl()
    {
        var lab = await shared.GetAsync();

        foreach (var from in lab.Hosts)
        {
            foreach (var to in lab.Hosts)
                Assert.True(await from.ReachesAsync(to.Address), $"{from.Name} does not reach {to.Name}");
            Assert.True(await from.ReachesAsync("control"), $"{from.Name} does not reach control");
        }
    }

    [Fact]
    public async Task Hosts_OfOneLab_HaveTheirOwnIdentityDiskAndProcesses()
    {
        var lab = await shared.GetAsync();
        var ids = new HashSet<string>();
        foreach (var host in lab.Hosts)
        {
            ids.Add(await host.ReadFileAsync("/etc/machine-id", Cancellation));
            await host.WriteFileAsync("/var/lib/lab-test/own", host.Name, "0600", Cancellation);
        }

        Assert.Equal(3, ids.Count);
        foreach (var host in lab.Hosts)
        {
            Assert.Equal(host.Name, await host.ReadFileAsync("/var/lib/lab-test/own", Cancellation));
            Assert.Equal("600", await host.ShellAsync("stat -c %a /var/lib/lab-test/own; rm /var/lib/lab-test/own", Cancellation));
            Assert.Equal("systemd", await host.ShellAsync("cat /proc/1/comm", Cancellation));
        }
    }

    [Fact]
    public async Task Labs_TwoAtOnce_HaveNetworksThatDoNotMeet()
    {
        var first = await shared.GetAsync();
        await using var second = await Lab.StartAsync(new LabOptions { HostNames = ["other-1"] }, Cancellation);

        Assert.NotEqual(first.GatewayAddress, second.GatewayAddress);
        Assert.True(await second.Hosts[0].ReachesAsync(second.GatewayAddress));
        Assert.True(await second.Hosts[0].IsCutOffFromAsync(first.Hosts[0].Address));
    }

    [Fact]
    public async Task Host_SystemBus_AnswersFromOutside()
    {
        var host = (await shared.GetAsync())["edge-1"];
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        await socket.ConnectAsync(new UnixDomainSocketEndPoint(host.BusAddress["unix:path=".Length..]), Cancellation);
        // The D-Bus specification, "Authentication protocol": uid 0 in hexadecimal digits of its ASCII form.
        await socket.SendAsync("\0AUTH EXTERNAL 30\r\n"u8.ToArray(), Cancellation);
        var answer = new byte[256];
        var length = await socket.ReceiveAsync(answer, Cancellation);

        Assert.StartsWith("OK ", Encoding.ASCII.GetString(answer, 0, length), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Host_PurgedRedis_InstallsAgainWithNoNetworkOutside()
    {
        var host = (await shared.GetAsync())["edge-3"];
        await host.ShellAsync("DEBIAN_FRONTEND=noninteractive apt-get -qq -y purge redis-server redis-tools", Cancellation);
        Assert.NotEqual(0, (await host.RunAsync(["sh", "-c", "command -v redis-server"], cancellationToken: Cancellation)).ExitCode);

        await host.ShellAsync("DEBIAN_FRONTEND=noninteractive apt-get -qq -y install redis-server", Cancellation);
        await host.WaitForAsync("redis-cli ping | grep -q PONG", TimeSpan.FromSeconds(60), Cancellation);

        await host.ShellAsync("systemctl disable --quiet --now redis-server", Cancellation);
    }

    [Fact]
    public async Task Host_Binds_AreVisibleAndReadOnly()
    {
        await SharedLab.RequireCapabilityAsync();
        var source = Directory.CreateTempSubdirectory("lab-bind");
        try
        {
            await File.WriteAllTextAsync(Path.Combine(source.FullName, "given"), "yes", Cancellation);
            await using var lab = await Lab.StartAsync(
                new LabOptions { HostNames = ["bound"], Binds = [new LabBind(source.FullName, "/opt/given")] }, Cancellation);

            Assert.Equal("yes", await lab.Hosts[0].ReadFileAsync("/opt/given/given", Cancellation));
            Assert.False((await lab.Hosts[0].RunAsync(["touch", "/opt/given/new"], cancellationToken: Cancellation)).Succeeded);
        }
        finally
        {
            source.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task CopyIn_FileAndDirectory_KeepContentAndModeThroughTheHostsOwnLinks()
    {
        var host = (await shared.GetAsync())["edge-1"];
        var source = Directory.CreateTempSubdirectory("lab-copy");
        try
        {
            var program = Path.Combine(source.FullName, "program");
            await File.WriteAllTextAsync(program, "#!/bin/sh\necho ran\n", Cancellation);
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            await host.ShellAsync("mkdir -p /srv/real; ln -sfn /srv/real /srv/link", Cancellation);

            await host.CopyInAsync(program, "/srv/link/program", Cancellation);
            await host.CopyInAsync(source.FullName, "/srv/link/all", Cancellation);

            Assert.Equal("ran", await host.ShellAsync("/srv/real/program", Cancellation));
            Assert.Equal("ran", await host.ShellAsync("/srv/real/all/program", Cancellation));
        }
        finally
        {
            source.Delete(recursive: true);
            await host.ShellAsync("rm -rf /srv/real /srv/link", Cancellation);
        }
    }
}
