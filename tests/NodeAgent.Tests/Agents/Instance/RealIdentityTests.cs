using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>What people's bug reports broke, on a real libvirt: disks and cards by name, and nothing in force that nobody signed. See <see cref="RealInstanceTests"/>.</summary>
public sealed class RealIdentityTests
{
    private static readonly TimeSpan s_brief = TimeSpan.FromSeconds(20);

    [Fact(Explicit = true)]
    public async Task Disks_TakenOutReplacedAndReordered_AreThemselves()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        string With(params string[] disks) => InstanceWorld.Small(",\"disks\":[" + string.Join(',', disks) + "]");
        const string a = "{\"name\":\"a\",\"size\":\"16Mi\"}", m = "{\"name\":\"m\",\"size\":\"16Mi\"}", b = "{\"name\":\"b\",\"size\":\"32Mi\"}", raw = "{\"name\":\"b\",\"size\":\"32Mi\",\"format\":\"raw\"}";
        world.Spec = With(a, m, b);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        var before = await DomainAsync(world);
        Assert.Contains("<serial>b</serial>", before.ActiveXml, StringComparison.Ordinal);

        // Taken out of the middle: that one goes, and the one behind it stays where it is.
        world.Spec = With(a, b);
        await UnsignedAsync(world);
        Assert.Equal([("vda", "a.qcow2"), ("vdc", "b.qcow2")], Files((await DomainAsync(world)).ActiveXml));
        Assert.Equal(before.Id, (await DomainAsync(world)).Id);

