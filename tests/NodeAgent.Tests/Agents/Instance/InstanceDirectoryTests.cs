using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Tools;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Libvirt;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using static AgentMetal.NodeAgent.Tests.Agents.Instance.InstanceSamples;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>
/// Whose a directory of disks is, as it is read and at the moment in which something is deleted: on real files, beside a libvirt that says
/// what it is told.
/// </summary>
public sealed class InstanceDirectoryTests : IDisposable
{
    private readonly string _lib = Directory.CreateTempSubdirectory("agentmetal-instances-").FullName;
    private readonly Domains _domains = new();
    private readonly ImageStore _images = new(TimeProvider.System);
    private readonly InstanceMember _member;

    public InstanceDirectoryTests()
    {
        _member = new(new(_domains, new FileReader(), new NoAccelerators()), new(Calls.It, new FileWriter(), null!, _images),
            TimeProvider.System, new() { Lib = _lib, TestType = "test" });
        Directory.CreateDirectory(Layout.Dir);
        File.WriteAllText(Disk, "data");
    }

    private InstanceLayout Layout => InstanceLayout.Of("default", "hello", "uid-1", 0, new() { Lib = _lib, TestType = "test" });

    private string Disk => Layout.Disk("root", "qcow2");

    public void Dispose()
    {
        _images.Dispose();
        Directory.Delete(_lib, recursive: true);
    }

    [Fact]
    public async Task Directory_MarkedForAnotherUid_IsSeenAsAnothersAndHoldsNothingOfOurs()
    {
        File.WriteAllText(Layout.OwnerMark, "11111111-2222-5333-8444-555555555555\n");
        foreach (var absent in (bool[])[false, true])
        {
            var state = await ObserveAsync(absent);
            Assert.Equal((DirIs.Others, Stored.None), (state.Dir, state.Data));
        }
        File.WriteAllText(Layout.OwnerMark, Layout.Uuid + "\n");
        Assert.Equal((Present.It, Stored.Some), (await ObserveAsync(true)) is var own ? (own.Dir, own.Data) : default);
    }

    [Theory]
    [InlineData("remove-disks")]
    [InlineData("remove-files")]
    public async Task Deletion_LooksAgainWhoseItIs(string tool)
    {
        // Marked for another since that was planned.
        File.WriteAllText(Layout.OwnerMark, "11111111-2222-5333-8444-555555555555\n");
        Assert.Contains("another instance's", (await Assert.ThrowsAsync<WorldException>(() => ApplyAsync(tool))).Message,
            StringComparison.Ordinal);
        // A domain that somebody made uses a file in it.
        File.WriteAllText(Layout.OwnerMark, Layout.Uuid + "\n");
        _domains.All.Add(Domain("by-hand", "99999999-2222-5333-8444-555555555555",
            $"<domain type='qemu'><devices><disk><source file='{Disk}'/></disk></devices></domain>"));
        Assert.Contains("domain by-hand uses files", (await Assert.ThrowsAsync<WorldException>(() => ApplyAsync(tool))).Message,
            StringComparison.Ordinal);
        Assert.Equal("by-hand", (await ObserveAsync(true)).Users);
        Assert.True(File.Exists(Disk));
        // And its own goes.
        _domains.All.Clear();
        await ApplyAsync(tool);
        Assert.False(File.Exists(Disk));
    }

    [Fact]
    public async Task Guest_ThatHung_IsSeenAsThatInTheSameRunOnly()
    {
        File.WriteAllText(Layout.OwnerMark, Layout.Uuid + "\n");
        const string xml = "<domain type='qemu'><name>default-hello</name><memory>65536</memory><devices/></domain>";
        _domains.All.Add(Domain("default-hello", Layout.Uuid, xml) with { ActiveXml = xml, Id = 7, Power = DomainPower.Running });
        File.WriteAllText(Layout.Hung, $"7 {File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim()}\n");
        Assert.Equal(Yes.It, (await ObserveAsync(true)).Hung);
        _domains.All[0] = _domains.All[0] with { Id = 8 };
        Assert.Equal(FactValue.Absent, (await ObserveAsync(true)).Hung);
    }

