using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceSnapshotTests
{
    private static readonly DateTimeOffset s_noon = new(2026, 11, 28, 12, 34, 56, TimeSpan.Zero);

    [Theory]
    [InlineData(3600, "auto-20261128t120000z", 1504)]
    [InlineData(30, "auto-20261128t123430z", 4)]
    [InlineData(86400, "auto-20261128t000000z", 41104)]
    public void Slot_OfAMoment_BeginsAtAMultipleOfTheInterval(int every, string name, int left)
    {
        var slot = SnapshotSchedule.Slot(TimeSpan.FromSeconds(every), s_noon);
        Assert.Equal((name, TimeSpan.FromSeconds(left)), slot);
    }

    /// <summary>Without this they would stay in the volume's file for ever, known to nobody; and who asked for one is asked before it goes.</summary>
    [Fact]
    public void Delete_OfAMachineWithSnapshotsInAVolume_TakesThemOutFirst()
    {
        var input = Input("""{"disks":[{"name":"data","volume":"data"}],"nics":[{}]}""", absent: true);
        var state = Unnamed(Converged(input)).With(Slot, SnapshotOwner.Schedule) with { Data = Stored.None };
        var plan = Plan(input, state);
        Assert.Equal(["delete-snapshot", "undefine"], plan.Steps.Select(s => s.Tool).Where(t => t is "delete-snapshot" or "undefine"));
        Assert.All(plan.Steps, s => Assert.NotEqual(RiskLevel.Dangerous, s.Risk.Level));
        Assert.Contains(Plan(input, state.With("monday", "uid-2")).Steps, s => s.Tool == "delete-snapshot" && s.Risk is { Level: RiskLevel.Dangerous, LosesData: true });
    }

    [Fact]
    public void Revert_OfAMachineWithAVolume_SaysThatItGoesBackToo()
    {
        var input = Input("{" + AskedBack + WithVolume[1..]);
        var step = Plan(input, Converged(input) with { Request = FactValue.Absent }).Steps.Single(s => s.Tool == "revert-snapshot");
        Assert.EndsWith("also on volume data", new InstanceAgent(Scope(input)).Tools.Single(t => t.Name == step.Tool).Bind(step.Args).Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Schedule_AnotherSlot_MakesOneAndDeletesTheOldestWithoutAsking()
    {
        var input = Input(Scheduled);
        var plan = Plan(input, Converged(input).With("auto-20261128t110000z", SnapshotOwner.Schedule) with { Slot = "auto-20261128t130000z" });
        Assert.Equal(["create-snapshot", "delete-snapshot"], plan.Steps.Select(s => s.Tool));
        Assert.Contains("auto-20261128t130000z", plan.Steps[0].Args, StringComparison.Ordinal);
        Assert.Contains("auto-20261128t110000z", plan.Steps[1].Args, StringComparison.Ordinal);
        Assert.All(plan.Steps, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
        Assert.Equal(["retention"], plan.Steps[1].Risk.Reasons);
    }

    [Fact]
    public void Schedule_Off_OfAMachineThatIsOff_MakesNone()
    {
        var input = Input("{\"power\":\"stopped\"," + Scheduled[1..]);
        Assert.Empty(Plan(input, Converged(input) with { Slot = "auto-20261128t130000z" }).Steps);
    }

    /// <summary>A clock that jumps makes at most one too many in its slot, and what it deletes is one that it dated itself.</summary>
    [Fact]
    public void Retention_ClockThatJumped_KeepsAsManyAsItSaysAndDeletesWhatIsDatedAhead()
    {
        var input = Input(Scheduled);
        var state = Converged(input).With("auto-20261128t110000z", SnapshotOwner.Schedule).With("auto-20380119t000000z", SnapshotOwner.Schedule).With("auto-19700101t000000z", SnapshotOwner.Nobody).With("monday", "uid-2");
        Assert.Equal(["auto-20380119t000000z"], SnapshotSchedule.TooMany(state, 2));
        Assert.Equal(["auto-20380119t000000z", "auto-20261128t110000z"], SnapshotSchedule.TooMany(state, 1));
        Assert.Empty(SnapshotSchedule.TooMany(state, 3));
        var ahead = state with { Slot = "auto-20400101t000000z" };
        Assert.Equal(["auto-20261128t110000z"], SnapshotSchedule.TooMany(ahead, 2));
        Assert.Empty(SnapshotSchedule.TooMany(state with { Slot = FactValue.Absent }, 1)); // Without a schedule nothing is too many.
    }

    [Fact]
    public void Delete_OfASnapshotThatIsNotTheAgentsOwn_IsDangerous()
    {
        var input = Input(Scheduled);
        var delete = new DeleteSnapshot(Scope(input), null);
        var state = Converged(input).With("monday", "uid-2").With("by-hand", SnapshotOwner.Nobody);
        Assert.All((string[])["monday", "by-hand", "unknown"], n => Assert.Equal((RiskLevel.Dangerous, true), (delete.Assess(state, new(n, DeleteSnapshot.Retention)).Level, delete.Assess(state, new(n, DeleteSnapshot.Retention)).LosesData)));
        Assert.Equal(RiskLevel.Moderate, delete.Assess(state, new(Slot, DeleteSnapshot.Retention)).Level);
    }

    [Theory]
    [InlineData("disk//srv/x.raw", "raw as vdb", "disk x.raw is raw, which cannot hold snapshots: qcow2")]
    [InlineData("disk//srv/y.iso", "raw as vdb read-only", null)]
    [InlineData("seed", "/srv/seed-0123.iso", null)]
    public void Snapshot_OfARawDisk_IsRefusedWithTheReason(string aspect, string value, string? why)
    {
        var state = Converged(Input(Scheduled));
        Assert.Equal(why, Snapshottable.WhyNot(state with { Live = state.Live.SetItem(aspect, value) }));
        Assert.Equal("it has no disk that could be snapshotted", Snapshottable.WhyNot(Converged(Input(FromKernel))));
    }

    [Fact]
    public void Revert_OnRequest_IsDangerousAndRefusedWhenProtectedOrUnknown()
    {
        var input = Input("{" + AskedBack + Scheduled[1..]);
        var state = Converged(input) with { Request = FactValue.Absent };
        var step = Assert.Single(Plan(input, state).Steps);
        Assert.Equal(("revert-snapshot", RiskLevel.Dangerous, true, UndoKind.Impossible), (step.Tool, step.Risk.Level, step.Risk.LosesData, step.Undo.Kind));
        Assert.Empty(Plan(input with { Protect = true }, state).Steps);
        var unknown = Plan(input, state with { Snapshots = state.Snapshots.Remove("monday") });
        Assert.Empty(unknown.Steps);
        Assert.Contains("it has no snapshot monday; it has " + Slot, Assert.Single(unknown.Blocked).Reasons[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Change_ThatIsTried_IsOneGroupWithTheRevertAsItsUndo()
    {
        var changed = Input(Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal).Replace("\"restart\":\"allowed\",", "", StringComparison.Ordinal));
        var plan = Plan(changed, Converged(Input(Tried)));
        // What is tried is defined by the trial itself: no start before it finds it.
        Assert.Equal(["note-held", "create-snapshot", "try-restart", "note-held", "delete-snapshot"], plan.Steps.Select(s => s.Tool));
        Assert.Equal(["change", "change"], plan.Steps.Skip(1).Take(2).Select(s => s.Group));
        Assert.Equal((RiskLevel.Dangerous, "revert-snapshot"), (plan.Steps[2].Risk.Level, plan.Steps[2].Undo.Call!.Tool));
        Assert.NotEqual("change", plan.Steps[4].Group); // That its snapshot cannot be deleted is no reason to take the change back.
    }

    [Fact]
    public void Change_WhileTheMachineIsOff_IsNotTried()
    {
        var changed = Input(Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal));
        Assert.Equal(["define", "start"], Plan(changed, Converged(Input(Tried)).Off()).Steps.Select(s => s.Tool));
    }

    [Fact]
    public void TakenBack_MachineThatWentOff_IsStartedAsItIsDefined()
    {
        var changed = Input(Tried.Replace("\"512Mi\"", "\"768Mi\"", StringComparison.Ordinal));
        var plan = Plan(changed, Converged(Input(Tried)).Off() with { Reverted = Goal(changed).ChangeDigest, RevertedText = " at noon: no tcp answer" });
        Assert.Equal(["start"], plan.Steps.Select(s => s.Tool));
        Assert.Contains("the change was taken back at noon: no tcp answer", Assert.Single(plan.Blocked).Reasons[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Digest_OfAChange_IsOfWhatWouldBeTried()
    {
        string Of(string spec) => Goal(Input(spec)).ChangeDigest;
        Assert.Equal(Of(Tried), Of(Tried.Replace("{\"disks\"", "{\"shutdown\":{\"seconds\":5},\"disks\"", StringComparison.Ordinal)));
        Assert.Equal(4, new[] { Tried, Tried.Replace("512Mi", "1Gi", StringComparison.Ordinal), Tried.Replace("\"up\"", "\"down\"", StringComparison.Ordinal), Tried.Replace("\"seconds\":30", "\"seconds\":30,\"attempt\":1", StringComparison.Ordinal) }.Select(Of).Distinct().Count());
    }

    [Fact]
    public void Xml_OfASnapshot_IsReadAsWhatItBringsBack()
    {
        var config = Goal(Input(Scheduled)).Config!;
        var live = config with { MemoryKiB = 131072 };
        var inner = DomainXml.Render(config, "").Replace("<domain ", "<inactiveDomain ", StringComparison.Ordinal).Replace("</domain>", "</inactiveDomain>", StringComparison.Ordinal);
        var made = SnapshotXml.Render("monday", "uid-2", "root=4096,data=512");
        var info = SnapshotXml.Read(new("monday", made.Replace("</domainsnapshot>", "<state>running</state><creationTime>1700000000</creationTime>" + DomainXml.Render(live, "") + inner + "</domainsnapshot>", StringComparison.Ordinal), true));
        Assert.Equal(("uid-2", Power.Running, 1700000000), (info.Owner, info.Power, info.Made));
        Assert.Equal((InstanceFacts.Digest(config.Aspects()), InstanceFacts.Digest(live.Aspects())), (InstanceFacts.Digest(info.Config), InstanceFacts.Digest(info.Live)));
        Assert.Equal("data=512,root=4096", SnapshotInfo.Text(info.Sizes));
        Assert.Equal(config.Aspects(), DomainXml.Parse(info.ConfigXml).Config!.Aspects());
    }

    [Theory]
    [InlineData("<domainsnapshot><name>x</name></domainsnapshot>")]
    [InlineData("<!DOCTYPE d [<!ENTITY e SYSTEM \"file:///etc/shadow\">]><domainsnapshot><description>&e;</description><domain/></domainsnapshot>")]
    [InlineData("not xml")]
    [InlineData("<domainsnapshot><description>agentmetal/v1 schedule root=1</description><domain><memory>many</memory></domain></domainsnapshot>")]
    [InlineData("<domainsnapshot><description>made by hand</description><domain type='qemu'><memory>1</memory></domain></domainsnapshot>")]
    public void Xml_OfSomebodyElse_IsNobodys(string xml) => Assert.Equal(SnapshotOwner.Nobody, SnapshotXml.Read(new("x", xml, false)).Owner);

    [Theory]
    [InlineData("\"snapshots\":{\"every\":\"10s\"}", "spec.snapshots.every", "less than 30s")]
    [InlineData("\"snapshots\":{\"every\":\"often\"}", "spec.snapshots.every", "is not a time")]
    [InlineData("\"snapshots\":{\"every\":\"31d\"}", "spec.snapshots.every", "more than 30d")]
    [InlineData("\"snapshots\":{\"every\":\"1h\"}", "spec.disks[1].format", "raw")]
    [InlineData("\"autoRevert\":{\"enabled\":true}", "spec.autoRevert.probe", "every change would pass")]
    [InlineData("\"autoRevert\":{\"enabled\":true,\"probe\":{\"guestAgent\":true}}", "spec.autoRevert.probe.guestAgent", "spec.guestAgent")]
    [InlineData("\"autoRevert\":{\"enabled\":true,\"probe\":{\"tcpPort\":70000}}", "spec.autoRevert.probe.tcpPort", "65535")]
    [InlineData("\"request\":{\"action\":\"revert\",\"id\":\"r-1\"}", "spec.request.snapshot", "required")]
    [InlineData("\"request\":{\"action\":\"reset\",\"id\":\"r-1\",\"snapshot\":\"x\"}", "spec.request.snapshot", "revert")]
    public void Spec_ThatCannotBe_IsRefusedWithTheFieldAndTheReason(string fields, string path, string message)
    {
        var (_, errors) = InstanceKind.Schema.Validate(System.Text.Encoding.UTF8.GetBytes("{" + fields + "," + FromDisk[1..]));
        Assert.Contains(errors, e => e.Path == path && e.Message.Contains(message, StringComparison.Ordinal));
    }

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state) => new Planner<InstanceGoal, InstanceState>(new InstanceAgent(Scope(input)))
        .Plan(new(new(new string('a', 32), "uid-1", 1), "goal", input.Protect), Goal(input), state, Attempts.None(DateTimeOffset.UnixEpoch), [], []);
}
