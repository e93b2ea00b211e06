using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A virtual machine is brought up, kept up, and left alone where nothing is wrong.</summary>
[Story("instance", 210, Heart = true)]
public sealed class MachineTests(SharedFleet shared)
{
    /// <summary>An emulated machine boots in 4 s on an idle machine, and in many times that beside a compiler.</summary>
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(3);

    [Fact]
    public async Task Machine_Applied_RunsAndSaysItsAddress()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("one"), stop)).OrThrow();
        try
        {
            var (host, _) = await Machines.WhereAsync(fleet, "one", stop);
            var address = await Machines.SaysAsync(host, "one", "ready ", 1, Boot, stop);
            Assert.StartsWith("192.168.122.", address, StringComparison.Ordinal);
            await Fleet.EventuallyAsync(host, $"the status names {address}", TimeSpan.FromSeconds(60), async () =>
                (await fleet.CliAsync(stop, "get", "instance", "one", "-o", "json")).Stdout.Contains(address, StringComparison.Ordinal), stop);

            // Its numbers, as a Prometheus reads them: what it has, and what grows.
            var before = await NumbersAsync(host, "one", stop);
            Assert.Equal((1, 96 << 20, 1), (before["agentmetal_instance_running"], before["agentmetal_instance_memory_bytes"], before["agentmetal_instance_cpus"]));
            Assert.True(before["agentmetal_instance_resident_bytes"] > 32 << 20, $"{before["agentmetal_instance_resident_bytes"]} bytes resident");
            await host.RunAsync(["ping", "-q", "-c", "3", "-i", "0.3", address], cancellationToken: stop);
            string[] grow = ["agentmetal_instance_cpu_seconds_total", "agentmetal_instance_network_received_bytes_total", "agentmetal_instance_network_sent_bytes_total"];
            await Fleet.EventuallyAsync(host, "its counters grow", TimeSpan.FromSeconds(90), async () =>
                await NumbersAsync(host, "one", stop) is var now && grow.All(g => now[g] > before[g] && before[g] > 0), stop);
        }
        finally { await Machines.RemoveAsync(fleet, stop, "one"); }
    }

    /// <summary>The series of an instance by name, on the host's own listener.</summary>
    private static async Task<Dictionary<string, double>> NumbersAsync(LabHost host, string instance, CancellationToken stop) =>
        (await host.ShellAsync("curl -sf http://127.0.0.1:9465/metrics | grep '^agentmetal_instance_' | grep -F \"\\\"$1\\\"\" || true", stop, instance)).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .GroupBy(l => l[..l.IndexOf('{', StringComparison.Ordinal)], l => double.Parse(l[(l.LastIndexOf(' ') + 1)..], CultureInfo.InvariantCulture)).ToDictionary(g => g.Key, g => g.Sum());

    [Fact]
    public async Task Qemu_Killed_IsStartedAgainByTheHostAlone()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("killed"), stop)).OrThrow();
        var (host, before) = await Machines.WhereAsync(fleet, "killed", stop);
        await fleet.KillCoordinatorAsync();
        try
        {
            await host.ShellAsync($"kill -9 {before.Pid}", stop);
            await Fleet.EventuallyAsync(host, "another process runs the machine", TimeSpan.FromSeconds(60), async () =>
                await Machines.FindAsync(host, "killed", stop) is { } now && now != before, stop);
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);
        await Machines.RemoveAsync(fleet, stop, "killed");
    }

    /// <summary>No event of libvirt says it, and the host looks at a machine that is as declared every ten minutes.</summary>
    [Fact]
    public async Task Cable_PulledByHand_IsPutBackAtOnce()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("cabled"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "cabled", stop);
        var mac = (await Machines.VirshAsync(host, stop, "domiflist", "default-cabled")).Split([' ', '\n'], StringSplitOptions.RemoveEmptyEntries).First(w => w.StartsWith("52:54:", StringComparison.Ordinal));
        await Machines.VirshAsync(host, stop, "domif-setlink", "default-cabled", mac, "down");
        await Fleet.EventuallyAsync(host, "the cable is in again", TimeSpan.FromSeconds(40), async () =>
            (await Machines.VirshAsync(host, stop, "domif-getlink", "default-cabled", mac)).EndsWith("up", StringComparison.Ordinal), stop);
        await Machines.RemoveAsync(fleet, stop, "cabled");
    }

    [Fact]
    public async Task Libvirtd_RestartedAndKilled_NothingIsRestartedAndTheMachineIsStillKept()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("steady"), stop)).OrThrow();
        var (host, before) = await Machines.WhereAsync(fleet, "steady", stop);
        var daemon = await host.MainPidAsync("agentmetald", stop);

        await host.ShellAsync("systemctl restart libvirtd", stop);
        await Task.Delay(TimeSpan.FromSeconds(15), stop); // Longer than an agent takes that would act on what it cannot see.
        Assert.Equal(before, await Machines.FindAsync(host, "steady", stop));
        await host.KillAsync("libvirtd", "KILL", stop);
        await Task.Delay(TimeSpan.FromSeconds(15), stop);
        Assert.Equal(before, await Machines.FindAsync(host, "steady", stop));
        Assert.Equal(daemon, await host.MainPidAsync("agentmetald", stop));

        // It still sees what happens to it.
        await Machines.VirshAsync(host, stop, "destroy", "default-steady");
        await Fleet.EventuallyAsync(host, "what was switched off by hand runs again", TimeSpan.FromSeconds(60), async () =>
            await Machines.FindAsync(host, "steady", stop) is { } now && now != before, stop);
        await Machines.RemoveAsync(fleet, stop, "steady");
    }

    [Fact]
    public async Task Host_Rebooted_BringsBackWhatShouldRunAndNothingElse()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        // libvirt itself would start neither of them.
        var on = fleet.Lab.Hosts[1];
        string where = $$""", autostart: false, placement: { labels: { host: {{on.Name}} } }""";
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Machines.Small("back", where) + Machines.Small("resting", where + ", power: stopped"), stop)).OrThrow();
        Assert.NotNull(await Machines.FindAsync(on, "back", stop));
        await fleet.KillCoordinatorAsync();
        try
        {
            await on.RebootAsync(stop);
            await Fleet.EventuallyAsync(on, "the machine runs after the reboot", TimeSpan.FromSeconds(90), async () => await Machines.FindAsync(on, "back", stop) is not null, stop);
            Assert.Null(await Machines.FindAsync(on, "resting", stop));
            Assert.Contains("default-resting", await Machines.VirshAsync(on, stop, "list", "--all", "--name"), StringComparison.Ordinal);
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);
        await Machines.RemoveAsync(fleet, stop, "back", "resting");
    }

    [Fact]
    public async Task Machines_Twenty_ConvergeInParallelWithinWhatTheHostsCanReserve()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        const int millis = 200;
        string[] names = [.. Enumerable.Range(1, 20).Select(i => $"many-{i}")];
        var watch = System.Diagnostics.Stopwatch.StartNew();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + string.Concat(names.Select(n => Machines.Small(n, $$""", reserve: { cpuMillis: {{millis}} }"""))), stop, "--no-wait")).OrThrow();
        try
        {
            Dictionary<string, int> running = [];
            await Fleet.EventuallyAsync("twenty machines run", TimeSpan.FromMinutes(4), async () =>
            {
                foreach (var host in fleet.Lab.Hosts) running[host.Name] = (await Machines.RunningAsync(host, stop)).Count(q => q.Domain.StartsWith("default-many-", StringComparison.Ordinal));
                return running.Values.Sum() == names.Length;
            }, stop);
            TestContext.Current.TestOutputHelper?.WriteLine($"twenty machines: {watch.Elapsed.TotalSeconds:0.0} s; {string.Join(", ", running.Select(r => $"{r.Key} {r.Value}"))}");
            var capacity = Environment.ProcessorCount * 1000;
            Assert.All(running, r => Assert.InRange(r.Value, 1, capacity / millis));
            await Fleet.EventuallyAsync("all of them are ready", TimeSpan.FromMinutes(2), async () =>
                (await fleet.CliAsync(stop, "get", "instances")).Stdout.Split('\n').Count(l => l.Contains("many-", StringComparison.Ordinal) && l.Contains("running", StringComparison.OrdinalIgnoreCase)) == names.Length, stop);

            // One more that fits nowhere waits, and says what each host lacks; when another goes from the roomiest host, it is placed there.
            var roomiest = running.MinBy(r => r.Value);
            var free = capacity - roomiest.Value * millis;
            (await fleet.ApplyAsync(Machines.Small("late", $$""", reserve: { cpuMillis: {{free + 1}} }"""), stop, "--no-wait")).OrThrow();
            await Fleet.EventuallyAsync("the one that fits nowhere says why", TimeSpan.FromSeconds(90), async () =>
                (await fleet.CliAsync(stop, "get", "instance", "late", "-o", "json")).Stdout is var said && fleet.Lab.Hosts.All(h => said.Contains(h.Name + ":", StringComparison.Ordinal))
                && said.Contains(string.Create(CultureInfo.InvariantCulture, $"wants {(free + 1) / 1000m:0.###}"), StringComparison.Ordinal), stop);
            var on = fleet.Lab.Hosts.Single(h => h.Name == roomiest.Key);
            var goes = (await Machines.RunningAsync(on, stop)).First(q => q.Domain.StartsWith("default-many-", StringComparison.Ordinal)).Domain["default-".Length..];
            foreach (var host in fleet.Lab.Hosts) Assert.Null(await Machines.FindAsync(host, "late", stop));
            await Machines.RemoveAsync(fleet, stop, goes);
            await Fleet.EventuallyAsync(on, "it runs where room was made", TimeSpan.FromMinutes(2), async () => await Machines.FindAsync(on, "late", stop) is not null, stop);
        }
        finally { await Machines.RemoveAsync(fleet, stop, [.. names, "late"]); }
        foreach (var host in fleet.Lab.Hosts) Assert.DoesNotContain(await Machines.RunningAsync(host, stop), q => q.Domain.StartsWith("default-many-", StringComparison.Ordinal));
    }
}
