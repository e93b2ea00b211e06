using AgentMetal.Testing;

namespace AgentMetal.LabTests.Hosts;

[Story("lab", 5)]
public sealed class CapabilityTests
{
    [Theory]
    [InlineData("CapEff:\t000001ffffffffff", true)]
    [InlineData("CapEff:\t0000000000200000", true)]
    [InlineData("CapEff:\t00000000a80425fb", false)] // what a container without privileges has
    [InlineData("CapEff:\t000001ffffdfffff", false)]
    [InlineData("CapBnd:\t000001ffffffffff", false)]
    public void HasSysAdmin_StatusOfAProcess_LooksAtItsEffectiveBit(string line, bool expected) =>
        Assert.Equal(expected, LabCapability.HasSysAdmin(["Name:\tx", line]));
}
