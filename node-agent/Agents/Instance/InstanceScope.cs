using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>What is fixed for one instance while one pass lasts.</summary>
internal sealed record InstanceScope
{
    public required InstanceLayout Layout { get; init; }

    /// <summary>The program in the definition; empty for libvirt's test driver.</summary>
    public required string Emulator { get; init; }

    public required InstanceRoots Programs { get; init; }

    /// <summary>Null when the instance is to go.</summary>
    public InstanceGoal? Goal { get; init; }

    /// <summary>Name of a domain that was taken over; empty = it has its own.</summary>
    public string Adopt { get; init; } = "";

    /// <summary>Of the domain that this instance has, or would have.</summary>
    public string Uuid => Layout.Uuid;
}

/// <summary>The readers of the host that the observer may use.</summary>
internal sealed record InstanceReaders(ILibvirtReader Domains, IFileReader Files, IAccelerators Accelerators)
{
    /// <summary>Machines that stand still because a snapshot of them is being made.</summary>
    public Standstills Standstills { get; init; } = new();

    public IHandOverReader HandOvers { get; init; } = NoHandOvers.It;
}

/// <summary>The writers of the host that tools may use.</summary>
internal sealed record InstanceWriters(ILibvirtWriter Domains, IFileWriter Files, IProcessRunner Processes, ImageStore Images)
{
    public IHandOverWriter HandOvers { get; init; } = NoHandOvers.It;

    /// <summary>Exports that run.</summary>
    public Exports.ExportJobs Exports { get; init; } = new(TimeProvider.System);
}
