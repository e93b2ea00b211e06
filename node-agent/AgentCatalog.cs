using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;

namespace AgentMetal.NodeAgent;

/// <summary>What an agent may use of this host: readers and writers, and nothing of the link.</summary>
internal sealed record HostAccess(IUnitReader Units, IUnitWriter UnitWriter, IFileReader Files, IFileWriter FileWriter, IPackageReader Packages,
    IPackageWriter PackageWriter, IProcessRunner Processes);
