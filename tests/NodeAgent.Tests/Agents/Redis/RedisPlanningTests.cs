using System.Collections.Immutable;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What a plan holds in the situations that have a name.</summary>
public sealed class RedisPlanningTests
{
    private static readonly string[] Create = ["install-package", "create-data-dir", "write-auth", "write-config", "write-unit", "enable", "start"];

    [Fact]
    public void Plan_BareHostAlone_CreatesAndStartsAsPrimary()
    {
        var plan = Plan(Input(members: 1), Nothing(Input(members: 1)));
        Assert.Equal(Outcome.Ready, plan.Outcome);
        Assert.Equal(Create.Order(), plan.Steps.Select(s => s.Tool).Order());
        Assert.Equal("start", plan.Steps[^1].Tool);
        Assert.Equal("{\"Role\":\"primary\"}", plan.Steps[^1].Args);
        Assert.All(plan.Steps, s => Assert.True(s.Risk.Level < RiskLevel.Dangerous, s.Key));
    }

    [Fact]
    public void Plan_BareHostOfReplica_FollowsWantedPrimary()
    {
        var plan = Plan(Input(1), Nothing(Input(1)));
        Assert.Equal("{\"Role\":\"follows:10.0.0.1:6379\"}", plan.Steps[^1].Args);
    }

    [Fact]
    public void Plan_Converged_ProposesNothing()
    {
        foreach (var ordinal in (int[])[0, 1, 2])
            Assert.Equal(Outcome.Converged, Plan(Input(ordinal), Converged(Input(ordinal), Goal(Input(ordinal)))).Outcome);
    }

