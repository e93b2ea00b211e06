using AgentMetal.NodeAgent.Host.Libvirt;
using static AgentMetal.NodeAgent.Tests.Host.Libvirt.TestHost;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>Reader and writer against the real library and its test driver.</summary>
public sealed class DomainTests : IAsyncDisposable
{
    private readonly TestHost _host = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public ValueTask DisposeAsync() => _host.DisposeAsync();

    [Fact]
    public async Task Domain_DefinedStartedStoppedUndefined_IsSeenAsItIs()
    {
        var uuid = await _host.DefineAsync(1, "web");
        var defined = await _host.StateAsync(uuid);
        Assert.Equal((true, uuid, "web", DomainPower.ShutOff), (defined.Exists, defined.Uuid, defined.Name, defined.Power));
        Assert.Equal((true, false, -1L, ""), (defined.Persistent, defined.Autostart, defined.Id, defined.ActiveXml));
        Assert.Contains("<name>web</name>", defined.InactiveXml, StringComparison.Ordinal);

        Assert.True((await _host.Writer.CreateAsync(uuid, Patience, Ct)).IsDone);
        var running = await _host.StateAsync(uuid);
        Assert.Equal((DomainPower.Running, "booted"), (running.Power, running.Reason));
        Assert.True(running.Id > 0);
        Assert.Contains($"id='{running.Id}'", running.ActiveXml, StringComparison.Ordinal);

        Assert.True((await _host.Writer.DestroyAsync(uuid, graceful: false, Patience, Ct)).IsDone);
        var destroyed = await _host.StateAsync(uuid);
        Assert.Equal((DomainPower.ShutOff, "destroyed"), (destroyed.Power, destroyed.Reason));

        Assert.True((await _host.Writer.CreateAsync(uuid, Patience, Ct)).IsDone);
        Assert.NotEqual(running.Id, (await _host.StateAsync(uuid)).Id);
        Assert.True((await _host.Writer.ShutdownAsync(uuid, byAgent: false, Patience, Ct)).IsDone);
        Assert.Equal("shutdown", (await _host.StateAsync(uuid)).Reason);

        Assert.True((await _host.Writer.UndefineAsync(uuid, Patience, Ct)).IsDone);
        Assert.Equal(DomainState.Absent(uuid, ""), await _host.StateAsync(uuid));
    }

    [Fact]
    public async Task Domain_SuspendedAndResumed_IsPausedByTheUserAndUnpaused()
    {
        var uuid = await _host.DefineAsync(1);
        await _host.Writer.CreateAsync(uuid, Patience, Ct);
        Assert.True((await _host.Writer.SuspendAsync(uuid, Patience, Ct)).IsDone);
        var paused = await _host.StateAsync(uuid);
        Assert.Equal((DomainPower.Paused, "user"), (paused.Power, paused.Reason));
        Assert.True((await _host.Writer.ResumeAsync(uuid, Patience, Ct)).IsDone);
        var resumed = await _host.StateAsync(uuid);
        Assert.Equal((DomainPower.Running, "unpaused"), (resumed.Power, resumed.Reason));
    }

    [Fact]
    public async Task Domain_ByName_IsTheSame()
    {
        var uuid = await _host.DefineAsync(1, "by-name");
        Assert.Equal(await _host.StateAsync(uuid), (await _host.Reader.DomainByNameAsync("by-name", Ct)).Value);
        Assert.Equal(DomainState.Absent("", "nobody"), (await _host.Reader.DomainByNameAsync("nobody", Ct)).Value);
    }

    [Fact]
    public async Task Domains_ListsAllWithPower()
    {
        var stopped = await _host.DefineAsync(1, "stopped");
        var started = await _host.DefineAsync(2, "started");
        await _host.Writer.CreateAsync(started, Patience, Ct);
        var list = (await _host.Reader.DomainsAsync(Ct)).Value;
        Assert.Contains(new DomainBrief(stopped, "stopped", DomainPower.ShutOff, true), list);
        Assert.Contains(new DomainBrief(started, "started", DomainPower.Running, true), list);
        Assert.Equal(2, list.Count);
    }

