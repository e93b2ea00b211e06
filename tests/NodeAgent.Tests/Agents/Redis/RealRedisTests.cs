using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>Against real servers: what a tool predicts is what is then observed, and nothing acknowledged is lost.</summary>
public sealed partial class RealRedisTests
{
    public RealRedisTests() => Assert.SkipWhen(RedisFleet.Missing is not null, RedisFleet.Missing ?? "");

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Alone_CreateChangeRepairDelete_PredictionEqualsObservation()
    {
        await using var fleet = new RedisFleet(1);
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("PONG", (await fleet.CommandAsync(0, "PING")).Text);
        await fleet.CommandAsync(0, "SET", "a", "1");

        fleet.Spec = """{"memory":{"max":"64Mi","policy":"allkeys-lru"},"timeout":30,"databases":32,"persistence":{"appendonly":false}}""";
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Contains("0 reconfigure", fleet.Ran);
        fleet.Spec = """{"databases":32,"persistence":{"appendonly":true}}""";
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        fleet.MovePort(0);
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        var previous = fleet.Password;
        fleet.Password = "second \"password\" \\ with # marks";
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        Assert.DoesNotContain(previous, File.ReadAllText(fleet.Layout(0).Auth), StringComparison.Ordinal);

        foreach (var harm in Harms(fleet))
        {
            await harm();
            // systemd itself restarts what was killed, and may have done so by now.
            if (!RedisFleet.OnSystemd) Assert.NotEqual(Outcome.Converged, (await fleet.PlanAsync(fleet.Input(0))).Outcome);
            await fleet.ConvergeAsync(fleet.Input(0));
            Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
        }

        fleet.Generation = 2;
        await fleet.ConvergeAsync(fleet.Input(0, absent: true, teardown: true));
        Assert.False(Directory.Exists(fleet.Layout(0).DataDir) || File.Exists(fleet.Layout(0).UnitPath) || Directory.Exists(fleet.Layout(0).ConfDir));
        Assert.False(RedisDataFiles.IsEmptyDump(File.ReadAllBytes(fleet.Layout(0).Backup(fleet.Uid, 2))));
        Assert.True(fleet.Mismatches.Count == 0, string.Join("\n", fleet.Mismatches));
        var applied = fleet.Ran.Select(r => r[2..]).ToHashSet(StringComparer.Ordinal);
        string[] expected = ["install-package", "create-data-dir", "fix-data-dir", "write-config", "write-auth", "write-unit", "remove-drop-in", "enable", "config-set",
            "write-role", "start", "restart", "reconfigure", "last-backup", "stop", "remove-data", "remove-files", "save"];
        Assert.Empty(expected.Except(applied));
    }

    /// <summary>What a person stopped does not come back with the host, and is as it was once it is kept again.</summary>
    [Fact]
    public async Task StoppedForAPerson_DoesNotStartWithTheHost_AndIsMadeAsItWasAfterwards()
    {
        await using var fleet = new RedisFleet(1);
        await fleet.ConvergeAsync(fleet.Input(0));
        await fleet.CommandAsync(0, "SET", "a", "1");
        var how = await new MemberRunner<RedisGoal, RedisState>(fleet.Member).StopOfAsync(fleet.Input(0), Ct);
        Assert.Equal((true, ""), (how!.Runs, how.Lost));
        await how.Apply(Ct);
        var stopped = await fleet.ObserveAsync(0);
        Assert.Equal((true, "disabled"), (stopped.IsDown, stopped.UnitEnabled));
        await how.Apply(Ct); // Whoever stops it twice is not told that it failed.
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("enabled", (await fleet.ObserveAsync(0)).UnitEnabled);
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
    }

