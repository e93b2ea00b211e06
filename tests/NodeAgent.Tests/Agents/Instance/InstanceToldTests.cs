using AgentMetal.NodeAgent.Agents.Instance;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>What hands did to a machine is told as that.</summary>
public sealed class InstanceToldTests
{
    [Fact]
    public void Words_PowerAndDefinition_NameWhoCanHaveDoneIt()
    {
        Assert.Equal("the machine went off (it was running): by its guest, by hand (virsh) or by another program", InstanceTold.Words(InstanceFacts.Power, Power.Running, Power.Off));
        Assert.Contains("its host's start", InstanceTold.Words(InstanceFacts.Power, Power.Off, Power.Running), StringComparison.Ordinal);
        Assert.Equal("the machine's definition was changed by hand (virsh) or by another program", InstanceTold.Words("definition", "aa", "bb"));
    }
}
