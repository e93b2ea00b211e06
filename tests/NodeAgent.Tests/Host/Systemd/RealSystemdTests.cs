using System.Globalization;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Host.Systemd;

/// <summary>
/// The layer against a real systemd, on a host of the lab: AGENTMETAL_LAB_LEADER is the PID of its PID 1 as this machine
/// sees it. Everything made there is runtime-only and removed.
/// </summary>
public sealed class RealSystemdTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly string? _leader = Environment.GetEnvironmentVariable("AGENTMETAL_LAB_LEADER");
    private readonly List<string> _made = [];
    private SystemdLink? _link;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private UnitReader Reader => new(_link!);

    private UnitWriter Writer => new(_link!);

    private string Root => $"/proc/{_leader}/root";

    public ValueTask InitializeAsync()
    {
        Assert.SkipWhen(string.IsNullOrEmpty(_leader), "AGENTMETAL_LAB_LEADER names no lab host");
        _link = new SystemdLink(new SystemdOptions { BusAddress = $"unix:path={Root}/run/dbus/system_bus_socket" }, TimeProvider.System);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        if (_link is null)
            return;

        foreach (var name in _made)
        {
            await Writer.StopAsync(name, Patience, CancellationToken.None);
            await Writer.DisableAsync([name], Patience, CancellationToken.None);
            File.Delete($"{Root}/etc/systemd/system/{name}");
        }

        await Writer.ReloadDaemonAsync(Patience, CancellationToken.None);
        await _link.DisposeAsync();
    }

    [Fact]
    public async Task GetUnit_NoSuchUnit_IsSeenAsAbsent()
    {
        var state = (await Reader.GetUnitAsync("am-never-there.service", Ct)).Value;
        Assert.True(state.IsAbsent);
        Assert.Equal("inactive", state.ActiveState);
        Assert.Equal(UnitResult.Refused, (await Writer.StartAsync("am-never-there.service", Patience, Ct)).Result);
        Assert.Equal(UnitResult.Done, (await Writer.StopAsync("am-never-there.service", Patience, Ct)).Result);
    }

    [Fact]
    public async Task Service_StartedKilledStopped_IsSeenAsItIs()
    {
        var name = await MakeAsync("ok", "ExecStart=/bin/sleep infinity\nRestart=always\nRestartSec=100ms\nMemoryAccounting=yes");
        Assert.Equal(UnitResult.Done, (await Writer.StartAsync(name, Patience, Ct)).Result);
        var running = (await Reader.GetUnitAsync(name, Ct)).Value;
        Assert.Equal(("loaded", "active", "running"), (running.LoadState, running.ActiveState, running.SubState));
        Assert.Equal(32, running.InvocationId.Length);
        Assert.True(running.MainPid > 1);
        Assert.Equal($"/etc/systemd/system/{name}", running.FragmentPath);
        Assert.NotNull(running.MemoryCurrent);

        Assert.Equal(UnitResult.Done, (await Writer.KillAsync(name, KillTarget.Main, 9, Patience, Ct)).Result);
        var again = await UntilAsync(name, state => state.NRestarts == 1 && state.SubState == "running");
        Assert.NotEqual(running.InvocationId, again.InvocationId);

        Assert.Equal(UnitResult.Done, (await Writer.RestartAsync(name, Patience, Ct)).Result);
        Assert.Equal(UnitResult.Done, (await Writer.StopAsync(name, Patience, Ct)).Result);
        Assert.Equal("inactive", (await Reader.GetUnitAsync(name, Ct)).Value.ActiveState);
    }

    [Fact]
    public async Task Start_ServiceFails_IsFailedAndCanBeReset()
    {
        var name = await MakeAsync("bad", "Type=oneshot\nExecStart=/bin/sh -c 'exit 3'");
        Assert.Equal(UnitResult.Failed, (await Writer.StartAsync(name, Patience, Ct)).Result);
        var failed = (await Reader.GetUnitAsync(name, Ct)).Value;
        Assert.Equal(("failed", "exit-code", 3), (failed.ActiveState, failed.Result, failed.ExecMainStatus));
        Assert.Equal(UnitResult.Done, (await Writer.ResetFailedAsync(name, Patience, Ct)).Result);
        Assert.Equal("inactive", (await Reader.GetUnitAsync(name, Ct)).Value.ActiveState);
    }

    [Fact]
    public async Task Start_DependencyFails_IsDependency()
    {
        var bad = await MakeAsync("dep-bad", "Type=oneshot\nExecStart=/bin/false");
        var name = await MakeAsync("dep", "ExecStart=/bin/sleep infinity", $"Requires={bad}\nAfter={bad}");
        Assert.Equal(UnitResult.Dependency, (await Writer.StartAsync(name, Patience, Ct)).Result);
    }

    [Fact]
    public async Task Start_SlowerThanTheDeadline_SaysSoAndTheJobGoesOn()
    {
        var name = await MakeAsync("slow", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 1");
        Assert.Equal(UnitResult.DeadlinePassed, (await Writer.StartAsync(name, TimeSpan.FromMilliseconds(100), Ct)).Result);
        await UntilAsync(name, static state => state.ActiveState == "active");
    }

    [Fact]
    public async Task Start_StoppedMeanwhile_IsCanceled()
    {
        var name = await MakeAsync("cancel", "Type=oneshot\nExecStart=/bin/sleep 60");
        var start = Writer.StartAsync(name, Patience, Ct);
        await UntilAsync(name, static state => state.ActiveState == "activating");
        Assert.Equal(UnitResult.Done, (await Writer.StopAsync(name, Patience, Ct)).Result);
        Assert.Equal(UnitResult.Canceled, (await start).Result);
    }

    [Fact]
    public async Task EnableDisableMaskUnmask_UnitFile_ChangesItsState()
    {
        var name = await MakeAsync("wanted", "ExecStart=/bin/sleep infinity");
        Assert.Equal("disabled", (await Reader.GetUnitAsync(name, Ct)).Value.UnitFileState);
        Assert.True((await Writer.EnableAsync([name], Patience, Ct)).IsDone);
        Assert.Equal("enabled", (await Reader.GetUnitAsync(name, Ct)).Value.UnitFileState);
        Assert.True((await Writer.DisableAsync([name], Patience, Ct)).IsDone);
        Assert.Equal("disabled", (await Reader.GetUnitAsync(name, Ct)).Value.UnitFileState);
        Assert.True((await Writer.MaskAsync(["am-not-yet-here.service"], Patience, Ct)).IsDone);
        Assert.True((await Writer.ReloadDaemonAsync(Patience, Ct)).IsDone);
        Assert.Equal("masked", (await Reader.GetUnitAsync("am-not-yet-here.service", Ct)).Value.LoadState);
        Assert.True((await Writer.UnmaskAsync(["am-not-yet-here.service"], Patience, Ct)).IsDone);
        Assert.True((await Writer.ReloadDaemonAsync(Patience, Ct)).IsDone);
        Assert.True((await Reader.GetUnitAsync("am-not-yet-here.service", Ct)).Value.IsAbsent);
    }

    [Fact]
    public async Task UnitFile_ChangedOnDisk_NeedsReload()
    {
        var name = await MakeAsync("stale", "ExecStart=/bin/sleep infinity");
        Assert.Equal(UnitResult.Done, (await Writer.StartAsync(name, Patience, Ct)).Result);
        var path = $"{Root}/etc/systemd/system/{name}";
        await File.AppendAllTextAsync(path, "# changed\n", Ct);
        File.SetLastWriteTimeUtc(path, DateTime.UtcNow.AddMinutes(1));
        Assert.True((await Reader.GetUnitAsync(name, Ct)).Value.NeedDaemonReload);
    }

    [Fact]
    public async Task Watch_ServiceChanges_SignalsEachWithoutPolling()
    {
        var name = await MakeAsync("watched", "ExecStart=/bin/sleep infinity");
        await using var signals = Reader.WatchAsync([name], Ct).GetAsyncEnumerator(Ct);
        await NextAsync(signals, UnitSignalKind.Resync);
        Assert.Equal(UnitResult.Done, (await Writer.StartAsync(name, Patience, Ct)).Result);
        await NextAsync(signals, UnitSignalKind.Changed);
        Assert.Equal("done", (await NextAsync(signals, UnitSignalKind.JobRemoved)).JobResult);
        Assert.True((await Writer.ReloadDaemonAsync(Patience, Ct)).IsDone);
        await NextAsync(signals, UnitSignalKind.Reloaded);
        Assert.Equal(UnitResult.Done, (await Writer.KillAsync(name, KillTarget.All, 9, Patience, Ct)).Result);
        Assert.Equal(name, (await NextAsync(signals, UnitSignalKind.Changed)).Unit);
    }

    [Fact]
    public async Task Watch_SystemdExecutesItselfAgain_ResyncsAndStillSignals()
    {
        var name = await MakeAsync("reexec", "ExecStart=/bin/sleep infinity");
        await using var signals = Reader.WatchAsync([name], Ct).GetAsyncEnumerator(Ct);
        await NextAsync(signals, UnitSignalKind.Resync);
        // Manager.Reexecute sends no reply: the bus says so when systemd's connection goes.
        await Assert.ThrowsAnyAsync<SystemdException>(() => _link!.CallManagerAsync("Reexecute", [], static _ => true, TimeSpan.FromSeconds(2), Ct));
        await NextAsync(signals, UnitSignalKind.Resync);
        Assert.Equal(UnitResult.Done, (await Writer.StartAsync(name, Patience, Ct)).Result);
        await NextAsync(signals, UnitSignalKind.Changed);
    }

    [Fact]
    public async Task Job_SystemdExecutesItselfAgainMeanwhile_StillEnds()
    {
        var name = await MakeAsync("reexec-job", "Type=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sleep 3");
        var start = Writer.StartAsync(name, Patience, Ct);
        await UntilAsync(name, static state => state.ActiveState == "activating");
        await Assert.ThrowsAnyAsync<SystemdException>(() => _link!.CallManagerAsync("Reexecute", [], static _ => true, TimeSpan.FromSeconds(2), Ct));
        Assert.Equal(UnitResult.Done, (await start).Result);
    }

    [Fact]
    public async Task Watch_BusRestarted_SaysUnseenThenResyncsAndStillSignals()
    {
        var name = await MakeAsync("bus", "ExecStart=/bin/sleep infinity");
        await using var signals = Reader.WatchAsync([name], Ct).GetAsyncEnumerator(Ct);
        await NextAsync(signals, UnitSignalKind.Resync);
        var restart = await new LabProcesses(_leader!).RunAsync(
            new ProcessRequest { Program = "/bin/systemctl", Arguments = ["restart", "dbus.service"], Deadline = Patience }, Ct);
        Assert.True(restart.IsSuccess, restart.Stderr);
        await NextAsync(signals, UnitSignalKind.Resync);
        Assert.True((await Reader.GetUnitAsync(name, Ct)).IsSeen);
        Assert.Equal(UnitResult.Done, (await Writer.StartAsync(name, Patience, Ct)).Result);
        await NextAsync(signals, UnitSignalKind.Changed);
    }

    [Fact]
    public async Task Install_RealPackageWithAService_LeavesItStoppedAndDisabled()
    {
        var processes = new LabProcesses(_leader!);
        var reader = new DpkgReader(processes);
        Assert.True((await processes.RunAsync(Apt("purge"), Ct)).IsSuccess);
        Assert.NotEqual(PackageStatus.Installed, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        await Writer.ReloadDaemonAsync(Patience, Ct);
        await using var signals = Reader.WatchAsync(["redis-server.service"], Ct).GetAsyncEnumerator(Ct);
        await NextAsync(signals, UnitSignalKind.Resync);

        var request = new PackageRequest { Name = "redis-server", QuietUnits = ["redis-server.service"], Deadline = TimeSpan.FromMinutes(1) };
        var outcome = await new AptWriter(processes, reader, Writer, TimeProvider.System).InstallAsync(request, Ct);
        Assert.True(outcome.IsDone, $"{outcome.Result} {outcome.Detail} {string.Join('\n', outcome.LastLines)}");
        Assert.Equal(PackageStatus.Installed, (await reader.GetAsync("redis-server", Ct)).Value.Status);
        var unit = (await Reader.GetUnitAsync("redis-server.service", Ct)).Value;
        Assert.Equal(("loaded", "inactive", "disabled", ""), (unit.LoadState, unit.ActiveState, unit.UnitFileState, unit.InvocationId));

        var missing = await new AptWriter(processes, reader, Writer, TimeProvider.System).InstallAsync(request with { Name = "no-such-package" }, Ct);
        Assert.Equal(PackageResult.NotFound, missing.Result);
    }

    private static ProcessRequest Apt(string verb) => new()
    {
        Program = "/usr/bin/apt-get",
        Arguments = [verb, "--yes", "redis-server"],
        Deadline = TimeSpan.FromMinutes(1),
        Environment = new Dictionary<string, string> { ["DEBIAN_FRONTEND"] = "noninteractive" },
    };

    private static async Task<UnitSignal> NextAsync(IAsyncEnumerator<UnitSignal> signals, UnitSignalKind kind)
    {
        while (await signals.MoveNextAsync().AsTask().WaitAsync(Patience, Ct))
        {
            if (signals.Current.Kind == kind)
                return signals.Current;
        }

        throw new InvalidOperationException("The watch ended.");
    }

    /// <summary>Reads the unit at every signal until it is as expected: the way the daemon does it.</summary>
    private async Task<UnitState> UntilAsync(string name, Func<UnitState, bool> expected)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        limit.CancelAfter(Patience);
        await foreach (var _ in Reader.WatchAsync([name], limit.Token))
        {
            var state = await Reader.GetUnitAsync(name, limit.Token);
            if (state.IsSeen && expected(state.Value))
                return state.Value;
        }

        throw new InvalidOperationException("The watch ended.");
    }

    private async Task<string> MakeAsync(string label, string service, string unit = "")
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"am-test-{label}-{Environment.ProcessId}.service");
        await File.WriteAllTextAsync($"{Root}/etc/systemd/system/{name}", $"[Unit]\n{unit}\n[Service]\n{service}\n[Install]\nWantedBy=multi-user.target\n", Ct);
        _made.Add(name);
        Assert.True((await Writer.ReloadDaemonAsync(Patience, Ct)).IsDone);
        return name;
    }
}

/// <summary>Runs programs inside a lab host instead of on this machine.</summary>
internal sealed class LabProcesses(string leader) : IProcessRunner
{
    public Task<ProcessOutcome> RunAsync(ProcessRequest request, CancellationToken ct) =>
        new ProcessRunner(TimeProvider.System).RunAsync(
            request with { Program = "/usr/bin/nsenter", Arguments = ["-t", leader, "-a", "--", request.Program, .. request.Arguments] }, ct);
}
