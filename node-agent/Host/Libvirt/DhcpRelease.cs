using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>
/// Gives a lease back in the name of a guest that is gone (RFC 2131, 4.4.6; options of RFC 2132). libvirt's server, dnsmasq, otherwise keeps the address for
/// an hour, also from a machine that is to have it. libvirt itself has no call for this.
/// </summary>
internal static class DhcpRelease
{
    private const int SocketLevel = 1, BindToDevice = 25; // SOL_SOCKET, SO_BINDTODEVICE of asm-generic/socket.h.
    private const int ServerPort = 67;

    /// <summary>The smallest message that every server takes (RFC 1542, 2.1).</summary>
    private const int Size = 300;

    /// <exception cref="LibvirtException">The host cannot send it.</exception>
    public static void Send(string bridge, string mac, string address, string server)
    {
        if (bridge.Length == 0) return;
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            // To an address of this host, yet as if it came in by the bridge: the server listens to no other interface.
            socket.SetRawSocketOption(SocketLevel, BindToDevice, Encoding.ASCII.GetBytes(bridge + "\0"));
            socket.SendTo(Message(mac, IPAddress.Parse(address), IPAddress.Parse(server)), new IPEndPoint(IPAddress.Parse(server), ServerPort));
        }
        catch (Exception error) when (error is SocketException or FormatException)
        {
            throw new LibvirtException(DomainResult.Refused, $"{address} of {mac} could not be given back on {bridge}: {error.Message}");
        }
    }

    /// <exception cref="FormatException">The MAC is none.</exception>
    internal static byte[] Message(string mac, IPAddress address, IPAddress server)
    {
        var octets = mac.Split(':');
        if (octets.Length != 6) throw new FormatException($"{mac} is no MAC address");
        var message = new byte[Size];
        (message[0], message[1], message[2]) = (1, 1, 6); // A request, of a client on Ethernet, whose addresses have six octets.
        Random.Shared.NextBytes(message.AsSpan(4, 4));
        address.GetAddressBytes().CopyTo(message, 12);
        for (var i = 0; i < octets.Length; i++) message[28 + i] = byte.Parse(octets[i], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        // The cookie that options begin with; 53: the type, a release; 54: whose lease it is; the end. Without a client's own name (61) the server goes by the MAC.
        ReadOnlySpan<byte> options = [99, 130, 83, 99, 53, 1, 7, 54, 4, .. server.GetAddressBytes(), 255];
        options.CopyTo(message.AsSpan(236));
        return message;
    }
}
