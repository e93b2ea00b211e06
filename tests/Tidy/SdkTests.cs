using System.Diagnostics;
using System.Formats.Tar;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace AgentMetal.Tidy;

/// <summary>Where run.sh and test.sh take the .NET SDK from (packaging/sdk.sh), with a machine of a few programs and a publisher on loopback.</summary>
public sealed class SdkTests : IDisposable
{
    private const string Version = "10.0.400", Archive = "dotnet-sdk-" + Version + "-linux-x64.tar.gz";
    private static readonly string[] s_programs = ["bash", "sed", "grep", "tr", "curl", "wget", "tar", "gzip", "sha512sum", "mkdir", "mktemp", "mv", "rm", "uname", "id", "readlink", "dirname", "cat", "timeout", "ldconfig", "chmod"];

    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-sdk-").FullName;
    private readonly Publisher _publisher = new();

    public SdkTests()
    {
        foreach (var dir in (string[])["bin", "clone/packaging", "cache"]) Directory.CreateDirectory($"{_root}/{dir}");
        foreach (var program in s_programs)
            if (((string[])["/usr/bin/", "/bin/", "/usr/sbin/", "/sbin/"]).Select(d => d + program).FirstOrDefault(File.Exists) is { } path) File.CreateSymbolicLink($"{_root}/bin/{program}", path);
        File.Copy(Path.Combine(SourceTree.Root, "packaging/sdk.sh"), _root + "/clone/packaging/sdk.sh");
        File.WriteAllText(_root + "/clone/global.json", "{\n  \"sdk\": { \"version\": \"" + Version + "\", \"rollForward\": \"latestFeature\" }\n}\n");
        _publisher.Files["/release-metadata/10.0/releases.json"] = Encoding.UTF8.GetBytes(Metadata(Packed(Version)));
        _publisher.Files["/Sdk/" + Version + "/" + Archive] = Packed(Version);
    }

    public void Dispose()
    {
        _publisher.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    [Fact]
    public void Found_ThatRunsWithGlobalJson_IsTakenAndNobodyIsAsked()
    {
        Script("dotnet", "echo " + Version);
        Assert.Equal((0, Version + "\n", ""), Ready());
        Assert.Empty(_publisher.Asked);
    }

    [Fact]
    public void Missing_TheArchiveIsFetchedOnceAndKeptOutsideTheClone()
    {
        if (Found("dotnet")) Assert.Fail("the machine of this test has an SDK");
        for (var i = 0; i < 2; i++)
        {
            var (code, said, errors) = Ready();
            Assert.Equal((0, Version + "\n"), (code, said));
            Assert.Equal(i == 0, errors.Contains($"the .NET SDK {Version} of global.json is missing: fetching {_publisher.Url}/Sdk/{Version}/{Archive}", StringComparison.Ordinal));
        }
        Assert.Equal(["/release-metadata/10.0/releases.json", "/Sdk/" + Version + "/" + Archive], _publisher.Asked);
        Assert.Equal([_root + "/cache/dotnet-" + Version], Directory.GetFileSystemEntries(_root + "/cache"));
        Assert.Equal(["global.json", "packaging"], Directory.GetFileSystemEntries(_root + "/clone").Select(Path.GetFileName).Order(StringComparer.Ordinal)!);
    }

    /// <summary>One that is there and does not run with global.json (another version) is as good as none.</summary>
    [Fact]
    public void OfAnotherVersion_TheArchiveIsFetched()
    {
        Script("dotnet", "exit 145");
        Assert.Equal((0, Version + "\n"), (Ready() is var r ? r.Code : 0, Ready().Said));
    }

    [Fact]
    public void Packaged_ByTheDistribution_IsInstalledFromThere()
    {
        Assert.SkipUnless(Environment.UserName == "root", "not root: nobody installs packages");
        Script("apt-cache", "echo '  Candidate: 10.0.400-1'");
        Script("apt-get", $"printf '#!/bin/bash\\necho {Version}\\n' >{_root}/bin/dotnet; chmod +x {_root}/bin/dotnet");
        var (code, said, errors) = Ready();
        Assert.Equal((0, Version + "\n"), (code, said));
        Assert.Contains("installing dotnet-sdk-10.0 from the packages of this distribution", errors, StringComparison.Ordinal);
        Assert.Empty(_publisher.Asked);
    }

    /// <summary>What the network gave is not what its publisher names: nothing of it is kept or run.</summary>
    [Theory]
    [InlineData("another archive", "(SHA-512): it is not used")]
    [InlineData("another version", "names no SDK 10.0.400 for linux-x64 with a SHA-512")]
    [InlineData("no digest", "names no SDK 10.0.400 for linux-x64 with a SHA-512")]
    [InlineData("no archive", "404")]
    [InlineData("nothing", "")]
    public void Refused_SaysBothWaysForAPerson(string what, string why)
    {
        var metadata = "/release-metadata/10.0/releases.json";
        switch (what)
        {
            case "another archive": _publisher.Files["/Sdk/" + Version + "/" + Archive] = Packed("evil"); break;
            case "another version": _publisher.Files[metadata] = Encoding.UTF8.GetBytes(Metadata(Packed(Version)).Replace("/" + Version + "/", "/10.0.401/", StringComparison.Ordinal)); break;
            case "no digest": _publisher.Files[metadata] = Encoding.UTF8.GetBytes(Metadata([]).Replace("hash", "size", StringComparison.Ordinal)); break;
            case "no archive": _publisher.Files.Remove("/Sdk/" + Version + "/" + Archive); break;
            default: _publisher.Dispose(); break;
        }
        var (code, said, errors) = Ready();
        Assert.Equal((1, ""), (code, said));
        Assert.Contains(why, errors, StringComparison.Ordinal);
        Assert.Contains("  apt-get install dotnet-sdk-10.0 ", errors, StringComparison.Ordinal);
        Assert.Contains($"/Sdk/{Version}/{Archive} | tar -xz -C ~/.dotnet", errors, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_root + "/cache"));
    }

