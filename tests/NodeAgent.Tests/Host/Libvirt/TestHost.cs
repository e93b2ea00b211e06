using AgentMetal.NodeAgent.Host.Libvirt;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>
/// A connection to libvirt's own test driver: the real library, a host in memory, no daemon. The host comes from a file of its own: that of
/// "test:///default" is one for all connections of a process.
/// </summary>
internal sealed class TestHost : IAsyncDisposable
{
    internal static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private readonly string _node = Path.GetTempFileName();

    internal TestHost(LibvirtOptions? options = null)
    {
        RequireLibrary();
        File.WriteAllText(
            _node,
            """
            <node>
              <cpu><mhz>2000</mhz><model>i986</model><active>16</active><nodes>1</nodes><sockets>1</sockets><cores>16</cores><threads>1</threads></cpu>
              <memory>8192000</memory>
              <network><name>default</name><bridge name="virbr0"/><forward/>
                <ip address="192.168.122.1" netmask="255.255.255.0"><dhcp><range start="192.168.122.128" end="192.168.122.253"/></dhcp></ip>
              </network>
            </node>
            """);
        Link = new LibvirtLink(options ?? new LibvirtOptions { Uri = "test://" + _node, CallDeadline = Patience }, TimeProvider.System);
        Reader = new LibvirtReader(Link);
        Writer = new LibvirtWriter(Link);
    }

    internal LibvirtLink Link { get; }

    internal LibvirtReader Reader { get; }

    internal LibvirtWriter Writer { get; }

    internal static void RequireLibrary() =>
        Assert.SkipWhen(!LibvirtLibrary.TryLoad(LibvirtLibrary.DefaultFile, out _), "libvirt.so.0 is not installed");

    /// <summary>The XML of a domain of the test driver.</summary>
    internal static string Xml(string uuid, string name, string devices = "", int vcpus = 2) =>
        $"<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>{vcpus}</vcpu><os><type>hvm</type></os><devices>{devices}</devices></domain>";

    /// <summary>A UUID of a number.</summary>
    internal static string Uuid(int number) => $"11111111-2222-4333-8444-{number:x12}";

    internal async Task<string> DefineAsync(int number, string? name = null, string devices = "")
    {
        var uuid = Uuid(number);
        var outcome = await Writer.DefineAsync(Xml(uuid, name ?? $"vm-{number}", devices), Patience, TestContext.Current.CancellationToken);
        Assert.Equal(DomainOutcome.Done, outcome);
        return uuid;
    }

    internal async Task<DomainState> StateAsync(string uuid) => (await Reader.DomainAsync(uuid, TestContext.Current.CancellationToken)).Value;

    public async ValueTask DisposeAsync()
    {
        await Link.DisposeAsync();
        File.Delete(_node);
    }
}
