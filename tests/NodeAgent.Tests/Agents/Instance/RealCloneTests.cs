using AgentMetal.NodeAgent.Agents.Instance;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Copies of machines against a real libvirt and QEMU; explicit, as RealInstanceTests.</summary>
public sealed class RealCloneTests
{
    [Fact(Explicit = true)]
    public async Task Copy_OfAMachine_HasItsDataAndBothRun()
    {
        await using var original = new InstanceWorld();
        original.More["Image/disk"] = InstanceWorld.Image("busybox.qcow2", "qcow2");
        original.Spec = """{"memory":"96Mi","disks":[{"name":"root","image":"disk"},{"name":"more","size":"32Mi","format":"raw"}],"nics":[{}],"shutdown":{"seconds":30,"force":"allowed"}}""";
        await original.ConvergeAsync();
        await original.SaysAsync("agentmetal-vm boots 1");

        await using var copy = new InstanceWorld();
        copy.Spec = """{"memory":"96Mi","disks":[{"name":"root"},{"name":"more","size":"48Mi"}],"nics":[{}],"source":{"instance":"NAME"},"shutdown":{"seconds":30,"force":"allowed"}}""".Replace("NAME", original.Name, StringComparison.Ordinal);
        var waiting = await copy.PlanAsync(copy.Input());
        Assert.DoesNotContain(waiting.Steps, s => s.Tool is "copy-disk" or "define");
        Assert.Contains(waiting.Blocked, b => b.Reasons.Any(r => r.Contains("agentmetal stop instance/" + original.Name, StringComparison.Ordinal)));

        var running = original.Spec;
        original.Spec = running.Replace("{\"memory", "{\"power\":\"stopped\",\"memory", StringComparison.Ordinal);
        await original.ConvergeAsync();
        await copy.ConvergeAsync();
        original.Spec = running;
        await original.ConvergeAsync();
        await copy.SaysAsync("agentmetal-vm boots 2");
        await original.SaysAsync("agentmetal-vm boots 2");
        Assert.NotEqual(original.Member.ReadGoal(original.Input()).Goal!.Config!.Nics[0].Mac, copy.Member.ReadGoal(copy.Input()).Goal!.Config!.Nics[0].Mac);
        Assert.Equal("", (await copy.ObserveAsync()).DiskStates["root"].Backing);

        // What it was made of may go.
        await original.ConvergeAsync(absent: true);
        Assert.Equal(Runtime.Planning.Outcome.Converged, (await copy.PlanAsync(copy.Input())).Outcome);
        await copy.ConvergeAsync(absent: true);
        Assert.Equal(2, copy.Ran.Count(t => t == "copy-disk"));
        Assert.Empty(copy.Mismatches);
        Assert.Empty(original.Mismatches);
    }
}
