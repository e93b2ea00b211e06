using AgentMetal.LabTests.Instances;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>An older copy of the coordinator's data is put back while three hosts run on: nothing on them goes back, and a signature is the one way on.</summary>
[Story("fleet", 150)]
public sealed class PutBackTests(SharedFleet shared)
{
    private const string FiftyMebi = "50331648", ThirtyTwoMebi = "33554432";

    [Fact]
    public async Task OlderCopy_RollsNothingBack_TellsItAndIsFollowedOnceSigned_AndWhatItForgotIsAdopted()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var (from, to) = (fleet.Lab.Hosts[0], fleet.Lab.Hosts[1]);
        var copy = Directory.CreateTempSubdirectory("agentmetal-copy-").FullName;
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("rover", $", placement: {{ node: {from.Name} }}") + Yaml("back", 6491, "32Mi"), stop)).OrThrow();
        await fleet.KillCoordinatorAsync();
        await ShellAsync($"cp -a {fleet.CoordinatorData}/. {copy}/", stop);
        await fleet.StartCoordinatorAsync(stop);
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        (await fleet.ApplyAsync(Yaml("back", 6491, "48Mi") + "---\n" + Yaml("later", 6492, "32Mi"), stop)).OrThrow();
        (await fleet.CliAsync(stop, "migrate", "instance/rover", "--to", to.Name, "--no-wait")).OrThrow();
        await Fleet.EventuallyAsync(from, "the hand-over is held", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("rover", StringComparison.Ordinal), stop);
        (await fleet.CliAsync(stop, "approve", "instance/rover", "--yes", "--reason", "test")).OrThrow();
        (await fleet.CliAsync(stop, "migrate", "instance/rover", "--to", to.Name, "--timeout", "150s")).OrThrow();
        var members = (await fleet.MembersAsync("later", stop)).Concat(await fleet.MembersAsync("back", stop)).ToArray();
        var pids = await PidsAsync(members, stop);

        await fleet.KillCoordinatorAsync();
        await ShellAsync($"rm -r {fleet.CoordinatorData} && cp -a {copy} {fleet.CoordinatorData}", stop);
        await fleet.StartCoordinatorAsync(stop);
        await Fleet.EventuallyAsync("every host that saw more says so", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "nodes", "list")).Stdout.Split("refuses the store").Length - 1 >= 2, stop);
        await Task.Delay(TimeSpan.FromSeconds(8), stop); // What was rolled back was so within seven.
        foreach (var (host, _) in await fleet.MembersAsync("back", stop)) Assert.Equal(FiftyMebi, await MaxMemoryAsync(host, stop));
        Assert.Equal(pids, await PidsAsync(members, stop));
        Assert.Null(await Machines.FindAsync(from, "rover", stop));
        Assert.NotNull(await Machines.FindAsync(to, "rover", stop));
        Assert.Contains("does not follow this store", (await fleet.CliAsync(stop, "describe", "redis", "back")).Stdout, StringComparison.Ordinal);
        Assert.Contains("Refused", (await to.RunAsync([Fleet.HostCli, "local", "status"], cancellationToken: stop)).Stdout, StringComparison.Ordinal);

        var signed = (await fleet.CliAsync(stop, "nodes", "accept-store", "--yes", "--reason", "test")).OrThrow().Stderr;
        Assert.Contains("goes back to generation 1", signed, StringComparison.Ordinal);
        Assert.Contains("Redis default/later #0", signed, StringComparison.Ordinal);
        await Fleet.EventuallyAsync("what was signed for is followed", TimeSpan.FromSeconds(60), async () =>
            (await Task.WhenAll((await fleet.MembersAsync("back", stop)).Select(m => MaxMemoryAsync(m.Host, stop)))).All(m => m == ThirtyTwoMebi), stop);
        // One machine, wherever the store thinks that it is.
        Assert.Null(await Machines.FindAsync(from, "rover", stop));
        Assert.NotNull(await Machines.FindAsync(to, "rover", stop));
        var orphans = (await fleet.CliAsync(stop, "nodes", "orphans")).OrThrow().Stdout;
        Assert.Contains("Redis default/later", orphans, StringComparison.Ordinal);
        Assert.Contains("Instance default/rover", orphans, StringComparison.Ordinal);
        // Hosts take the signature one after the other: this one may be the last.
        await Fleet.EventuallyAsync("what was forgotten is adopted", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "nodes", "orphans", "adopt", "redis", "later", "--yes")).Succeeded, stop);
        (await fleet.CliAsync(stop, "nodes", "orphans", "adopt", "instance", "rover", "--yes")).OrThrow();
        await Fleet.EventuallyAsync("they are known as they run", TimeSpan.FromSeconds(60), async () =>
            (await fleet.CliAsync(stop, "get", "all")).Stdout is var all && all.Split('\n').Count(l => (l.Contains("later", StringComparison.Ordinal) || l.Contains("rover", StringComparison.Ordinal)) && l.Contains("True", StringComparison.Ordinal)) == 2, stop);
        Assert.Equal(pids, await PidsAsync(members, stop));
        Assert.Contains(to.Name, (await fleet.CliAsync(stop, "get", "instance", "rover")).Stdout, StringComparison.Ordinal);
        Assert.Contains("Nothing runs", (await fleet.CliAsync(stop, "nodes", "orphans")).Stdout, StringComparison.Ordinal);

        await Machines.RemoveAsync(fleet, stop, "rover");
        foreach (var name in (string[])["back", "later"]) await fleet.RemoveAsync(name, stop);
        await ShellAsync($"rm -r {copy}", stop);
    }

    /// <summary>An old backup, put back as one: nothing on the hosts moves before a signature, what comes back by it is said before, and what the audit lost is signed for.</summary>
    [Fact]
    public async Task OldBackup_PutBackAsOne_IsFollowedOnceSigned_AndItsGapInTheAuditIsKnown()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var copy = Directory.CreateTempSubdirectory("agentmetal-backup-").FullName;
        (await fleet.ApplyAsync(Yaml("back", 6491, "32Mi", 0) + "---\n" + Yaml("bygone", 6493, "32Mi", 0), stop)).OrThrow();
        await fleet.KillCoordinatorAsync();
        await ShellAsync($"cp -a {fleet.CoordinatorData}/. {copy}/", stop);
        await fleet.StartCoordinatorAsync(stop);
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        (await fleet.ApplyAsync(Yaml("back", 6491, "48Mi", 0), stop)).OrThrow();
        await fleet.RemoveAsync("bygone", stop);
        var members = await fleet.MembersAsync("back", stop);
        var pids = await PidsAsync(members, stop);

        await fleet.KillCoordinatorAsync();
        await ShellAsync($"rm -r {fleet.CoordinatorData} && cp -a {copy} {fleet.CoordinatorData}", stop);
        await fleet.StartCoordinatorAsync(stop, "--restored");
        await Fleet.EventuallyAsync("every host says that it is another store", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "nodes", "list")).Stdout.Split("refuses the store").Length - 1 == 3, stop);
        await Task.Delay(TimeSpan.FromSeconds(5), stop);
        Assert.Equal(FiftyMebi, await MaxMemoryAsync(members[0].Host, stop));
        Assert.Empty(await fleet.MembersAsync("bygone", stop));

        var signed = (await fleet.CliAsync(stop, "nodes", "accept-store", "--yes", "--reason", "the disk died")).OrThrow().Stderr;
        Assert.Contains("goes back to generation 1", signed, StringComparison.Ordinal);
        Assert.Contains("Redis default/bygone #0  is not there: is made again", signed, StringComparison.Ordinal);
        await Fleet.EventuallyAsync("what was signed for is followed", TimeSpan.FromSeconds(90), async () =>
            await MaxMemoryAsync(members[0].Host, stop) == ThirtyTwoMebi && (await fleet.MembersAsync("bygone", stop)).Length == 1, stop);
        Assert.Equal(pids, await PidsAsync(members, stop));

        // What hosts had told before the copy was put back is in no audit any more: that stands until somebody signs to know it.
        var host = members[0].Host.Name;
        await Fleet.EventuallyAsync("the gap is told", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "nodes", "describe", host)).Stdout.Contains("agentmetal audit accept-gap " + host, StringComparison.Ordinal), stop);
        Assert.False((await fleet.CliAsync(stop, "audit", "--chain", host, "--verify")).Succeeded);
        (await fleet.CliAsync(stop, "audit", "accept-gap", host, "--yes", "--reason", "the disk died")).OrThrow();
        await fleet.KillCoordinatorAsync();
        await fleet.StartCoordinatorAsync(stop); // It was restored once.
        await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        var proved = (await fleet.CliAsync(stop, "audit", "--chain", host, "--verify")).OrThrow().Stdout;
        Assert.Contains("are missing here, which approvers signed to know", proved.ReplaceLineEndings(" "), StringComparison.Ordinal);
        Assert.DoesNotContain("AuditWhole", (await fleet.CliAsync(stop, "nodes", "describe", host)).Stdout, StringComparison.Ordinal);
        foreach (var name in (string[])["back", "bygone"]) await fleet.RemoveAsync(name, stop);
        await ShellAsync($"rm -r {copy}", stop);
    }

    private static string Yaml(string name, int port, string memory, int replicas = 1) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { port: {{port}}, replicas: {{replicas}}, memory: { max: {{memory}} } }

        """;

    private static async Task<string[]> PidsAsync((LabHost Host, string Unit)[] members, CancellationToken stop)
    {
        List<string> pids = [];
        foreach (var (host, unit) in members) pids.Add($"{unit} {(await host.ShellAsync($"systemctl show -p MainPID --value {unit}", stop)).Trim()}");
        return [.. pids];
    }

    private static async Task<string> MaxMemoryAsync(LabHost host, CancellationToken stop) => (await Fleet.RedisAsync(host, 6491, "config get maxmemory", stop)).Split('\n')[^1].Trim();

    private static async Task ShellAsync(string command, CancellationToken stop) => (await CommandRunner.RunAsync(["sh", "-c", command], TimeSpan.FromMinutes(1), cancellationToken: stop)).OrThrow();
}
