using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Snapshots;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Snapshots, reverts and trials against a real libvirt and QEMU; see <see cref="RealInstanceTests"/>.</summary>
public sealed class RealSnapshotTests
{
    private const string Disk = ",\"disks\":[{\"name\":\"data\",\"size\":\"64Mi\"}]";

    /// <summary>The kind Snapshot: one is made once of a machine that runs, is not made anew with another content, and goes when that is signed.</summary>
    [Fact(Explicit = true)]
    public async Task Moment_OfAMachine_PredictionEqualsObservation()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        var member = new SnapshotMember(world.Readers, world.Writers, new());
        var driver = new MemberDriver<SnapshotGoal, MomentState>(() => member, input => new(new(new string('a', 32), input.ResourceUid, 1), "goal") { Teardown = input.Teardown }) { Deadline = TimeSpan.FromSeconds(60) };
        MemberInput Moment(string name, bool absent = false) => world.Input(absent) with { ResourceKey = "Snapshot default/" + name, Name = name, ResourceUid = "uid-" + name, Spec = InstanceSamples.Valid(SnapshotKind.Schema, $$"""{"instance":"{{world.Name}}"}"""), MoveFrom = null, MoveTo = null };

        // Of a machine that is not there it waits.
        world.Spec = InstanceWorld.Small(Disk);
        Assert.Empty((await driver.PlanAsync(Moment("monday"))).Steps);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        var id = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id;
        await driver.ConvergeAsync(Moment("monday"));
        await driver.ConvergeAsync(Moment("tuesday"));
        Assert.Equal(["monday", "tuesday"], (await world.Reader.SnapshotsAsync(world.Layout.Uuid, ct)).Value.Select(s => s.Name));
        Assert.Equal(id, (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id);

        await driver.ConvergeAsync(Moment("monday", absent: true));
        Assert.Equal("tuesday", Assert.Single((await world.Reader.SnapshotsAsync(world.Layout.Uuid, ct)).Value).Name);
        // What somebody took away is told, and not made anew with what is there now.
        Assert.True((await world.Writer.DeleteSnapshotAsync(world.Layout.Uuid, "tuesday", TimeSpan.FromSeconds(60), ct)).IsDone);
        Assert.Empty((await driver.PlanAsync(Moment("tuesday"))).Steps);
        await driver.ConvergeAsync(Moment("tuesday", absent: true));
        Assert.Equal(["make-snapshot", "make-snapshot", "drop-snapshot"], driver.Ran);
        Assert.Empty(driver.Mismatches);
        await world.ConvergeAsync(absent: true);
        Assert.Empty(world.Mismatches);
    }

    /// <summary>A schedule makes one and deletes the oldest; a revert brings a running machine back, and what converges afterwards does not loop.</summary>
    [Fact(Explicit = true)]
    public async Task Schedule_AndRevert_PredictionEqualsObservation()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        world.Spec = InstanceWorld.Small(",\"maxMemory\":\"192Mi\",\"nics\":[{}],\"snapshots\":{\"every\":\"30d\",\"keep\":1}" + Disk);
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        var made = Assert.Single((await world.ObserveAsync()).Snapshots);
        Assert.StartsWith("auto-", made.Key, StringComparison.Ordinal);
        Assert.Equal(SnapshotOwner.Schedule, made.Value.Owner);

        // Another slot: the next one is made, the older one goes.
        world.Spec = InstanceWorld.Small(",\"maxMemory\":\"192Mi\",\"nics\":[{}],\"snapshots\":{\"every\":\"" + Other("30d") + "\",\"keep\":1}" + Disk);
        await world.ConvergeAsync();
        var (name, snapshot) = Assert.Single((await world.ObserveAsync()).Snapshots);
        Assert.NotEqual(made.Key, name);
        Assert.Equal(Power.Running, snapshot.Power);

