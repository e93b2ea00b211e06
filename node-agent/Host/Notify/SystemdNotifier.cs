using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.NodeAgent.Host.Notify;

/// <summary>Sends datagrams to the socket that systemd names in NOTIFY_SOCKET (sd_notify(3)).</summary>
internal sealed class SystemdNotifier : INotifier, IDisposable
{
    private const int MaxStatus = 256;

    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _address;

    /// <summary>The notifier of this process, from its own environment.</summary>
    internal SystemdNotifier()
        : this(Environment.GetEnvironmentVariable, Environment.ProcessId)
    {
    }

    /// <param name="environment">Looks up an environment variable: NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID.</param>
    /// <param name="pid">Our process: systemd may mean the watchdog for another one.</param>
    internal SystemdNotifier(Func<string, string?> environment, int pid)
    {
        WatchdogInterval = IntervalOf(environment("WATCHDOG_USEC"), environment("WATCHDOG_PID"), pid);
        if (environment("NOTIFY_SOCKET") is not { Length: > 1 } path || path[0] is not ('/' or '@'))
            return;

        // "@" stands for the NUL that begins an abstract address (unix(7)).
        _address = new UnixDomainSocketEndPoint(path[0] == '@' ? string.Concat("\0", path.AsSpan(1)) : path);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified) { Blocking = false };
    }

    public TimeSpan? WatchdogInterval { get; }

    public void Ready(string status) => Send($"READY=1\nSTATUS={OneLine(status)}");

    public void Status(string status) => Send($"STATUS={OneLine(status)}");

    public void Watchdog() => Send("WATCHDOG=1");

    public void Stopping() => Send("STOPPING=1");

    public void Dispose() => _socket?.Dispose();

    internal static TimeSpan? IntervalOf(string? microseconds, string? forPid, int pid)
    {
        if (!long.TryParse(microseconds, NumberStyles.None, CultureInfo.InvariantCulture, out var value) || value <= 0)
            return null;
        if (!string.IsNullOrEmpty(forPid) && forPid != pid.ToString(CultureInfo.InvariantCulture))
            return null;

        // sd_watchdog_enabled(3) recommends half of the time.
        return TimeSpan.FromMicroseconds(value / 2.0);
    }

    private static string OneLine(string status)
    {
        var line = status.ReplaceLineEndings(" ");
        return line.Length <= MaxStatus ? line : line[..MaxStatus];
    }

    private void Send(string message)
    {
        try
        {
            _socket?.SendTo(Encoding.UTF8.GetBytes(message), _address!);
        }
        catch (SocketException)
        {
            // systemd is busy or executing itself again. A lost status does not matter, and a lost READY or WATCHDOG
            // is for systemd's own timeout to notice; the daemon must not stop over it.
        }
    }
}
