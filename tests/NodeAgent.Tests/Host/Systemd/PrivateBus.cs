using System.Diagnostics;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Host.Systemd;

/// <summary>A dbus-daemon of the test's own, which can be stopped, frozen and started again at the same address.</summary>
internal sealed class PrivateBus : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("agentmetal-bus-").FullName;
    private Process? _daemon;

    internal PrivateBus()
    {
        File.WriteAllText(
            Path.Combine(_directory, "bus.conf"),
            $"""
             <!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
             <busconfig>
               <type>session</type>
               <listen>unix:path={_directory}/bus</listen>
               <auth>EXTERNAL</auth>
               <policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
             </busconfig>
             """);
    }

    internal string Address => $"unix:path={_directory}/bus";

    internal int Pid => _daemon!.Id;

    internal SystemdOptions Options => new()
    {
        BusAddress = Address,
        CallDeadline = TimeSpan.FromSeconds(5),
        MinBackOff = TimeSpan.FromMilliseconds(5),
        MaxBackOff = TimeSpan.FromMilliseconds(20),
    };

    internal void Start()
    {
        File.Delete(Path.Combine(_directory, "bus"));
        _daemon = Process.Start(new ProcessStartInfo("dbus-daemon")
        {
            ArgumentList = { "--config-file=" + Path.Combine(_directory, "bus.conf"), "--nofork", "--nopidfile", "--print-address=1" },
            RedirectStandardOutput = true,
        })!;
        Assert.NotNull(_daemon.StandardOutput.ReadLine());
    }

    internal void Kill()
    {
        _daemon!.Kill();
        _daemon.WaitForExit();
        _daemon.Dispose();
        _daemon = null;
    }

    internal void Freeze(bool frozen)
    {
        using var kill = Process.Start("kill", [frozen ? "-STOP" : "-CONT", Pid.ToString(null, null)]);
        kill.WaitForExit();
    }

    public void Dispose()
    {
        if (_daemon is not null)
            Kill();
        Directory.Delete(_directory, recursive: true);
    }
}
