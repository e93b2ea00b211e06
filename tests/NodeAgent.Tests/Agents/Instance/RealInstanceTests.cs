using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Transfer;
using AgentMetal.NodeAgent.Tests.Host.Transfer;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>
/// The Instance agent against a real libvirt and QEMU: for every tool of the catalog, what it predicts is what is then observed. They need a libvirtd and
/// images of the lab, so they run only where they are asked for by name (explicit): Lab.Tests runs them on one of its hosts.
/// </summary>
public sealed class RealInstanceTests
{
    [Fact(Explicit = true)]
    public async Task Life_OfAMachine_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        // An earlier story may have started it.
        using (var stopping = System.Diagnostics.Process.Start("virsh", ["-q", "-c", "qemu:///system", "net-destroy", "default"])) await stopping.WaitForExitAsync(TestContext.Current.CancellationToken);
        world.Spec = InstanceWorld.Small(""","maxMemory":"192Mi","maxCpus":2,"guestAgent":true,"nics":[{}],"disks":[{"name":"data","size":"64Mi"}]""");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready 192.168.122.");
        Assert.StartsWith("192.168.122.", (await world.ObserveAsync()).Addresses[0], StringComparison.Ordinal);

        // Live: a larger disk, another disk and card, memory and a processor; and all of it is taken back.
        world.Spec = InstanceWorld.Small(""","maxMemory":"192Mi","memory":"160Mi","cpus":2,"maxCpus":2,"guestAgent":true,"nics":[{},{"mac":"52:54:00:aa:bb:cc"}],"disks":[{"name":"data","size":"96Mi"},{"name":"more","size":"32Mi","format":"raw"}]""".Replace("\"memory\":\"160Mi\",", "", StringComparison.Ordinal)).Replace("96Mi\",\"boot", "160Mi\",\"boot", StringComparison.Ordinal);
        var id = (await world.Reader.DomainAsync(world.Layout.Uuid, TestContext.Current.CancellationToken)).Value.Id;
        await world.ConvergeAsync();
        Assert.Equal(id, (await world.Reader.DomainAsync(world.Layout.Uuid, TestContext.Current.CancellationToken)).Value.Id);
        await world.SaysAsync("agentmetal-vm cpu");
        await world.SaysAsync("agentmetal-vm disk vdb 65536");
        world.Spec = InstanceWorld.Small(""","maxMemory":"192Mi","cpus":2,"maxCpus":2,"guestAgent":true,"autostart":false,"nics":[{}],"disks":[{"name":"data","size":"96Mi"}]""");
        await world.ConvergeAsync();
        Assert.Equal(id, (await world.Reader.DomainAsync(world.Layout.Uuid, TestContext.Current.CancellationToken)).Value.Id);

        foreach (var power in (string[])["paused", "running", "stopped", "running"])
        {
            world.Spec = world.Spec.Replace("{\"memory", "{\"power\":\"" + power + "\",\"memory", StringComparison.Ordinal);
            await world.ConvergeAsync();
            world.Spec = world.Spec.Replace("\"power\":\"" + power + "\",", "", StringComparison.Ordinal);
        }
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm power-button");

