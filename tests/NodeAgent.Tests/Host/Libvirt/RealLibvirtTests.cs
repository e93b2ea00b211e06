using System.Text;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Host.Systemd;
using static AgentMetal.NodeAgent.Tests.Host.Libvirt.TestHost;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>
/// The layer against a real libvirtd with QEMU, whose host they restart, freeze and kill it on: they run only where they are asked for by name (explicit).
/// Lab.Tests runs them inside a host of the lab; AGENTMETAL_LAB_LEADER is the PID of the host's PID 1 as who runs them sees it, 1 inside of it.
/// The guest is a boot sector that greets on its serial port and echoes what it is sent: it needs no kernel and is up at once.
/// </summary>
public sealed class RealLibvirtTests : IAsyncLifetime
{
    private const string Service = "libvirtd.service";
    private const int SignalStop = 19;
    private const int SignalContinue = 18;

    // mov dx,3f8; "hi\n" out; again: hlt; next: mov dx,3fd; in al,dx; test al,1; jz again; mov dx,3f8; in al,dx; out dx,al; jmp next
    private static readonly byte[] Echo =
    [
        0xba, 0xf8, 0x03, 0xb0, 0x68, 0xee, 0xb0, 0x69, 0xee, 0xb0, 0x0a, 0xee,
        0xf4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf7, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xf1,
    ];

    private static int s_last;

    private readonly string? _leader = Environment.GetEnvironmentVariable("AGENTMETAL_LAB_LEADER");
    private readonly int _number = Interlocked.Increment(ref s_last);
    private LibvirtLink? _link;
    private SystemdLink? _systemd;

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private string Root => $"/proc/{_leader}/root";

    private LibvirtReader Reader => new(_link!);

    private LibvirtWriter Writer => new(_link!);

    private UnitWriter Units => new(_systemd!);

    private string Vm => Uuid(0xabc000 + _number);

    private string Disk => $"/var/lib/libvirt/images/echo-{_number}.img";

    private LibvirtOptions Options => new()
    {
        Uri = $"qemu+unix:///system?socket={Root}/run/libvirt/libvirt-sock",
        CallDeadline = Patience,
        MinBackOff = TimeSpan.FromMilliseconds(20),
        MaxBackOff = TimeSpan.FromMilliseconds(200),
        KeepAliveSeconds = 1,
        KeepAliveCount = 2,
    };

    public ValueTask InitializeAsync()
    {
        Assert.SkipWhen(string.IsNullOrEmpty(_leader), "AGENTMETAL_LAB_LEADER names no lab host");
        Assert.SkipWhen(!File.Exists($"{Root}/usr/sbin/libvirtd"), "the lab host has no libvirtd");
        RequireLibrary();
        _link = new LibvirtLink(Options, TimeProvider.System);
        _systemd = new SystemdLink(new SystemdOptions { BusAddress = $"unix:path={Root}/run/dbus/system_bus_socket" }, TimeProvider.System);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        if (_link is null || _systemd is null)
            return;

        await Writer.DestroyAsync(Vm, graceful: false, Patience, CancellationToken.None);
        await Writer.UndefineAsync(Vm, Patience, CancellationToken.None);
        File.Delete(Root + Disk);
        await _link.DisposeAsync();
        await _systemd.DisposeAsync();
    }

    [Fact(Explicit = true)]
    public async Task Versions_OfARealHost_NameQemu()
    {
        var versions = (await Reader.VersionsAsync(Ct)).Value;
        Assert.Equal("QEMU", versions.Type);
        Assert.Matches(@"^\d+\.\d+\.\d+$", versions.Hypervisor);
        Assert.Contains("<domain type='qemu'", (await Reader.CapabilitiesAsync(Ct)).Value, StringComparison.Ordinal);
    }