    private static IEnumerable<Func<Task>> Harms(RedisFleet fleet)
    {
        var layout = fleet.Layout(0);
        yield return () => Do(() => File.Delete(layout.UnitPath));
        yield return () => Do(() => File.Delete(layout.Config));
        yield return () => Do(() => File.Delete(layout.Auth));
        yield return () => Do(() => File.Delete(layout.Role));
        yield return () => Do(() => File.AppendAllText(layout.Config, "timeout 7\n"));
        yield return () => Do(() => FakeUnits.Run("/bin/chmod", "666", layout.Config));
        yield return () => Do(() => FakeUnits.Run("/bin/chown", "-R", "root:root", layout.DataDir));
        yield return () => Do(() => File.WriteAllText(Directory.CreateDirectory(layout.DropInDir).FullName + "/o.conf", "[Service]\nMemoryMax=1\n"));
        yield return async () =>
        {
            // The start gate of every member is gone with it.
            File.WriteAllText(Directory.CreateDirectory(Path.GetDirectoryName(layout.UnitPath) + "/agentmetal-redis-.service.d").FullName + "/o.conf", "[Service]\n ExecCondition=\n");
            Assert.Equal(UnitResult.Done, (await fleet.Units.ReloadDaemonAsync(TimeSpan.FromSeconds(10), Ct)).Result);
        };
        yield return async () => await fleet.CommandAsync(0, "CONFIG", "SET", "maxclients", "77");
        yield return async () => await fleet.CommandAsync(0, "CONFIG", "SET", "requirepass", "by-hand");
        yield return async () =>
        {
            // A save fails, and what it failed for goes: writes are refused until one succeeds.
            File.Delete(layout.DataDir + "/dump.rdb");
            var inTheWay = Directory.CreateDirectory(layout.DataDir + "/dump.rdb/x").Parent!;
            await fleet.CommandAsync(0, "BGSAVE");
            while (!(await fleet.CommandAsync(0, "INFO", "persistence")).Text.Contains("rdb_last_bgsave_status:err", StringComparison.Ordinal)) await Task.Delay(50, Ct);
            inTheWay.Delete(recursive: true);
        };
        yield return () => fleet.SignalAsync(0, 19);
        yield return () => fleet.SignalAsync(0, 9);
        yield return async () =>
        {
            await fleet.Units.StopAsync(layout.Unit, TimeSpan.FromSeconds(5), Ct);
            foreach (var path in (string[])[layout.Config, layout.UnitPath, layout.Role, layout.Auth]) File.Delete(path);
        };

        static async Task Do(Action harm)
        {
            harm();
            await Task.Delay(50, Ct);
        }
    }

    [Fact]
    public async Task Fleet_SwitchoverUnderWrites_LosesNoAcknowledgedWrite()
    {
        await using var fleet = new RedisFleet(3);
        await fleet.ConvergeAllAsync();
        using var stop = new CancellationTokenSource();
        var writer = WriteAsync(fleet, stop.Token);
        await Task.Delay(500, Ct);
        fleet.Primary = 1;
        fleet.Generation = 2;
        await fleet.ConvergeAllAsync();
        await Task.Delay(500, Ct);
        stop.Cancel();
        var acknowledged = await writer;

        Assert.True(acknowledged > 50, $"only {acknowledged} writes: nothing is shown");
        Assert.Equal(acknowledged.ToString(), (await fleet.CommandAsync(1, "SCARD", "written")).Text);
        Assert.Equal(1, fleet.Ran.Count(r => r == "0 handover"));
        Assert.DoesNotContain(fleet.Ran, r => r.EndsWith(" promote", StringComparison.Ordinal));
        for (var i = 0; i < 3; i++) Assert.Equal(i == 1 ? RedisRole.Primary : RedisRole.Follows("127.0.0.1:" + fleet.Input(1).Peers[1].Port), (await fleet.ObserveAsync(i)).RoleFile);
        Assert.True(fleet.Mismatches.Count == 0, string.Join("\n", fleet.Mismatches));

        // A server that dies now and is started by systemd alone keeps its new role.
        await fleet.SignalAsync(0, 9);
        await fleet.Units.StartAsync(fleet.Layout(0).Unit, TimeSpan.FromSeconds(5), Ct);
        Assert.NotEqual(RedisRole.Primary, (await fleet.ObserveAsync(0)).Role);
    }

    /// <summary>A client that writes to whoever takes writes; returns how many were acknowledged.</summary>
    private static async Task<int> WriteAsync(RedisFleet fleet, CancellationToken stop)
    {
        var (next, acknowledged) = (0, 0);
        while (!stop.IsCancellationRequested)
        {
            for (var i = 0; i < 2; i++)
            {
                try
                {
                    // The same number is tried again until it is acknowledged once, so the set's size counts acknowledged writes.
                    if ((await fleet.CommandAsync(i, "SADD", "written", next.ToString())).IsError) continue;
                    (next, acknowledged) = (next + 1, acknowledged + 1);
                    break;
                }
                catch (RespException)
                {
                    // A pause or a lost connection: not acknowledged.
                }
            }
            await Task.Delay(2, Ct);
        }
        return acknowledged;
    }

