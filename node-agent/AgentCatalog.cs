using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Snapshots;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent;

/// <summary>What an agent may use of this host: readers and writers, and nothing of the link.</summary>
internal sealed record HostAccess(IUnitReader Units, IUnitWriter UnitWriter, IFileReader Files, IFileWriter FileWriter, IPackageReader Packages,
    IPackageWriter PackageWriter, IProcessRunner Processes, ILibvirtReader Domains, ILibvirtWriter DomainWriter, HypervisorProbe Hypervisor);

/// <summary>The agents of this daemon, by name: nothing is found by scanning.</summary>
internal static class AgentCatalog
{
    /// <summary>What signals beside systemd and the file system.</summary>
    public static IReadOnlyList<ITopicSource> Topics(HostAccess host) => [new DomainTopics(host.Domains)];

    /// <summary>Numbers of members, for Prometheus.</summary>
    public static IReadOnlyList<IMemberSeries> Series(HostAccess host) => [new InstanceSeries(host.Domains, new())];

    /// <summary>One line for each kind.</summary>
    public static IReadOnlyList<IMemberRunner> Members(HostAccess host)
    {
        var (machines, acting) = (new InstanceReaders(host.Domains, host.Files, new Accelerators(host.Hypervisor)), new InstanceWriters(host.DomainWriter, host.FileWriter, host.Processes, new ImageStore(TimeProvider.System)));
        return
        [
            new MemberRunner<InstanceGoal, InstanceState>(new InstanceMember(machines, acting, TimeProvider.System, new())),
            new MemberRunner<RedisGoal, RedisState>(new RedisMember(new(host.Units, host.Files, host.Packages),
                new(host.UnitWriter, host.FileWriter, host.PackageWriter, host.Processes), TimeProvider.System, new())),
            new MemberRunner<SnapshotGoal, MomentState>(new SnapshotMember(machines, acting, new())),
        ];
    }
}