    [Fact(Explicit = true)]
    public async Task Domain_ThroughItsLife_IsSeenWithEventsAndCounters()
    {
        await using var watch = new WatchReader(Reader);
        Assert.Equal(DomainSignalKind.Resync, (await watch.NextAsync()).Kind);
        await StartAsync();
        await UntilAsync(watch, "started booted");
        var running = (await Reader.DomainAsync(Vm, Ct)).Value;
        Assert.Equal((DomainPower.Running, "booted"), (running.Power, running.Reason));
        Assert.Contains($"id='{running.Id}'", running.ActiveXml, StringComparison.Ordinal);

        await HasBootedAsync();
        foreach (IReadOnlyCollection<string> uuids in (string[][])[[Vm], []])
        {
            var stats = Assert.Single((await Reader.StatsAsync(uuids, Ct)).Value, one => one.Uuid == Vm);
            Assert.Equal((DomainPower.Running, 1, 32 * 1024L), (stats.Power, stats.Vcpus, stats.BalloonMaximumKiB));
            Assert.True(stats.CpuTimeNs > 0 && stats.RssKiB > 1024, stats.ToString());
            var disk = Assert.Single(stats.Disks);
            Assert.Equal(("vda", 1024 * 1024L), (disk.Target, disk.Capacity));
            Assert.True(disk.RdBytes >= 512 && disk.RdReqs > 0, disk.ToString());
        }

        Assert.True((await Writer.SuspendAsync(Vm, Patience, Ct)).IsDone);
        await UntilAsync(watch, "suspended paused");
        Assert.True((await Writer.ResumeAsync(Vm, Patience, Ct)).IsDone);
        Assert.True((await Writer.ResetAsync(Vm, Patience, Ct)).IsDone);
        await UntilAsync(watch, "reboot ");
        // It was asked, and a boot sector does not answer.
        Assert.True((await Writer.ShutdownAsync(Vm, byAgent: false, Patience, Ct)).IsDone);
        Assert.Equal(DomainResult.Refused, (await Writer.ShutdownAsync(Vm, byAgent: true, Patience, Ct)).Result);
        Assert.False((await Reader.AddressesAsync(Vm, AddressSource.Agent, Ct)).IsSeen);
        Assert.Empty((await Reader.AddressesAsync(Vm, AddressSource.Lease, Ct)).Value);

        Assert.True((await Writer.DestroyAsync(Vm, graceful: true, Patience, Ct)).IsDone);
        await UntilAsync(watch, "stopped destroyed");
        Assert.True((await Writer.UndefineAsync(Vm, Patience, Ct)).IsDone);
        Assert.False((await Reader.DomainAsync(Vm, Ct)).Value.Exists);
    }

    [Fact(Explicit = true)]
    public async Task Domain_ItsProcessKilled_StopsAsCrashed()
    {
        await StartAsync();
        await using var watch = new WatchReader(Reader);
        await watch.NextAsync();
        var pid = File.ReadAllText($"{Root}/run/libvirt/qemu/echo-{_number}.pid").Trim();
        using (var kill = System.Diagnostics.Process.Start("nsenter", ["-t", _leader!, "-p", "-m", "kill", "-9", pid]))
            await kill.WaitForExitAsync(Ct);
        var stopped = await UntilAsync(watch, "stopped ");
        Assert.Contains(stopped.Detail, (string[])["failed", "crashed"]);
        Assert.Equal(DomainPower.ShutOff, (await Reader.DomainAsync(Vm, Ct)).Value.Power);
    }

