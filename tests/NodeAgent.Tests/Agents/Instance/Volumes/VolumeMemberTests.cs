using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes.VolumeSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes;

public sealed class VolumeMemberTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public void ReadGoal_ImageDidNotCome_NamesField() =>
        Assert.Equal("spec.image", Assert.Single(NodeHalf.ReadGoal(Volume(FromImage) with { References = new Dictionary<string, ReadOnlyMemory<byte>>() }).Errors).Path);

    [Fact]
    public void ReadGoal_KernelAsImage_IsRefused() =>
        Assert.Contains("is a kernel", Assert.Single(NodeHalf.ReadGoal(Volume(FromImage.Replace("debian", "kernel", StringComparison.Ordinal))).Errors).Message, StringComparison.Ordinal);

    [Fact]
    public void ReadGoal_NamesFromAHostileCoordinator_AreRefused() => Assert.NotEmpty(NodeHalf.ReadGoal(Volume() with { Name = "../../etc/shadow" }).Errors);

    [Fact]
    public void Plan_NothingSigned_NeitherFetchesNorCopies()
    {
        var input = Volume(FromImage, trusted: false);
        Assert.Empty(Plan(input, Nothing(input)).Steps);
        Assert.Empty(Plan(input, Nothing(input) with { Image = Present.It, ImageSize = 1 << 20 }).Steps);
        // What is there already began with it, and stays.
        Assert.Equal(Outcome.Converged, Plan(input, Converged(input)).Outcome);
    }

    [Fact]
    public void Plan_Shrink_IsRefusedWithTheSizeToSet()
    {
        var plan = Plan(Volume("""{"size":"512Mi"}"""), Converged(Volume()));
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("never shrinks: set spec.size to 1Gi or more", StringComparison.Ordinal)));
    }

    [Fact]
    public void Plan_GrowWhileAMachineRunsWithIt_GoesThroughThatMachine()
    {
        var step = Assert.Single(Plan(Volume("""{"size":"2Gi"}"""), Converged(Volume()) with { Users = "default-web", Running = VolumeSamples.Running }).Steps);
        Assert.Equal(("grow-volume", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
        Assert.Contains("\"Target\":\"vdb\"", step.Args, StringComparison.Ordinal);
        Assert.Contains(step.Basis, f => f == new Fact(VolumeFacts.Running, VolumeSamples.Running));
    }

    [Theory]
    [InlineData(Mark.Ours, User.None)]
    [InlineData(FactValue.Absent, "default-web")]
    public void Plan_DataThatWasThereIsGone_IsNotMadeAnewUnasked(string mark, string users)
    {
        var step = Assert.Single(Plan(Volume(), Nothing(Volume()) with { Mark = mark, Users = users }).Steps);
        Assert.Equal(("create-volume", RiskLevel.Dangerous), (step.Tool, step.Risk.Level));
        Assert.Equal(RiskLevel.Moderate, Assert.Single(Plan(Volume(), Nothing(Volume())).Steps).Risk.Level);
    }

    [Fact]
    public void Plan_Delete_NeedsASignatureAndIsRefusedWhenProtected()
    {
        var input = Volume(absent: true);
        var step = Assert.Single(Plan(input, Converged(input)).Steps);
        Assert.Equal((RiskLevel.Dangerous, true, UndoKind.Impossible), (step.Risk.Level, step.Risk.LosesData, step.Undo.Kind));
        Assert.Empty(Plan(Volume(absent: true, protect: true), Converged(input)).Steps);
    }

    [Fact]
    public void Plan_DeleteWhileADomainNamesIt_WaitsAndSaysWhich()
    {
        var input = Volume(absent: true);
        var plan = Plan(input, Converged(input) with { Users = "somebody-elses" });
        Assert.Equal((0, Outcome.Waiting), (plan.Steps.Length, plan.Outcome));
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("somebody-elses has it as a disk", StringComparison.Ordinal)));
        // What cannot be asked may have it.
        Assert.Empty(Plan(input, Converged(input) with { Users = FactValue.Unseen("libvirt") }).Steps);
    }

    /// <summary>A name that was used before, by a Volume that this host was never told to delete.</summary>
    [Fact]
    public void Plan_DataOfAnotherVolumeOfTheName_IsNeitherUsedNorDeleted()
    {
        var others = Converged(Volume()) with { Mark = Mark.Other };
        var plan = Plan(Volume(), others);
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Differences, d => d.Text.Contains("/var/lib/agentmetal/volume-marks/default-data", StringComparison.Ordinal));
        Assert.Equal(Outcome.Converged, Plan(Volume(absent: true), others).Outcome);
        Assert.True(NodeHalf.IsGone(others));
        Assert.False(NodeHalf.IsGone(Converged(Volume())));
    }

    [Fact]
    public void Scope_SpecOfOneThatGoesIsNotKnown_LooksForBothFormats() =>
        Assert.Equal(["/var/lib/agentmetal/volumes/default-data.qcow2", "/var/lib/agentmetal/volumes/default-data.raw"], NodeHalf.Scope(Volume(absent: true) with { Spec = ReadOnlyMemory<byte>.Empty }).Files.Select(f => f.Path));

    private static Plan<VolumeGoal, VolumeState> Plan(MemberInput input, VolumeState state) => new Planner<VolumeGoal, VolumeState>(new VolumeAgent(NodeHalf.Scope(input)))
        .Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal", input.Protect) { Teardown = input.Teardown }, NodeHalf.ReadGoal(input).Goal, state, Attempts.None(s_now), [], []);
}
