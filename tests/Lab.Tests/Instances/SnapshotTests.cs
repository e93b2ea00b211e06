using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>What a guest has written comes back with a snapshot; the host alone makes them, keeps so many, and takes back a change that does not prove itself.</summary>
[Story("instance", 235)]
public sealed class SnapshotTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    /// <summary>Boots its kernel, and counts its boots on its own disk.</summary>
    private static string Counting(string name, string more = "", string words = "") =>
        Machines.Small(name, $$""", disks: [ { name: root, image: busybox-disk } ], restart: allowed{{more}}""", words);

    [Fact]
    public async Task Revert_ToASnapshot_BringsBackWhatTheGuestHadAndWaitsForASignature()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("kept-vm"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "kept-vm", stop);
        try
        {
            Assert.Equal("1", await Machines.SaysAsync(host, "kept-vm", "boots ", 1, Boot, stop));
            (await fleet.CliAsync(stop, "snapshot", "instance/kept-vm", "first-boot")).OrThrow();
            Assert.Contains("first-boot", await Machines.VirshAsync(host, stop, "snapshot-list", "default-kept-vm", "--name"), StringComparison.Ordinal);
            Assert.Matches("made .* UTC while running, [0-9]+ MiB", (await fleet.CliAsync(stop, "describe", "snapshot", "first-boot")).OrThrow().Stdout);
            (await fleet.CliAsync(stop, "restart", "instance/kept-vm")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(host, "kept-vm", "boots ", 2, Boot, stop));
            var before = await Machines.FindAsync(host, "kept-vm", stop);

            // Nobody has signed: it runs on. Then it is as it was, without a boot; and the next boot counts from there.
            Assert.Equal(4, (await fleet.CliAsync(stop, "revert", "instance/kept-vm", "--to", "first-boot")).ExitCode);
            Assert.Equal(before, await Machines.FindAsync(host, "kept-vm", stop));
            (await fleet.CliAsync(stop, "approve", "instance/kept-vm", "--yes", "--reason", "test")).OrThrow();
            await Fleet.EventuallyAsync(host, "another process runs the machine", TimeSpan.FromSeconds(60), async () => await Machines.FindAsync(host, "kept-vm", stop) is { } now && now != before, stop);
            (await fleet.CliAsync(stop, "restart", "instance/kept-vm")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(host, "kept-vm", "boots ", 3, Boot, stop));

            // The snapshot's deletion waits too.
            await fleet.CliAsync(stop, "delete", "snapshot", "first-boot", "--yes", "--no-wait");
            await Fleet.EventuallyAsync(host, "the deletion waits for an approval", TimeSpan.FromSeconds(90), async () => (await fleet.CliAsync(stop, "approve", "--list")).Stdout.Contains("first-boot", StringComparison.Ordinal), stop);
            (await fleet.CliAsync(stop, "approve", "snapshot/first-boot", "--yes", "--reason", "test")).OrThrow();
            await Fleet.EventuallyAsync(host, "the snapshot is gone", TimeSpan.FromSeconds(60), async () => await Machines.VirshAsync(host, stop, "snapshot-list", "default-kept-vm", "--name") is var list && list.Trim().Length == 0, stop);
        }
        finally { await Machines.RemoveAsync(fleet, stop, "kept-vm"); }
    }

    [Fact]
    public async Task Schedule_WithTheCoordinatorDead_MakesTwoAndKeepsOne()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("hourly-vm"), stop)).OrThrow();
        var (host, _) = await Machines.WhereAsync(fleet, "hourly-vm", stop);
        await Machines.SaysAsync(host, "hourly-vm", "boots ", 1, Boot, stop);
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("hourly-vm", ", snapshots: { every: 30s, keep: 1 }"), stop, "--no-wait")).OrThrow();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        try
        {
            await Fleet.EventuallyAsync(host, "the schedule has begun", TimeSpan.FromSeconds(60), async () => (await NamesAsync()).Length > 0, stop);
            await fleet.KillCoordinatorAsync();
            seen.Clear();
            await Fleet.EventuallyAsync(host, "two were made, and one is kept", TimeSpan.FromMinutes(3), async () =>
            {
                var names = await NamesAsync();
                seen.UnionWith(names);
                return seen.Count >= 3 && names.Length == 1;
            }, stop);
            Assert.All(seen, n => Assert.Matches("^auto-[0-9]{8}t[0-9]{6}z$", n));
            Assert.Equal([seen.Max(StringComparer.Ordinal)!], await NamesAsync());
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);
        await Machines.RemoveAsync(fleet, stop, "hourly-vm");

        async Task<string[]> NamesAsync() => (await Machines.VirshAsync(host, stop, "snapshot-list", "default-hourly-vm", "--name")).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
    }

    /// <summary>The change makes a machine that never says what the probe waits for; nobody is there to help, and the daemon dies in the middle of it.</summary>
    [Fact]
    public async Task BadChange_WithTheCoordinatorDeadAndTheDaemonKilled_IsTakenBackByTheHostAlone()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        const string tries = ", autoRevert: { enabled: true, seconds: 40, probe: { consoleText: \"agentmetal-vm ready\" } }";
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("tried-vm", tries), stop)).OrThrow();
        var (host, before) = await Machines.WhereAsync(fleet, "tried-vm", stop);
        Assert.Equal("1", await Machines.SaysAsync(host, "tried-vm", "boots ", 1, Boot, stop));
        await Machines.SaysAsync(host, "tried-vm", "ready ", 1, Boot, stop);
        try
        {
            (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("tried-vm", tries, "root=/dev/none"), stop, "--no-wait")).OrThrow();
            await SignAsync();
            await Fleet.EventuallyAsync(host, "the changed machine is on trial", TimeSpan.FromSeconds(90), async () => (await TrialAsync()).Contains("probing", StringComparison.Ordinal), stop);
            var changed = await Machines.FindAsync(host, "tried-vm", stop);
            Assert.NotNull(changed);
            Assert.NotEqual(before, changed);
            await fleet.KillCoordinatorAsync();
            await host.KillAsync("agentmetald", "KILL", stop);
            await Fleet.EventuallyAsync(host, "the host has taken it back", TimeSpan.FromMinutes(3), async () =>
                await TrialAsync() == "" && await Machines.FindAsync(host, "tried-vm", stop) is { } now && now != changed && !(await Machines.VirshAsync(host, stop, "dumpxml", "default-tried-vm")).Contains("/dev/none", StringComparison.Ordinal), stop);
            Assert.DoesNotContain("/dev/none", await Machines.VirshAsync(host, stop, "dumpxml", "--inactive", "default-tried-vm"), StringComparison.Ordinal);
            await Fleet.EventuallyAsync(host, "its snapshot is gone", TimeSpan.FromSeconds(90), async () => (await Machines.VirshAsync(host, stop, "snapshot-list", "default-tried-vm", "--name")).Trim().Length == 0, stop);
            var back = await Machines.FindAsync(host, "tried-vm", stop);
            Assert.Contains("was taken back", await host.ShellAsync($"{Fleet.HostCli} local why instance/tried-vm 2>&1 || true", stop), StringComparison.Ordinal);
            // The memory came back with it: the guest has not booted again, and it answers to its power button below.
            Assert.Single((await Machines.ConsoleAsync(host, "tried-vm", stop)).Split('\n'), l => l.StartsWith("agentmetal-vm boots ", StringComparison.Ordinal));
            await Task.Delay(TimeSpan.FromSeconds(20), stop); // Longer than an agent takes that would try it again.
            Assert.Equal(back, await Machines.FindAsync(host, "tried-vm", stop));
        }
        finally { await fleet.StartCoordinatorAsync(stop); }
        await fleet.WaitAttachedAsync(3, stop);

        // A person changes the spec: a good change is tried, proves itself and stays.
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + Counting("tried-vm", tries, "am.hostname=better"), stop, "--no-wait")).OrThrow();
        await SignAsync();
        Assert.Equal("2", await Machines.SaysAsync(host, "tried-vm", "boots ", 2, Boot, stop));
        Assert.Contains("am.hostname=better", await Machines.VirshAsync(host, stop, "dumpxml", "default-tried-vm"), StringComparison.Ordinal);
        await Fleet.EventuallyAsync(host, "the trial is over", TimeSpan.FromSeconds(60), async () => await TrialAsync() == "", stop);
        await Machines.RemoveAsync(fleet, stop, "tried-vm");

        // What the guest writes meanwhile may be lost, so somebody signs also where restarts are allowed.
        async Task SignAsync()
        {
            await Fleet.EventuallyAsync(host, "the change waits for an approval", TimeSpan.FromSeconds(60), async () => (await fleet.CliAsync(stop, "approve", "--list", "-o", "json")).Stdout.Contains("\"Instance default/tried-vm\"", StringComparison.Ordinal), stop);
            (await fleet.CliAsync(stop, "approve", "instance/tried-vm", "--yes", "--reason", "test")).OrThrow();
        }

        Task<string> TrialAsync() => host.ShellAsync("cat /var/lib/agentmetal/instances/default-tried-vm/trial.json 2>/dev/null || true", stop);
    }
}
