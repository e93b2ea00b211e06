using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.Runtime.Resources.Kinds;
using Microsoft.Extensions.Time.Testing;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class InstanceDetailsTests : IDisposable
{
    private const long MiB = 1 << 20;
    private readonly FakeTimeProvider _clock = new();
    private readonly CountersOnly _libvirt = new();
    private readonly InstanceRoots _roots = new() { Lib = Directory.CreateTempSubdirectory("agentmetal-details-").FullName };
    private readonly InstanceDetails _details;

    public InstanceDetailsTests() => _details = new(_libvirt, new FileReader(), _clock, _roots);

    public void Dispose() => Directory.Delete(_roots.Lib, recursive: true);

    [Fact]
    public async Task Read_TwoLooks_GiveRatesWithOneCallEach()
    {
        var input = Input();
        _libvirt.Stats = [Stats(cpuSeconds: 100, read: 0, received: 10 * MiB)];
        var first = await ReadAsync(input);
        Assert.Equal(("2", (120 * MiB).ToString(), (512 * MiB).ToString()), (first[InstanceDetail.Cpus], first[InstanceDetail.MemoryUsed], first[InstanceDetail.MemoryAssigned]));
        Assert.False(first.ContainsKey(InstanceDetail.CpuPercent)); // Of one look there is no rate.
        _clock.Advance(TimeSpan.FromSeconds(10));
        _libvirt.Stats = [Stats(cpuSeconds: 105, read: 20 * MiB, received: 10 * MiB)];
        var second = await ReadAsync(input);
        Assert.Equal(("25", (2 * MiB).ToString(), "0"), (second[InstanceDetail.CpuPercent], second[InstanceDetail.DiskRead], second[InstanceDetail.Received]));
        Assert.Equal(2, _libvirt.Calls);
    }

    [Fact]
    public async Task Read_StartedAnew_HasNoRateBelowNothing()
    {
        _libvirt.Stats = [Stats(cpuSeconds: 100)];
        await ReadAsync(Input());
        _clock.Advance(TimeSpan.FromSeconds(10));
        _libvirt.Stats = [Stats(cpuSeconds: 1)];
        Assert.False((await ReadAsync(Input())).ContainsKey(InstanceDetail.CpuPercent));
    }

    [Fact]
    public async Task Read_ManyMachines_IsStillOneCall()
    {
        await _details.ReadAsync([.. Enumerable.Range(0, 50).Select(i => Input() with { Key = $"n0/Instance/u{i}/0", ResourceUid = $"u{i}", Name = $"m{i}" })], TestContext.Current.CancellationToken);
        Assert.Equal(1, _libvirt.Calls);
    }

    [Theory]
    [InlineData(true, "two\nthree")]
    [InlineData(false, null)]
    public async Task Read_Console_IsShownUnlessTheSpecSaysNo(bool shown, string? console)
    {
        var input = Input(shown ? FromDisk : "{\"consoleInStatus\":false," + FromDisk[1..]);
        var layout = InstanceLayout.Of("default", "hello", "uid-1", 0, _roots);
        Directory.CreateDirectory(layout.Dir);
        await File.WriteAllTextAsync(layout.ConsoleLog, new string('x', 20_000) + "\ntwo\n\u001b[1mthree\n", TestContext.Current.CancellationToken);
        _libvirt.Stats = [Stats()];
        Assert.Equal(console, (await ReadAsync(input)).GetValueOrDefault(InstanceDetail.Console));
    }

    [Fact]
    public async Task Read_LibvirtDoesNotAnswer_HasNoNumbersAndDoesNotThrow() => Assert.Empty(await _details.ReadAsync([Input()], TestContext.Current.CancellationToken));

    [Fact]
    public void DetailsOf_Running_HasPowerAddressesAndAccelerator()
    {
        var details = Member.DetailsOf(Goal(Input()), Converged(Input()) with { Addresses = ["192.168.122.5"] });
        Assert.Equal(("running", "192.168.122.5", "qemu"), (details[InstanceDetail.Power], details[InstanceDetail.Addresses], details[InstanceDetail.Accelerator]));
    }

    [Fact]
    public void FetchImage_UnderWay_SaysHowFarItIs()
    {
        var scope = Scope(Input());
        var loading = Nothing(Input()) with { Downloads = ImmutableSortedDictionary<string, DownloadState>.Empty.Add(DebianSha, new(120 * MiB, 286 * MiB, "")) };
        var call = new InstanceAgent(scope).Tools.Single(t => t.Name == "fetch-image").Bind($$"""{"Name":"debian","Url":"https://x/y","Sha256":"{{DebianSha}}","Format":"qcow2"}""");
        Assert.Equal("fetching image debian 41% (120 of 286 MiB)", call.Observe(loading)!.Detail);
    }

    private async Task<ImmutableSortedDictionary<string, string>> ReadAsync(NodeAgent.Pipeline.MemberInput input) => (await _details.ReadAsync([input], TestContext.Current.CancellationToken))[input.Key];

    private DomainStats Stats(long cpuSeconds = 1, long read = 0, long received = 0) => new()
    {
        Uuid = InstanceLayout.Of("default", "hello", "uid-1", 0, _roots).Uuid,
        Power = DomainPower.Running,
        CpuTimeNs = cpuSeconds * 1_000_000_000,
        BalloonCurrentKiB = 512 * 1024,
        BalloonMaximumKiB = 1024 * 1024,
        RssKiB = 120 * 1024,
        Vcpus = 2,
        Disks = [new("vda", read, 0, 0, 0, 4096, 8192)],
        Nics = [new("vnet0", received, 0, 0, 0, 0, 0)],
    };

    /// <summary>Answers nothing but counters.</summary>
    private sealed class CountersOnly : ILibvirtReader
    {
        public int Calls { get; private set; }
        public IReadOnlyList<DomainStats>? Stats { get; set; }

        public ValueTask<Observed<IReadOnlyList<DomainStats>>> StatsAsync(IReadOnlyCollection<string> uuids, CancellationToken stop)
        {
            Calls++;
            return new(Stats is null ? Observed<IReadOnlyList<DomainStats>>.Unseen("no answer") : Observed<IReadOnlyList<DomainStats>>.Seen(Stats));
        }

        public ValueTask<Observed<LibvirtVersions>> VersionsAsync(CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<DomainState>> DomainAsync(string uuid, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<DomainState>> DomainByNameAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<IReadOnlyList<DomainBrief>>> DomainsAsync(CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<IReadOnlyList<DomainAddress>>> AddressesAsync(string uuid, AddressSource source, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<NetworkState>> NetworkAsync(string name, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<NetworkLeases>> LeasesAsync(string network, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<IReadOnlyList<SnapshotState>>> SnapshotsAsync(string uuid, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<string>> CapabilitiesAsync(CancellationToken stop) => throw new NotSupportedException();
        public async IAsyncEnumerable<DomainSignal> WatchAsync([EnumeratorCancellation] CancellationToken stop)
        {
            await Task.Yield();
            yield break;
        }
    }
}
