using System.Globalization;
using System.Net.Sockets;
using System.Text;
using AgentMetal.NodeAgent.Host.Notify;

namespace AgentMetal.NodeAgent.Tests.Host.Notify;

public sealed class NotifyTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Notifier_EveryCall_SendsOneDatagram(bool isAbstract)
    {
        var path = $"{Path.GetTempPath()}/agentmetal-notify-{Guid.NewGuid():N}";
        using var supervisor = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { ReceiveTimeout = 5000 };
        supervisor.Bind(new UnixDomainSocketEndPoint(isAbstract ? "\0" + path : path));
        using var notifier = new SystemdNotifier(name => name == "NOTIFY_SOCKET" ? (isAbstract ? "@" : "") + path : null, 1);
        notifier.Ready("serving\nREADY=0");
        notifier.Watchdog();
        notifier.Status("busy");
        notifier.Stopping();
        Assert.Equal(["READY=1\nSTATUS=serving READY=0", "WATCHDOG=1", "STATUS=busy", "STOPPING=1"], Enumerable.Range(0, 4).Select(_ => Receive(supervisor)));
        File.Delete(path);
    }

    [Fact]
    public void Notifier_NoSupervisorOrADeadOne_DoesNothing()
    {
        using var none = new SystemdNotifier(static _ => null, 1);
        none.Ready("serving");
        using var dead = new SystemdNotifier(static name => name == "NOTIFY_SOCKET" ? "/nonexistent/notify" : null, 1);
        dead.Ready("serving");
        Assert.Null(dead.WatchdogInterval);
    }

    [Theory]
    [InlineData("30000000", null, 15.0)]
    [InlineData("30000000", "7", 15.0)]
    [InlineData("30000000", "8", null)]
    [InlineData("0", null, null)]
    [InlineData("nonsense", null, null)]
    [InlineData(null, null, null)]
    public void WatchdogInterval_IsHalfOfWhatIsMeantForUs(string? microseconds, string? pid, double? seconds) =>
        Assert.Equal(seconds, SystemdNotifier.IntervalOf(microseconds, pid, 7)?.TotalSeconds);

    [Fact]
    public void BootClock_ReadTwice_FollowsTheUptime()
    {
        var clock = new BootClock();
        var before = clock.GetTimestamp();
        var uptime = double.Parse(File.ReadAllText("/proc/uptime").Split(' ')[0], CultureInfo.InvariantCulture);
        var after = clock.GetTimestamp();
        Assert.InRange(uptime, (before / 1e9) - 0.02, (after / 1e9) + 0.02);
    }

    private static string Receive(Socket socket)
    {
        var buffer = new byte[1024];
        return Encoding.UTF8.GetString(buffer, 0, socket.Receive(buffer));
    }
}
