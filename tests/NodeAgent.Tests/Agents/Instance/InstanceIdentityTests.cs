using System.Security.Cryptography;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Disks and cards are what they are by their file and their address, wherever they stand in a list.</summary>
public sealed class InstanceIdentityTests
{
    private const string Dir = "/var/lib/agentmetal/instances/default-hello/";

    [Fact]
    public void Disk_TakenOutOfTheMiddle_IsTheOneThatIsDetached()
    {
        var plan = Plan(Disks("a", "b"), Converged(Disks("a", "m", "b")));
        Assert.Equal(["define", "change-live"], plan.Steps.Select(s => s.Tool));
        var live = plan.Steps[1];
        Assert.Contains("m.qcow2", live.Args, StringComparison.Ordinal);
        Assert.DoesNotContain("b.qcow2", live.Args, StringComparison.Ordinal);
        Assert.Contains($"{Dir}m.qcow2 stays where it is", live.Text, StringComparison.Ordinal);
        Assert.Equal(RiskLevel.Moderate, live.Risk.Level);
        Assert.Equal("vdc", plan.Goal!.Config!.Disks.Single(d => d.Path == Dir + "b.qcow2").Target);
        Assert.Equal(Outcome.Converged, Plan(Disks("a", "b"), plan.Final).Outcome);
        // And what comes back, or comes anew, gets a place that is free.
        Assert.Equal(["vda", "vdb", "vdc"], Plan(Disks("a", "m", "b"), plan.Final).Goal!.Config!.Disks.Select(d => d.Target));
        Assert.Contains(Plan(Disks("a", "m", "b"), plan.Final).Steps, s => s.Tool == "restart" && s.Risk.Reasons.Contains("disk-out-of-use")); // b would be vdc to the guest's kernel.
        Assert.Equal(["vda", "vdc", "vdd"], Plan(Disks("a", "b", "c"), plan.Final).Goal!.Config!.Disks.Select(d => d.Target));
    }

    /// <summary>Another order, another disk in its place, or the one that is booted from gone: the guest would start with other data, and a person signs which.</summary>
    [Theory]
    [InlineData("a,b", "b,a", "a.qcow2")]
    [InlineData("root,b", "a,root,b", "root.qcow2")]
    [InlineData("a,b", "a2,b", "a.qcow2")]
    [InlineData("a,b", "a:raw,b", "a.qcow2")]
    [InlineData("a,b", "b", "a.qcow2")]
    [InlineData("a,m,b", "a,c,b", "m.qcow2")]
    [InlineData("a,b,c", "a,c,b", "b.qcow2")]
    public void Disk_WhoseDataWouldBeOutOfUse_IsHeldWithItsRestart(string before, string after, string names)
    {
        foreach (var policy in (string[])["ask", "allowed"])
        {
            var (was, input) = (Converged(Disks([policy, .. before.Split(',')])), Disks([policy, .. after.Split(',')]));
            var plan = Plan(input, Missing(was, input));
            var restart = Assert.Single(plan.Steps, s => s.Tool == "restart");
            Assert.Equal(RiskLevel.Dangerous, restart.Risk.Level);
            Assert.Contains("disk-out-of-use", restart.Risk.Reasons);
            Assert.Contains(names, restart.Text, StringComparison.Ordinal);
            Assert.Contains(after == "b" || after.Contains("2,", StringComparison.Ordinal) || after.Contains("raw", StringComparison.Ordinal) || after.Contains(",c,b", StringComparison.Ordinal) && before.Contains('m', StringComparison.Ordinal) ? "stays where it is" : "in the guest, and was", restart.Text, StringComparison.Ordinal);
            // Nothing of it is done before: neither the definition nor an empty file.
            Assert.All(plan.Steps, s => Assert.True(s.Group == restart.Group || s.Tool == "note-held", s.Tool + " is not part of what is signed"));
        }
    }