        // A restart brings what cannot be changed while it runs.
        world.Spec = world.Spec.Replace("\"192Mi\"", "\"128Mi\"", StringComparison.Ordinal);
        await world.ConvergeAsync();
        await world.ConvergeAsync(absent: true);
        Assert.False(Directory.Exists(world.Layout.Dir));
        Took(world, "fetch-image", "start-network", "create-dir", "create-disk", "note-held", "define", "set-autostart", "start", "grow-disk", "change-live", "pause", "resume", "shut-down", "restart", "undefine", "remove-disks", "remove-files");
    }

    [Fact(Explicit = true)]
    public async Task Address_Fixed_IsTheGuestsAndIsGivenBack()
    {
        var stop = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small(""","restart":"allowed","nics":[{"ip":"192.168.122.50"}]""");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready 192.168.122.50");
        // Another one reaches the guest with a restart.
        world.Spec = world.Spec.Replace("122.50", "122.51", StringComparison.Ordinal);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready 192.168.122.51");
        var card = Card.Of("default", InstanceLayout.MacOf(world.Uid, 0));
        Assert.Equal("192.168.122.51", (await world.ObserveAsync()).Addressed[card]);

        // A second machine does not get what this one has, whether it is kept or only lent.
        await using var second = new InstanceWorld();
        second.Spec = InstanceWorld.Small(""","nics":[{"ip":"192.168.122.51"}]""");
        await second.ObserveAsync();
        Assert.Contains("is kept for", Assert.Single((await second.ObserveAsync()).AddressProblems).Value, StringComparison.Ordinal);
        world.Spec = InstanceWorld.Small(""","restart":"allowed","nics":[{}]""");
        await world.ConvergeAsync();
        Assert.Empty((await world.ObserveAsync()).Addressed);
        await world.SaysAsync("agentmetal-vm ready 192.168.122.", times: 3);
        var lent = Assert.Single((await world.Reader.LeasesAsync("default", stop)).Value.Lent, l => l.Mac == Card.MacOf(card)).Address;
        second.Spec = InstanceWorld.Small($$""","nics":[{"ip":"{{lent}}"}]""");
        Assert.Contains("is lent to", Assert.Single((await second.ObserveAsync()).AddressProblems).Value, StringComparison.Ordinal);
        await world.ConvergeAsync(absent: true);
        var leases = (await world.Reader.LeasesAsync("default", stop)).Value;
        Assert.DoesNotContain(leases.Reserved, r => r.Mac == Card.MacOf(card));

        // Nor is what it was lent an hour's loss to whoever is to have it next.
        await second.ConvergeAsync();
        await second.SaysAsync("agentmetal-vm ready " + lent);
        Took(world, "reserve-address", "release-address");
    }

    [Fact(Explicit = true)]
    public async Task ForcedStop_OfAGuestThatDoesNotListen_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small().Replace("quiet", "quiet am.ignore-shutdown", StringComparison.Ordinal).Replace("{\"seconds\":30}", "{\"seconds\":5,\"force\":\"allowed\"}", StringComparison.Ordinal);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        world.Spec = world.Spec.Replace("{\"memory", "{\"power\":\"stopped\",\"memory", StringComparison.Ordinal);
        await world.ConvergeAsync();
        // One that is held cannot hear: only its plug is left.
        world.Spec = world.Spec.Replace("stopped", "running", StringComparison.Ordinal);
        await world.ConvergeAsync();
        Assert.True((await world.Writer.SuspendAsync(world.Layout.Uuid, TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken)).IsDone);
        world.Spec = world.Spec.Replace("running", "stopped", StringComparison.Ordinal);
        await world.ConvergeAsync();
        Took(world, "shut-down", "switch-off");
    }

    [Fact(Explicit = true)]
    public async Task Seed_OfCloudInit_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small(""","cloudInit":{"enabled":true,"userData":"#cloud-config\n"}""");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        var seed = Directory.GetFiles(world.Layout.Dir, "seed-*.iso");
        Assert.Single(seed);
        Assert.Contains("cidata", System.Text.Encoding.Latin1.GetString(await File.ReadAllBytesAsync(seed[0], TestContext.Current.CancellationToken)), StringComparison.Ordinal);
        await world.ConvergeAsync(absent: true);
        Took(world, "write-seed");
    }

    [Fact(Explicit = true)]
    public async Task Requests_RestartAndReset_AreDoneOnceAndPredictionEqualsObservation()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        string Asking(string action, string id) => InstanceWorld.Small(",\"request\":{\"action\":\"" + action + "\",\"id\":\"" + id + "\"}");
        world.Spec = Asking("restart", "r-1");
        await world.ConvergeAsync();
        Assert.DoesNotContain("restart-once", world.Ran);
        await world.SaysAsync("agentmetal-vm ready");
        var made = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id;

        world.Spec = Asking("restart", "r-2");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready", times: 2);
        var restarted = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id;
        Assert.NotEqual(made, restarted);

        // The reset button: the same process, and the guest boots again.
        world.Spec = Asking("reset", "r-3");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready", times: 3);
        Assert.Equal(restarted, (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id);
        await world.ConvergeAsync();
        Assert.Equal(["note-request", "restart-once", "reset"], world.Ran.Where(t => t is "note-request" or "restart-once" or "reset"));
        Took(world, "note-request", "restart-once", "reset");
    }

    /// <summary>spec.drift: report. What a person did by hand stays, what failed is healed, and the next change of the spec is carried out whole.</summary>
    [Fact(Explicit = true)]
    public async Task Drift_Reported_IsLeftAloneAndWhatFailedIsHealed()
    {
        var (ct, brief) = (TestContext.Current.CancellationToken, TimeSpan.FromSeconds(20));
        await using var world = new InstanceWorld();
        string Reporting(string more = "") => InstanceWorld.Small(",\"drift\":\"report\"" + more);
        async Task<DomainState> DomainAsync() => (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value;
        world.Spec = Reporting();
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");

        Assert.True((await world.Writer.SetAutostartAsync(world.Layout.Uuid, false, brief, ct)).IsDone);
        Assert.True((await world.Writer.DefineAsync((await DomainAsync()).InactiveXml.Replace("</devices>", "<watchdog model='i6300esb'/></devices>", StringComparison.Ordinal), brief, ct)).IsDone);
        var ran = world.Ran.Count;
        await world.ConvergeAsync();
        Assert.Equal(ran, world.Ran.Count);
        Assert.False((await DomainAsync()).Autostart);
        Assert.Contains("watchdog", (await DomainAsync()).InactiveXml, StringComparison.Ordinal);

        // Killed: started again as it is defined now, which is by hand.
        var pid = int.Parse((await File.ReadAllTextAsync($"/run/libvirt/qemu/{world.Layout.Id}.pid", ct)).Trim(), System.Globalization.CultureInfo.InvariantCulture);
        System.Diagnostics.Process.GetProcessById(pid).Kill();
        for (var i = 0; i < 100 && (await DomainAsync()).Power == DomainPower.Running; i++) await Task.Delay(100, ct);
        await world.ConvergeAsync();
        Assert.Equal("start", world.Ran[^1]);

        // Stopped by hand: left, and that is remembered.
        Assert.True((await world.Writer.DestroyAsync(world.Layout.Uuid, false, brief, ct)).IsDone);
        await world.ConvergeAsync();
        Assert.Equal(DomainPower.ShutOff, (await DomainAsync()).Power);
        Assert.EndsWith(" off", (await world.ObserveAsync()).Settled, StringComparison.Ordinal);

        // Whoever asks for a restart wants it to run.
        world.Spec = Reporting(",\"request\":{\"action\":\"restart\",\"id\":\"r-1\"}");
        await world.ConvergeAsync();
        Assert.Contains("restart-once", world.Ran);
        Assert.Contains("watchdog", (await DomainAsync()).ActiveXml, StringComparison.Ordinal);

        world.Spec = Reporting(",\"cpus\":2");
        await world.ConvergeAsync();
        Assert.True((await DomainAsync()).Autostart);
        Assert.DoesNotContain("watchdog", (await DomainAsync()).ActiveXml, StringComparison.Ordinal);
        Took(world, "note-settled", "restart-once", "define", "set-autostart", "restart");
    }

    /// <summary>Handed over, called off, handed over for good, and taken back; the other host is files and connections, and no libvirt.</summary>
    [Fact(Explicit = true)]
    public async Task Move_ToAnotherHostAndBack_PredictionEqualsObservation()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var rig = new TransferRig();
        await using var world = new InstanceWorld { Moves = rig.Source.Start(), Spec = InstanceWorld.Small(",\"disks\":[{\"name\":\"data\",\"size\":\"16Mi\",\"format\":\"raw\"}]") };
        var (there, machine) = (rig.Target.Start(), world.Layout.Uuid);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");

        world.MoveTo = rig.Target.Peer;
        await world.RunAsync(await world.PlanAsync(world.Input()));
        Assert.Equal(DomainPower.ShutOff, (await world.Reader.DomainAsync(machine, ct)).Value.Power);
        world.MoveTo = null;
        await world.ConvergeAsync();
        Assert.Equal(DomainPower.Running, (await world.Reader.DomainAsync(machine, ct)).Value.Power);

        world.MoveTo = rig.Target.Peer;
        there.Receive(new() { Machine = machine, Source = rig.Source.Uid, SourceName = "source", Address = "127.0.0.1", Port = rig.Source.Port, Directory = rig.Target.Machines });
        var taking = WhenAsync(() => there.Receipt(machine)!.IsReleased, () => there.Own(machine));
        await world.ConvergeAsync();
        await taking;
        Assert.False(Directory.Exists(world.Layout.Dir));
        Assert.False((await world.Reader.DomainAsync(machine, ct)).Value.Exists);
        Assert.Equal(new(rig.Target.Uid, ""), world.Member.MoveOf(await world.ObserveAsync()));
        await world.ConvergeAsync(absent: true);
        there.Close(machine);

        (world.MoveTo, world.MoveFrom) = (null, rig.Target.Peer);
        there.Open(new() { Machine = machine, Target = rig.Source.Uid, TargetName = "source", Directory = rig.Target.Machines });
        var letting = WhenAsync(() => there.Offer(machine)!.IsHeld, () => there.Release(machine));
        await world.ConvergeAsync();
        await letting;
        await world.SaysAsync("agentmetal-vm ready");
        Assert.Equal(File.ReadAllBytes(Path.Combine(rig.Target.Machines, "data.raw")), File.ReadAllBytes(world.Layout.Disk("data", "raw")));
        world.MoveFrom = null;
        await world.ConvergeAsync();
        await world.ConvergeAsync(absent: true);

        // What is not wanted any more before all of it is here is dropped.
        there.Withdraw(machine, OfferPhase.Settled);
        world.MoveFrom = rig.Target.Peer;
        await world.RunAsync(await world.PlanAsync(world.Input()));
        await world.ConvergeAsync(absent: true);
        Took(world, "hand-over", "withdraw", "release", "remove-leftover", "receive", "take-over", "close-receipt", "drop");

        static async Task WhenAsync(Func<bool> holds, Action then)
        {
            await TransferRig.UntilAsync(holds, () => "it did not come to that");
            then();
        }
    }

    /// <summary>Somebody changed the definition and switched it off: both are put right, and what was taken over is left as it is.</summary>
    [Fact(Explicit = true)]
    public async Task Drift_ByHand_IsFoundAndPutRight()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small();
        await world.ConvergeAsync();
        var xml = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.InactiveXml;
        Assert.True((await world.Writer.DefineAsync(xml.Replace("98304</memory>", "131072</memory>", StringComparison.Ordinal).Replace("</devices>", "<watchdog model='i6300esb'/></devices>", StringComparison.Ordinal), TimeSpan.FromSeconds(10), ct)).IsDone);
        var differences = (await world.PlanAsync(world.Input())).Differences;
        Assert.Contains(differences, d => d.Kind == Kind.Definition && d.Text.Contains("memory", StringComparison.Ordinal) && d.Text.Contains("watchdog", StringComparison.Ordinal));
        await world.ConvergeAsync();
        Assert.True((await world.Writer.DestroyAsync(world.Layout.Uuid, false, TimeSpan.FromSeconds(10), ct)).IsDone);
        await world.ConvergeAsync();
        Assert.Equal(DomainPower.Running, (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Power);

        await using var adopting = new InstanceWorld { Spec = "{\"adopt\":{\"domain\":\"" + world.Layout.Id + "\"}}" };
        var id = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id;
        await adopting.ConvergeAsync();
        Assert.Empty(adopting.Ran);
        Assert.True((await world.Writer.DestroyAsync(world.Layout.Uuid, false, TimeSpan.FromSeconds(10), ct)).IsDone);
        await adopting.ConvergeAsync();
        Assert.Equal(["start"], adopting.Ran);
        Assert.NotEqual(id, (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id);
        await adopting.ConvergeAsync(absent: true);
        Assert.Equal(DomainPower.Running, (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Power);
        Assert.Empty(adopting.Mismatches);
        Assert.Empty(world.Mismatches);
    }

    private static readonly string[] s_cases =
        ["fetch-image", "start-network", "reserve-address", "release-address", "create-dir", "create-disk", "note-held", "define", "set-autostart", "start", "grow-disk", "change-live", "pause", "resume", "shut-down", "restart", "undefine", "remove-disks", "remove-files", "switch-off", "write-seed", "copy-disk", "export-once", "note-request", "restart-once", "reset", "note-settled", "create-snapshot", "delete-snapshot", "revert-snapshot", "try-restart",
        "hand-over", "release", "withdraw", "remove-leftover", "receive", "take-over", "drop", "close-receipt"];

    /// <summary>The story ran these, and each did what it had said.</summary>
    internal static void Took(InstanceWorld world, params string[] tools)
    {
        Assert.Empty(world.Mismatches);
        Assert.Empty(tools.Except(world.Ran));
        Assert.Empty(tools.Except(s_cases));
    }

    [Fact]
    public void Cases_EveryToolOfTheCatalog_HasOne()
    {
        Assert.Equal(new InstanceAgent(InstanceSamples.Scope(InstanceSamples.Input())).Tools.Select(t => t.Name).Order(StringComparer.Ordinal), s_cases.Order(StringComparer.Ordinal));
    }
}
