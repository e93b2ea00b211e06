using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Exports;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>When an instance is exported, and what the manifest says.</summary>
public sealed class InstanceExportTests
{
    private static readonly string s_sha = new('c', 64);

    private static MemberInput Asked(string power, string spec = FromDisk) => Input("{" + InstanceSamples.Asked("export") + "\"power\":\"" + power + "\"," + spec[1..]);

    [Fact]
    public void Plan_MachineIsOff_ExportsItOnce()
    {
        var input = Asked("stopped");
        var state = Converged(input) with { Request = FactValue.Absent };
        var step = Assert.Single(Plan(input, state).Steps);
        Assert.Equal("export-once", step.Tool);
        Assert.Contains("/var/lib/agentmetal/exports/default-hello-r-1", step.Text, StringComparison.Ordinal);
        Assert.Equal(Outcome.Converged, Plan(input, state with { Request = "r-1" }).Outcome);
    }

    [Fact]
    public void Plan_MachineRuns_WaitsAndSaysWhatNext()
    {
        var input = Asked("running");
        var plan = Plan(input, Converged(input) with { Request = FactValue.Absent });
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("agentmetal stop instance/hello", StringComparison.Ordinal)));
    }

    [Fact]
    public void Plan_MachineHasAVolume_SaysThatItIsNotExported()
    {
        var input = Asked("stopped", WithVolume);
        var plan = Plan(input, Converged(input) with { Request = FactValue.Absent });
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("is Volume data, which is not exported", StringComparison.Ordinal)));
    }

    [Fact]
    public void Observe_AnExportThatRuns_IsUnderWayAndSaysHowFar()
    {
        var input = Asked("stopped");
        var state = Converged(input) with { Request = FactValue.Absent };
        var call = new InstanceAgent(Scope(input)).Tools.Single(t => t.Name == "export-once").Bind("""{"Action":"export","Id":"r-1"}""");
        Assert.Equal(Phase.NotStarted, call.Observe(state)!.Phase);
        var running = call.Observe(state with { Export = new(3L << 20, "exports disk root, 1 of 2", "") })!;
        Assert.Equal((Phase.Running, 3L << 20, "exports disk root, 1 of 2, 3 MiB written"), (running.Phase, running.Progress, running.Detail));
        Assert.Equal(Phase.Failed, call.Observe(state with { Export = new(0, "", "no room") })!.Phase);
        Assert.Null(call.Observe(state with { Request = "r-1" }));
    }

    [Fact]
    public void Manifest_OfAnInstance_DeclaresImagesAndTheInstanceThatBeginsWithThem()
    {
        var declared = Valid(InstanceKind.Schema, "{" + InstanceSamples.Asked("export") + FromDisk[1..]);
        var text = ExportManifest.Of("default", "hello", declared, "/x/default-hello-r-1", [new("root", "root.qcow2", s_sha, 8L << 30), new("data", "data.qcow2", DebianSha, 1L << 30)], []);
        var documents = text.Split("---\n");
        Assert.Equal(4, documents.Length);
        Assert.Equal(("file:///x/default-hello-r-1/root.qcow2", s_sha, "qcow2"), (ImageSpec.Parse(Spec(documents[1], ImageKind.Schema)) is var i) ? (i.Url, i.Sha256, i.Format) : default);
        var instance = InstanceSpec.Parse(Spec(documents[3], InstanceKind.Schema));
        Assert.Equal([("root", "root-cccccccccccc", 8L << 30, "qcow2"), ("data", "data-aaaaaaaaaaaa", 1L << 30, "raw")], instance.Disks.Select(d => (d.Name, d.Image, d.Size, d.Format)));
        Assert.False(instance.Request.IsGiven);
        Assert.Equal(512L << 20, instance.Memory);
    }

    private static byte[] Spec(string document, KindSchema schema)
    {
        var (spec, errors) = schema.Validate(System.Text.Encoding.UTF8.GetBytes(document[(document.IndexOf("\nspec: ", StringComparison.Ordinal) + 7)..]));
        Assert.Empty(errors);
        return [.. spec];
    }

    private static Plan<InstanceGoal, InstanceState> Plan(MemberInput input, InstanceState state) => new Planner<InstanceGoal, InstanceState>(new InstanceAgent(Scope(input)))
        .Plan(new(new(new string('a', 32), input.ResourceUid, 1), "goal"), Goal(input), state, Attempts.None(new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero)), [], []);
}