    [Fact]
    public void Disk_WhoseDataWouldBeOutOfUse_IsHeldAlsoOfAMachineThatIsOff()
    {
        var input = Disks("allowed", "{\"power\":\"stopped\",", ["a:raw", "b"]);
        var state = Missing(Converged(Disks("a", "b")).Off(), input) with { OtherDisks = InstanceStates(("a.qcow2", 32)) };
        var plan = Plan(input, state);
        Assert.Equal(["create-disk", "define"], plan.Steps.Select(s => s.Tool));
        Assert.Single(plan.Steps.Select(s => s.Group).Distinct());
        Assert.Equal(RiskLevel.Dangerous, plan.Steps[1].Risk.Level);
        Assert.Contains($"{Dir}a.qcow2 (qcow2, 32Mi) is in use no more, and stays where it is", plan.Steps[1].Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Card_InsertedBeforeAnother_LeavesItsAddressOnItsNetwork()
    {
        var was = Converged(Cards("{\"network\":\"lan\"}"));
        var plan = Plan(Cards("{\"network\":\"wan\"}", "{\"network\":\"lan\"}"), Active(was, "wan"));
        var (first, second) = (plan.Goal!.Config!.Nics[0], plan.Goal.Config.Nics[1]);
        Assert.Equal(("wan", "lan"), (first.Source, second.Source));
        Assert.Equal(InstanceLayout.MacOf("uid-1", 0), second.Mac);
        Assert.Equal(InstanceLayout.MacOf("uid-1", 1), first.Mac);
        var live = Assert.Single(plan.Steps, s => s.Tool == "change-live");
        Assert.Contains("\"Change\":\"attach\"", live.Args, StringComparison.Ordinal);
        Assert.Contains("wan", live.Args, StringComparison.Ordinal);
        // Taken out again, it is the one that goes; and where libvirt has forgotten the machine, what was written down counts.
        var back = Plan(Cards("{\"network\":\"lan\"}"), plan.Final);
        Assert.Contains("\"Change\":\"detach\"", Assert.Single(back.Steps, s => s.Tool == "change-live").Args, StringComparison.Ordinal);
        Assert.Equal(second.Mac, Assert.Single(back.Goal!.Config!.Nics).Mac);
        var forgotten = plan.Final.Off() with { Domain = FactValue.Absent, Config = Aspect.None, ConfigXml = "", Autostart = FactValue.Absent, Cards = plan.Final.Config };
        Assert.Equal([first.Mac, second.Mac], Plan(Cards("{\"network\":\"wan\"}", "{\"network\":\"lan\"}"), forgotten).Goal!.Config!.Nics.Select(n => n.Mac));
    }

    [Fact]
    public void Card_OfOneNetworkWithTwo_IsKnownByItsFixedAddress()
    {
        var was = Converged(Cards("{\"ip\":\"192.168.122.50\"}", "{}"));
        var plan = Plan(Cards("{}"), was);
        Assert.Equal(InstanceLayout.MacOf("uid-1", 1), Assert.Single(plan.Goal!.Config!.Nics).Mac);
    }

    [Fact]
    public void Card_WhoseNetworkIsAnother_KeepsItsAddress()
    {
        var plan = Plan(Cards("{\"network\":\"wan\"}"), Active(Converged(Cards("{\"network\":\"lan\"}")), "wan"));
        Assert.Equal(InstanceLayout.MacOf("uid-1", 0), Assert.Single(plan.Goal!.Config!.Nics).Mac);
        Assert.Contains("\"Change\":\"update\"", Assert.Single(plan.Steps, s => s.Tool == "change-live").Args, StringComparison.Ordinal);
    }

    /// <summary>virsh domif-setlink DOMAIN MAC down: a machine whose cable is out is not as declared.</summary>
    [Fact]
    public void Card_WhoseCableIsOut_IsPluggedInAgain()
    {
        var was = Converged(Cards("{}"));
        var (aspect, text) = was.Live.Single(a => a.Key.StartsWith(Aspect.Nic, StringComparison.Ordinal));
        var plan = Plan(Cards("{}"), was with { Live = was.Live.SetItem(aspect, text + " unplugged") });
        var step = Assert.Single(plan.Steps);
        Assert.Equal("change-live", step.Tool);
        Assert.DoesNotContain("state=\\u0022down", step.Args, StringComparison.Ordinal);
        var out_ = DomainXml.Parse(DomainXml.Render(plan.Goal!.Config! with { Nics = [plan.Goal.Config!.Nics[0] with { IsUnplugged = true }] }, "")).Config!;
        Assert.EndsWith(" unplugged", out_.Aspects()[aspect], StringComparison.Ordinal);
        Assert.True(Aspect.NicOf(aspect, out_.Aspects()[aspect]).IsUnplugged);
    }

    /// <summary>What the commit before defined: disks by their place, no serials. Nothing is done to it.</summary>
    [Fact]
    public void Machine_OfTheCommitBefore_IsAsDeclared()
    {
        var input = Input(WithSeed);
        var xml = DomainXml.Render(Goal(input).Config!, "/usr/bin/qemu-system-x86_64").Replace("<serial>root</serial>", "", StringComparison.Ordinal);
        Assert.DoesNotContain("serial>root", xml, StringComparison.Ordinal);
        var state = Converged(input) with { ConfigXml = xml, Config = DomainXml.Parse(xml).Config!.Aspects(), Live = DomainXml.Parse(xml).Config!.Aspects() };
        Assert.Equal(Outcome.Converged, Plan(input, state).Outcome);
        // The digest of a change that it took back is in a file: the same change has the same digest.
        var goal = Goal(Input(Tried));
        string[] aspects = ["boot=disk", $"console={Dir}console.log", "cpus=1 of 1", $"disk/vda=qcow2 {Dir}root.qcow2", "guest-agent=no", "memory=524288 of 524288 KiB", $"nic/{InstanceLayout.MacOf("uid-1", 0)}=network default filter clean-traffic@dhcp"];
        var digest = SHA256.HashData(Encoding.UTF8.GetBytes(goal.Spec.AutoRevert.Text + "\n" + string.Join('\n', aspects)));
        Assert.Equal(Convert.ToHexStringLower(digest)[..12], goal.ChangeDigest);
    }

    private static MemberInput Cards(params string[] cards) => Input("{\"boot\":{\"kernel\":\"kernel\"},\"memory\":\"64Mi\",\"nics\":[" + string.Join(',', cards) + "]}");

    private static System.Collections.Immutable.ImmutableSortedDictionary<string, DiskState> InstanceStates(params (string Name, int Mi)[] disks) =>
        System.Collections.Immutable.ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, disks.Select(d => KeyValuePair.Create(Dir + d.Name, new DiskState("qcow2", (long)d.Mi << 20, ""))));

    private static InstanceState Active(InstanceState s, string network) => s with { Networks = s.Networks.SetItem(network, Present.Active) };

    internal static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state)
    {
        var agent = new InstanceAgent(Scope(input));
        return new Planner<InstanceGoal, InstanceState>(agent).Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal", input.Protect) { Teardown = input.Teardown },
            input.Absent ? null : Goal(input), state, Attempts.None(default), [], []);
    }
}