    /// <summary>Somebody put the disks in other places since that was planned: libvirt takes a disk out by its place alone.</summary>
    [Fact]
    public async Task Disk_IsDetachedFromThePlaceThatItsFileHasNow()
    {
        string Of(string file, string place) =>
            $"<disk type='file'><driver type='qcow2'/><source file='{Layout.Dir}/{file}.qcow2'/><target dev='{place}'/></disk>";
        var xml = $"<domain type='qemu'><name>default-hello</name><memory>65536</memory><devices>{Of("a", "vda")}{Of("b", "vdb")}{Of("m", "vdc")}</devices></domain>";
        _domains.All.Add(Domain("default-hello", Layout.Uuid, xml) with { ActiveXml = xml, Id = 7, Power = DomainPower.Running });
        Calls.Made.Value = [];
        var planned = DomainXml.Of(new DomainDisk("vdb", Layout.Disk("m", "qcow2"), "qcow2"));
        await ApplyAsync("change-live", System.Text.Json.JsonSerializer.Serialize(new LiveArgs(Aspect.Disk + Layout.Disk("m", "qcow2"),
            ChangeLive.Detach, "", planned), InstanceJson.Default.LiveArgs));
        var (call, detached) = Assert.Single(Calls.Made.Value);
        Assert.Equal("DetachAsync", call);
        Assert.Contains("m.qcow2", detached, StringComparison.Ordinal);
        Assert.Contains("vdc", detached, StringComparison.Ordinal);
    }

    private ValueTask<InstanceState> ObserveAsync(bool absent) =>
        _member.ObserverFor(Input(FromKernel, absent: absent)).ObserveAsync(TestContext.Current.CancellationToken);

    private Task ApplyAsync(string tool) => ApplyAsync(tool, System.Text.Json.JsonSerializer.Serialize(new PathArgs(Layout.Dir),
        InstanceJson.Default.PathArgs));

    private async Task ApplyAsync(string tool, string args)
    {
        await _member.AgentFor(Input(absent: true)).Tools.Single(t => t.Name == tool).Bind(args).ApplyAsync(new ToolContext("k",
            new Dictionary<string, string>(), TestContext.Current.CancellationToken));
    }

    private static DomainState Domain(string name, string uuid, string xml) => DomainState.Absent(uuid, "") with
    {
        Exists = true,
        Name =
        name,
        InactiveXml = xml,
        Persistent = true,
        Power = DomainPower.ShutOff
    };

    /// <summary>Every call to libvirt is done, and its name and its text are kept.</summary>
#pragma warning disable CA1852 // A proxy is made by deriving from it.
    internal class Calls : System.Reflection.DispatchProxy
#pragma warning restore CA1852
    {
        public static AsyncLocal<List<(string Name, string Text)>?> Made { get; } = new();

        public static ILibvirtWriter It => Create<ILibvirtWriter, Calls>();

        protected override object? Invoke(System.Reflection.MethodInfo? method, object?[]? args)
        {
            Made.Value!.Add((method!.Name, args!.OfType<string>().ElementAtOrDefault(1) ?? ""));
            return method.ReturnType == typeof(Task<DomainOutcome>) ? Task.FromResult(DomainOutcome.Done)
                : new ValueTask<DomainOutcome>(DomainOutcome.Done);
        }
    }

    private sealed class NoAccelerators : IAccelerators
    {
        public ValueTask<string> FindAsync(CancellationToken stop) => new("qemu");
    }

    /// <summary>Domains, and nothing else.</summary>
    private sealed class Domains : ILibvirtReader
    {
        public List<DomainState> All { get; } = [];

        public ValueTask<Observed<DomainState>> DomainAsync(string uuid, CancellationToken stop) =>
            new(Observed<DomainState>.Seen(All.Find(d => d.Uuid == uuid) ?? DomainState.Absent(uuid, "")));
        public ValueTask<Observed<DomainState>> DomainByNameAsync(string name, CancellationToken stop) =>
            new(Observed<DomainState>.Seen(All.Find(d => d.Name == name) ?? DomainState.Absent("", name)));
        public ValueTask<Observed<IReadOnlyList<DomainBrief>>> DomainsAsync(CancellationToken stop) =>
            new(Observed<IReadOnlyList<DomainBrief>>.Seen([.. All.Select(d => new DomainBrief(d.Uuid, d.Name, d.Power, d.Persistent))]));
        public ValueTask<Observed<IReadOnlyList<SnapshotState>>> SnapshotsAsync(string uuid, CancellationToken stop) =>
            new(Observed<IReadOnlyList<SnapshotState>>.Seen([]));
        public ValueTask<Observed<IReadOnlyList<DomainAddress>>> AddressesAsync(string uuid, AddressSource source,
            CancellationToken stop) => new(Observed<IReadOnlyList<DomainAddress>>.Seen([]));
        public ValueTask<Observed<IReadOnlyList<DomainStats>>> StatsAsync(IReadOnlyCollection<string> uuids, CancellationToken stop) =>
            throw new NotSupportedException();
        public ValueTask<Observed<LibvirtVersions>> VersionsAsync(CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<NetworkState>> NetworkAsync(string name, CancellationToken stop) =>
            new(Observed<NetworkState>.Unseen("none is asked for"));
        public ValueTask<Observed<NetworkLeases>> LeasesAsync(string network, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask<Observed<string>> CapabilitiesAsync(CancellationToken stop) => throw new NotSupportedException();
        public IAsyncEnumerable<DomainSignal> WatchAsync(CancellationToken stop) => throw new NotSupportedException();
    }
}
