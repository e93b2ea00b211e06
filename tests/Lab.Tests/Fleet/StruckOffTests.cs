using AgentMetal.LabTests.Instances;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Fleets;

/// <summary>A host that was only unplugged is struck off: what it had is made anew elsewhere, and when it is back it lets go of it in order and keeps its data.</summary>
[Story("fleet", 60)]
public sealed class StruckOffTests(SharedFleet shared)
{
    private const int Port = 6521;
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(120);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static string Redis(string placement = "") => $$"""
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata: { name: solo }
        spec: { port: {{Port}}{{placement}} }
        """;

    [Fact]
    public async Task Host_StruckOffWhileItRuns_IsReplaced_LetsGoWhenItIsBack_AndItsNameIsUsedAgain()
    {
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(Stop) + Machines.Small("stray", ", disks: [ { name: data, size: 32Mi } ]"), Stop)).OrThrow();
        var (gone, qemu) = await Machines.WhereAsync(fleet, "stray", Stop);
        (await fleet.ApplyAsync(Redis($", placement: {{ labels: {{ host: {gone.Name} }} }}"), Stop)).OrThrow();
        (await fleet.ApplyAsync(Redis(), Stop)).OrThrow(); // It stays where it is, and may be made anywhere.
        var unit = Assert.Single(await Fleet.MemberUnitsAsync(gone, "solo", Stop));
        await Fleet.RedisAsync(gone, Port, "SET kept yes", Stop);
        var early = await fleet.CliAsync(Stop, "nodes", "remove", gone.Name, "--yes");
        Assert.Contains("is attached: it is not gone", early.Stderr, StringComparison.Ordinal);

        await fleet.Lab.IsolateAsync(gone, Stop);
        CommandResult? struck = null;
        await Fleet.EventuallyAsync("it is away, and struck off", s_soon, async () => (struck = await fleet.CliAsync(Stop, "nodes", "remove", gone.Name, "--yes", "--reason", "burnt")).Succeeded, Stop);
        Assert.Contains("Redis default/solo #0  the only member: its data on " + gone.Name + " is lost", struck!.Stderr, StringComparison.Ordinal);
        Assert.Contains("Instance default/stray #0", struck.Stderr, StringComparison.Ordinal);
        await Fleet.EventuallyAsync("what it had is made anew elsewhere", s_soon, async () =>
            (await fleet.CliAsync(Stop, "get", "all")).Stdout.Split('\n').Count(l => (l.Contains("solo", StringComparison.Ordinal) || l.Contains("stray", StringComparison.Ordinal)) && l.Contains("True", StringComparison.Ordinal)) == 2, Stop);
        Assert.Equal("yes", await Fleet.RedisAsync(gone, Port, "GET kept", Stop)); // Alone, it knows of nothing and goes on.
        Assert.Equal(qemu, await Machines.FindAsync(gone, "stray", Stop));

        await fleet.Lab.HealAsync(Stop);
        await Fleet.EventuallyAsync(gone, "it lets go of what it had", s_soon, async () => await Machines.FindAsync(gone, "stray", Stop) is null && await StateAsync(gone, unit) == "inactive disabled", Stop);
        Assert.Single(await RunningAsync(fleet, "stray"));
        var said = (await gone.RunAsync(["env", "NO_COLOR=1", "COLUMNS=2000", Fleet.HostCli, "local", "status"], cancellationToken: Stop)).Stdout;
        Assert.Contains("Struck off", said, StringComparison.Ordinal);
        Assert.Contains("(burnt)", said, StringComparison.Ordinal);
        Assert.Contains("its data stays where it is", said, StringComparison.Ordinal);
        Assert.Contains("StruckOffHostCalls", (await fleet.CliAsync(Stop, "events")).Stdout, StringComparison.Ordinal);
        var resumed = await gone.RunAsync([Fleet.HostCli, "local", "resume", "redis/solo"], cancellationToken: Stop);
        Assert.Contains("was struck off by", resumed.Stderr, StringComparison.Ordinal);
        await gone.RebootAsync(Stop);
        await Fleet.EventuallyAsync(gone, "it knows that after a boot", s_soon, async () => (await Fleet.WhyAsync(gone, "solo", Stop)).Contains("Struck off", StringComparison.Ordinal), Stop);
        Assert.Equal("inactive disabled", await StateAsync(gone, unit));
        Assert.Null(await Machines.FindAsync(gone, "stray", Stop));
        // All of it is still there.
        Assert.NotEqual("", await gone.ShellAsync("grep -l kept /var/lib/agentmetal/redis/default-solo-0/appendonlydir/*.aof && ls /var/lib/agentmetal/instances/default-stray/*.qcow2", Stop));

        // Wiped, as another one of the name.
        await gone.ShellAsync("""
            systemctl stop agentmetald; systemctl disable -q agentmetald
            virsh -q -c qemu:///system undefine default-stray --managed-save --snapshots-metadata || true
            rm -rf /var/lib/agentmetal /etc/agentmetal /etc/systemd/system/agentmetal-redis-*; systemctl daemon-reload
            """, Stop);
        await fleet.JoinAsync(gone, Stop);
        await fleet.WaitAttachedAsync(3, Stop);
        (await fleet.ApplyAsync(Redis($", placement: {{ labels: {{ host: {gone.Name} }} }}").Replace("name: solo", "name: anew", StringComparison.Ordinal).Replace($"{Port}", $"{Port + 1}", StringComparison.Ordinal), Stop)).OrThrow();
        Assert.NotEmpty(await Fleet.MemberUnitsAsync(gone, "anew", Stop));
        await Machines.RemoveAsync(fleet, Stop, "stray");
        foreach (var name in (string[])["solo", "anew"]) await fleet.RemoveAsync(name, Stop);
    }

    private static async Task<string> StateAsync(LabHost host, string unit) =>
        (await host.ShellAsync($"echo $(systemctl is-active {unit}) $(systemctl is-enabled {unit})", Stop)).Trim();

    private static async Task<LabHost[]> RunningAsync(Fleet fleet, string instance)
    {
        List<LabHost> all = [];
        foreach (var host in fleet.Lab.Hosts)
            if (await Machines.FindAsync(host, instance, Stop) is not null) all.Add(host);
        return [.. all];
    }
}
