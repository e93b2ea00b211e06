using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent;

/// <summary>What an agent may use of this host: readers and writers, and nothing of the link.</summary>
internal sealed record HostAccess(IUnitReader Units, IUnitWriter UnitWriter, IFileReader Files, IFileWriter FileWriter, IPackageReader Packages,
    IPackageWriter PackageWriter, IProcessRunner Processes);

/// <summary>The agents of this daemon, by name: nothing is found by scanning.</summary>
internal static class AgentCatalog
{
    /// <summary>One line for each kind.</summary>
    public static IReadOnlyList<IMemberRunner> Members(HostAccess host) =>
    [
        new MemberRunner<RedisGoal, RedisState>(new RedisMember(new(host.Units, host.Files, host.Packages),
            new(host.UnitWriter, host.FileWriter, host.PackageWriter, host.Processes), TimeProvider.System, new())),
    ];
}