    [Fact]
    public async Task Handover_ReplicaThatCannotCatchUp_LeavesThePrimaryPrimary()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await fleet.SignalAsync(1, 19);
        await fleet.CommandAsync(0, "SET", "b", "1");
        var input = fleet.Input(0);
        var scope = new RedisScope { Title = "t", ResourceUid = fleet.Uid, Generation = 1, Layout = fleet.Layout(0), Auth = new("n0", fleet.Uid, fleet.Password) };
        var actuator = new RedisActuator(scope, new(fleet.UnitReader, new FileReader(), new InstalledPackages()),
            new(fleet.Units, new FileWriter(), new InstalledPackages(), null!), TimeProvider.System);
        var thrown = await Assert.ThrowsAsync<WorldException>(async () => await actuator.HandOverAsync("127.0.0.1:" + input.Peers[1].Port, 1000, Ct));
        Assert.Contains("still primary", thrown.Message, StringComparison.Ordinal);
        await fleet.SignalAsync(1, 18);
        var state = await fleet.ObserveAsync(0);
        Assert.Equal((RedisRole.Primary, RedisRole.Primary), (state.Role, state.RoleFile));
        Assert.Equal("OK", (await fleet.CommandAsync(0, "SET", "c", "1")).Text);
        await fleet.ConvergeAllAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Restart_OfAHungServerWhosePeerHasItsDataNoMore_EndsNothing(bool gone)
    {
        await using var fleet = new RedisFleet(1);
        await fleet.ConvergeAllAsync();
        var pid = (await fleet.UnitReader.GetUnitAsync(fleet.Layout(0).Unit, Ct)).Value.MainPid;
        var seen = await fleet.ObserveAsync(0);
        await fleet.SignalAsync(0, 19);
        var scope = new RedisScope { Title = "t", ResourceUid = fleet.Uid, Generation = 1, Layout = fleet.Layout(0), Auth = new("n0", fleet.Uid, fleet.Password) };
        var actuator = new RedisActuator(scope, new(fleet.UnitReader, new FileReader(), new InstalledPackages()),
            new(fleet.Units, new FileWriter(), new InstalledPackages(), null!), TimeProvider.System, _ => new(seen));
        var ending = actuator.EndAndStartAsync(RedisRole.Primary, _ => gone ? "at most 100 keys" : null, signed: false, keep: null, Ct).AsTask();
        if (gone) Assert.Contains("at most 100 keys would go", (await Assert.ThrowsAsync<WorldException>(() => ending)).Message, StringComparison.Ordinal);
        else await ending;
        Assert.Equal(gone, (await fleet.UnitReader.GetUnitAsync(fleet.Layout(0).Unit, Ct)).Value.MainPid == pid);
        await fleet.SignalAsync(0, 18);
        await fleet.ConvergeAllAsync();
    }

    [Fact]
    public async Task Alone_PasswordChangedByHand_IsPutBackInTheRunningServer()
    {
        await using var fleet = new RedisFleet(1) { Spec = """{"persistence":{"appendonly":false}}""" };
        await fleet.ConvergeAsync(fleet.Input(0));
        await fleet.CommandAsync(0, "SET", "a", "only in memory");
        var before = await RunIdAsync(fleet);
        await fleet.CommandAsync(0, "CONFIG", "SET", "requirepass", "other");
        var step = Assert.Single((await fleet.PlanAsync(fleet.Input(0))).Steps);
        Assert.Equal(("write-auth", RiskLevel.Moderate), (step.Tool, step.Risk.Level));
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal(before, await RunIdAsync(fleet));
        Assert.Equal("only in memory", (await fleet.CommandAsync(0, "GET", "a")).Text);
        Assert.Empty(fleet.Mismatches);

        // A file of the version before, which has no user of the agent's own, is written anew without a restart.
        var path = fleet.Layout(0).Auth;
        await File.WriteAllTextAsync(path, string.Join('\n', (await File.ReadAllLinesAsync(path, Ct)).Where(l => !l.StartsWith("user ", StringComparison.Ordinal))) + "\n", Ct);
        await fleet.CommandAsync(0, "ACL", "DELUSER", RedisAuth.User);
        Assert.Equal(["write-auth"], (await fleet.PlanAsync(fleet.Input(0))).Steps.Select(s => s.Tool));
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Contains(RedisAuth.User, (await fleet.CommandAsync(0, "ACL", "USERS")).Items.Select(i => i.Text));
        Assert.Equal(before, await RunIdAsync(fleet));
    }

