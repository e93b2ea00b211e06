using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>An instance whose disks begin as copies of another's.</summary>
public sealed class InstanceCloneTests
{
    [Fact]
    public void Plan_SourceIsOff_CopiesWholeDisksOfTheOtherInstance()
    {
        var plan = Plan(Nothing(Input(Copied)));
        var copies = plan.Steps.Where(s => s.Tool == "copy-disk").ToList();
        Assert.Equal(2, copies.Count);
        Assert.All(copies, s => Assert.Equal(RiskLevel.Moderate, s.Risk.Level));
        Assert.All(copies, s => Assert.Contains(new Fact(InstanceFacts.Source, Power.Off), s.Basis));
        Assert.Contains(copies, s => s.Args.Contains("\"Path\":\"/var/lib/agentmetal/instances/default-hello/root.qcow2\",\"Format\":\"qcow2\",\"Size\":2147483648,\"Source\":\"/var/lib/agentmetal/instances/default-web/root.qcow2\"", StringComparison.Ordinal));
        Assert.Contains(copies, s => s.Args.Contains("\"Size\":8589934592", StringComparison.Ordinal));
        Assert.DoesNotContain(plan.Steps, s => s.Tool is "create-disk" or "fetch-image");
    }

    [Theory]
    [InlineData(Power.Running, "agentmetal stop instance/web")]
    [InlineData(Power.Paused, "agentmetal stop instance/web")]
    [InlineData(FactValue.Absent, "is not on this host")]
    public void Plan_SourceIsNotOff_WaitsAndSaysWhatNext(string source, string says)
    {
        var plan = Plan(Nothing(Input(Copied)) with { Source = source });
        Assert.DoesNotContain(plan.Steps, s => s.Tool == "copy-disk");
        // The first is what people are told.
        Assert.Contains(plan.Blocked[0].Reasons, r => r.Contains(says, StringComparison.Ordinal));
    }

    [Fact]
    public void Plan_SourceDiskIsLarger_AsksForTheSize()
    {
        var state = Nothing(Input(Copied));
        var plan = Plan(state with { SourceDisks = state.SourceDisks.SetItem("data", ("/x", new DiskState("raw", 16L << 30, ""))) });
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("16Gi", StringComparison.Ordinal)));
        Assert.DoesNotContain(plan.Steps, s => s.Args.Contains("/x", StringComparison.Ordinal));
    }

    /// <summary>The source may go, or run, or change: a machine that has its disks asks nobody any more.</summary>
    [Theory]
    [InlineData(FactValue.Absent)]
    [InlineData(Power.Running)]
    public void Plan_DisksAreThere_NeedsTheSourceNoMore(string source) =>
        Assert.Equal(Outcome.Converged, Plan(Converged(Input(Copied)) with { Source = source, SourceDisks = Nothing(Input()).SourceDisks }).Outcome);

    [Fact]
    public void Plan_CopyOfADefinedMachineIsGone_IsNotMadeAnewUnasked()
    {
        var state = Converged(Input(Copied)).Off();
        state = state with { Disks = state.Disks.SetItem("root", FactValue.Absent), DiskStates = state.DiskStates.Remove("root") };
        Assert.Equal(RiskLevel.Dangerous, Plan(state).Steps.Single(s => s.Tool == "copy-disk").Risk.Level);
    }

    [Fact]
    public void ReadGoal_OfItself_IsRefused() =>
        Assert.Equal("spec.source.instance", Assert.Single(Member.ReadGoal(Input(Copied) with { Name = "web" }).Errors).Path);

    /// <summary>What makes a machine itself follows from its own resource.</summary>
    [Fact]
    public void Goal_OfACopy_HasItsOwnIdentity()
    {
        const string seeded = """{"disks":[{"name":"root"}],"nics":[{}],"source":{"instance":"web"},"cloudInit":{"enabled":true}}""";
        var (copy, other) = (Goal(Input(seeded)), Goal(Input(seeded) with { Name = "second", ResourceUid = "uid-2" }));
        Assert.NotEqual(copy.Config!.Uuid, other.Config!.Uuid);
        Assert.NotEqual(copy.Config.Nics[0].Mac, other.Config.Nics[0].Mac);
        Assert.Equal("instance-id: " + other.Config.Uuid + "\nlocal-hostname: second\n", other.Seed!.MetaData);
    }

    [Theory]
    [InlineData("""{"disks":[{"name":"root","image":"debian"}],"source":{"instance":"web"}}""", "spec.disks[0].image")]
    [InlineData("""{"disks":[{"name":"root","volume":"data"}],"source":{"instance":"web"}}""", "spec.source.instance")]
    [InlineData("""{"adopt":{"domain":"web"},"source":{"instance":"web"}}""", "spec.source.instance")]
    public void Validate_SourceBesideWhatItBrings_NamesTheField(string spec, string path) =>
        Assert.Equal(path, Assert.Single(InstanceKind.Schema.Validate(System.Text.Encoding.UTF8.GetBytes(spec)).Errors).Path);

    private static Plan<InstanceGoal, InstanceState> Plan(InstanceState state)
    {
        var input = Input(Copied);
        return new Planner<InstanceGoal, InstanceState>(new InstanceAgent(Scope(input)))
            .Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal"), Goal(input), state, Attempts.None(new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero)), [], []);
    }
}
