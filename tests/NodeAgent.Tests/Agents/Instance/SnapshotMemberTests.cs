using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Snapshots;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class SnapshotMemberTests
{
    private static readonly SnapshotMember s_member = new(new(null!, null!, null!), new(null!, null!, null!, null!), new());

    private static SnapshotScope Scope { get; } = new() { Name = "monday", Machine = "Instance default/hello", Layout = InstanceLayout.Of("default", "hello", "", 0, new()), Owner = "0123456789abcdef" };

    private static MemberInput Input(string project = "default", string name = "monday", string spec = """{"instance":"hello"}""", int ordinal = 0, bool absent = false) => new()
    {
        Key = "n0/Snapshot/uid-2/0",
        ResourceKey = "Snapshot default/monday",
        Project = project,
        Name = name,
        ResourceUid = "uid-2",
        Ordinal = ordinal,
        Generation = 1,
        Spec = System.Text.Encoding.UTF8.GetBytes(spec),
        Absent = absent,
        Teardown = absent,
        NodeUid = "n0",
    };

    [Fact]
    public void Goal_OfAnAssignment_IsTheMomentOfItsMachine()
    {
        Assert.Equal(new SnapshotGoal("monday", "Instance default/hello"), s_member.ReadGoal(Input()).Goal);
        Assert.Null(s_member.ReadGoal(Input(absent: true)).Goal);
        Assert.Empty(s_member.ReadGoal(Input(absent: true)).Errors);
    }

    [Theory]
    [InlineData("default", "../monday", """{"instance":"hello"}""", 0, "metadata.name")]
    [InlineData("de fault", "monday", """{"instance":"hello"}""", 0, "metadata.project")]
    [InlineData("default", "monday", """{"instance":"../../etc"}""", 0, "spec.instance")]
    [InlineData("default", "monday", "{}", 0, "spec.instance")]
    [InlineData("default", "monday", """{"instance":"hello"}""", 1, "ordinal")]
    public void Goal_OfAHostileAssignment_IsRefusedWithTheField(string project, string name, string spec, int ordinal, string path)
    {
        Assert.Contains(s_member.ReadGoal(Input(project, name, spec, ordinal)).Errors, e => e.Path == path);
        Assert.Contains(s_member.ReadGoal(Input(project, name, spec, ordinal, absent: true)).Errors, e => e.Path == path);
    }

    [Fact]
    public void Snapshot_ThatWasMadeAndIsGone_IsNotMadeAnew()
    {
        var plan = Plan(false, new() { Machine = Moment.Present, Made = Moment.Made });
        Assert.Empty(plan.Steps);
        Assert.Contains("another moment is not made under its name: agentmetal delete snapshot monday", Assert.Single(plan.Blocked).Reasons[0], StringComparison.Ordinal);
        Assert.Contains("and this snapshot with it", Assert.Single(Plan(false, new() { Machine = FactValue.Absent, Made = Moment.Made }).Blocked).Reasons[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Snapshot_OfAMachineThatIsNotThereYet_WaitsForIt()
    {
        var plan = Plan(false, new() { Machine = FactValue.Absent });
        Assert.Equal((Outcome.Waiting, 0), (plan.Outcome, plan.Steps.Length));
    }

    [Theory]
    [InlineData("disk vda is raw, which cannot hold snapshots: qcow2", Outcome.Stuck)]
    [InlineData("it is stopping", Outcome.Waiting)]
    public void Snapshot_OfAMachineThatCanHaveNone_SaysWhy(string why, Outcome outcome)
    {
        var plan = Plan(false, new() { Machine = Moment.Present, Can = why });
        Assert.Equal((outcome, why), (plan.Outcome, Assert.Single(plan.Blocked).Reasons[0]));
    }

    [Fact]
    public void Snapshot_Namesake_BlocksAndIsNeverDeleted()
    {
        var namesake = new MomentState { Machine = Moment.Present, Snapshot = Moment.Others };
        Assert.Empty(Plan(false, namesake).Steps);
        Assert.Equal(Outcome.Converged, Plan(true, namesake).Outcome);
        Assert.True(s_member.IsGone(namesake));
    }

    [Fact]
    public void Deletion_WaitsForASignature_AndOneWhoseMachineIsGoneIsGone()
    {
        var there = new MomentState { Machine = Moment.Present, Snapshot = Moment.Ours, Made = Moment.Made };
        var step = Assert.Single(Plan(true, there).Steps);
        Assert.Equal((RiskLevel.Dangerous, true), (step.Risk.Level, step.Risk.LosesData));
        Assert.False(s_member.IsGone(there));
        Assert.True(s_member.IsGone(new() { Machine = FactValue.Absent, Made = Moment.Made }));
    }

    [Fact]
    public void Summary_SaysWhenAndHowLarge() => Assert.Equal("made 2023-11-14 22:13:20 UTC while running, 43 MiB",
        new SnapshotAgent(Scope).Summary(new("monday", "Instance default/hello"), new() { Machine = Moment.Present, Snapshot = Moment.Ours, Power = Power.Running, At = 1700000000, Bytes = 43L << 20 }));

    /// <summary>The machine is held while libvirt writes its memory, and goes on by itself.</summary>
    [Fact]
    public void Standstill_WhileASnapshotIsMade_IsThePowerThatItHasOtherwise()
    {
        var all = new Standstills();
        Assert.Null(all.Of("u"));
        using (all.Begin("u", Power.Running)) Assert.Equal(Power.Running, all.Of("u"));
        Assert.Null(all.Of("u"));
    }

    private static Plan<SnapshotGoal, MomentState> Plan(bool going, MomentState state) => new Planner<SnapshotGoal, MomentState>(new SnapshotAgent(Scope))
        .Plan(new(new(new string('a', 32), "uid-2", 1), "goal") { Teardown = going }, going ? null : new("monday", "Instance default/hello"), state, Attempts.None(DateTimeOffset.UnixEpoch), [], []);
}
