using System.Net;
using System.Net.Sockets;
using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// Whether a guest accepts a connection. Only addresses that the host knows of it are tried (leases of libvirt's DHCP server, the ARP table): what a guest
/// says of itself could name anybody.
/// </summary>
internal static class GuestPort
{
    private const int MaxAddresses = 8;
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(1);

    public static async Task<bool> AnswersAsync(ILibvirtReader domains, string uuid, int port, CancellationToken stop)
    {
        var known = new HashSet<string>(StringComparer.Ordinal);
        foreach (var source in (AddressSource[])[AddressSource.Lease, AddressSource.Arp])
            if (await domains.AddressesAsync(uuid, source, stop) is { IsSeen: true } seen) known.UnionWith(seen.Value.Select(a => a.Address));
        foreach (var text in known.Order(StringComparer.Ordinal).Take(MaxAddresses))
            if (IPAddress.TryParse(text, out var address) && !IPAddress.IsLoopback(address) && !address.IsIPv6LinkLocal && await ConnectsAsync(new(address, port), stop)) return true;
        return false;
    }

    private static async Task<bool> ConnectsAsync(IPEndPoint to, CancellationToken stop)
    {
        using var socket = new Socket(to.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(s_deadline);
        try
        {
            await socket.ConnectAsync(to, deadline.Token);
            return true;
        }
        catch (SocketException) { return false; }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested) { return false; }
    }
}
