using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Members that die, lose their data or are made something else by hand, and what the others make of it.</summary>
public sealed partial class RealRedisTests
{
    [Fact]
    public async Task Fleet_ReplicaLostAndData_ResyncsFromPrimary()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.SignalAsync(1, 9);
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(100, Ct);
        Directory.Delete(fleet.Layout(1).DataDir, recursive: true);
        await fleet.ConvergeAllAsync();
        Assert.Equal("1", (await fleet.CommandAsync(1, "GET", "a")).Text);
        Assert.Equal(Link.Up, (await fleet.ObserveAsync(1)).Link);
    }

    [Fact]
    public async Task Fleet_PrimaryDiesRightAfterItsFirstReplicaAttached_ComesBackByItselfWithItsData()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAsync(fleet.Input(0));
        var before = (await fleet.CommandAsync(0, "INFO", "replication")).Text;
        await fleet.ConvergeAsync(fleet.Input(1));
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(200, Ct);
        // Nobody has looked at it since: what was noted at its start must do.
        await fleet.SignalAsync(0, 9);
        Assert.Equal(UnitResult.Done, (await fleet.Units.StartAsync(fleet.Layout(0).Unit, TimeSpan.FromSeconds(20), Ct)).Result);
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        Assert.Contains("repl_backlog_active:1", before, StringComparison.Ordinal);
        Assert.Contains("connected_slaves:0", before, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Fleet_ReplicaMadePrimaryByHandTookWritesAndDies_WaitsForASignature()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(200, Ct);
        for (var i = 0; i < 2; i++) await fleet.ObserveAsync(1);

        // What the primary has had since is no write of its own, and neither is nothing.
        await KillAndStartAsync(fleet, 1);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "b", "1");
        for (var i = 0; i < 2; i++) await fleet.ObserveAsync(1);
        for (var i = 0; i < 40; i++) await fleet.CommandAsync(0, "SET", "c" + i, new string('x', 20));
        await Task.Delay(200, Ct);
        await KillAndStartAsync(fleet, 1);
        await fleet.ConvergeAllAsync();

        // Until its new file is written, what a fresh copy takes is in no file that a start would load.
        while ((await fleet.CommandAsync(1, "INFO", "persistence")).Text is var info
            && (info.Contains("aof_rewrite_in_progress:1", StringComparison.Ordinal) || info.Contains("aof_rewrite_scheduled:1", StringComparison.Ordinal))) await Task.Delay(50, Ct);
        for (var i = 0; i < 2; i++) await fleet.ObserveAsync(1);
        await fleet.CommandAsync(1, "REPLICAOF", "NO", "ONE");
        await fleet.CommandAsync(1, "SET", "own", "1");
        for (var i = 0; i < 40; i++) await fleet.CommandAsync(0, "SET", "d" + i, new string('x', 20));
        await fleet.SignalAsync(1, 9);
        if (RedisFleet.OnSystemd) await Task.Delay(3000, Ct); // systemd asks the gate by itself.
        var before = File.ReadAllText(fleet.Layout(1).Notes);
        var outcome = await fleet.Units.StartAsync(fleet.Layout(1).Unit, TimeSpan.FromSeconds(20), Ct);
        Assert.True(!(await fleet.ObserveAsync(1)).Answers, $"{outcome.Result} {before} {fleet.GateSaid(1)}");
        var step = Assert.Single((await fleet.PlanAsync(fleet.Input(1))).Steps);
        Assert.Equal(("start", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
        Assert.Contains("took by itself", step.Args, StringComparison.Ordinal);
        // The stream goes on and the backlog forgets: what was found is remembered.
        await fleet.CommandAsync(0, "CONFIG", "SET", "repl-backlog-size", "16384");
        for (var i = 0; i < 40; i++) await fleet.CommandAsync(0, "SET", "e" + i, new string('x', 2000));
        Assert.Equal(RiskLevel.Dangerous, Assert.Single((await fleet.PlanAsync(fleet.Input(1))).Steps).Risk.Level);
        await fleet.ConvergeAllAsync();
        Assert.Equal(RespKind.Null, (await fleet.CommandAsync(1, "GET", "own")).Kind);
    }

    [Fact]
    public async Task Fleet_PrimaryDiesTwiceBeforeItsReplicaIsBack_ComesBackByItselfBothTimes()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(200, Ct);
        await fleet.ObserveAsync(0);
        await fleet.CommandAsync(1, "REPLICAOF", "127.0.0.1", "1");
        // Each start gives its history another id; the replica names the one before the first.
        for (var i = 0; i < 2; i++) await KillAndStartAsync(fleet, 0);
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        // What the replica has beyond is not of that past.
        await fleet.CommandAsync(1, "REPLICAOF", "NO", "ONE");
        await fleet.CommandAsync(1, "SET", "own", "1");
        await fleet.SignalAsync(0, 9);
        if (RedisFleet.OnSystemd) await Task.Delay(3000, Ct);
        var outcome = await fleet.Units.StartAsync(fleet.Layout(0).Unit, TimeSpan.FromSeconds(20), Ct);
        Assert.True(!(await fleet.ObserveAsync(0)).Answers, $"{outcome.Result} {fleet.GateSaid(0)}");
    }

    private static async Task KillAndStartAsync(RedisFleet fleet, int ordinal)
    {
        await fleet.SignalAsync(ordinal, 9);
        Assert.Equal(UnitResult.Done, (await fleet.Units.StartAsync(fleet.Layout(ordinal).Unit, TimeSpan.FromSeconds(20), Ct)).Result);
    }

    [Fact]
    public async Task Fleet_PrimaryWithoutPersistenceDies_ReplicasAreNotWiped()
    {
        await using var fleet = new RedisFleet(3) { Spec = """{"persistence":{"appendonly":false,"save":[]}}""" };
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(300, Ct);
        await fleet.SignalAsync(0, 9);
        await Task.Delay(100, Ct);
        var step = Assert.Single((await fleet.PlanAsync(fleet.Input(0))).Steps);
        Assert.Equal(("start", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
        Assert.Contains("follows:", step.Args, StringComparison.Ordinal);

        // It comes up behind a member that has the data, which leads until the wanted one has it again.
        await fleet.ConvergeAllAsync();
        for (var i = 0; i < 3; i++) Assert.Equal("1", (await fleet.CommandAsync(i, "GET", "a")).Text);
        Assert.Equal(RedisRole.Primary, (await fleet.ObserveAsync(0)).Role);
        Assert.Contains(fleet.Ran, r => r.EndsWith(" promote", StringComparison.Ordinal));
        Assert.Contains(fleet.Ran, r => r.EndsWith(" handover", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Fleet_ReplicaPromotedByHand_FollowsAgain()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await fleet.CommandAsync(1, "REPLICAOF", "NO", "ONE");
        var clean = Assert.Single((await fleet.PlanAsync(fleet.Input(1))).Steps);
        Assert.Equal(("follow", RiskLevel.Moderate), (clean.Tool, clean.Risk.Level));
        await fleet.CommandAsync(1, "SET", "b", "only here");
        // It has all that the other has, and more: the other one follows, and nothing is lost.
        Assert.Empty((await fleet.PlanAsync(fleet.Input(1))).Steps);
        Assert.Equal(("follow", RiskLevel.Moderate), (await fleet.PlanAsync(fleet.Input(0))).Steps.Select(s => (s.Tool, s.Risk.Level)).Single());
        await fleet.CommandAsync(0, "SET", "c", "only there");
        var written = Assert.Single((await fleet.PlanAsync(fleet.Input(1))).Steps);
        Assert.Equal(("follow", RiskLevel.Dangerous, true), (written.Tool, written.Risk.Level, written.Risk.LosesData));
        await fleet.ConvergeAllAsync();
        Assert.Equal(RespKind.Null, (await fleet.CommandAsync(1, "GET", "b")).Kind);
        Assert.Equal("only there", (await fleet.CommandAsync(1, "GET", "c")).Text);
        // It is being written to: what is signed has room for that, and what it holds now is said beside it.
        Assert.Contains("at most 1,100 keys", written.Args, StringComparison.Ordinal);
        Assert.Contains("this member holds at most 2 keys", written.Why, StringComparison.Ordinal);
        Assert.True(File.Exists(System.Text.Json.JsonDocument.Parse(written.Args).RootElement.GetProperty("Keep").GetString()), "the copy is kept");
    }
}