    private static async Task<string> RunIdAsync(RedisFleet fleet) =>
        (await fleet.CommandAsync(0, "INFO", "server")).Text.Split("\r\n").First(l => l.StartsWith("run_id:", StringComparison.Ordinal));

    [Fact]
    public async Task Fleet_ScaleIn_ReplicaGoesWithoutApproval()
    {
        await using var fleet = new RedisFleet(2);
        await fleet.ConvergeAllAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        await Task.Delay(300, Ct);
        var input = fleet.Input(1, absent: true);
        Assert.All((await fleet.PlanAsync(input)).Steps, s => Assert.True(s.Risk.Level < RiskLevel.Dangerous, s.Key));
        await fleet.ConvergeAsync(input);
        Assert.True(fleet.Member.IsGone(await fleet.Member.ObserverFor(input).ObserveAsync(Ct)));
        Assert.Equal("1", (await fleet.CommandAsync(0, "GET", "a")).Text);
    }

    [Fact]
    public async Task Probe_LiveChange_ChangesTheFingerprintAndHoldsNoSecret()
    {
        await using var fleet = new RedisFleet(1);
        await fleet.ConvergeAsync(fleet.Input(0));
        var probe = fleet.Member.WatchFor(fleet.Input(0)).ProbeAsync!;
        var first = await probe(Ct);
        Assert.Equal(first, await probe(Ct));
        Assert.DoesNotContain(fleet.Password, first, StringComparison.Ordinal);
        await fleet.CommandAsync(0, "SET", "a", "1");
        Assert.Equal(first, await probe(Ct));
        await fleet.CommandAsync(0, "CONFIG", "SET", "timeout", "9");
        Assert.NotEqual(first, await probe(Ct));
        await fleet.SignalAsync(0, 19);
        Assert.Equal(Serving.Hung, await probe(Ct));
        await fleet.SignalAsync(0, 9);
        await Task.Delay(100, Ct);
        Assert.Equal(Serving.Refused, await probe(Ct));
    }

    [Fact]
    public async Task Adopted_ChangedStoppedReleased_IsNeverRestartedOrRewritten()
    {
        await using var fleet = new RedisFleet(1);
        var unit = await fleet.SetUpForeignAsync();
        await fleet.CommandAsync(0, "SET", "a", "1");
        var before = (await fleet.CommandAsync(0, "INFO", "server")).Text.Split("\r\n").First(l => l.StartsWith("run_id:", StringComparison.Ordinal));
        fleet.Spec = $$$"""{"auth":{"enabled":false},"adopt":{"unit":"{{{unit}}}"},"memory":{"max":"64Mi"}}""";
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Equal("67108864", (await fleet.CommandAsync(0, "CONFIG", "GET", "maxmemory")).Items[1].Text);
        Assert.Contains(before, (await fleet.CommandAsync(0, "INFO", "server")).Text, StringComparison.Ordinal);
        Assert.Equal(["0 config-set"], fleet.Ran.Distinct());

        fleet.Spec = fleet.Spec.Replace("\"memory\"", "\"databases\":32,\"memory\"", StringComparison.Ordinal);
        var plan = await fleet.PlanAsync(fleet.Input(0));
        Assert.Empty(plan.Steps);
        Assert.Contains(plan.Blocked, b => b.Reasons.Any(r => r.Contains("is not restarted", StringComparison.Ordinal)));
        fleet.Spec = fleet.Spec.Replace("\"databases\":32,", "", StringComparison.Ordinal);

        await fleet.Units.StopAsync(unit, TimeSpan.FromSeconds(20), Ct);
        await fleet.ConvergeAsync(fleet.Input(0));
        Assert.Contains("0 start-adopted", fleet.Ran);

        var going = fleet.Input(0, absent: true, teardown: true);
        Assert.Empty((await fleet.PlanAsync(going)).Steps);
        Assert.True(fleet.Member.IsGone(await fleet.Member.ObserverFor(going).ObserveAsync(Ct)));
        Assert.Equal("PONG", (await fleet.CommandAsync(0, "PING")).Text);
        await fleet.Units.StopAsync(unit, TimeSpan.FromSeconds(20), Ct);
        if (RedisFleet.OnSystemd) File.Delete("/etc/systemd/system/" + unit);
    }
}
