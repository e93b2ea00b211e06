using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using CsCheck;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What holds of Redis in every state, with unseen, lagging and hung members among the samples; what holds of every agent is in Conformance.</summary>
public sealed class RedisPropertyTests
{
    private const int Samples = 1500;

    [Fact]
    public void Steps_RandomState_NeverMakeTwoPrimariesOrAnEmptyOneBesideData() => Cases.Sample(c => EachStep(c.Input, c.State, (_, before, call, step) =>
    {
        foreach (var after in (RedisState[])[call.Predict(before), call.During(before)])
        {
            Assert.False(Primaries(after) > Math.Max(1, Primaries(before)), step.Key + " makes two primaries");
            if (after.Leads && !before.Leads && after.Peers.Values.Any(p => p.Answers && p.Keys == Stored.Some) && step.Tool is "start" or "restart")
                Assert.True(step.Risk.Level == RiskLevel.Dangerous || (before.Data != Stored.None && RedisSettings.Persists(before.FileSettings)), step.Key + " would wipe a replica");
        }
    }), iter: Samples);

    [Fact]
    public void Steps_NoPeerSeen_NoRoleChanges() => Cases.Sample(c =>
    {
        var state = RedisSamples.Isolated(c.State);
        if (state.Peers.IsEmpty || c.Input.Absent) return;
        EachStep(c.Input, state, (_, before, call, step) =>
        {
            Assert.DoesNotContain(step.Tool, (string[])["follow", "promote", "handover"]);
            if (step.Tool is "start" or "restart" && call.Predict(before).Role == RedisRole.Primary)
                Assert.True(step.Risk.Level == RiskLevel.Dangerous || before.RoleFile == RedisRole.Primary || before.Notes?.Own?.Role == RedisRole.Primary, step.Key + " leads without having led");
        });
    }, iter: Samples);

    [Fact]
    public void Steps_OfARunningMember_TakeTheTurnOfTheResource() => Cases.Sample(c => EachStep(c.Input, c.State, (_, before, _, step) =>
    {
        if (step.Tool is "reconfigure" or "handover" || (step.Tool == "stop" && before.Answers)) Assert.Equal(["redis/uid-1/disruption"], step.Turns);
        if (step.Tool is "start" or "restart") Assert.Empty(step.Turns);
    }), iter: Samples / 2);

    private static void EachStep(MemberInput input, RedisState state, Action<RedisAgent, RedisState, Proposal<RedisState>, Step> check)
    {
        var agent = new RedisAgent(Scope(input));
        foreach (var step in Plan(input, state, agent).Steps)
        {
            var call = agent.Tools.Single(t => t.Name == step.Tool).Bind(step.Args);
            check(agent, state, call, step);
            state = call.Predict(state);
        }
    }

    private static int Primaries(RedisState s) => (s.Leads ? 1 : 0) + s.Peers.Values.Count(p => p.Leads);
}
