using System.Collections.Immutable;
using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace AgentMetal.NodeAgent;

/// <summary>What a host tells of itself; claims that affect only its own resources.</summary>
internal static class HostFacts
{
    public static ImmutableSortedDictionary<string, string> Read()
    {
        var facts = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        facts["kernel"] = Environment.OSVersion.Version.ToString();
        facts["arch"] = System.Runtime.InteropServices.RuntimeInformation.OSArchitecture.ToString().ToLowerInvariant();
        facts["cpus"] = Environment.ProcessorCount.ToString();
        facts["memory_mib"] = (Meminfo("MemTotal") / 1024).ToString();
        facts["os"] = OsRelease("PRETTY_NAME");
        return facts.ToImmutable();
    }

    /// <summary>The configured address first, else the source address of the route to the coordinator; then the others.</summary>
    public static ImmutableArray<string> Addresses(string configured, Uri coordinator)
    {
        var first = configured.Length > 0 ? configured : SourceTowards(coordinator);
        var all = NetworkInterface.GetAllNetworkInterfaces().Where(i => i.OperationalStatus == OperationalStatus.Up && i.NetworkInterfaceType != NetworkInterfaceType.Loopback)
            .SelectMany(i => i.GetIPProperties().UnicastAddresses).Select(a => a.Address).Where(a => a.AddressFamily == AddressFamily.InterNetwork).Select(a => a.ToString());
        return [.. all.Prepend(first).Where(a => a.Length > 0).Distinct(StringComparer.Ordinal).Take(16)];
    }

    private static string SourceTowards(Uri coordinator)
    {
        try
        {
            // Connecting a datagram socket sends nothing; it only asks the routing table.
            using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp);
            probe.Connect(coordinator.Host, coordinator.Port);
            return ((IPEndPoint)probe.LocalEndPoint!).Address.ToString();
        }
        catch (SocketException) { return ""; }
    }

    private static long Meminfo(string name)
    {
        foreach (var line in File.ReadLines("/proc/meminfo"))
            if (line.StartsWith(name + ":", StringComparison.Ordinal)) return long.Parse(line[(name.Length + 1)..].Trim().Split(' ')[0]);
        return 0;
    }

    private static string OsRelease(string name)
    {
        try
        {
            foreach (var line in File.ReadLines("/etc/os-release"))
                if (line.StartsWith(name + "=", StringComparison.Ordinal)) return line[(name.Length + 1)..].Trim('"');
        }
        catch (IOException) { /* Not every host says what it is. */ }
        return "unknown";
    }
}