    /// <summary>Both scripts ask here, and nowhere else.</summary>
    [Theory]
    [InlineData("run.sh")]
    [InlineData("test.sh")]
    public void Scripts_AskHereBeforeTheyUseIt(string script)
    {
        var lines = SourceTree.Lines(script).Where(l => !l.TrimStart().StartsWith('#')).ToList();
        var asks = lines.FindIndex(l => l.Contains("sdk_ready ||", StringComparison.Ordinal));
        Assert.Equal(". packaging/sdk.sh", lines[asks - 1]);
        Assert.DoesNotContain(lines, l => l.Contains("command -v dotnet >/dev/null ||", StringComparison.Ordinal));
    }

    private (int Code, string Said, string Errors) Ready()
    {
        using var process = Process.Start(new ProcessStartInfo(_root + "/bin/bash", ["-c", "set -uo pipefail; . packaging/sdk.sh; sdk_ready && dotnet --version"])
        {
            WorkingDirectory = _root + "/clone",
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["PATH"] = _root + "/bin", ["AGENTMETAL_CACHE"] = _root + "/cache", ["DOTNET_FEED"] = _publisher.Url, ["HOME"] = _root, ["no_proxy"] = "127.0.0.1" },
        })!;
        var errors = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        var said = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, said, errors.GetAwaiter().GetResult());
    }

    private bool Found(string program) => File.Exists($"{_root}/bin/{program}");

    private void Script(string name, string body)
    {
        File.WriteAllText($"{_root}/bin/{name}", "#!/bin/bash\n" + body + "\n");
        File.SetUnixFileMode($"{_root}/bin/{name}", UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>As the publisher's file is built, with another platform and another version beside it.</summary>
    private string Metadata(byte[] archive) => $$"""
        { "channel-version": "10.0", "releases": [ { "sdk": { "version": "10.0.401", "files": [
          { "name": "dotnet-sdk-linux-x64.tar.gz", "rid": "linux-x64", "url": "{{_publisher.Url}}/Sdk/10.0.401/x.tar.gz", "hash": "{{new string('0', 128)}}" } ] } },
          { "sdk": { "version": "{{Version}}", "files": [
          { "name": "dotnet-sdk-linux-arm64.tar.gz", "rid": "linux-arm64", "url": "{{_publisher.Url}}/Sdk/{{Version}}/arm.tar.gz", "hash": "{{new string('1', 128)}}" },
          { "name": "dotnet-sdk-linux-x64.tar.gz", "rid": "linux-x64", "url": "{{_publisher.Url}}/Sdk/{{Version}}/{{Archive}}", "hash": "{{Convert.ToHexStringLower(SHA512.HashData(archive))}}" } ] } } ] }
        """;

    private static byte[] Packed(string says)
    {
        using var packed = new MemoryStream();
        using (var zip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        using (var tar = new TarWriter(zip))
            tar.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "dotnet")
            {
                Mode = UnixFileMode.UserRead | UnixFileMode.UserExecute,
                ModificationTime = DateTimeOffset.UnixEpoch,
                DataStream = new MemoryStream(Encoding.UTF8.GetBytes($"#!/bin/bash\necho {says}\n")),
            });
        return packed.ToArray();
    }

    private sealed class Publisher : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public Publisher()
        {
            _listener.Start();
            Url = "http://" + _listener.LocalEndpoint;
            _ = ServeAsync();
        }

        public string Url { get; }
        public Dictionary<string, byte[]> Files { get; } = new(StringComparer.Ordinal);
        public List<string> Asked { get; } = [];

        public void Dispose() => _listener.Stop();

        private async Task ServeAsync()
        {
            try
            {
                while (true)
                {
                    using var client = await _listener.AcceptTcpClientAsync();
                    await using var stream = client.GetStream();
                    using var reader = new StreamReader(stream);
                    var path = (await reader.ReadLineAsync())!.Split(' ')[1];
                    while (await reader.ReadLineAsync() is { Length: > 0 }) { }
                    Asked.Add(path);
                    var found = Files.TryGetValue(path, out var bytes);
                    await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {(found ? "200 OK" : "404 Not Found")}\r\nContent-Length: {bytes?.Length ?? 0}\r\nConnection: close\r\n\r\n"));
                    if (found) await stream.WriteAsync(bytes);
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or IOException) { }
        }
    }
}
