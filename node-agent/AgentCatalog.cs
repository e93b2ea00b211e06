using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Snapshots;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent;

/// <summary>What an agent may use of this host: readers and writers, and nothing of the link.</summary>
internal sealed record HostAccess(IUnitReader Units, IUnitWriter UnitWriter, IFileReader Files, IFileWriter FileWriter, IPackageReader Packages,
    IPackageWriter PackageWriter, IProcessRunner Processes, ILibvirtReader Domains, ILibvirtWriter DomainWriter, HypervisorProbe Hypervisor, ILibvirtConsole DomainConsoles);

/// <summary>The agents of this daemon, by name: nothing is found by scanning.</summary>
internal static class AgentCatalog
{
    /// <summary>What signals beside systemd and the file system.</summary>
    public static IReadOnlyList<ITopicSource> Topics(HostAccess host) => [new DomainTopics(host.Domains)];

    /// <summary>Numbers of members, for Prometheus.</summary>
    public static IReadOnlyList<IMemberSeries> Series(HostAccess host) => [new InstanceSeries(host.Domains, new())];

    /// <summary>What people want to know of members between two passes.</summary>
    public static IReadOnlyList<IMemberDetails> Details(HostAccess host) => [new InstanceDetails(host.Domains, host.Files, TimeProvider.System, new()), new RedisDetails(host.Files, new())];

    /// <summary>Members that have a serial console.</summary>
    public static IReadOnlyList<IMemberConsole> Consoles(HostAccess host) => [new InstanceConsole(host.Domains, host.DomainConsoles, host.Files, new())];

    /// <summary>One line for each kind.</summary>
    public static IReadOnlyList<IMemberRunner> Members(HostAccess host, ImageStore images, HandOvers moves)
    {
        var machines = (Readers: new InstanceReaders(host.Domains, host.Files, new Accelerators(host.Hypervisor)) { HandOvers = moves }, Writers: new InstanceWriters(host.DomainWriter, host.FileWriter, host.Processes, images) { HandOvers = moves });
        return
        [
            new MemberRunner<InstanceGoal, InstanceState>(new InstanceMember(machines.Readers, machines.Writers, TimeProvider.System, new())),
            new MemberRunner<VolumeGoal, VolumeState>(new VolumeMember(machines.Readers, machines.Writers, new())),
            new MemberRunner<RedisGoal, RedisState>(new RedisMember(new(host.Units, host.Files, host.Packages),
                new(host.UnitWriter, host.FileWriter, host.PackageWriter, host.Processes), TimeProvider.System, new())),
            new MemberRunner<SnapshotGoal, MomentState>(new SnapshotMember(machines.Readers, machines.Writers, new())),
        ];
    }
}