        // Since then a disk has grown, one was attached and the guest restarted; all of it is taken back, and converges again.
        var grown = Disk.Replace("64Mi", "96Mi", StringComparison.Ordinal).Replace("]", ",{\"name\":\"more\",\"size\":\"32Mi\"}]", StringComparison.Ordinal);
        world.Spec = InstanceWorld.Small(",\"maxMemory\":\"192Mi\",\"nics\":[{}],\"snapshots\":{\"every\":\"" + Other("30d") + "\",\"keep\":1}" + grown);
        await world.ConvergeAsync();
        var id = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value.Id;
        world.Spec = InstanceWorld.Small(",\"maxMemory\":\"192Mi\",\"nics\":[{}],\"snapshots\":{\"every\":\"" + Other("30d") + "\",\"keep\":1},\"request\":{\"action\":\"revert\",\"id\":\"r-1\",\"snapshot\":\"" + name + "\"}" + grown);
        await world.ConvergeAsync();
        var now = (await world.Reader.DomainAsync(world.Layout.Uuid, ct)).Value;
        Assert.NotEqual(id, now.Id);
        Assert.Equal(DomainPower.Running, now.Power);
        Assert.Equal(1, world.Ran.Count(t => t == "revert-snapshot"));
        await world.ConvergeAsync(absent: true);
        RealInstanceTests.Took(world, "create-snapshot", "delete-snapshot", "revert-snapshot");
    }

    [Fact(Explicit = true)]
    public async Task Snapshot_OfAMachineThatIsOffOrHeld_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        foreach (var (power, at, every) in ((string, string, string)[])[("paused", Power.Paused, "30d"), ("running", Power.Running, Other("30d"))])
        {
            world.Spec = InstanceWorld.Small(",\"power\":\"" + power + "\"" + Disk);
            await world.ConvergeAsync();
            world.Spec = InstanceWorld.Small(",\"power\":\"" + power + "\",\"snapshots\":{\"every\":\"" + every + "\"}" + Disk);
            await world.ConvergeAsync();
            Assert.Contains((await world.ObserveAsync()).Snapshots.Values, s => s.Power == at);
        }
        // Back to what was held; then it goes on by itself.
        var name = (await world.ObserveAsync()).Snapshots.First(s => s.Value.Power == Power.Paused).Key;
        world.Spec = InstanceWorld.Small(",\"snapshots\":{\"every\":\"6h\"},\"request\":{\"action\":\"revert\",\"id\":\"r-1\",\"snapshot\":\"" + name + "\"}" + Disk);
        await world.ConvergeAsync();
        await world.ConvergeAsync(absent: true);
        RealInstanceTests.Took(world, "create-snapshot", "revert-snapshot", "resume");
    }

    /// <summary>An interval whose slot of now has another name: two slots that begin at one moment share a snapshot, as they do on the first of some months.</summary>
    private static string Other(string every)
    {
        static string Slot(int hours) => SnapshotSchedule.Slot(TimeSpan.FromHours(hours), DateTimeOffset.UtcNow).Name;
        return every == "30d" && Slot(6) == Slot(30 * 24) ? "7h" : "6h";
    }

    /// <summary>A good change is tried, proves itself and stays; its snapshot goes. What no executor ran the undo of is put back by the agent.</summary>
    [Fact(Explicit = true)]
    public async Task Trial_OfAGoodChange_PredictionEqualsObservation()
    {
        await using var world = new InstanceWorld();
        string Trying(string memory, string text) => InstanceWorld.Small(",\"guestAgent\":true,\"nics\":[{}],\"restart\":\"allowed\",\"autoRevert\":{\"enabled\":true,\"seconds\":90,\"probe\":{\"consoleText\":\"" + text + "\",\"guestAgent\":true,\"tcpPort\":4000}}" + Disk)
            .Replace("\"96Mi\",\"boot", $"\"{memory}\",\"boot", StringComparison.Ordinal).Replace("quiet", "quiet am.listen=4000", StringComparison.Ordinal);
        world.Spec = Trying("96Mi", "agentmetal-vm ready");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        world.Spec = Trying("128Mi", "agentmetal-vm ready");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready", times: 2);
        Assert.Empty((await world.ObserveAsync()).Snapshots);
        Assert.False(File.Exists(world.Layout.Trial));
        await world.ConvergeAsync(absent: true);
        RealInstanceTests.Took(world, "create-snapshot", "define", "try-restart", "delete-snapshot");
    }

    /// <summary>As the executor does it: the probe fails, the undo brings back every fact that was there before, and the change is not tried again.</summary>
    [Fact(Explicit = true)]
    public async Task Trial_OfABadChange_ItsUndoBringsBackWhatWasThere()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        string Trying(string words) => InstanceWorld.Small(",\"nics\":[{}],\"restart\":\"allowed\",\"shutdown\":{\"seconds\":30,\"force\":\"allowed\"},\"autoRevert\":{\"enabled\":true,\"seconds\":40,\"probe\":{\"consoleText\":\"agentmetal-vm ready\",\"tcpPort\":4000}}" + Disk)
            .Replace("\"shutdown\":{\"seconds\":30},", "", StringComparison.Ordinal).Replace("quiet", "quiet " + words, StringComparison.Ordinal);
        world.Spec = Trying("am.listen=4000");
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm ready");
        // All is well but the port: it answers on another one.
        world.Spec = Trying("am.listen=4001");
        var input = world.Input();
        var agent = world.Member.AgentFor(input);
        var before = await world.ObserveAsync();
        var plan = await world.PlanAsync(input);
        Assert.Equal(["create-snapshot", "try-restart", "delete-snapshot"], plan.Steps.Select(s => s.Tool).Except(["note-held", "define"]));
        Assert.Single(plan.Steps.Where(s => s.Tool is "create-snapshot" or "try-restart").Select(s => s.Group).Distinct());
        // That it waits for a signature is remembered before, and is no part of what is tried.
        var (create, tries) = (plan.Steps.Single(s => s.Tool == "create-snapshot"), plan.Steps.Single(s => s.Tool == "try-restart"));
        foreach (var step in plan.Steps.Where(s => s.Index < tries.Index)) await Apply(step.Tool, step.Args);
        var refused = await Assert.ThrowsAsync<WorldException>(() => Apply(tries.Tool, tries.Args));
        Assert.Contains("no tcp answer on port 4000 in 40 s", refused.Message, StringComparison.Ordinal);
        var failed = await world.ObserveAsync();
        Assert.Equal(Phase.Failed, agent.Tools.Single(t => t.Name == "try-restart").Bind(tries.Args).Observe(failed)!.Phase);

        var undo = tries.Undo.Call!;
        var predicted = agent.Tools.Single(t => t.Name == undo.Tool).Bind(undo.Args).Predict(failed);
        await Apply(undo.Tool, undo.Args);
        await Apply(undo.Tool, undo.Args); // Killed before it was journalled: once more is the same.
        var after = await world.ObserveAsync();
        foreach (var key in agent.FactKeys(after)) Assert.Equal($"{key} {agent.Fact(predicted, key)}", $"{key} {agent.Fact(after, key)}");
        foreach (var key in create.Expect.Concat(tries.Expect).Select(f => f.Key).Where(k => k != InstanceFacts.Held && !k.StartsWith("snapshot/", StringComparison.Ordinal))) Assert.Equal($"{key} {agent.Fact(before, key)}", $"{key} {agent.Fact(after, key)}");
        var drop = create.Undo.Call!;
        await Apply(drop.Tool, drop.Args);

        // It runs as before, what was tried is remembered, and nobody tries it again.
        var forget = Assert.Single((await world.PlanAsync(input)).Steps);
        Assert.Equal("note-held", forget.Tool);
        await Apply(forget.Tool, forget.Args);
        var again = await world.PlanAsync(input);
        Assert.Empty(again.Steps);
        Assert.Contains("no tcp answer on port 4000", Assert.Single(again.Differences).Text, StringComparison.Ordinal);
        Assert.Equal(Kind.Reverted, again.Differences[0].Kind);

        async Task Apply(string tool, string args) => await world.Member.AgentFor(input).Tools.Single(t => t.Name == tool).Bind(args).ApplyAsync(new ToolContext("k", new Dictionary<string, string>(), ct));
    }
}