        // Another format, and another order: nothing of it without a signature, whoever starts the machine.
        foreach (var spec in (string[])[With(a, raw), With(b, a)])
        {
            world.Spec = spec;
            await UnsignedAsync(world);
            Assert.False(File.Exists(world.Layout.Disk("b", "raw")));
            Assert.True((await world.Writer.DestroyAsync(world.Layout.Uuid, false, s_brief, ct)).IsDone);
            await UnsignedAsync(world);
            Assert.Equal(["a.qcow2", "b.qcow2"], Files((await DomainAsync(world)).ActiveXml).Select(d => d.File));
            Assert.Contains((await world.PlanAsync(world.Input())).Steps, s => s.Tool == "restart" && s.Risk.Reasons.Contains("disk-out-of-use"));
        }
        world.Spec = With(a, raw);
        await world.ConvergeAsync();
        Assert.Equal(["a.qcow2", "b.raw"], Files((await DomainAsync(world)).ActiveXml).Select(d => d.File));
        Assert.True(File.Exists(world.Layout.Disk("b", "qcow2")));
        Assert.Contains("b.qcow2", world.Member.DetailsOf(world.Member.ReadGoal(world.Input()).Goal, await world.ObserveAsync())["unused disks"], StringComparison.Ordinal);
        await world.ConvergeAsync(absent: true);
        RealInstanceTests.Took(world, "note-held", "restart", "change-live", "create-disk");
    }

    [Fact(Explicit = true)]
    public async Task Cards_InsertedAndUnplugged_KeepAddressAndCable()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small(",\"nics\":[{}]");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready 192.168.122.");
        var mac = InstanceLayout.MacOf(world.Uid, 0);
        var nic = DomainXml.Parse((await DomainAsync(world)).ActiveXml).Config!.Nics[0];
        Assert.True((await world.Writer.UpdateDeviceAsync(world.Layout.Uuid, DomainXml.Of(nic with { IsUnplugged = true }), live: true, config: false, s_brief, ct)).IsDone);
        Assert.Contains("link state='down'", (await DomainAsync(world)).ActiveXml, StringComparison.Ordinal);
        await world.ConvergeAsync();
        Assert.DoesNotContain("link state='down'", (await DomainAsync(world)).ActiveXml, StringComparison.Ordinal);

        world.Spec = InstanceWorld.Small(",\"nics\":[{\"spoofing\":\"allowed\",\"mac\":\"52:54:00:aa:bb:cc\"},{}]");
        await world.ConvergeAsync();
        Assert.Equal(nic, DomainXml.Parse((await DomainAsync(world)).ActiveXml).Config!.Nics.Single(n => n.Mac == mac));
        // libvirt forgets it: it comes back with what was written down.
        Assert.True((await world.Writer.DestroyAsync(world.Layout.Uuid, false, s_brief, ct)).IsDone);
        Assert.True((await world.Writer.UndefineAsync(world.Layout.Uuid, s_brief, ct)).IsDone);
        await world.ConvergeAsync();
        Assert.Contains(DomainXml.Parse((await DomainAsync(world)).ActiveXml).Config!.Nics, n => n.Mac == mac && n.Source == "default");
        Assert.Empty(world.Mismatches);
    }

    /// <summary>A guest that does not hear: its restart fails once, then switching it off is there to sign, and it gets what it was to get.</summary>
    [Fact(Explicit = true)]
    public async Task Guest_ThatHangs_IsSwitchedOffBySignature()
    {
        await using var world = new InstanceWorld();
        string Saying(string words) => InstanceWorld.Small(",\"restart\":\"allowed\"").Replace("quiet", "quiet " + words, StringComparison.Ordinal).Replace("{\"seconds\":30}", "{\"seconds\":4}", StringComparison.Ordinal);
        world.Spec = Saying("am.ignore-shutdown");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        world.Spec = Saying("am.corrected");
        var patient = await world.PlanAsync(world.Input());
        var restart = Assert.Single(patient.Steps, s => s.Tool == "restart");
        Assert.Equal(RiskLevel.Moderate, restart.Risk.Level);
        await Assert.ThrowsAsync<WorldException>(() => world.RunAsync(patient with { Steps = [restart] }));
        var held = Assert.Single((await world.PlanAsync(world.Input())).Steps, s => s.Tool == "restart");
        Assert.Equal((RiskLevel.Dangerous, true), (held.Risk.Level, held.Risk.Reasons.Contains("switches-off")));
        await world.ConvergeAsync();
        Assert.Contains("am.corrected", (await DomainAsync(world)).ActiveXml, StringComparison.Ordinal);
        Assert.Equal(FactValue.Absent, (await world.ObserveAsync()).Hung);
    }

    /// <summary>Another resource of the same project and name: it is told, and its deletion touches nothing of the machine that runs.</summary>
    [Fact(Explicit = true)]
    public async Task Namesake_WithAnotherUid_TouchesNothing()
    {
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small(",\"disks\":[{\"name\":\"root\",\"size\":\"16Mi\"}]");
        await world.ConvergeAsync();
        var (member, other) = (world.Member, world.Input() with { ResourceUid = Guid.NewGuid().ToString() });
        async Task<Plan<InstanceGoal, InstanceState>> PlanAsync(bool absent) => new Planner<InstanceGoal, InstanceState>(member.AgentFor(other with { Absent = absent, Teardown = absent }))
            .Plan(new(new(new string('a', 32), other.ResourceUid, 1), "goal") { Teardown = absent }, absent ? null : member.ReadGoal(other).Goal,
                await member.ObserverFor(other with { Absent = absent, Teardown = absent }).ObserveAsync(TestContext.Current.CancellationToken), Attempts.None(default), [], []);
        foreach (var marked in (bool[])[true, false])
        {
            // Directories of before say nothing: the domain that uses them does.
            if (!marked) File.Delete(world.Layout.OwnerMark);
            Assert.Empty((await PlanAsync(absent: false)).Steps);
            Assert.Equal(Outcome.Converged, (await PlanAsync(absent: true)).Outcome);
        }
        var mark = Assert.Single((await world.PlanAsync(world.Input())).Steps);
        Assert.Equal(("create-dir", RiskLevel.Safe), (mark.Tool, mark.Risk.Level));
        await world.ConvergeAsync(absent: true);
        Assert.False(Directory.Exists(world.Layout.Dir));
        Assert.Empty(world.Mismatches);
    }

    private static async Task<DomainState> DomainAsync(InstanceWorld world) => (await world.Reader.DomainAsync(world.Layout.Uuid, TestContext.Current.CancellationToken)).Value;

    private static IEnumerable<(string Target, string File)> Files(string xml) => DomainXml.Parse(xml).Config!.Disks.Select(d => (d.Target, Path.GetFileName(d.Path)));

    /// <summary>As the daemon goes on without any signature, until nothing is left that needs none.</summary>
    private static async Task UnsignedAsync(InstanceWorld world)
    {
        for (var i = 0; i < 10; i++)
        {
            var plan = await world.PlanAsync(world.Input());
            var run = InstanceAdversaryTests.WithoutSignature(plan).ToList();
            if (run.Count == 0) return;
            await world.RunAsync(plan with { Steps = [.. run] });
        }
        Assert.Fail("it does not come to rest");
    }
}
