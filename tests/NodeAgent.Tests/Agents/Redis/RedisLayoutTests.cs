using AgentMetal.NodeAgent.Agents.Redis;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Which overrides of a unit are taken for a member's own: no other's is removed.</summary>
public sealed class RedisLayoutTests
{
    [Theory]
    [InlineData("/etc/systemd/system/agentmetal-redis-default-a-0.service.d/o.conf", true, false)]
    [InlineData("/run/systemd/system.control/agentmetal-redis-default-a-0.service.d/o.conf", true, false)]
    [InlineData("/etc/systemd/system/agentmetal-redis-.service.d/o.conf", false, true)]
    [InlineData("/etc/systemd/system/agentmetal-redis-default-.service.d/o.conf", false, true)]
    [InlineData("/etc/systemd/system/agentmetal-.service.d/o.conf", false, true)]
    [InlineData("/etc/systemd/system/agentmetal-redis-default-b-.service.d/o.conf", false, false)]
    [InlineData("/etc/systemd/system/agentmetal-redis-default-a-1.service.d/o.conf", false, false)]
    [InlineData("/etc/systemd/system/-.service.d/o.conf", false, false)]
    [InlineData("/etc/systemd/system/a-.service.d/o.conf", false, false)]
    [InlineData("/etc/systemd/system/service.d/o.conf", false, false)]
    [InlineData("/etc/systemd/system/agentmetal-redis-.service.d/../../passwd", false, false)]
    [InlineData("/etc/systemd/system/agentmetal-redis-default-a-0.service.d/../x.d/o.conf", false, false)]
    public void DropIn_OfTheUnitOrOfAllOfOurs(string path, bool own, bool all)
    {
        var layout = RedisLayout.Of("default", "a", 0, new() { Units = "/etc/systemd/system", Etc = "/etc/a", Lib = "/var/lib/a", Run = "/run" });
        Assert.Equal((own, all), (layout.IsDropIn(path), layout.IsPrefixDropIn(path)));
    }
}
