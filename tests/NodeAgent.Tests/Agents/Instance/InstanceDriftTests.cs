using System.Collections.Immutable;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceDriftTests
{
    private static readonly MemberInput s_reporting = Input("{" + ReportingDrift + FromDisk[1..]);
    private static readonly InstanceState s_settled = Converged(s_reporting);

    /// <summary>What people do with virsh.</summary>
    public static TheoryData<string, string> ByHand => new() { { "definition", "definition:" }, { "autostart", "autostart:" }, { "live", "live:disk//srv/other.raw" }, { "off", "power:running" }, { "paused", "power:running" } };

    private static InstanceState Changed(InstanceState s, string how) => how switch
    {
        "definition" => s with { Config = s.Config.SetItem(Aspect.Others, "watchdog") },
        "autostart" => s with { Autostart = Yes.No },
        "live" => s with { Live = s.Live.SetItem(Aspect.Disk + "/srv/other.raw", "raw as vdf") },
        "off" => s.Off(),
        "paused" => s with { Power = Power.Paused },
        _ => throw new ArgumentOutOfRangeException(nameof(how)),
    };

    [Theory]
    [MemberData(nameof(ByHand))]
    public void Drift_Reported_IsToldAndNotTouched(string how, string key)
    {
        var state = Changed(s_settled, how);
        Assert.All(Plan(s_reporting, state).Steps, s => Assert.Equal("note-settled", s.Tool));
        Assert.Equal(key, Assert.Single(new InstanceAgent(Scope(s_reporting)).Drift(Aimed(s_reporting, state), state)).Key);
        Assert.Contains("changed by hand", new InstanceAgent(Scope(s_reporting)).Summary(Aimed(s_reporting, state), state), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(ByHand))]
    public void Drift_Reverted_IsTakenBack(string how, string key)
    {
        var plan = Plan(Input(), Changed(Converged(Input()), how));
        Assert.Contains(plan.Differences, d => d.Key == key);
        Assert.NotEmpty(plan.Steps);
        Assert.Empty(new InstanceAgent(Scope(Input())).Drift(Aimed(Input(), plan.Start), plan.Start));
    }

    /// <summary>Off, and kept from starting with the host, because a person asked us to stop it: once it is resumed it is as it was.</summary>
    [Fact]
    public void StoppedThroughUs_Reported_ComesBackWhole()
    {
        var stopped = Changed(Changed(s_settled, "off"), "autostart") with { Settled = InstanceDrift.AsBusy(s_settled.Settled) };
        var plan = Plan(s_reporting, stopped);
        Assert.Equal(["set-autostart", "start"], plan.Steps.Select(s => s.Tool).Where(t => t != "note-settled").Order());
        Assert.Equal((Yes.It, Power.Running), (plan.Final.Autostart, plan.Final.Power));
        Assert.Empty(new InstanceAgent(Scope(s_reporting)).Drift(Aimed(s_reporting, plan.Final), plan.Final));
    }

    /// <summary>A QEMU that was killed is nobody's wish, also with a definition that somebody edited.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Failed_Reported_IsHealed(bool edited)
    {
        var state = (edited ? Changed(s_settled, "definition") : s_settled).Off() with { Cause = InstanceDrift.Unasked };
        Assert.Equal("start", Assert.Single(Plan(s_reporting, state).Steps).Tool);
    }

    /// <summary>libvirt forgets why a machine is off when it is restarted itself; the marker does not.</summary>
    [Fact]
    public void StoppedByHand_LibvirtForgot_IsStillLeftAlone()
    {
        var stopped = s_settled.Off();
        var noted = Plan(s_reporting, stopped).Final;
        Assert.Equal(Goal(s_reporting).Digest + " off", noted.Settled);
        Assert.Empty(Plan(s_reporting, noted with { Cause = InstanceDrift.Unasked }).Steps);
        // Somebody started it again: from now on a crash is healed.
        var again = Plan(s_reporting, noted with { Power = Power.Running, Live = s_settled.Live }).Final;
        Assert.Equal(Goal(s_reporting).Digest, again.Settled);
        Assert.Equal("start", Assert.Single(Plan(s_reporting, again.Off() with { Cause = InstanceDrift.Unasked }).Steps).Tool);
    }

    [Fact]
    public void SpecChanged_WithDrift_IsCarriedOutAndForgetsFirst()
    {
        var grown = Input("{" + ReportingDrift + FromDisk.Replace("4Gi", "8Gi", StringComparison.Ordinal)[1..]);
        var plan = Plan(grown, Changed(s_settled, "autostart"));
        Assert.Equal(["note-settled", "grow-disk", "set-autostart", "note-settled"], plan.Steps.Select(s => s.Tool));
        Assert.Equal(Goal(grown).Digest, plan.Final.Settled);
    }

    [Fact]
    public void PolicyBackToRevert_ForgetsAndTakesBack() =>
        Assert.Equal(["note-settled", "set-autostart"], Plan(Input(), Changed(s_settled, "autostart")).Steps.Select(s => s.Tool));

    [Fact]
    public void Marker_Unreadable_NothingIsTakenBack()
    {
        var plan = Plan(s_reporting, Changed(s_settled, "definition") with { Settled = FactValue.Unseen("no answer") });
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Contains("cannot see settled"));
    }

    /// <summary>The restart was ours, and it did not come back: that is no person's doing.</summary>
    [Fact]
    public void Restart_ThatFailedHalfway_IsHealed()
    {
        var asked = Input("{" + Asked("restart") + ReportingDrift + FromDisk[1..]);
        var call = new InstanceAgent(Scope(asked)).Tools.Single(t => t.Name == "restart-once").Bind("""{"Id":"r-1","Seconds":60,"Force":false}""");
        var halfway = call.During(s_settled);
        Assert.Equal("start", Assert.Single(Plan(s_reporting, halfway).Steps, s => s.Tool != "note-settled").Tool);
    }

    [Fact]
    public void Restart_OfWhatWasStoppedByHand_StartsIt() =>
        Assert.Equal("restart-once", Assert.Single(Plan(Input("{" + Asked("restart") + ReportingDrift + FromDisk[1..]), s_settled.Off()).Steps).Tool);

    [Fact]
    public void Restart_WithDrift_LeavesTheDriftAlone() =>
        Assert.Equal("restart-once", Assert.Single(Plan(Input("{" + Asked("restart") + ReportingDrift + FromDisk[1..]), Changed(s_settled, "definition")).Steps).Tool);

    [Theory]
    [InlineData("{\"consoleInStatus\":false,", true)]
    [InlineData("{\"request\":{\"action\":\"restart\",\"id\":\"r-9\"},", true)]
    [InlineData("{\"placement\":{\"labels\":{\"a\":\"b\"}},", true)]
    [InlineData("{\"autostart\":false,", false)]
    [InlineData("{\"power\":\"stopped\",", false)]
    public void Digest_IsOfTheMachineAndNotOfWhatIsBesideIt(string begins, bool same) => Assert.Equal(same, DigestOf(Input(begins + FromDisk[1..])) == DigestOf(Input()));

    [Fact]
    public void Digest_WhatIsReferredToChanged_IsAnother()
    {
        var other = Input() with { References = new Dictionary<string, ReadOnlyMemory<byte>>(Input().References) { ["Image/debian"] = "{}"u8.ToArray() } };
        Assert.NotEqual(DigestOf(Input()), DigestOf(other));
    }

    /// <summary>A host that lost KVM: the definition must follow it, whoever edited it.</summary>
    [Fact]
    public void Failed_OnAHostWithAnotherAcceleratorNow_IsDefinedForThatAndStarted()
    {
        var state = Changed(s_settled, "definition").Off() with { Cause = InstanceDrift.Unasked, Accelerator = "kvm" };
        Assert.Equal(["define", "start"], Plan(s_reporting, state).Steps.Select(s => s.Tool));
    }

    [Fact]
    public void Spec_ReportOfWhatWasTakenOver_IsRefused() =>
        Assert.Contains(InstanceKind.Schema.Validate(Encoding.UTF8.GetBytes("""{"adopt":{"domain":"web"},"drift":"report"}""")).Errors, e => e.Path == "spec.drift");

    [Fact]
    public void Report_WithDrift_IsReadyAndSaysWhatAndHowItGoesOn()
    {
        var status = Wire.ToReport(new() { Input = s_reporting, Phase = "Converged", Summary = "running", Drift = [new("autostart", "", "it does not start with the host")] }, "edge-1").Status;
        Assert.Equal("autostart:", Assert.Single(status.Drift).Key);
        Assert.Equal("True", status.Conditions.Single(c => c.Type == "Ready").Status);
        var said = status.Conditions.Single(c => c.Type == "Drifted");
        Assert.Equal(("True", "changed by hand: it does not start with the host; take it back: spec.drift: revert, or adopt it by changing the spec"), (said.Status, said.Message));
    }

    private static string DigestOf(MemberInput input) => InstanceDrift.Digest(input.Spec, input.References);

    private static InstanceGoal? Aimed(MemberInput input, InstanceState state) => new InstanceAgent(Scope(input)).Aim(Goal(input), state);

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state) =>
        new Planner<InstanceGoal, InstanceState>(new InstanceAgent(Scope(input))).Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal"), Goal(input), state, Attempts.None(DateTimeOffset.UnixEpoch), [], []);
}
