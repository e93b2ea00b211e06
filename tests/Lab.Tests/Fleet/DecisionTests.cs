using System.Text.Json;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>Decisions about a deletion: one for all hosts, taken back while nothing is gone, and made at the site while the coordinator is away.</summary>
[Story("fleet", 45)]
public sealed class DecisionTests(SharedFleet shared)
{
    private const int Port = 6501;
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(90);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static string Yaml(string name, int port, int replicas) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: {{name}} }
        spec: { port: {{port}}, replicas: {{replicas}}, memory: { max: 32Mi } }
        """;

    [Fact]
    public async Task Deletion_OnTwoHosts_IsTakenBackWholeOrGoesByOneApproval_AndIsNotTakenBackHalfDone()
    {
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("twice", Port, 1), Stop)).OrThrow();
        var members = await fleet.MembersAsync("twice", Stop);
        Assert.Equal(2, members.Length);
        var pids = await PidsAsync(members);
        var primary = await PrimaryAsync(members);
        await Fleet.RedisAsync(primary, Port, "SET kept yes", Stop);

        await fleet.CliAsync(Stop, "delete", "redis", "twice", "--yes", "--no-wait");
        await HeldAsync(fleet, "twice", 2);
        // A denied deletion is asked again: the way to keep the thing is offered.
        Assert.Contains("agentmetal undelete redis/twice", (await fleet.CliAsync(Stop, "deny", "redis/twice", "--yes", "--reason", "not this one")).OrThrow().Stderr, StringComparison.Ordinal);
        (await fleet.CliAsync(Stop, "undelete", "redis/twice", "--timeout", "100s")).OrThrow();
        await HeldAsync(fleet, "twice", 0);
        Assert.Equal(pids, await PidsAsync(members));
        Assert.Equal("yes", await Fleet.RedisAsync(primary, Port, "GET kept", Stop));
        var again = await fleet.CliAsync(Stop, "undelete", "redis/twice");
        Assert.Contains("is not being deleted", again.Stderr, StringComparison.Ordinal);

        // One signature for both hosts, of which one hears it later.
        await fleet.CliAsync(Stop, "delete", "redis", "twice", "--yes", "--no-wait");
        await HeldAsync(fleet, "twice", 2);
        var (near, far) = (members[0].Host, members[1].Host);
        await fleet.Lab.PartitionFromControlAsync(far, Stop);
        var signed = (await fleet.CliAsync(Stop, "approve", "redis/twice", "--yes", "--reason", "no longer used")).OrThrow();
        await Fleet.EventuallyAsync(near, "the member whose host heard it is gone", s_soon, async () => (await DataAsync(near)).Length == 0, Stop);
        Assert.NotEqual("", await DataAsync(far));
        await Fleet.EventuallyAsync("it is known that one member is gone", s_soon, async () =>
            (await fleet.CliAsync(Stop, "undelete", "redis/twice")).Stderr is var said && said.Contains($"is gone from {near.Name}", StringComparison.Ordinal) && said.Contains("cannot be taken back", StringComparison.Ordinal), Stop);
        await fleet.Lab.HealAsync(Stop);
        await Fleet.EventuallyAsync(far, "the other one goes by the same signature", s_soon, async () => (await fleet.CliAsync(Stop, "get", "redis", "twice")).ExitCode == 3 && (await DataAsync(far)).Length == 0, Stop);
        Assert.Contains("2", signed.Stdout + signed.Stderr, StringComparison.Ordinal);

        Task<string> DataAsync(LabHost host) => host.ShellAsync("ls -d /var/lib/agentmetal/redis/*-twice-* 2>/dev/null || true", Stop);
    }

    [Fact]
    public async Task Deletion_SignedAtTheSite_GoesThroughWithoutACoordinator_AndIsOverWhenItIsBack()
    {
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(Yaml("site", Port + 1, 0), Stop)).OrThrow();
        var (host, _) = (await fleet.MembersAsync("site", Stop))[0];
        await Fleet.RedisAsync(host, Port + 1, "SET kept yes", Stop);
        await fleet.CliAsync(Stop, "delete", "redis", "site", "--yes", "--no-wait");
        await HeldAsync(fleet, "site", 1);
        await fleet.KillCoordinatorAsync();
        var (question, answer) = (Path.Combine(fleet.Home, "site.json"), Path.Combine(fleet.Home, "site-signed.json"));
        try
        {
            await Fleet.EventuallyAsync(host, "the host is alone", s_soon, async () => (await LocalAsync(host, "status")).Contains("goes on by itself", StringComparison.Ordinal), Stop);
            Assert.Equal("yes", await Fleet.RedisAsync(host, Port + 1, "GET kept", Stop));
            await LocalAsync(host, "held", "redis/site", "--out", "/tmp/site.json");
            await File.WriteAllTextAsync(question, await host.ReadFileAsync("/tmp/site.json", Stop), Stop);
            (await fleet.CliAsync(Stop, "approve", "--offline", question, "--out", answer, "--yes", "--reason", "the site closes")).OrThrow();
            await host.CopyInAsync(answer, "/tmp/site-signed.json", Stop);
            await LocalAsync(host, "approve", "/tmp/site-signed.json");
            await Fleet.EventuallyAsync(host, "data, unit and configuration are gone", s_soon, async () =>
                (await host.ShellAsync("ls -d /var/lib/agentmetal/redis/*-site-* /etc/agentmetal/redis/*-site-* /etc/systemd/system/*-site-* 2>/dev/null || true", Stop)).Length == 0, Stop);
            // The same paper serves once.
            var used = await host.RunAsync([Fleet.HostCli, "local", "approve", "/tmp/site-signed.json"], cancellationToken: Stop);
            Assert.False(used.Succeeded);
        }
        finally
        {
            await fleet.StartCoordinatorAsync(Stop);
            File.Delete(question);
            File.Delete(answer);
        }
        await fleet.WaitAttachedAsync(3, Stop);
        await Fleet.EventuallyAsync("the resource is gone", s_soon, async () => (await fleet.CliAsync(Stop, "get", "redis", "site")).ExitCode == 3, Stop);
        await HeldAsync(fleet, "site", 0);
        Assert.Empty(await Fleet.MemberUnitsAsync(host, "site", Stop));
        Assert.Contains("the site closes", (await fleet.CliAsync(Stop, "audit", "--chain", host.Name, "--for", "redis/site", "-o", "json")).OrThrow().Stdout, StringComparison.Ordinal);
        await host.ShellAsync("rm -f /tmp/site.json /tmp/site-signed.json", Stop);
    }

    private static async Task<string> LocalAsync(LabHost host, params string[] words) =>
        await host.RunAsync(["env", "NO_COLOR=1", "COLUMNS=2000", Fleet.HostCli, "local", .. words], cancellationToken: Stop) is var said && said.Succeeded ? said.Stdout + said.Stderr : throw new LabException(said.Stdout + said.Stderr);

    /// <summary>Waits until so many hosts ask about it.</summary>
    private static Task HeldAsync(Fleet fleet, string name, int hosts) => Fleet.EventuallyAsync($"{hosts} hosts ask about {name}", s_soon, async () =>
    {
        using var list = JsonDocument.Parse((await fleet.CliAsync(Stop, "approve", "--list", "-o", "json")).OrThrow().Stdout);
        return list.RootElement.GetProperty("items").EnumerateArray().Count(h => h.GetProperty("resource").GetString() == "Redis default/" + name) == hosts;
    }, Stop);

    private static async Task<string[]> PidsAsync((LabHost Host, string Unit)[] members)
    {
        List<string> pids = [];
        foreach (var (host, unit) in members) pids.Add($"{unit} {await host.MainPidAsync(unit, Stop)}");
        return [.. pids];
    }

    private static async Task<LabHost> PrimaryAsync((LabHost Host, string Unit)[] members)
    {
        foreach (var (host, _) in members)
            if ((await Fleet.RedisAsync(host, Port, "ROLE", Stop)).StartsWith("master", StringComparison.Ordinal)) return host;
        throw new LabException("no member leads");
    }
}
