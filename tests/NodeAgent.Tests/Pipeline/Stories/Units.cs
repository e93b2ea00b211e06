using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Pipeline.Stories;

/// <summary>What systemd says of a service that runs since its first start, for stories about what becomes of it.</summary>
internal static class Units
{
    public static UnitState Running { get; } = new()
    {
        Name = "a.service",
        LoadState = "loaded",
        ActiveState = "active",
        SubState = "running",
        UnitFileState = "enabled",
        FragmentPath = "/etc/systemd/system/a.service",
        DropInPaths = [],
        NeedDaemonReload = false,
        InvocationId = "1",
        MainPid = 100,
        Result = "success",
        NRestarts = 0,
        ExecMainStatus = 0,
        MemoryCurrent = null,
        ControlGroup = "/system.slice/a.service",
    };
}