    [Fact]
    public void Plan_EmptyPrimaryBesideUnseenPeer_Waits()
    {
        var state = Nothing(Input());
        state = state with { Peers = state.Peers.SetItem(1, state.Peers[1] with { Serving = FactValue.Unseen("unreachable") }) };
        var plan = Plan(Input(), state);
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "start");
        Assert.Contains(plan.Blocked, b => b.Difference == "down:" && b.Reasons.Any(r => r.Contains("may be the primary", StringComparison.Ordinal)) && b.RetryAfter is not null);
    }

    [Theory]
    [InlineData("""{"replicas":2,"persistence":{"appendonly":false,"save":[]}}""", Stored.Rdb)] // An old dump is not its data.
    [InlineData("""{"replicas":2}""", Stored.None)] // Somebody deleted the data directory.
    public void Plan_DeadPrimaryWithoutItsData_FollowsTheReplicaThatHasIt(string spec, string data)
    {
        var input = Input(spec: spec);
        var goal = Goal(input);
        var state = Converged(input, goal).Down() with { Data = data, Disk = Disk(data, offset: 900) };
        var plan = Plan(input, state);
        var step = Assert.Single(plan.Steps, s => s.Tool == "start");
        Assert.Equal("{\"Role\":\"follows:10.0.0.2:6379\"}", step.Args);
        Assert.Equal(RiskLevel.Moderate, step.Risk.Level);
    }

    [Fact]
    public void Plan_DeadPrimaryWhoseFilesAreGoneAndNoPeerHasThem_IsHeldWithTheFigures()
    {
        var state = Converged(Input(), Goal(Input())).Down();
        state = state with { Data = Stored.None, Disk = Disk(Stored.None), Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => new RedisPeerState(p.Value.Address, Serving.Refused) { IsLong = true }) };
        var step = Assert.Single(Plan(Input(), state).Steps);
        Assert.Equal(("start", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
        Assert.Contains("at most 10 keys", step.Args, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData('a', 1000L, RiskLevel.Moderate)] // The foreign one is empty, and this one has all there is.
    [InlineData('b', 1000L, RiskLevel.Dangerous)] // The foreign one has data of its own.
    public void Plan_WantedPrimaryFollowsAStranger_NobodyGivesItsDataUnsigned(char history, long keys, RiskLevel risk)
    {
        var goal = Goal(Input(1));
        var state = Converged(Input(1), goal) with { Link = Link.Down };
        var strayed = new RedisPeerState(state.Peers[0].Address, Serving.Answering, RedisRole.Follows("10.9.9.9:6390"), Link.Up, history == 'a' ? Stored.None : Stored.Some)
        { Data = Held(RedisRole.Follows("10.9.9.9:6390"), history, keys, history == 'a' ? 0 : 7) };
        var plan = Plan(Input(1), state with { Peers = state.Peers.SetItem(0, strayed) });
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "follow");
        if (risk == RiskLevel.Moderate) Assert.Equal(("promote", risk), (plan.Steps.Single().Tool, plan.Steps.Single().Risk.Level));
        else Assert.Empty(plan.Steps); // It is offered on the member that is to be primary.
    }

    [Fact]
    public void Plan_DeadPrimaryWithData_IsStartedThoughPeersAreUnseen()
    {
        var state = Isolated(Converged(Input(), Goal(Input())).Down());
        var plan = Plan(Input(), state);
        Assert.Equal(["start"], plan.Steps.Select(s => s.Tool));
        Assert.Equal("{\"Role\":\"primary\"}", plan.Steps[0].Args);
        Assert.Empty(plan.Steps[0].Turns);
    }

    /// <summary>The same words as the gate's; a person is asked once the replica has had its time.</summary>
    [Theory]
    [InlineData("everysec", false)]
    [InlineData("everysec", true)]
    [InlineData("always", true)]
    public void Plan_PrimaryWhoseHostWentDownUnderIt_WaitsForItsReplicasAndIsThenThereToSign(string fsync, bool isLong)
    {
        var input = Input(spec: $$$"""{"replicas":2,"persistence":{"appendfsync":"{{{fsync}}}"}}""");
        var state = Isolated(Converged(input, Goal(input)).Down()) with { End = ServerEnd.Unseen };
        state = state with { Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value with { IsLong = isLong }) };
        Assert.Equal("hold:unseen-data", RedisFacts.Value(state, RedisFacts.Gate(RedisRole.Primary)));
        var plan = Plan(input, state);
        if (!isLong)
        {
            Assert.Empty(plan.Steps);
            Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("its host went down under the server", StringComparison.Ordinal)) && b.RetryAfter is not null);
            return;
        }
        var step = Assert.Single(plan.Steps);
        Assert.Equal(("start", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
        Assert.Contains("what only member 2 holds of what the server took before its host went down, at most ", step.Text, StringComparison.Ordinal);
        Assert.Contains("what only member 1 holds of what the server took before its host went down, at most ", step.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_DownWhileAnotherProcessHasItsPort_WaitsAndNamesThePort()
    {
        var down = Converged(Input(members: 1), Goal(Input(members: 1))).Down();
        Assert.Equal(["start"], Plan(Input(members: 1), down).Steps.Select(s => s.Tool));
        var plan = Plan(Input(members: 1), down with { Port = Port.Taken });
        Assert.Equal((Outcome.Waiting, 0), (plan.Outcome, plan.Steps.Length));
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("port 6379 is taken", StringComparison.Ordinal)) && b.RetryAfter is not null);
    }

    [Fact]
    public void Plan_ServerThatRefusesWrites_SaysSoAndSavesOnceThereIsRoom()
    {
        var refusing = Converged(Input(), Goal(Input())) with { Writes = Writes.Refused };
        var plan = Plan(Input(), refusing);
        Assert.Equal((Outcome.Waiting, 0), (plan.Outcome, plan.Steps.Length));
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("every write is refused (MISCONF)", StringComparison.Ordinal) && r.Contains("free space there", StringComparison.Ordinal)) && b.RetryAfter is not null);
        var step = Assert.Single(Plan(Input(), refusing with { HasRoomToSave = true }).Steps);
        Assert.Equal(("save", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
    }

    [Fact]
    public void Plan_OldPrimaryBesideNewOne_FollowsIt()
    {
        var goal = Goal(Input());
        var state = Converged(Input(), goal).Down();
        state = state with { Peers = Converged(Input(), goal, primary: 1).Peers };
        Assert.Equal("{\"Role\":\"follows:10.0.0.2:6379\"}", Plan(Input(), state).Steps[0].Args);
    }

    [Fact]
    public void Plan_HungMember_IsKilledAndRestarted()
    {
        var plan = Plan(Input(1), Converged(Input(1), Goal(Input(1))).Down() with { Serving = Serving.Hung, UnitActive = "active" });
        Assert.Equal(["restart"], plan.Steps.Select(s => s.Tool));
        Assert.Equal(RiskLevel.Moderate, plan.Steps[0].Risk.Level);
        Assert.Empty(plan.Steps[0].Turns);
    }

    [Theory]
    [InlineData(0, "{}", RiskLevel.Moderate)] // Its append-only file has each write, also where there was none yet.
    [InlineData(1, """{"replicas":1,"persistence":{"appendonly":false,"save":[]}}""", RiskLevel.Moderate)] // A replica's memory is its primary's.
    [InlineData(0, """{"persistence":{"appendonly":false,"save":[]}}""", RiskLevel.Dangerous)] // Nobody else has what it may hold.
    public void Plan_HungAndEmptyWhenItWasNoted_IsEndedWhereNothingCanBeLost(int ordinal, string spec, RiskLevel risk)
    {
        var input = Input(ordinal, members: ordinal + 1, spec: spec);
        var goal = Goal(input);
        var hung = Converged(input, goal).Down() with { Serving = Serving.Hung, UnitActive = "active", Data = Stored.None };
        hung = hung with
        {
            Disk = hung.Disk with { Aof = hung.Disk.Aof is { } aof ? aof with { HasKeys = false } : null },
            Notes = hung.Notes! with { Own = Held(RoleOf(goal, ordinal, 0), keys: 0) },
            Peers = hung.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value with { Keys = Stored.None, Data = Held(p.Value.Role, keys: 0) }),
        };
        var step = Assert.Single(Plan(input, hung).Steps);
        Assert.Equal(("restart", risk), (step.Tool, step.Risk.Level));
    }

    /// <summary>Its replicas have all that was noted; what it took since may be with nobody.</summary>
    [Theory]
    [InlineData("[]", "all that is only in its memory, at most 10 keys when that was noted, ")]
    [InlineData("""[{"seconds":60,"changes":1}]""", "what it took since its last good save, ")]
    public void Plan_HungPrimaryWithoutAnAppendOnlyFile_IsEndedBySignatureWhateverItsReplicasHave(string save, string text)
    {
        var input = Input(spec: $$$"""{"replicas":2,"persistence":{"appendonly":false,"save":{{{save}}}}}""");
        var step = Assert.Single(Plan(input, Converged(input, Goal(input)).Down() with { Serving = Serving.Hung, UnitActive = "active" }).Steps);
        Assert.Equal(("restart", RiskLevel.Dangerous), (step.Tool, step.Risk.Level));
        Assert.Contains(text, step.Text, StringComparison.Ordinal);
        Assert.Contains(", and what it took since", step.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_LiveSetting_IsSetLiveAndWritten()
    {
        var input = Input(spec: """{"replicas":2,"memory":{"max":"256Mi"}}""");
        var plan = Plan(input, Converged(Input(), Goal(Input())));
        Assert.Equal(["write-config", "config-set"], plan.Steps.Select(s => s.Tool));
        Assert.Equal("set maxmemory=268435456", plan.Steps[1].Text);
    }

    [Fact]
    public void Plan_RestartSettingOfReplica_IsModerateAndTakesTurn()
    {
        var input = Input(1, spec: """{"replicas":2,"databases":32}""");
        var plan = Plan(input, Converged(Input(1), Goal(Input(1))));
        var step = Assert.Single(plan.Steps);
        Assert.Equal(("reconfigure", RiskLevel.Moderate, "redis/uid-1/disruption"), (step.Tool, step.Risk.Level, step.Turns.Single()));
        Assert.Equal(UndoKind.Call, step.Undo.Kind);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Plan_RestartSettingOfPrimary_NeedsApproval(int members)
    {
        var before = members == 1 ? "{}" : """{"replicas":2}""";
        var input = Input(members: members, spec: before.Replace("{", "{\"databases\":32" + (members == 1 ? "" : ","), StringComparison.Ordinal));
        var plan = Plan(input, Converged(Input(members: members, spec: before), Goal(Input(members: members, spec: before))));
        var step = Assert.Single(plan.Steps);
        Assert.Equal(RiskLevel.Dangerous, step.Risk.Level);
        Assert.Contains(members == 1 ? "keep-serving" : "keep-primary", step.Risk.Reasons);
    }

    [Fact]
    public void Plan_AppendOnlySwitchedOn_IsLiveBeforeTheFileSaysSo()
    {
        var before = Input(spec: """{"replicas":2,"persistence":{"appendonly":false}}""");
        var plan = Plan(Input(), Converged(before, Goal(before)));
        Assert.Equal(["config-set", "write-config"], plan.Steps.Select(s => s.Tool));
    }

    [Fact]
    public void Plan_AppendOnlySwitchedOnWhileDown_StartsFromTheDump()
    {
        var before = Input(spec: """{"replicas":2,"persistence":{"appendonly":false}}""");
        var plan = Plan(Input(), Converged(before, Goal(before)).Down());
        Assert.Equal(["start", "config-set", "write-config"], plan.Steps.Select(s => s.Tool));
    }

    [Fact]
    public void Plan_Switchover_IsHandedOverByThePrimaryAlone()
    {
        var input = Input(primary: 1);
        var plan = Plan(input, Converged(input, Goal(input)));
        var step = Assert.Single(plan.Steps);
        Assert.Equal(("handover", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
        Assert.Equal(["redis/uid-1/disruption"], step.Turns);
        foreach (var ordinal in (int[])[1, 2])
        {
            var other = Plan(Input(ordinal, primary: 1), Converged(Input(ordinal, primary: 1), Goal(Input(ordinal, primary: 1))));
            Assert.Equal(Outcome.Waiting, other.Outcome);
            Assert.Empty(other.Steps);
        }
    }

    [Theory]
    [InlineData(Link.Syncing)]
    [InlineData(Link.Lagging)]
    [InlineData(Link.Down)]
    public void Plan_SwitchoverToReplicaBehind_Waits(string link)
    {
        var input = Input(primary: 1);
        var state = Converged(input, Goal(input));
        var plan = Plan(input, state with { Peers = state.Peers.SetItem(1, state.Peers[1] with { Link = link }) });
        Assert.Equal(Outcome.Waiting, plan.Outcome);
        Assert.Empty(plan.Steps);
    }

    [Fact]
    public void Plan_PrimaryUnseen_ReplicaWaits()
    {
        var plan = Plan(Input(1), Isolated(Converged(Input(1), Goal(Input(1)))));
        Assert.Equal(Outcome.Waiting, plan.Outcome);
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.RetryAfter == TimeSpan.FromSeconds(10));
    }

    [Theory]
    [InlineData("clean", RiskLevel.Moderate)]
    [InlineData("written", RiskLevel.Dangerous)]
    public void Plan_TwoPrimaries_TheUnwantedFollows(string fork, RiskLevel risk)
    {
        var state = Converged(Input(1), Goal(Input(1))) with { Role = RedisRole.Primary, Link = FactValue.Absent, Fork = fork, Own = Held(RedisRole.Primary, 'b', fork == "clean" ? 1000 : 1001) with { Id2 = History('a'), Offset2 = 1001 } };
        // The other one has gone on too: what each has alone, the other has not.
        if (fork == "written") state = state with { Peers = state.Peers.SetItem(0, state.Peers[0] with { Data = Held(RedisRole.Primary, offset: 1002) }) };
        var step = Assert.Single(Plan(Input(1), state).Steps);
        Assert.Equal(("follow", risk), (step.Tool, step.Risk.Level));
        Assert.Equal(risk == RiskLevel.Dangerous, step.Risk.LosesData);
    }

    [Theory]
    [InlineData(0, 0, true)]
    [InlineData(1, 0, false)]
    [InlineData(2, 0, false)]
    [InlineData(1, 1, true)]
    public void Plan_ReplicasInACircle_OneOfThemBecomesPrimary(int ordinal, int wanted, bool promoted)
    {
        var input = Input(ordinal, primary: wanted);
        var goal = Goal(input);
        string Follows(int n) => RedisRole.Follows(goal.Members[(n + 1) % 3].Address);
        var state = Converged(input, goal) with { Role = Follows(ordinal), RoleFile = Follows(ordinal), Link = Link.Up, Own = Held(Follows(ordinal)) };
        state = state with { Peers = state.Peers.ToImmutableSortedDictionary(p => p.Key, p => p.Value with { Role = Follows(p.Key), Link = Link.Up }) };
        Assert.Equal(promoted ? ["promote"] : [], Plan(input, state).Steps.Select(s => s.Tool));
    }

    [Fact]
    public void Plan_DeadPrimaryReplacedByPerson_ReplicaIsPromotedOnceItHasAllThereIs()
    {
        var input = Input(1, primary: 1);
        var goal = Goal(input);
        var state = Converged(input, goal) with { Link = Link.Down };
        var follows = RedisRole.Follows(goal.Self.Address);
        var peers = state.Peers.SetItem(0, new(state.Peers[0].Address, Serving.Answering, follows, Link.Down, Stored.None));
        // Member 2 may hold more than this one: it goes first, whoever is to be primary.
        Assert.Empty(Plan(input, state with { Peers = peers.SetItem(2, peers[2] with { Role = follows, Link = Link.Down, Data = Held(follows, offset: 1001) }) }).Steps);
        peers = peers.SetItem(2, peers[2] with { Role = follows, Link = Link.Down });
        Assert.Equal(["promote"], Plan(input, state with { Peers = peers }).Steps.Select(s => s.Tool));
    }

    [Fact]
    public void Goal_WithoutPersistenceButWithReplicas_NeverStartsByItself()
    {
        var goal = Goal(Input(1, spec: """{"replicas":2,"persistence":{"appendonly":false,"save":[]}}"""));
        Assert.False(goal.StartsItself);
        Assert.Contains("\nRestart=no\n", goal.UnitText, StringComparison.Ordinal);
        Assert.Contains("\nRestart=on-failure\n", Goal(Input(1)).UnitText, StringComparison.Ordinal);
    }

    [Fact]
    public void Plan_RestartAfterTheAppendOnlyFileWasDeleted_WipesNobody()
    {
        var input = Input(spec: """{"databases":32}""");
        var replicated = Plan(input, Converged(input, Goal(Input())) with { Data = Stored.None });
        var handed = Assert.Single(replicated.Steps, s => s.Tool == "reconfigure");
        Assert.Contains("\"To\":\"10.0.0.2:6379\"", handed.Args, StringComparison.Ordinal);
        Assert.Equal(RiskLevel.Moderate, handed.Risk.Level);
        var alone = Input(members: 1, spec: """{"databases":32}""");
        var step = Assert.Single(Plan(alone, Converged(alone, Goal(Input(members: 1))) with { Data = Stored.Rdb }).Steps);
        Assert.Equal(("reconfigure", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
        Assert.Contains("files-missing", step.Risk.Reasons);
    }

    [Theory]
    [InlineData("start")]
    [InlineData("restart")]
    [InlineData("reconfigure")]
    public void Observe_ServerDownAgainWhileItsStartIsConfirmed_IsNotStarted(string name)
    {
        var goal = Goal(Input());
        var call = new RedisAgent(RedisSamples.Scope(Input())).Tools.Single(t => t.Name == name)
            .Bind(name == "reconfigure" ? """{"Role":"primary","Text":""}""" : """{"Role":"primary"}""");
        var converged = Converged(Input(), goal);
        Assert.Equal(Phase.NotStarted, call.Observe(converged.Down())?.Phase);
        Assert.Equal(Phase.Running, call.Observe(converged.Down() with { UnitActive = "activating" })?.Phase);
        Assert.Null(call.Observe(converged));
    }
}
