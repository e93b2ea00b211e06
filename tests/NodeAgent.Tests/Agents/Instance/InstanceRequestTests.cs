using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceRequestTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData("restart", "restart-once", RiskLevel.Moderate)]
    [InlineData("reset", "reset", RiskLevel.Dangerous)]
    public void Request_OfARunningMachine_IsCarriedOutOnceForItsId(string action, string tool, RiskLevel risk)
    {
        var input = Input("{" + Asked(action) + FromDisk[1..]);
        var plan = Plan(input, Converged(Input()));
        var step = Assert.Single(plan.Steps);
        Assert.Equal((tool, risk), (step.Tool, step.Risk.Level));
        Assert.Equal(Outcome.Converged, Plan(input, plan.Final).Outcome);
        Assert.Equal(tool, Assert.Single(Plan(input, plan.Final with { Request = "r-0" }).Steps).Tool);
    }

    [Theory]
    [InlineData("restart")]
    [InlineData("reset")]
    public void Request_OfANewMachine_IsNotedBeforeItIsDefined(string action)
    {
        var input = Input("{" + Asked(action) + FromKernel[1..]);
        var tools = Plan(input, Nothing(input)).Steps.Select(s => s.Tool).ToList();
        Assert.True(tools.IndexOf("note-request") < tools.IndexOf("define"), string.Join(", ", tools));
        Assert.Contains("start", tools);
        Assert.DoesNotContain(tools, t => t is "restart-once" or "reset");
    }

    [Fact]
    public void Request_OfAMachineThatIsStartedAnyway_IsDoneByItsStart() =>
        Assert.Equal(["note-request", "start"], Plan(Input("{" + Asked("restart") + FromDisk[1..]), Converged(Input()).Off()).Steps.Select(s => s.Tool));

    [Theory]
    [InlineData("stopped", "off", "it is off, and spec.power is stopped")]
    [InlineData("paused", "paused", "it is paused, and spec.power is paused")]
    public void Request_OfAMachineThatShouldNotRun_WaitsAndSaysHowItGoesOn(string power, string state, string why)
    {
        var input = Input("{" + Asked("restart") + "\"power\":\"" + power + "\"," + FromDisk[1..]);
        var plan = Plan(input, (state == Power.Off ? Converged(Input()).Off() : Converged(Input())) with { Power = state });
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.StartsWith(why, StringComparison.Ordinal) && r.Contains("agentmetal start", StringComparison.Ordinal)));
    }

    [Fact]
    public void Restart_OfAMachineThatIsHeldByHand_LetsItGoOnFirst() =>
        Assert.Equal(["resume", "restart-once"], Plan(Input("{" + Asked("restart") + FromDisk[1..]), Converged(Input()) with { Power = Power.Paused }).Steps.Select(s => s.Tool));

    [Fact]
    public void Restart_WithAChangeThatNeedsOne_BringsItWithoutASecond()
    {
        var plan = Plan(Input("{" + Asked("restart") + "\"restart\":\"allowed\"," + FromDisk.Replace("\"1Gi\",\"cpus\"", "\"2Gi\",\"cpus\"", StringComparison.Ordinal)[1..]), Converged(Input()));
        var step = Assert.Single(plan.Steps);
        Assert.Equal(("restart-once", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
        Assert.Contains("2097152", step.Args, StringComparison.Ordinal);
    }

    /// <summary>Whoever asks for a restart has not signed what waits for a signature.</summary>
    [Fact]
    public void Restart_WithAChangeThatWaits_DoesNotBringIt()
    {
        var plan = Plan(Input("{" + Asked("restart") + FromDisk.Replace("\"1Gi\",\"cpus\"", "\"2Gi\",\"cpus\"", StringComparison.Ordinal)[1..]), Converged(Input()));
        Assert.Equal(["note-held", "restart-once", "restart"], plan.Steps.Select(s => s.Tool));
        Assert.DoesNotContain("2097152", plan.Steps[1].Args, StringComparison.Ordinal);
        Assert.Equal(RiskLevel.Dangerous, plan.Steps[2].Risk.Level);
    }

    [Fact]
    public void Restart_ForceNotAllowed_DoesNotSwitchOff()
    {
        string Args(string more) => Assert.Single(Plan(Input("{" + Asked("restart") + more + FromDisk[1..]), Converged(Input())).Steps).Args;
        Assert.Contains("\"Force\":false", Args(""), StringComparison.Ordinal);
        Assert.Contains("\"Force\":true", Args("\"shutdown\":{\"force\":\"allowed\"},"), StringComparison.Ordinal);
    }

    [Fact]
    public void Request_MarkerThatCannotBeRead_IsNotCarriedOutAgain()
    {
        var plan = Plan(Input("{" + Asked("reset") + FromDisk[1..]), Converged(Input()) with { Request = FactValue.Unseen("no answer") });
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Contains("cannot see request"));
    }

    [Theory]
    [InlineData("""{"request":{"action":"restart"},""", "spec.request.id")]
    [InlineData("""{"request":{"action":"restart","id":"R_1"},""", "spec.request.id")]
    [InlineData("""{"request":{"action":"explode","id":"r-1"},""", "spec.request.action")]
    [InlineData("""{"adopt":{"domain":"web"},"request":{"action":"restart","id":"r-1"},""", "spec.request.action")]
    public void Spec_RequestThatCannotBe_NamesTheField(string begins, string path) =>
        Assert.Contains(InstanceKind.Schema.Validate(Encoding.UTF8.GetBytes(begins + FromDisk[1..])).Errors, e => e.Path == path && e.Message.Length > 0);

    /// <summary>A stored spec of a version that knew no requests is still read.</summary>
    [Fact]
    public void Spec_WithoutTheField_AsksForNothing()
    {
        var old = (SortedDictionary<string, object?>)CanonicalJson.Parse(Valid(InstanceKind.Schema, FromDisk)).Value!;
        Assert.True(old.Remove("request"));
        Assert.False(InstanceSpec.Parse(CanonicalJson.Write(old)).Request.IsGiven);
    }

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state) =>
        new Planner<InstanceGoal, InstanceState>(new InstanceAgent(Scope(input))).Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal"), Goal(input), state, Attempts.None(s_now), [], []);
}
