using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>A file that no server would load: what is done with it, and who has to sign that.</summary>
public sealed class RedisDamageTests
{
    private static RedisState Damaged(int ordinal, int members = 2, long? badAt = null)
    {
        var input = Input(ordinal, members: members);
        var state = Converged(input, Goal(input)).Down();
        return state with { Disk = state.Disk with { Aof = state.Disk.Aof! with { Damage = "it is damaged", BadAt = badAt } } };
    }

    [Fact]
    public void Replica_ItsPrimaryHasAllOfIt_IsSetAsideAndStartedUnsigned()
    {
        var plan = Plan(Input(1, members: 2), Damaged(1));
        Assert.Equal(["set-aside", "start"], plan.Steps.Select(s => s.Tool));
        Assert.All(plan.Steps, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
    }

    /// <summary>It was promoted elsewhere meanwhile: a start with the damaged file was offered to sign, and failed as often as it was signed.</summary>
    [Fact]
    public void OldPrimary_NothingTellsThatTheNewOneHasAll_TheFileIsSetAsideOnceThatIsSigned()
    {
        var state = Damaged(0, badAt: 40);
        state = state with { Peers = state.Peers.SetItem(1, state.Peers[1] with { Role = RedisRole.Primary, Link = FactValue.Absent, Data = Held(RedisRole.Primary, 'b', 7) }) };
        var plan = Plan(Input(0, members: 2), state);
        Assert.Equal(("set-aside", RiskLevel.Dangerous, true), (plan.Steps[0].Tool, plan.Steps[0].Risk.Level, plan.Steps[0].Risk.LosesData));
        Assert.Contains("lost: what is here and not there", plan.Steps[0].Text, StringComparison.Ordinal);
        Assert.Contains("at most 10 keys", plan.Steps[0].Args, StringComparison.Ordinal);
        Assert.DoesNotContain(plan.Steps, s => s.Tool is "repair");
    }

    [Theory]
    [InlineData(false, "set-aside")] // Its manifest is gone: nothing can be cut.
    [InlineData(true, "repair")]
    public void OnlyCopy_HasASignedWayOut(bool cut, string tool)
    {
        var step = Plan(Input(members: 1), Damaged(0, members: 1, badAt: cut ? 40 : null)).Steps[0];
        Assert.Equal((tool, RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
    }

    /// <summary>Who follows it afterwards gets what is left of it: that goes too.</summary>
    [Fact]
    public void Cut_BesideAPeerOfAnotherHistory_SaysWhatThatOneLoses()
    {
        var state = Damaged(0, badAt: 40);
        state = state with { Peers = state.Peers.SetItem(1, state.Peers[1] with { Data = Held(state.Peers[1].Role, 'b', 7, keys: 2_345), Link = Link.Down }) };
        var step = Assert.Single(Plan(Input(0, members: 2), state).Steps);
        Assert.Equal("repair", step.Tool);
        Assert.Contains("behind byte 40", step.Args, StringComparison.Ordinal);
        Assert.Contains("what member 1 holds and this one does not, at most 2,400 keys", step.Args, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("*1\r\n$4\r\nPING\r\n", null)]
    [InlineData("*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI", null)] // Torn: the server cuts that off by itself.
    [InlineData("*1\r\n$4\r\nPING\r\n*1\r\n$999\r\nPI", null)]
    [InlineData("*1\r\n$4\r\nPING\r\nxx*1\r\n$4\r\nPING\r\n", 14L)]
    [InlineData("*1\r\n$4\r\nPING\r\n*1\r\n$1\r\nPING\r\n", 14L)]
    public void Scan_TellsDamageFromATornEnd(string file, long? bad) => Assert.Equal(bad, AofScan.FirstBad(new MemoryStream(Encoding.ASCII.GetBytes(file))));
}
