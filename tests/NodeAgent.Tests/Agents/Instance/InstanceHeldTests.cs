using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>What nobody signed is in force by no other start: of the guest's own making, of the host's, or of the agent's.</summary>
public sealed class InstanceHeldTests
{
    private const string Plain = """{"boot":{"kernel":"kernel","cmdline":"console=ttyS0"},"memory":"64Mi","nics":[{}]}""";
    private const string Seeded = """{"disks":[{"name":"root","image":"debian"}],"nics":[{}],"cloudInit":{"enabled":true,"userData":"#cloud-config\n"}}""";

    /// <summary>Everything that only a restart brings.</summary>
    public static TheoryData<string, string> Changes => new()
    {
        { Plain, Plain.Replace("64Mi", "128Mi", StringComparison.Ordinal) },
        { Plain, Plain.Replace("console=ttyS0", "rdinit=/bin/false", StringComparison.Ordinal) },
        { Plain, Plain.Replace("\"nics\"", "\"guestAgent\":true,\"nics\"", StringComparison.Ordinal) },
        { Plain, Plain.Replace("\"nics\"", "\"maxCpus\":2,\"nics\"", StringComparison.Ordinal) },
        { Plain, Plain.Replace("[{}]", "[{\"ip\":\"192.168.122.50\"}]", StringComparison.Ordinal) },
        { Seeded, Seeded.Replace("#cloud-config", "#cloud-config\\nhostname: x", StringComparison.Ordinal) },
        { """{"boot":{"kernel":"kernel"},"disks":[{"name":"a","size":"32Mi"},{"name":"b","size":"32Mi"}]}""", """{"boot":{"kernel":"kernel"},"disks":[{"name":"a","size":"32Mi","format":"raw"},{"name":"b","size":"32Mi"}]}""" },
        { """{"boot":{"kernel":"kernel"},"disks":[{"name":"root","size":"32Mi"},{"name":"b","size":"32Mi"}]}""", """{"boot":{"kernel":"kernel"},"disks":[{"name":"a","size":"32Mi"},{"name":"root","size":"32Mi"},{"name":"b","size":"32Mi"}]}""" },
    };

    [Theory]
    [MemberData(nameof(Changes))]
    public void Change_ThatIsNotSigned_IsInForceByNoStart(string before, string after)
    {
        var (was, input) = (Converged(Input(before)), Input(after));
        var unsigned = Unsigned(Plan(input, Missing(was, input)));
        Assert.Equal(was.Config, unsigned.Config);
        Assert.Equal(was.Live, unsigned.Live);
        Assert.NotEqual(FactValue.Absent, unsigned.Held);

        // The guest switches itself off, or the host boots, before or after it was denied.
        var started = Unsigned(Plan(input, unsigned.Off()));
        Assert.Equal((Power.Running, was.Config, was.Live), (started.Power, started.Config, started.Live));
        Assert.Equal(RiskLevel.Dangerous, Assert.Single(Plan(input, started).Steps, s => s.Tool == "restart").Risk.Level);

        // It is stopped and started by its owner, who signed nothing either.
        var stopping = Input("{\"power\":\"stopped\"," + after[1..]);
        var stopped = Unsigned(Plan(stopping, started));
        Assert.Equal((Power.Off, was.Config), (stopped.Power, stopped.Config));
        Assert.Equal(RiskLevel.Dangerous, Assert.Single(Plan(stopping, stopped).Steps, s => s.Tool == "define").Risk.Level);
        Assert.Equal((Power.Running, was.Config), (Unsigned(Plan(input, stopped)).Power, Unsigned(Plan(input, stopped)).Config));

        // What it would be moved with is not signed either.
        var moving = input with { MoveTo = new(0, "n1", "edge-2", "10.0.0.2", 7444) };
        var moved = Plan(moving, started);
        Assert.Equal(["restart", "hand-over"], moved.Steps.Where(s => s.Risk.Level == RiskLevel.Dangerous).Select(s => s.Tool));
        Assert.Contains(moved.Steps[^1].Basis, f => f.Key == InstanceFacts.Power); // Built on the restart, and held with it.

        // Signed, it is; and nothing is remembered any more.
        var signed = Plan(input, started).Final;
        Assert.NotEqual(was.Config, signed.Config);
        Assert.Equal((signed.Config, FactValue.Absent), (signed.Live, signed.Held));
        Assert.Equal(Outcome.Converged, Plan(input, signed).Outcome);
    }

    /// <summary>What can be had while it runs is not held up by what waits; what is taken back in the spec is forgotten.</summary>
    [Fact]
    public void Change_BesideOneThatWaits_IsMadeWhileItRuns()
    {
        const string before = """{"boot":{"kernel":"kernel","cmdline":"a"},"memory":"64Mi","maxMemory":"256Mi"}""";
        var waiting = Unsigned(Plan(Input(before.Replace("\"a\"", "\"b\"", StringComparison.Ordinal)), Converged(Input(before))));
        var more = Unsigned(Plan(Input(before.Replace("\"a\"", "\"b\"", StringComparison.Ordinal).Replace("64Mi", "128Mi", StringComparison.Ordinal)), waiting));
        Assert.Equal("131072 of 262144 KiB", more.Live[Aspect.Memory]);
        Assert.Equal("131072 of 262144 KiB", more.Config[Aspect.Memory]);
        Assert.EndsWith("cmdline a", more.Config[Aspect.Boot], StringComparison.Ordinal);
        var back = Plan(Input(before), more);
        Assert.Equal((Outcome.Ready, FactValue.Absent), (back.Outcome, back.Final.Held));
        Assert.DoesNotContain(back.Steps, s => s.Tool == "restart");
    }