    [Fact]
    public async Task Autostart_SetAndCleared_IsSeen()
    {
        var uuid = await _host.DefineAsync(1);
        Assert.True((await _host.Writer.SetAutostartAsync(uuid, true, Patience, Ct)).IsDone);
        Assert.True((await _host.StateAsync(uuid)).Autostart);
        Assert.True((await _host.Writer.SetAutostartAsync(uuid, false, Patience, Ct)).IsDone);
        Assert.False((await _host.StateAsync(uuid)).Autostart);
    }

    [Fact]
    public async Task Define_BadXml_IsRefusedInLibvirtsWords()
    {
        var outcome = await _host.Writer.DefineAsync("<nope/>", Patience, Ct);
        Assert.Equal(DomainResult.Refused, outcome.Result);
        Assert.Contains("nope", outcome.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Define_TextBehindANul_IsRefusedAndNotCutOff()
    {
        var outcome = await _host.Writer.DefineAsync(Xml(Uuid(1), "cut") + "\0 the rest", Patience, Ct);
        Assert.Equal(DomainResult.Refused, outcome.Result);
        Assert.False((await _host.StateAsync(Uuid(1))).Exists);
    }

    [Fact]
    public async Task Create_UnknownUuid_IsNotFound()
    {
        var outcome = await _host.Writer.CreateAsync(Uuid(404), Patience, Ct);
        Assert.Equal(DomainResult.NotFound, outcome.Result);
        Assert.Equal("Domain not found", outcome.Detail);
    }

    [Fact]
    public async Task Create_RunningDomain_IsRefusedWithTheReason()
    {
        var uuid = await _host.DefineAsync(1);
        await _host.Writer.CreateAsync(uuid, Patience, Ct);
        var outcome = await _host.Writer.CreateAsync(uuid, Patience, Ct);
        Assert.Equal(DomainResult.Refused, outcome.Result);
        // The reason must be read before the handle is released, which clears it.
        Assert.Contains("running", outcome.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Domain_TextThatIsNoUuid_IsUnseenAndNotAbsent()
    {
        var seen = await _host.Reader.DomainAsync("not-a-uuid", Ct);
        Assert.False(seen.IsSeen);
        Assert.Contains("uuid", seen.WhyUnseen, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Memory_ChangedForTheNextStart_IsInTheDefinition()
    {
        var uuid = await _host.DefineAsync(1);
        Assert.Equal(DomainOutcome.Done, await _host.Writer.SetMemoryAsync(uuid, 32 * 1024, live: false, config: true, Patience, Ct));
        Assert.Contains("<currentMemory unit='KiB'>32768</currentMemory>", (await _host.StateAsync(uuid)).InactiveXml, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Vcpus_MoreThanTheMaximum_AreRefused()
    {
        var uuid = await _host.DefineAsync(1);
        Assert.Equal(DomainOutcome.Done, await _host.Writer.SetVcpusAsync(uuid, 1, live: false, config: true, Patience, Ct));
        Assert.Contains("current='1'", (await _host.StateAsync(uuid)).InactiveXml, StringComparison.Ordinal);
        Assert.Equal(DomainResult.Refused, (await _host.Writer.SetVcpusAsync(uuid, 99, live: false, config: true, Patience, Ct)).Result);
    }

    [Fact]
    public async Task Stats_HundredDomains_AreReadAtOnceWithTheirCounters()
    {
        for (var i = 0; i < 100; i++)
        {
            var uuid = await _host.DefineAsync(i);
            if (i % 2 == 0)
                Assert.True((await _host.Writer.CreateAsync(uuid, Patience, Ct)).IsDone);
        }

        var all = (await _host.Reader.StatsAsync([], Ct)).Value;
        Assert.Equal(100, all.Count);
        var byUuid = all.ToDictionary(one => one.Uuid);
        for (var i = 0; i < 100; i++)
            Assert.Equal(i % 2 == 0 ? DomainPower.Running : DomainPower.ShutOff, byUuid[Uuid(i)].Power);

        foreach (var count in (int[])[1, 4, 5, 50])
        {
            var wanted = Enumerable.Range(0, count).Select(Uuid).Append(Uuid(404)).ToList();
            var some = (await _host.Reader.StatsAsync(wanted, Ct)).Value;
            Assert.Equal(wanted[..^1], some.Select(one => one.Uuid).Order(StringComparer.Ordinal));
        }

        Assert.Empty((await _host.Reader.StatsAsync([Uuid(404)], Ct)).Value);
    }

    [Fact]
    public async Task Network_StartedWithAutostart_IsSeen()
    {
        var network = (await _host.Reader.NetworkAsync("default", Ct)).Value;
        Assert.Equal(new NetworkState(true, "default", true, false, "virbr0"), network);
        Assert.True((await _host.Writer.SetNetworkAutostartAsync("default", true, Patience, Ct)).IsDone);
        Assert.True((await _host.Reader.NetworkAsync("default", Ct)).Value.Autostart);
        Assert.Equal(DomainResult.Refused, (await _host.Writer.StartNetworkAsync("default", Patience, Ct)).Result);
        Assert.Equal(new NetworkState(false, "none", false, false, ""), (await _host.Reader.NetworkAsync("none", Ct)).Value);
        Assert.Equal(DomainResult.NotFound, (await _host.Writer.StartNetworkAsync("none", Patience, Ct)).Result);
    }

    [Fact]
    public async Task Snapshots_MadeRevertedDeleted_AreSeenParentsFirst()
    {
        var uuid = await _host.DefineAsync(1);
        foreach (var name in (string[])["a", "b"])
            Assert.Equal(DomainOutcome.Done, await _host.Writer.CreateSnapshotAsync(uuid, $"<domainsnapshot><name>{name}</name></domainsnapshot>", SnapshotFlags.None, Patience, Ct));
        var both = (await _host.Reader.SnapshotsAsync(uuid, Ct)).Value;
        Assert.Equal([("a", false), ("b", true)], both.Select(one => (one.Name, one.Current)));
        Assert.Contains("<parent>", both[1].Xml, StringComparison.Ordinal);

        await _host.Writer.CreateAsync(uuid, Patience, Ct);
        Assert.Equal(DomainOutcome.Done, await _host.Writer.RevertSnapshotAsync(uuid, "a", start: false, Patience, Ct));
        Assert.Equal(DomainPower.ShutOff, (await _host.StateAsync(uuid)).Power);
        Assert.Equal(["a"], (await _host.Reader.SnapshotsAsync(uuid, Ct)).Value.Where(one => one.Current).Select(one => one.Name));

        Assert.True((await _host.Writer.DeleteSnapshotAsync(uuid, "a", Patience, Ct)).IsDone);
        Assert.Equal(["b"], (await _host.Reader.SnapshotsAsync(uuid, Ct)).Value.Select(one => one.Name));
        Assert.Equal(DomainResult.NotFound, (await _host.Writer.DeleteSnapshotAsync(uuid, "a", Patience, Ct)).Result);
        Assert.False((await _host.Reader.SnapshotsAsync(Uuid(404), Ct)).IsSeen);
    }

    [Fact]
    public async Task Addresses_OfARunningDomain_AreReadWithMacAndPrefix()
    {
        var uuid = await _host.DefineAsync(1, devices: "<interface type='network'><mac address='52:54:00:AA:BB:CC'/><source network='default'/></interface>");
        await _host.Writer.CreateAsync(uuid, Patience, Ct);
        var addresses = (await _host.Reader.AddressesAsync(uuid, AddressSource.Lease, Ct)).Value;
        var address = Assert.Single(addresses);
        Assert.Equal("52:54:00:aa:bb:cc", address.Mac);
        Assert.StartsWith("192.168.122.", address.Address, StringComparison.Ordinal);
        Assert.Equal(24, address.Prefix);
    }

    [Fact]
    public async Task VersionsAndCapabilities_OfTheTestDriver_AreRead()
    {
        var versions = (await _host.Reader.VersionsAsync(Ct)).Value;
        Assert.Matches(@"^\d+\.\d+\.\d+$", versions.Library);
        Assert.Equal(("TEST", versions.Library), (versions.Type, versions.Daemon));
        Assert.StartsWith("<capabilities>", (await _host.Reader.CapabilitiesAsync(Ct)).Value, StringComparison.Ordinal);
    }
}