    [Fact(Explicit = true)]
    public async Task Domain_ChangedLive_IsChanged()
    {
        await StartAsync();
        Assert.Equal(DomainOutcome.Done, await Writer.BlockResizeAsync(Vm, "vda", 2 * 1024 * 1024, Patience, Ct));
        Assert.Equal(2 * 1024 * 1024, new FileInfo(Root + Disk).Length);
        Assert.Equal(DomainOutcome.Done, await Writer.SetMemoryAsync(Vm, 24 * 1024, live: true, config: true, Patience, Ct));
        Assert.Equal(DomainOutcome.Done, await Writer.SetVcpusAsync(Vm, 2, live: true, config: true, Patience, Ct));
        const string Nic = "<interface type='user'><mac address='52:54:00:00:be:ef'/><model type='virtio'/></interface>";
        Assert.Equal(DomainOutcome.Done, await Writer.AttachAsync(Vm, Nic, live: true, config: true, Patience, Ct));
        var state = (await Reader.DomainAsync(Vm, Ct)).Value;
        Assert.Contains("52:54:00:00:be:ef", state.ActiveXml, StringComparison.Ordinal);
        Assert.Contains("current='2'", state.InactiveXml, StringComparison.Ordinal);
        Assert.Equal(2, Assert.Single((await Reader.StatsAsync([Vm], Ct)).Value).Vcpus);

        Assert.Equal(DomainOutcome.Done, await Writer.DetachAsync(Vm, Nic, live: false, config: true, Patience, Ct));
        Assert.DoesNotContain("52:54:00:00:be:ef", (await Reader.DomainAsync(Vm, Ct)).Value.InactiveXml, StringComparison.Ordinal);
        Assert.Equal(DomainResult.NotFound, (await Writer.DetachAsync(Vm, Nic, live: false, config: true, Patience, Ct)).Result);
    }

    [Fact(Explicit = true)]
    public async Task Console_OfARunningGuest_CarriesBothWaysAndEndsWithIt()
    {
        await StartAsync();
        var consoles = new LibvirtConsole(_link!);
        var (console, outcome) = await consoles.OpenAsync(Vm, force: false, Patience, Ct);
        Assert.Equal(DomainOutcome.Done, outcome);
        await using (console)
        {
            await HasBootedAsync();
            await console!.WriteAsync("abc"u8.ToArray(), Ct);
            await ReadUntilAsync(console, "abc");

            var (_, second) = await consoles.OpenAsync(Vm, force: false, Patience, Ct);
            Assert.Equal(DomainResult.Refused, second.Result);
            var (taken, forced) = await consoles.OpenAsync(Vm, force: true, Patience, Ct);
            Assert.Equal(DomainOutcome.Done, forced);
            await using (taken)
            {
                Assert.Equal(0, await console.ReadAsync(new byte[16], Ct).AsTask().WaitAsync(Patience, Ct));
                await Assert.ThrowsAsync<IOException>(async () => await console.WriteAsync("x"u8.ToArray(), Ct));
                await taken!.WriteAsync("xyz"u8.ToArray(), Ct);
                await ReadUntilAsync(taken, "xyz");
                await Writer.DestroyAsync(Vm, graceful: false, Patience, Ct);
                Assert.Equal(0, await taken.ReadAsync(new byte[16], Ct).AsTask().WaitAsync(Patience, Ct));
            }
        }

        Assert.Equal(0, consoles.Open);
        Assert.Equal(DomainResult.Refused, (await consoles.OpenAsync(Vm, force: false, Patience, Ct)).Outcome.Result);
        Assert.Equal(0, consoles.Open);
    }

    [Fact(Explicit = true)]
    public async Task Daemon_Restarted_IsUnseenThenReadAnewAndTheGuestRunsOn()
    {
        await StartAsync();
        var (console, _) = await new LibvirtConsole(_link!).OpenAsync(Vm, force: false, Patience, Ct);
        await using var watch = new WatchReader(Reader);
        Assert.Equal(DomainSignalKind.Resync, (await watch.NextAsync()).Kind);
        var before = (await Reader.DomainAsync(Vm, Ct)).Value;
        Assert.Equal(UnitResult.Done, (await Units.RestartAsync(Service, Patience, Ct)).Result);
        await watch.UntilAsync(DomainSignalKind.Unseen);
        await watch.UntilAsync(DomainSignalKind.Resync);
        var after = (await Reader.DomainAsync(Vm, Ct)).Value;
        Assert.Equal((DomainPower.Running, before.Id), (after.Power, after.Id));
        await using (console)
        {
            // What had come before is still there to read; then it has ended.
            var buffer = new byte[256];
            while (await console!.ReadAsync(buffer, Ct).AsTask().WaitAsync(Patience, Ct) > 0)
                Assert.NotNull(buffer);
        }

        // Events come through the new connection. One of a stop would not do: a daemon that is still finding its guests again swallows it.
        await DefineAsync();
        await UntilAsync(watch, "defined updated");
        var destroyed = await Writer.DestroyAsync(Vm, graceful: false, Patience, Ct);
        var stopped = (await Reader.DomainAsync(Vm, Ct)).Value;
        Assert.True(stopped.Power == DomainPower.ShutOff, $"{stopped.Power} {stopped.Reason} after {destroyed}");
    }

