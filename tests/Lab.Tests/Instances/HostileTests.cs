using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>What an instance is made of comes from people, servers and coordinators that may mean harm: it is refused where a person sees why, and nothing of it runs.</summary>
[Story("instance", 10)]
public sealed class HostileTests(SharedFleet shared)
{
    private const string Inbox = "/var/lib/agentmetal/images-in";

    [Fact]
    public async Task Input_Hostile_IsRefusedWithTheReason()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        await host.ShellAsync($"mkdir -p {Inbox}; qemu-img create -q -f qcow2 -F raw -b /etc/shadow {Inbox}/backed 1M; head -c 65536 /dev/zero >{Inbox}/other; ln -sf /etc/shadow {Inbox}/link; cp /etc/shadow {Inbox}/../shadow", stop);
        var backed = await host.ShellAsync($"sha256sum {Inbox}/backed | cut -d' ' -f1", stop);
        var shadow = await host.ShellAsync("sha256sum /etc/shadow | cut -d' ' -f1", stop);
        // A file that no other test has brought to this host: what is there by its digest is not fetched. QEMU reads nothing behind the last cluster.
        byte[] disk = [.. await File.ReadAllBytesAsync(Path.Combine(await VmImages.DirectoryAsync("busybox", stop), "busybox.qcow2"), stop), .. Guid.NewGuid().ToByteArray(), .. new byte[65536 - 16]];
        using var server = new CutServer(disk, fleet.Lab.GatewayAddress);
        // Each is an image, and what a person reads of it. Those that are not what their digest says are refused for that, the first for what it is.
        (string Name, string Url, string Digest, string Reason)[] images =
        [
            ("backed", $"file://{Inbox}/backed", backed, "backing file"),
            ("other", $"file://{Inbox}/other", new('a', 64), "does not have the SHA-256 " + new string('a', 64)),
            // A digest that was signed, by a coordinator that points it elsewhere: what the file has must not be told.
            ("elsewhere", "file:///etc/shadow", new('b', 64), "is not below /srv/images"),
            ("dotted", $"file://{Inbox}/%2e%2e/shadow", new('c', 64), "is not below /srv/images"),
            ("linked", $"file://{Inbox}/link", new('d', 64), "symbolic link"),
            ("cut", server.Url, Convert.ToHexStringLower(SHA256.HashData(disk)), $"ended after {CutServer.First} of"),
        ];
        string[] names = [.. images.Select(i => "victim-" + i.Name)];
        try
        {
            (await fleet.ApplyAsync(string.Concat(images.Select(i => Image(i.Name, i.Url, i.Digest) + Victim("victim-" + i.Name, i.Name, host))), stop, "--no-wait")).OrThrow();
            foreach (var (name, _, _, reason) in images)
            {
                var seen = "";
                await Fleet.EventuallyAsync(host, $"describe says of {name}: {reason}", TimeSpan.FromSeconds(90), async () =>
                    (seen = (await fleet.CliAsync(stop, "describe", "instance", "victim-" + name)).Stdout).ReplaceLineEndings(" ").Contains(reason, StringComparison.OrdinalIgnoreCase), stop);
                Assert.DoesNotContain(shadow, seen, StringComparison.Ordinal);
            }
            Assert.DoesNotContain(shadow, (await fleet.CliAsync(stop, "events", "-o", "json")).OrThrow().Stdout, StringComparison.Ordinal);
            Assert.DoesNotContain(shadow, await host.ShellAsync("journalctl -u agentmetald -o cat", stop), StringComparison.Ordinal);

            // What was cut off goes on where it was, and only that one is made.
            server.GoOn();
            await Fleet.EventuallyAsync(host, "the download that was cut off is finished and its machine runs", TimeSpan.FromMinutes(7), async () => await Machines.FindAsync(host, "victim-cut", stop) is not null, stop);
            Assert.Equal(CutServer.First, server.ResumedFrom);
            Assert.Equal("default-victim-cut", await host.ShellAsync("virsh -q -c qemu:///system list --all --name | grep victim", stop));
            foreach (var image in images.SkipLast(1)) Assert.Equal("", await host.ShellAsync($"ls /var/lib/agentmetal/images | grep {image.Digest} || true", stop));
        }
        finally
        {
            await Machines.RemoveAsync(fleet, stop, names);
            foreach (var image in images) await fleet.CliAsync(stop, "delete", "image", image.Name, "--yes", "--no-wait");
        }
    }

    /// <summary>Names that would be XML are none; text that would be XML stays text.</summary>
    [Fact]
    public async Task Xml_InNamesLabelsAndText_IsRefusedOrStaysText()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        const string injected = "</cmdline></os><devices><disk type='block'><source dev='/dev/vda'/></disk></devices><!--";
        var images = await Machines.ImagesAsync(stop);
        (string What, string Yaml, string Field)[] refused =
        [
            ("a name", Machines.Small("x").Replace("name: x", $"name: \"x{injected}\"", StringComparison.Ordinal), "metadata.name"),
            ("a label", Machines.Small("x").Replace("name: x", $$"""name: x, labels: { site: "{{injected}}" }""", StringComparison.Ordinal), "metadata.labels"),
            ("a label of placement", Machines.Small("x", $$""", placement: { labels: { site: "{{injected}}" } }"""), "spec.placement.labels"),
            ("a network", Machines.Small("x").Replace("network: default", $"network: \"{injected[..40]}\"", StringComparison.Ordinal), "spec.nics[0].network"),
            ("a disk", Machines.Small("x", """, disks: [ { name: "d'/>", size: 1Mi } ]"""), "spec.disks[0].name"),
            ("user-data", Machines.Small("x", $$""", cloudInit: { enabled: true, userData: "#cloud-config\n{{new string('#', 17 * 1024)}}" }"""), "spec.cloudInit.userData"),
        ];
        foreach (var (what, yaml, field) in refused)
        {
            var said = await fleet.ApplyAsync(images + yaml, stop, "--no-wait");
            Assert.True(said.ExitCode == 2 && (said.Stdout + said.Stderr).Contains(field, StringComparison.Ordinal), $"{what}: {said.ExitCode} {said.Stdout}{said.Stderr}");
        }
        Assert.Equal(3, (await fleet.CliAsync(stop, "get", "instance", "x")).ExitCode);

        (await fleet.ApplyAsync(images + Machines.Small("texty", $$""", placement: { labels: { host: {{host.Name}} } }, power: stopped""", injected), stop)).OrThrow();
        try
        {
            var xml = await Machines.VirshAsync(host, stop, "dumpxml", "default-texty");
            var domain = System.Xml.Linq.XDocument.Parse(xml).Root!;
            Assert.Equal($"{VmImages.CommandLine} {injected}", domain.Element("os")!.Element("cmdline")!.Value);
            Assert.Empty(domain.Element("devices")!.Elements("disk"));
        }
        finally { await Machines.RemoveAsync(fleet, stop, "texty"); }
    }

    private static string Image(string name, string url, string digest) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata: { name: {{name}} }
        spec: { url: "{{url}}", sha256: {{digest}}, format: qcow2 }
        ---

        """;

    private static string Victim(string name, string image, LabHost host) => $$"""
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { name: {{name}} }
        spec: { memory: 96Mi, disks: [ { name: root, image: {{image}} } ], shutdown: { seconds: 20, force: allowed }, reserve: { cpuMillis: 50 }, placement: { labels: { host: {{host.Name}} } } }
        ---

        """;

    /// <summary>A server of one file on the lab's bridge that ends the first answer early, and answers no other until it is told to go on.</summary>
    private sealed class CutServer : IDisposable
    {
        /// <summary>Bytes of the first answer.</summary>
        public const int First = 1_000_000;

        private readonly TaskCompletionSource goOn = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TcpListener listener;

        public CutServer(byte[] content, string address)
        {
            listener = new(IPAddress.Parse(address), 0);
            listener.Start();
            Url = $"http://{address}:{((IPEndPoint)listener.LocalEndpoint).Port}/";
            _ = ServeAsync(content);
        }

        public string Url { get; }

        /// <summary>The first byte that was asked for when it had gone on; -1 before.</summary>
        public int ResumedFrom { get; private set; } = -1;

        public void GoOn() => goOn.TrySetResult();

        public void Dispose()
        {
            goOn.TrySetCanceled();
            listener.Dispose();
        }

        private async Task ServeAsync(byte[] content)
        {
            try
            {
                for (var asked = 0; ; asked++)
                {
                    using var client = await listener.AcceptTcpClientAsync();
                    var stream = client.GetStream();
                    var from = await FromAsync(stream);
                    if (asked > 0) await goOn.Task;
                    if (asked > 0 && ResumedFrom < 0) ResumedFrom = from;
                    var status = from > 0 ? $"206 Partial Content\r\nContent-Range: bytes {from}-{content.Length - 1}/{content.Length}" : "200 OK";
                    try
                    {
                        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status}\r\nContent-Length: {content.Length - from}\r\nConnection: close\r\n\r\n"));
                        // An orderly end, so that all of what was sent arrives.
                        await stream.WriteAsync(content.AsMemory(from, asked == 0 ? First : content.Length - from));
                        client.Client.Shutdown(SocketShutdown.Send);
                        while (await stream.ReadAsync(new byte[256]) > 0) { }
                    }
                    catch (IOException) { /* Who asked has gone. */ }
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or OperationCanceledException) { /* The test is over. */ }
        }

        /// <summary>The first byte that a request asks for.</summary>
        private static async Task<int> FromAsync(NetworkStream stream)
        {
            using var reader = new StreamReader(stream, Encoding.ASCII, leaveOpen: true);
            var from = 0;
            while (await reader.ReadLineAsync() is { Length: > 0 } line)
                if (line.StartsWith("Range: bytes=", StringComparison.OrdinalIgnoreCase)) from = int.Parse(line["Range: bytes=".Length..].TrimEnd('-'), CultureInfo.InvariantCulture);
            return from;
        }
    }
}
