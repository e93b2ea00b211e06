using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>Counters of the machines on this host: one call to libvirt for all of them, when somebody scrapes.</summary>
internal sealed class InstanceSeries(ILibvirtReader domains, InstanceRoots roots) : IMemberSeries
{
    private const double Nanoseconds = 1e9;

    public string Kind => InstanceKind.Name;

    public async ValueTask<IReadOnlyList<MemberSample>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop)
    {
        var byUuid = new Dictionary<string, MemberInput>(StringComparer.Ordinal);
        foreach (var member in members) byUuid[InstanceLayout.Of(member.Project, member.Name, member.ResourceUid, member.Ordinal, roots).Uuid] = member;
        var stats = await domains.StatsAsync([.. byUuid.Keys], stop);
        return stats.IsSeen ? [.. stats.Value.Where(s => byUuid.ContainsKey(s.Uuid)).SelectMany(s => Of(byUuid[s.Uuid], s))] : [];
    }

    private static IEnumerable<MemberSample> Of(MemberInput member, DomainStats s)
    {
        yield return Gauge("agentmetal_instance_running", "1 while the machine runs.", s.Power == DomainPower.Running ? 1 : 0);
        if (s.Power is DomainPower.ShutOff or DomainPower.Crashed) yield break;
        yield return Counter("agentmetal_instance_cpu_seconds_total", "Processor time since the machine started.", "", s.CpuTimeNs / Nanoseconds);
        yield return Gauge("agentmetal_instance_memory_bytes", "Memory that the guest has.", s.BalloonCurrentKiB * 1024.0);
        yield return Gauge("agentmetal_instance_resident_bytes", "Memory that its process takes on the host.", s.RssKiB * 1024.0);
        yield return Gauge("agentmetal_instance_cpus", "Virtual processors that it has.", s.Vcpus);
        foreach (var disk in s.Disks)
        {
            yield return Counter("agentmetal_instance_disk_read_bytes_total", "Bytes read from a disk.", disk.Target, disk.RdBytes);
            yield return Counter("agentmetal_instance_disk_written_bytes_total", "Bytes written to a disk.", disk.Target, disk.WrBytes);
            yield return new("agentmetal_instance_disk_allocated_bytes", "Bytes that a disk takes on the host.", false, member.Project, member.Name, disk.Target, disk.Allocation);
        }
        foreach (var nic in s.Nics)
        {
            yield return Counter("agentmetal_instance_network_received_bytes_total", "Bytes that the guest received.", nic.Device, nic.RxBytes);
            yield return Counter("agentmetal_instance_network_sent_bytes_total", "Bytes that the guest sent.", nic.Device, nic.TxBytes);
        }

        MemberSample Gauge(string name, string help, double value) => new(name, help, false, member.Project, member.Name, "", value);
        MemberSample Counter(string name, string help, string device, double value) => new(name, help, true, member.Project, member.Name, device, value);
    }
}