    /// <summary>The commit before wrote the definition ahead of the restart. What waits is taken out of it, and nothing that runs is touched.</summary>
    [Fact]
    public void Change_ThatTheCommitBeforeDefinedAhead_IsTakenBackFromTheDefinition()
    {
        var input = Input(Plain.Replace("64Mi", "128Mi", StringComparison.Ordinal));
        var was = Converged(Input(Plain));
        var ahead = was with { Config = Converged(input).Config, ConfigXml = Converged(input).ConfigXml };
        var unsigned = Unsigned(Plan(input, ahead));
        Assert.Equal(was.Config, unsigned.Config);
        Assert.Equal(was.Live, unsigned.Live);
    }

    [Fact]
    public void Change_OfAMachineThatIsOff_AndWasNeverHeld_NeedsNoSignature()
    {
        var plan = Plan(Input(Plain.Replace("64Mi", "128Mi", StringComparison.Ordinal)), Converged(Input(Plain)).Off());
        Assert.Equal(["define", "start"], plan.Steps.Select(s => s.Tool));
        Assert.All(plan.Steps, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
    }

    /// <summary>A definition that does not start any more must have a way out: what waits may be signed also while the machine is off.</summary>
    [Fact]
    public void Change_ThatWaits_OfAMachineThatDoesNotStart_CanBeSigned()
    {
        var input = Input(Plain.Replace("64Mi", "128Mi", StringComparison.Ordinal));
        var off = Unsigned(Plan(input, Converged(Input(Plain)))).Off();
        var start = Assert.Single(Plan(input, off).Steps, s => s.Tool == "start");
        var tried = Attempts.None(default).Add(start.Difference, start.Key, false, default).Add(start.Difference, start.Key, false, default);
        var plan = Plan(input, off, tried);
        Assert.Equal(("restart", RiskLevel.Dangerous), (Assert.Single(plan.Steps).Tool, plan.Steps[0].Risk.Level));
        Assert.Equal(Outcome.Converged, Plan(input, plan.Final).Outcome);
    }

    [Theory]
    [InlineData("ask")]
    [InlineData("allowed")]
    public void Guest_ThatHangs_IsSwitchedOffBySignatureAndGetsItsCorrectedSpec(string policy)
    {
        var input = Input("{\"restart\":\"" + policy + "\"," + Plain.Replace("console=ttyS0", "corrected", StringComparison.Ordinal)[1..]);
        var hung = Converged(Input(Plain)) with { Hung = Yes.It };
        var restart = Assert.Single(Plan(input, hung).Steps, s => s.Tool == "restart");
        Assert.Equal(RiskLevel.Dangerous, restart.Risk.Level);
        Assert.Contains("switches-off", restart.Risk.Reasons);
        Assert.Contains("else it is switched off", restart.Text, StringComparison.Ordinal);
        // It is not asked three times within one step, and what failed is no attempt at what is offered now.
        var tool = new InstanceAgent(Scope(input)).Tools.Single(t => t.Name == "restart");
        var patient = Assert.Single(Plan(input, hung with { Hung = FactValue.Absent }).Steps, s => s.Tool == "restart");
        Assert.Equal(Phase.Failed, tool.Bind(patient.Args).Observe(hung)!.Phase);
        Assert.Null(tool.Bind(restart.Args).Observe(hung));

        Assert.Equal(("switch-off", RiskLevel.Dangerous), Assert.Single(Plan(Input("{\"power\":\"stopped\"," + Plain[1..]), hung).Steps) is var off ? (off.Tool, off.Risk.Level) : default);
        var moved = Assert.Single(Plan(Input(Plain) with { MoveTo = new(0, "n1", "edge-2", "10.0.0.2", 7444) }, hung).Steps);
        Assert.Contains("switches-off", moved.Risk.Reasons);
        Assert.Contains("switches-off", Assert.Single(Plan(Input("{" + Asked("restart") + Plain[1..]), hung).Steps, s => s.Tool == "restart-once").Risk.Reasons);
    }

    /// <summary>A guest may never let go of a disk that is taken out, or take one that comes: its next start has what is declared, and that can be signed.</summary>
    [Theory]
    [InlineData("a,m,b", "a,b")]
    [InlineData("a", "a,b")]
    public void Disk_ThatTheGuestDoesNotAnswerFor_IsBroughtByARestart(string before, string after)
    {
        foreach (var (policy, level) in ((string, RiskLevel)[])[("ask", RiskLevel.Dangerous), ("allowed", RiskLevel.Moderate)])
        {
            var (was, input) = (Converged(Disks([policy, .. before.Split(',')])), Disks([policy, .. after.Split(',')]));
            var first = Plan(input, was);
            Assert.DoesNotContain(first.Steps, s => s.Tool == "restart");
            var live = Assert.Single(first.Steps, s => s.Tool == "change-live");
            var tried = Attempts.None(default).Add(live.Difference, live.Key, false, default).Add(live.Difference, live.Key, false, default);
            var plan = Plan(input, first.Final with { Live = was.Live }, tried);
            Assert.Equal(("restart", level), (Assert.Single(plan.Steps, s => s.Tool != "note-held").Tool, plan.Steps[^1].Risk.Level));
            Assert.Equal(Outcome.Converged, Plan(input, plan.Final).Outcome);
        }
    }

    private static InstanceState Unsigned(Plan<InstanceGoal, InstanceState> plan) => InstanceAdversaryTests.Unsigned(plan);

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state, Attempts? tried = null)
    {
        var agent = new InstanceAgent(Scope(input));
        return new Planner<InstanceGoal, InstanceState>(agent).Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal", false) { Teardown = input.Teardown },
            Goal(input), state, tried ?? Attempts.None(default), [], []);
    }
}
