using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>Tells systemd how the service stands (sd_notify(3)): one datagram to $NOTIFY_SOCKET. Without it, nothing is told.</summary>
internal sealed class ServiceNotifier
{
    private readonly string? _socket = Environment.GetEnvironmentVariable("NOTIFY_SOCKET");

    /// <summary>How often the watchdog wants to hear (half of WATCHDOG_USEC); null = it does not.</summary>
    public TimeSpan? WatchdogEvery { get; } =
        long.TryParse(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), NumberStyles.None, CultureInfo.InvariantCulture, out var usec) && usec > 0 ? TimeSpan.FromMicroseconds(usec / 2.0) : null;

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    public void Stopping() => Send("STOPPING=1");

    public void Alive() => Send("WATCHDOG=1");

    private void Send(string message)
    {
        if (string.IsNullOrEmpty(_socket)) return;
        try
        {
            using var socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
            // A leading @ is the abstract namespace, which begins with a zero byte.
            socket.SendTo(Encoding.UTF8.GetBytes(message), new UnixDomainSocketEndPoint(_socket[0] == '@' ? "\0" + _socket[1..] : _socket));
        }
        catch (SocketException)
        {
            // systemd notices by itself that nothing came.
        }
    }
}
