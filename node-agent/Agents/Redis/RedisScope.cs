using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>What is fixed for one member while one pass lasts.</summary>
internal sealed record RedisScope
{
    /// <summary>"Redis default/sessions member 0".</summary>
    public required string Title { get; init; }

    public required string ResourceUid { get; init; }
    public required long Generation { get; init; }
    public required RedisLayout Layout { get; init; }
    public required RedisAuth Auth { get; init; }

    /// <summary>Null when the member is to go.</summary>
    public RedisGoal? Goal { get; init; }

    /// <summary>The whole resource goes.</summary>
    public bool Teardown { get; init; }

    /// <summary>The lock that members of one resource share while one of them is disturbed.</summary>
    public string Turn => "redis/" + ResourceUid + "/disruption";
}

/// <summary>The readers of the host that the observer may use.</summary>
internal sealed record RedisReaders(IUnitReader Units, IFileReader Files, IPackageReader Packages);

/// <summary>The writers of the host that tools may use.</summary>
internal sealed record RedisWriters(IUnitWriter Units, IFileWriter Files, IPackageWriter Packages, IProcessRunner Processes);