    [Fact(Explicit = true)]
    public async Task Daemon_Frozen_EndsCallsAtTheirDeadlineAndTheConnectionByKeepAlive()
    {
        await DefineAsync();
        await using var watch = new WatchReader(Reader);
        await watch.NextAsync();
        await Units.KillAsync(Service, KillTarget.Main, SignalStop, Patience, Ct);
        try
        {
            // So many that libvirt's client would crash if they shared the connection that is lost under them.
            var started = TimeProvider.System.GetTimestamp();
            var reads = Enumerable.Range(0, 7).Select(_ => Reader.DomainAsync(Vm, Ct).AsTask()).ToList();
            var late = await Writer.SetAutostartAsync(Vm, true, TimeSpan.FromMilliseconds(300), Ct);
            Assert.Equal(DomainResult.DeadlinePassed, late.Result);
            Assert.InRange(TimeProvider.System.GetElapsedTime(started).TotalMilliseconds, 299, 2000);
            // The caller has gone, the call has not: it is counted until it returns.
            Assert.Equal(8, _link!.BusyThreads);
            var lost = await await Task.WhenAny(reads);
            Assert.False(lost.IsSeen);
            Assert.InRange(TimeProvider.System.GetElapsedTime(started).TotalSeconds, 1, 10);
            await watch.UntilAsync(DomainSignalKind.Unseen);
            Assert.Equal(DomainResult.DeadlinePassed, (await Writer.SetAutostartAsync(Vm, true, TimeSpan.FromMilliseconds(100), Ct)).Result);
        }
        finally
        {
            await Units.KillAsync(Service, KillTarget.Main, SignalContinue, Patience, CancellationToken.None);
        }

        await watch.UntilAsync(DomainSignalKind.Resync);
        await UntilNothingRunsAsync();
        // The callers had gone before their calls were begun: those were not made late.
        Assert.False((await Reader.DomainAsync(Vm, Ct)).Value.Autostart);
    }

    [Fact(Explicit = true)]
    public async Task Daemon_RestartedUnderManyCalls_EveryCallEndsAndSoDoTheirConnections()
    {
        await DefineAsync();
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(Ct);
        var counts = new int[2];
        var callers = Enumerable.Range(0, 16).Select(_ => Task.Run(async () =>
        {
            while (!enough.IsCancellationRequested)
            {
                var seen = await Reader.DomainAsync(Vm, Ct);
                Interlocked.Increment(ref counts[seen.IsSeen ? 1 : 0]);
                Assert.True(seen.ValueOrNull?.Exists ?? true, "a lost daemon was taken for an absent domain");
                // Without a daemon every attempt ends at once.
                if (!seen.IsSeen)
                    await Task.Delay(5, Ct);
            }
        })).ToList();
        for (var i = 0; i < 5; i++)
        {
            await GrownAsync(counts, 1, 50);
            Assert.Equal(UnitResult.Done, (await Units.KillAsync(Service, KillTarget.Main, 9, Patience, Ct)).Result);
            await Units.ResetFailedAsync(Service, Patience, Ct);
            Assert.Equal(UnitResult.Done, (await Units.StartAsync(Service, Patience, Ct)).Result);
        }

        await GrownAsync(counts, 1, 50);
        await enough.CancelAsync();
        await Task.WhenAll(callers);
        await UntilNothingRunsAsync();
        Assert.True(counts[0] > 0, "no caller noticed five deaths of the daemon");
    }

