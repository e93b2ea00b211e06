using System.Globalization;
using System.Net;
using System.Numerics;
using System.Xml.Linq;

namespace AgentMetal.NodeAgent.Host.Libvirt;

/// <summary>What a network's description (libvirt.org/formatnetwork.html) says of the addresses that it lends.</summary>
internal static class NetworkXml
{
    /// <exception cref="LibvirtException">It is no description of a network.</exception>
    public static NetworkLeases Read(string text)
    {
        var (network, why) = LibvirtXml.Load(text, "network");
        if (network is null) throw new LibvirtException(DomainResult.Refused, why);
        try
        {
            var ips = network.Elements("ip").Where(i => Of(i, "family") is "" or "ipv4").ToList();
            return new(true,
                [.. ips.Select(i => new Subnet(Of(i, "address"), Prefix(i), i.Element("dhcp") is not null))],
                [.. ips.Elements("dhcp").Elements("host").Select(h => (Of(h, "mac").ToLowerInvariant(), Of(h, "ip")))],
                []);
        }
        catch (Exception e) when (e is FormatException or OverflowException) { throw new LibvirtException(DomainResult.Refused, "the description of the network cannot be understood: " + e.Message); }
    }

    /// <summary>Where neither is given, what its class of addresses has (RFC 791), as libvirt does.</summary>
    private static int Prefix(XElement ip)
    {
        if (Of(ip, "prefix") is { Length: > 0 } prefix) return int.Parse(prefix, CultureInfo.InvariantCulture);
        if (Of(ip, "netmask") is { Length: > 0 } mask) return BitOperations.PopCount(BitConverter.ToUInt32(IPAddress.Parse(mask).GetAddressBytes()));
        return IPAddress.Parse(Of(ip, "address")).GetAddressBytes()[0] switch { < 128 => 8, < 192 => 16, _ => 24 };
    }

    private static string Of(XElement element, string name) => (string?)element.Attribute(name) ?? "";
}
