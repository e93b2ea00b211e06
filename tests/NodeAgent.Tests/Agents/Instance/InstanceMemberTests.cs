using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceMemberTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 23, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void ReadGoal_ImageDidNotCome_NamesField()
    {
        var read = Member.ReadGoal(Input() with { References = new Dictionary<string, ReadOnlyMemory<byte>>() });
        Assert.Equal("spec.disks[0].image", Assert.Single(read.Errors).Path);
    }

    [Fact]
    public void ReadGoal_KernelAsDisk_IsRefused()
    {
        var read = Member.ReadGoal(Input(FromDisk.Replace("debian", "kernel", StringComparison.Ordinal)));
        Assert.Contains("is a kernel, not qcow2 or raw", Assert.Single(read.Errors).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ReadGoal_NamesFromAHostileCoordinator_AreRefused() =>
        Assert.NotEmpty(Member.ReadGoal(Input() with { Name = "../../etc" }).Errors);

    /// <summary>A coordinator that says what runs, without an operator's signature over it, gets nothing fetched, defined or started.</summary>
    [Theory]
    [InlineData(FromDisk)]
    [InlineData(FromKernel)]
    [InlineData(WithSeed)]
    public void Plan_NothingSigned_DoesNothingOfIt(string spec)
    {
        var input = Input(spec, trusted: false);
        var plan = Plan(input, Nothing(input));
        Assert.DoesNotContain(plan.Steps, s => s.Tool is "fetch-image" or "define" or "start" or "write-seed" || (s.Tool == "create-disk" && s.Args.Contains("qcow2", StringComparison.Ordinal)));
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("is not signed", StringComparison.Ordinal)));
    }

    [Fact]
    public void Plan_SignatureGone_WhatRunsGoesOn()
    {
        var input = Input(trusted: false);
        Assert.Empty(Plan(input, Converged(input)).Steps);
    }

    [Fact]
    public void Plan_Shrink_IsRefusedWithTheSizeToSet()
    {
        var input = Input(FromDisk.Replace("4Gi", "1Gi", StringComparison.Ordinal));
        var state = Converged(Input());
        var plan = Plan(input, state);
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("never shrinks", StringComparison.Ordinal) && r.Contains("4Gi", StringComparison.Ordinal)));
    }

    [Fact]
    public void Plan_Grow_DoesNotRecreate()
    {
        var plan = Plan(Input(FromDisk.Replace("4Gi", "8Gi", StringComparison.Ordinal)), Converged(Input()));
        Assert.Equal("grow-disk", Assert.Single(plan.Steps).Tool);
    }

    [Theory]
    [InlineData("\"cpus\":1", "\"cpus\":3")]
    [InlineData("\"512Mi\"", "\"768Mi\"")]
    [InlineData("\"nics\":[{}]", "\"nics\":[{},{}]")]
    [InlineData("\"nics\":[{}]", "\"nics\":[]")]
    public void Plan_ChangeThatQemuCanMakeLive_DoesNotRestart(string before, string after)
    {
        var input = Input(FromDisk.Replace(before, after, StringComparison.Ordinal));
        var plan = Plan(input, Converged(Input()));
        Assert.Equal(["define", "change-live"], plan.Steps.Select(s => s.Tool));
        Assert.All(plan.Steps, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
    }

    [Fact]
    public void Plan_RestartNotAllowed_WaitsForASignature()
    {
        var plan = Plan(Input(FromDisk.Replace("\"1Gi\",\"cpus\"", "\"2Gi\",\"cpus\"", StringComparison.Ordinal)), Converged(Input()));
        Assert.Equal(RiskLevel.Dangerous, plan.Steps.Single(s => s.Tool == "restart").Risk.Level);
    }

    [Fact]
    public void Plan_ShutdownThatFailedTwice_AsksToSwitchOff()
    {
        var input = Input("{\"power\":\"stopped\"," + FromDisk[1..]);
        var state = Converged(Input());
        var first = Assert.Single(Plan(input, state).Steps);
        Assert.Equal(("shut-down", RiskLevel.Moderate), (first.Tool, first.Risk.Level));
        var tried = Attempts.None(s_now).Add(first.Difference, first.Key, false, s_now).Add(first.Difference, first.Key, false, s_now);
        var then = Assert.Single(Plan(input, state, tried).Steps);
        Assert.Equal(("switch-off", RiskLevel.Dangerous), (then.Tool, then.Risk.Level));
    }

    [Fact]
    public void Plan_DiskOfADefinedMachineIsGone_IsNotMadeAnewUnasked()
    {
        var state = Converged(Input()).Off();
        state = state with { Disks = state.Disks.SetItem("root", FactValue.Absent), DiskStates = state.DiskStates.Remove("root") };
        Assert.Equal(RiskLevel.Dangerous, Plan(Input(), state).Steps.Single(s => s.Tool == "create-disk").Risk.Level);
    }

    [Fact]
    public void Plan_VolumeIsNotThere_WaitsForItAndMakesNone()
    {
        var input = Input(WithVolume);
        var plan = Plan(input, Nothing(input));
        Assert.DoesNotContain(plan.Steps, s => s.Tool is "define" or "start" || s.Args.Contains("volumes/", StringComparison.Ordinal));
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("volume data data is not there yet", StringComparison.Ordinal)));
        Assert.Equal("spec.disks[1].volume", Assert.Single(Member.ReadGoal(input with { References = input.References.Where(r => r.Key != "Volume/data").ToDictionary() }).Errors).Path);
    }

    [Fact]
    public void Plan_DeleteOfAMachineWithAVolume_LeavesTheVolume()
    {
        var goal = Goal(Input(WithVolume));
        Assert.Equal("/var/lib/agentmetal/volumes/default-data.qcow2", goal.Disks[1].Path);
        Assert.False(goal.Disks[1].Path.StartsWith(InstanceLayout.Of("default", "hello", "uid-1", 0, new()).Dir, StringComparison.Ordinal)); // All that a deletion removes.
        Assert.DoesNotContain(Plan(Input(WithVolume, absent: true), Unnamed(Converged(Input(WithVolume)))).Steps, s => s.Args.Contains("volumes/", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Plan_VolumeComesOrGoes_IsDoneWhileItRuns(bool comes)
    {
        var without = Input(FromDisk.Replace(",{\"name\":\"data\",\"size\":\"1Gi\",\"format\":\"raw\"}", "", StringComparison.Ordinal).Replace(",\"maxMemory\":\"1Gi\",\"cpus\":1,\"maxCpus\":4", "", StringComparison.Ordinal));
        var with = Converged(Input(WithVolume));
        var plan = comes ? Plan(Input(WithVolume), Converged(without) with { Disks = with.Disks, DiskStates = with.DiskStates }) : Plan(without, with);
        Assert.Equal(["define", "change-live"], plan.Steps.Select(s => s.Tool));
        Assert.Contains("volumes/default-data.qcow2", plan.Steps[1].Args, StringComparison.Ordinal);
        Assert.All(plan.Steps, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
    }

    [Fact]
    public void Plan_DeleteProtected_IsRefused()
    {
        var input = Input(absent: true, protect: true);
        var plan = Plan(input, Converged(Input()));
        Assert.Empty(plan.Steps);
        Assert.Equal(Outcome.Stuck, plan.Outcome);
    }

    [Fact]
    public void Plan_Adopted_IsNotTouched()
    {
        var input = Input("""{"adopt":{"domain":"web"}}""");
        Assert.Equal(Outcome.Converged, Plan(input, Converged(input)).Outcome);
        Assert.Equal("start", Assert.Single(Plan(input, Converged(input).Off()).Steps).Tool);
        Assert.False(InstanceDifferences.Of(null, Converged(input) with { Domain = FactValue.Absent }).Any());
    }

    [Fact]
    public void Card_NothingSaid_MayNotSpoof()
    {
        Assert.Equal("clean-traffic@dhcp", Assert.Single(Goal(Input()).Config!.Nics).Filter);
        Assert.Equal("", Assert.Single(Goal(Input(FromDisk.Replace("[{}]", "[{\"spoofing\":\"allowed\"}]", StringComparison.Ordinal))).Config!.Nics).Filter);
    }

    [Fact]
    public void Address_Fixed_IsKeptBeforeTheStartAndTheOnlyOneThatTheCardMayUse()
    {
        var input = Input(FixedAddress);
        var goal = Goal(input);
        Assert.Equal(["clean-traffic@192.168.122.50", ""], goal.Config!.Nics.Select(n => n.Filter));
        Assert.Contains("<parameter name=\"IP\" value=\"192.168.122.50\" />", DomainXml.Render(goal.Config, ""), StringComparison.Ordinal);
        Assert.Equal(goal.Config.Aspects(), DomainXml.Parse(DomainXml.Render(goal.Config, "")).Config!.Aspects());
        var tools = Plan(input, Nothing(input) with { Networks = Converged(input).Networks, Images = Converged(input).Images, ImageSizes = Converged(input).ImageSizes }).Steps.Select(s => s.Tool).ToList();
        Assert.Equal(2, tools.Count(t => t == "reserve-address"));
        Assert.True(tools.LastIndexOf("reserve-address") < tools.IndexOf("start"), string.Join(' ', tools));

        // Bridges keep nothing: there it is what the guest may send with.
        var bridged = Goal(Input(FromKernel.Replace("\"br0\"", "\"br0\",\"ip\":\"10.0.0.9\"", StringComparison.Ordinal)));
        Assert.Equal("clean-traffic@10.0.0.9", Assert.Single(bridged.Config!.Nics).Filter);
        Assert.Empty(bridged.Addresses);
    }

    [Fact]
    public void Address_AnotherOne_NeedsARestart()
    {
        var plan = Plan(Input(FixedAddress.Replace("122.50", "122.51", StringComparison.Ordinal)), Converged(Input(FixedAddress)));
        Assert.Contains(plan.Steps, s => s.Tool == "restart");
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "change-live");
        // Whoever renews its lease before the restart must get the address that it may be heard with.
        Assert.Equal(plan.Steps.Single(s => s.Tool == "restart").Group, plan.Steps.Single(s => s.Tool == "reserve-address").Group);
        Assert.NotEqual("", plan.Steps.Single(s => s.Tool == "reserve-address").Group);
    }

    /// <summary>A change that was tried and taken back leaves the guest with the address that it may be heard with, also where somebody gave it a second card with the same one.</summary>
    [Fact]
    public void Address_OfAChangeThatWasTakenBack_IsTheOldOne()
    {
        var tried = Tried.Replace("[{}]", "[{\"ip\":\"192.168.122.50\"}]", StringComparison.Ordinal);
        var (was, input) = (Input(tried), Input(tried.Replace("122.50", "122.51", StringComparison.Ordinal)));
        var defined = Goal(was).Config! with { Nics = [Goal(was).Config!.Nics[0], Goal(was).Config!.Nics[0]] };
        var state = Converged(was) with { Reverted = Goal(input).ChangeDigest, ConfigXml = DomainXml.Render(defined, "") };
        Assert.Equal("192.168.122.50", Assert.Single(new InstanceAgent(Scope(input)).Aim(Goal(input), state)!.Addresses).Value);
        Assert.Equal("192.168.122.51", Assert.Single(new InstanceAgent(Scope(input)).Aim(Goal(input), state with { Reverted = FactValue.Absent })!.Addresses).Value);
    }

    [Fact]
    public void Address_ThatCannotBeKept_KeepsTheMachineOffAndSaysWhy()
    {
        var input = Input(FixedAddress);
        var card = Goal(input).Addresses.Keys.First();
        var plan = Plan(input, Converged(input).Off() with { Addressed = Nothing(input).Addressed, AddressProblems = Aspect.None.Add(card, "192.168.122.50 is lent to 52:54:00:00:00:07 now") });
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "start");
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("is lent to", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("192.168.122.50", null)]
    [InlineData("192.168.122.1", "is no address that network lan can lend")] // The host's own.
    [InlineData("192.168.122.0", "is no address that network lan can lend")]
    [InlineData("192.168.122.255", "is no address that network lan can lend")]
    [InlineData("192.168.123.5", "is no address that network lan can lend")]
    [InlineData("192.168.122.8", "is kept for 52:54:00:00:00:08")]
    [InlineData("192.168.122.7", "is lent to 52:54:00:00:00:07")]
    [InlineData("192.168.122.9", null)] // Lent to the card itself.
    public void Address_OfANetwork_CanBeKeptOrItSaysWhyNot(string address, string? why)
    {
        var network = NetworkXml.Read("<network><name>lan</name><ip address='192.168.122.1' netmask='255.255.255.0'><dhcp><range start='192.168.122.2' end='192.168.122.254'/><host mac='52:54:00:00:00:08' ip='192.168.122.8'/></dhcp></ip><ip family='ipv6' address='fd00::1' prefix='64'/></network>")
            with
        { Lent = [("52:54:00:00:00:07", "192.168.122.7"), ("52:54:00:00:00:01", "192.168.122.9")] };
        var said = InstanceObserver.WhyNot(network, "lan", "52:54:00:00:00:01", address);
        if (why is null) Assert.Null(said);
        else Assert.Contains(why, said, StringComparison.Ordinal);
        Assert.Contains("lends no addresses", InstanceObserver.WhyNot(NetworkXml.Read("<network><ip address='192.168.122.1' prefix='24'/></network>"), "lan", "", address), StringComparison.Ordinal);
        Assert.Throws<LibvirtException>(() => NetworkXml.Read("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><network>&e;</network>"));
    }

    /// <summary>What the host made by itself goes, and the step that is signed says so; what a person asked for is that person's to give up.</summary>
    [Fact]
    public void HandOver_WithSnapshots_DropsThoseOfPolicyAndWaitsForOthers()
    {
        var input = Input(Scheduled) with { MoveTo = new(0, "n1", "edge-2", "10.0.0.2", 7444) };
        var step = Assert.Single(Plan(input, Converged(input)).Steps);
        Assert.Equal(("hand-over", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
        Assert.Contains("are deleted: " + Slot, new InstanceAgent(Scope(input)).Tools.Single(t => t.Name == step.Tool).Bind(step.Args).Text, StringComparison.Ordinal);
        Assert.Equal(FactValue.Absent, step.Expect.Single(f => f.Key == InstanceFacts.Snapshot(Slot)).Value);

        var asked = Plan(input, Converged(input).With("monday", "uid-2"));
        Assert.DoesNotContain(asked.Steps, s => s.Tool == "hand-over");
        Assert.Contains(asked.Blocked, b => b.Reasons.Any(r => r.Contains("somebody asked for (monday)", StringComparison.Ordinal)));
    }

    /// <summary>Nothing signals that there is room again, so it is looked for; and nothing is tried that would fail in a moment.</summary>
    [Fact]
    public void Resume_OfAGuestThatCannotWrite_WaitsForRoom()
    {
        var held = Converged(Input()) with { Power = Power.Paused, Detail = "ioerror", NoRoom = "the file system of /x is full" };
        var plan = Plan(Input(), held);
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Contains("the file system of /x is full") && b.RetryAfter is not null);
        Assert.Equal("resume", Assert.Single(Plan(Input(), held with { NoRoom = "" }).Steps).Tool);
    }

    [Fact]
    public void Uuid_OfOneResource_IsTheSameAndOfAnotherIsNot()
    {
        Assert.Equal(InstanceLayout.Of("p", "a", "uid-1", 0, new()).Uuid, InstanceLayout.Of("p", "b", "uid-1", 0, new()).Uuid);
        Assert.NotEqual(InstanceLayout.Of("p", "a", "uid-1", 0, new()).Uuid, InstanceLayout.Of("p", "a", "uid-2", 0, new()).Uuid);
        Assert.NotEqual(InstanceLayout.Of("a-b", "c", "u", 0, new()).Id, InstanceLayout.Of("a", "b-c", "u", 0, new()).Id);
    }

    [Fact]
    public void Seed_SameSpec_IsTheSameAndItsTextIsQuoted()
    {
        var key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvZ3VzLWtleS1mb3ItdGhlLXRlc3Qt me@host";
        var input = Input("{\"disks\":[{\"name\":\"root\",\"image\":\"debian\"}],\"cloudInit\":{\"enabled\":true,\"user\":\"ops\",\"sshKeys\":[{\"key\":\"" + key + "\"}]}}");
        var seed = Goal(input).Seed!;
        Assert.Equal(seed, Goal(input).Seed);
        Assert.Contains("- \"" + key + "\"\n", seed.UserData, StringComparison.Ordinal);
        Assert.Contains("local-hostname: hello\n", seed.MetaData, StringComparison.Ordinal);
    }

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state, Attempts? tried = null)
    {
        var agent = new InstanceAgent(Scope(input));
        return new Planner<InstanceGoal, InstanceState>(agent).Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal", input.Protect) { Teardown = input.Teardown },
            input.Absent ? null : Goal(input), state, tried ?? Attempts.None(s_now), [], []);
    }
}