    [Fact(Explicit = true)]
    public async Task Link_OpenedAndClosedManyTimes_LeavesNoSocket()
    {
        await RoundAsync();
        var before = Sockets();
        for (var i = 0; i < 15; i++)
            await RoundAsync();
        // Each round has four connections at least; other tests of this process come and go with a few.
        Assert.InRange(Sockets() - before, -20, 20);

        async Task RoundAsync()
        {
            await using var link = new LibvirtLink(Options, TimeProvider.System);
            var reader = new LibvirtReader(link);
            await using var watch = new WatchReader(reader);
            await watch.UntilAsync(DomainSignalKind.Resync);
            Assert.All(await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => reader.DomainsAsync(Ct).AsTask())), list => Assert.True(list.IsSeen, list.WhyUnseen));
        }
    }

    private static int Sockets() => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count(fd => new FileInfo(fd).LinkTarget?.StartsWith("socket:", StringComparison.Ordinal) ?? false);

    private Task UntilNothingRunsAsync() => UntilAsync(() => _link!.BusyThreads == 0);

    private static Task GrownAsync(int[] counts, int which, int by)
    {
        var wanted = Volatile.Read(ref counts[which]) + by;
        return UntilAsync(() => Volatile.Read(ref counts[which]) >= wanted);
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, "it did not come true in time");
            await Task.Delay(20, Ct);
        }
    }

    private async Task StartAsync()
    {
        await DefineAsync();
        Assert.Equal(DomainOutcome.Done, await Writer.CreateAsync(Vm, Patience, Ct));
    }

    /// <summary>Waits until the guest's sector was read from the disk.</summary>
    private async Task HasBootedAsync()
    {
        var started = TimeProvider.System.GetTimestamp();
        while ((await Reader.StatsAsync([Vm], Ct)).Value is not [{ Disks: [{ RdBytes: > 0 }] }])
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, "the guest did not boot");
            await Task.Delay(50, Ct);
        }
    }

    private async Task DefineAsync()
    {
        var image = new byte[1024 * 1024];
        Echo.CopyTo(image, 0);
        (image[510], image[511]) = (0x55, 0xaa);
        await File.WriteAllBytesAsync(Root + Disk, image, Ct);
        var xml =
            $"""
             <domain type='qemu'><name>echo-{_number}</name><uuid>{Vm}</uuid><memory unit='MiB'>32</memory><vcpu current='1'>3</vcpu>
               <os><type arch='x86_64' machine='pc'>hvm</type><boot dev='hd'/></os><features><acpi/></features>
               <devices>
                 <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{Disk}'/><target dev='vda' bus='virtio'/></disk>
                 <serial type='pty'><target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>
                 <memballoon model='virtio'/>
               </devices>
             </domain>
             """;
        Assert.Equal(DomainOutcome.Done, await Writer.DefineAsync(xml, Patience, Ct));
    }

    private Task<DomainSignal> UntilAsync(WatchReader watch, string words) =>
        watch.UntilAsync(signal => signal.Uuid == Vm && $"{signal.Event} {signal.Detail}".StartsWith(words, StringComparison.Ordinal));

    private static async Task ReadUntilAsync(Stream console, string text)
    {
        var all = new StringBuilder();
        var buffer = new byte[256];
        while (!all.ToString().EndsWith(text, StringComparison.Ordinal))
        {
            var count = await console.ReadAsync(buffer, Ct).AsTask().WaitAsync(Patience, Ct);
            Assert.True(count > 0, $"the console ended after \"{all}\"");
            all.Append(Encoding.ASCII.GetString(buffer, 0, count));
        }
    }
}
