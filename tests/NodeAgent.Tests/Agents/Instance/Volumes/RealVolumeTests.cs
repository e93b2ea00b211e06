using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Volumes;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes;

/// <summary>The Volume agent against a real qemu-img, libvirt and QEMU, beside a machine that uses the volume. Explicit, as RealInstanceTests: Lab.Tests runs them.</summary>
public sealed class RealVolumeTests
{
    [Fact(Explicit = true)]
    public async Task Life_OfAVolume_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        var volume = new VolumeWorld(world);
        await volume.ConvergeAsync("""{"size":"64Mi"}""");
        await volume.ConvergeAsync("""{"size":"96Mi"}"""); // Nobody has it.
        world.More["Volume/data"] = volume.Spec;
        world.Spec = InstanceWorld.Small(""","disks":[{"name":"data","volume":"data"}]""");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");

        // It grows under the machine, which hears of it, and is not deleted under it.
        await volume.ConvergeAsync("""{"size":"128Mi"}""");
        await world.SaysAsync($"agentmetal-vm disk vda {128 * 2048}");
        var going = await volume.PlanAsync(absent: true);
        Assert.Equal((0, Outcome.Waiting), (going.Steps.Length, going.Outcome));
        Assert.Contains(going.Blocked, b => b.Reasons.Any(r => r.Contains(world.Layout.Id + " has it as a disk", StringComparison.Ordinal)));

        // Out of the machine and in again while it runs; gone with neither of them.
        world.Spec = InstanceWorld.Small();
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm disk-gone vda");
        world.Spec = InstanceWorld.Small(""","disks":[{"name":"data","volume":"data"}]""");
        await world.ConvergeAsync();
        await world.ConvergeAsync(absent: true);
        Assert.False(Directory.Exists(world.Layout.Dir));
        Assert.True(File.Exists(volume.Path));

        // A mark that is lost is written again; data that is lost is made anew only when somebody signs that.
        File.Delete(volume.Scope.Layout.Mark);
        await volume.ConvergeAsync("""{"size":"128Mi"}""");
        File.Delete(volume.Path);
        Assert.Equal(RiskLevel.Dangerous, Assert.Single((await volume.PlanAsync()).Steps).Risk.Level);
        await volume.ConvergeAsync("""{"size":"128Mi"}""");
        await volume.ConvergeAsync("""{"size":"128Mi"}""", absent: true);
        Assert.False(File.Exists(volume.Path) || File.Exists(volume.Scope.Layout.Mark));
        Assert.Equal(["create-volume", "grow-volume", "grow-volume", "mark-volume", "create-volume", "remove-volume"], volume.Driver.Ran);
        Assert.Empty(volume.Driver.Mismatches);
        Assert.Empty(world.Mismatches);
    }

    [Theory(Explicit = true)]
    [InlineData("qcow2")]
    [InlineData("raw")]
    public async Task Volume_FromAnImage_IsACopyOfItsOwn(string format)
    {
        await using var world = new InstanceWorld();
        var volume = new VolumeWorld(world);
        volume.References["Image/disk"] = InstanceWorld.Image("busybox.qcow2", "qcow2");
        await volume.ConvergeAsync($$"""{"image":"disk","format":"{{format}}"}""");
        // What it began with may go.
        Directory.Delete(world.Layout.ImageDir, recursive: true);
        await volume.ConvergeAsync($$"""{"image":"disk","format":"{{format}}","size":"512Mi"}""");
        world.More["Volume/data"] = volume.Spec;
        world.Spec = """{"memory":"96Mi","disks":[{"name":"root","volume":"data"}],"shutdown":{"seconds":30,"force":"allowed"}}""";
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm boots 1");
        await world.ConvergeAsync(absent: true);
        await volume.ConvergeAsync($$"""{"image":"disk","format":"{{format}}","size":"512Mi"}""", absent: true);
        Assert.Equal(["fetch-image", "create-volume", "grow-volume", "remove-volume"], volume.Driver.Ran);
        Assert.Empty(volume.Driver.Mismatches);
    }

    [Fact]
    public void Cases_EveryToolOfTheCatalog_HasOne() =>
        Assert.Equal(["create-volume", "fetch-image", "grow-volume", "mark-volume", "remove-volume"], new VolumeAgent(VolumeSamples.NodeHalf.Scope(VolumeSamples.Volume())).Tools.Select(t => t.Name).Order(StringComparer.Ordinal));

    /// <summary>One volume on the host of a machine.</summary>
    private sealed class VolumeWorld
    {
        private readonly VolumeMember _member;
        private string _spec = "{}";

        public VolumeWorld(InstanceWorld world)
        {
            _member = new(world.Readers, world.Writers, new());
            Driver = new(() => _member, input => new(new(new string('a', 32), "uid-v", 1), "goal") { Teardown = input.Teardown }) { Deadline = TimeSpan.FromSeconds(60) };
        }

        public MemberDriver<VolumeGoal, VolumeState> Driver { get; }
        public Dictionary<string, ReadOnlyMemory<byte>> References { get; } = [];
        public ReadOnlyMemory<byte> Spec => InstanceSamples.Valid(VolumeKind.Schema, _spec);
        public VolumeScope Scope => _member.Scope(Input(false));
        public string Path => Scope.Files[0].Path;

        public Task ConvergeAsync(string spec, bool absent = false)
        {
            _spec = spec;
            return Driver.ConvergeAsync(Input(absent));
        }

        public Task<Plan<VolumeGoal, VolumeState>> PlanAsync(bool absent = false) => Driver.PlanAsync(Input(absent));

        private MemberInput Input(bool absent) => VolumeSamples.Volume(Encoding.UTF8.GetString(Spec.Span), absent) with { References = References };
    }
}
