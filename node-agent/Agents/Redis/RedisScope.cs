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

    /// <summary>The unit of a server that was taken over; empty = the member has its own.</summary>
    public string Adopt { get; init; } = "";

    /// <summary>The unit that runs the server.</summary>
    public string Unit => Adopt.Length > 0 ? Adopt : Layout.Unit;

    /// <summary>Where the server is asked: its own socket, or the port of one that was taken over.</summary>
    public RespEndpoint Endpoint => Adopt.Length > 0 && Goal is { } goal ? new("127.0.0.1", goal.Self.Port) : RespEndpoint.Unix(Layout.SocketPath);

    /// <summary>The lock that members of one resource share while one of them is disturbed.</summary>
    public string Turn => "redis/" + ResourceUid + "/disruption";
}

/// <summary>The readers of the host that the observer may use.</summary>
internal sealed record RedisReaders(IUnitReader Units, IFileReader Files, IPackageReader Packages);

/// <summary>The writers of the host that tools may use.</summary>
internal sealed record RedisWriters(IUnitWriter Units, IFileWriter Files, IPackageWriter Packages, IProcessRunner Processes);
