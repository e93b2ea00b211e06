using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>A member that goes, alone or with its whole resource: what is kept first, what is signed, and what it waits for.</summary>
public sealed class RedisTeardownTests
{
    [Fact]
    public void Plan_Teardown_BacksUpThenWaitsForApprovalAsOneGroup()
    {
        var input = Input(members: 1, absent: true, teardown: true);
        var plan = Plan(input, Converged(input, Goal(Input(members: 1))));
        Assert.Equal(["enable", "last-backup", "stop", "remove-data", "remove-files"], plan.Steps.Select(s => s.Tool));
        Assert.Single(plan.Steps.Select(s => s.Group).Distinct());
        var data = plan.Steps.Single(s => s.Tool == "remove-data");
        Assert.Equal(RiskLevel.Dangerous, data.Risk.Level);
        Assert.True(data.Risk.LosesData);
        Assert.Equal(UndoKind.Impossible, data.Undo.Kind);
    }

    [Theory]
    [InlineData("aof", "last-backup remove-data remove-files")]
    [InlineData("none", "remove-data remove-files")]
    public void Plan_TeardownOfAServerThatIsDown_KeepsItsFilesFirst(string data, string tools)
    {
        var input = Input(members: 1, absent: true, teardown: true);
        var down = Converged(input, Goal(Input(members: 1))).Down() with { UnitEnabled = "disabled", Data = data };
        var plan = Plan(input, down);
        Assert.Equal(tools.Split(' '), plan.Steps.Select(s => s.Tool));
        Assert.DoesNotContain("no-last-backup", plan.Steps.SelectMany(s => s.Risk.Reasons));
        if (data != Stored.None) Assert.EndsWith(".tar\"}", plan.Steps[0].Args);
    }

    /// <summary>One signature for all hosts: the first that is done must not void what was signed for the others.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Plan_TeardownWhilePeersGo_AsksTheSameQuestion(int ordinal)
    {
        var (present, input) = (Input(ordinal), Input(ordinal, absent: true, teardown: true));
        var before = Converged(present, Goal(present));
        var asked = Dangerous(before);
        Assert.NotEmpty(asked);
        foreach (var serving in (string[])[Serving.Refused, Serving.Hung, FactValue.Unseen("unreachable")])
        {
            var gone = before with { Peers = before.Peers.ToImmutableSortedDictionary(p => p.Key, p => new RedisPeerState(p.Value.Address, serving)) };
            Assert.Equal(asked, Dangerous(ordinal == 0 ? gone : gone with { Link = Link.Down }));
        }

        string[] Dangerous(RedisState state) => [.. Plan(input, state).Steps.Where(s => s.Risk.Level == RiskLevel.Dangerous).Select(s => s.Hash)];
    }

    [Fact]
    public void Plan_TeardownOfProtected_DoesNotBegin()
    {
        var input = Input(members: 1, absent: true, teardown: true) with { Protect = true };
        Assert.Empty(Plan(input, Converged(input, Goal(Input(members: 1)))).Steps);
    }

    [Fact]
    public void Plan_ReplicaGoesBesideItsPrimary_IsModerate()
    {
        var input = Input(2, absent: true);
        var plan = Plan(input, Converged(input, Goal(Input(2))));
        Assert.Equal(["enable", "stop", "remove-data", "remove-files"], plan.Steps.Select(s => s.Tool));
        Assert.All(plan.Steps, s => Assert.True(s.Risk.Level <= RiskLevel.Moderate, s.Key));
    }

    [Fact]
    public void Plan_ReplicaGoesWithoutSeeingItsPrimary_NeedsApproval()
    {
        var input = Input(2, absent: true);
        var plan = Plan(input, Isolated(Converged(input, Goal(Input(2)))));
        Assert.Contains(plan.Steps, s => s.Tool == "remove-data" && s.Risk is { Level: RiskLevel.Dangerous, LosesData: true });
    }

    [Fact]
    public void Plan_PrimaryGoesWhileOthersFollow_Waits()
    {
        var input = Input(absent: true);
        var plan = Plan(input, Converged(input, Goal(Input())));
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("spec.primary", StringComparison.Ordinal)));
    }
}
