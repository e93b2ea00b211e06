using System.Net;
using System.Security.Cryptography;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.NodeAgent.Agents.Instance.Tools;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Downloads from a real server on loopback that behaves well or badly.</summary>
public sealed class ImageStoreTests : IDisposable
{
    private readonly DirectoryInfo _dir = Directory.CreateTempSubdirectory("agentmetal-images-");
    private readonly HttpListener _server = new();
    private readonly ImageStore _store;
    private readonly List<string> _ranges = [];
    private readonly string _url;
    private byte[] _content = DiskHeaderTests.Qcow2(1 << 20);
    private int _cutAt = int.MaxValue;
    private int _status = 200;
    private bool _hang;
    private readonly TaskCompletionSource _asked = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ImageStoreTests()
    {
        _store = new(TimeProvider.System, new ImageDirectories(_dir.FullName));
        for (var port = 20000 + Random.Shared.Next(20000); ; port++)
        {
            _server.Prefixes.Clear();
            _server.Prefixes.Add(_url = $"http://127.0.0.1:{port}/");
            try { _server.Start(); break; }
            catch (HttpListenerException) { /* Taken: the next. */ }
        }
        _ = ServeAsync();
    }

    private string Sha => Convert.ToHexStringLower(SHA256.HashData(_content));

    private string Place => Path.Combine(_dir.FullName, "image");

    [Fact]
    public async Task Begin_GoodImage_IsPlaced()
    {
        Assert.Equal("", await FetchAsync(Sha));
        Assert.Equal(_content, await File.ReadAllBytesAsync(Place, TestContext.Current.CancellationToken));
        Assert.Empty(_store.Running([Sha]));
    }

    [Fact]
    public async Task Begin_WrongDigest_SaysTheWantedOneAloneAndKeepsNothing()
    {
        var wanted = new string('c', 64);
        var why = await FetchAsync(wanted);
        Assert.DoesNotContain(Sha, why, StringComparison.Ordinal);
        Assert.Contains(wanted, why, StringComparison.Ordinal);
        Assert.Empty(_dir.GetFiles());
    }

    [Fact]
    public async Task Begin_BackingFile_IsRefusedAndKeepsNothing()
    {
        _content = DiskHeaderTests.Qcow2(1 << 20, "/etc/shadow");
        Assert.Contains("backing file", await FetchAsync(Sha), StringComparison.Ordinal);
        Assert.Empty(_dir.GetFiles());
    }

    [Fact]
    public async Task Begin_TruncatedThenWhole_GoesOnWhereItWas()
    {
        _cutAt = 1000;
        Assert.NotEqual("", await FetchAsync(Sha));
        Assert.False(File.Exists(Place));
        Assert.True(File.Exists(Place + ".partial"));
        _cutAt = int.MaxValue;
        Assert.Equal("", await FetchAsync(Sha));
        Assert.Equal(_content, await File.ReadAllBytesAsync(Place, TestContext.Current.CancellationToken));
        Assert.StartsWith("bytes=", _ranges[^1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Begin_OtherBytesWereThere_AreNotBelieved()
    {
        await File.WriteAllBytesAsync(Place + ".partial", new byte[100], TestContext.Current.CancellationToken);
        Assert.Contains("SHA-256", await FetchAsync(Sha), StringComparison.Ordinal);
        Assert.Equal("", await FetchAsync(Sha));
    }

    [Fact]
    public async Task Begin_ServerRefuses_SaysWhat()
    {
        _status = 404;
        Assert.Contains("404", await FetchAsync(Sha), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Begin_FileOfTheHost_IsCopied()
    {
        var source = Path.Combine(_dir.FullName, "source");
        await File.WriteAllBytesAsync(source, _content, TestContext.Current.CancellationToken);
        Assert.Equal("", await FetchAsync(Sha, "file://" + source));
        Assert.True(File.Exists(Place));
    }

    /// <summary>A stolen coordinator knows a signed digest and names a file of the host: it must not hear what that one has.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("..%2f..%2f")]
    [InlineData("%2e%2e/%2e%2e/")]
    public async Task Begin_FileOfTheHostElsewhere_IsRefusedWithoutAWordOfIt(string way)
    {
        using var elsewhere = new TemporaryFile(_content);
        var url = way.Length == 0 ? "file://" + elsewhere.Path : $"file://{_dir.FullName}/{way}{elsewhere.Path[1..]}";
        foreach (var sha256 in (string[])[new string('c', 64), Sha])
        {
            var why = await FetchAsync(sha256, url);
            Assert.Contains($"is not below {_dir.FullName}", why, StringComparison.Ordinal);
            Assert.DoesNotContain(Sha, why.Replace(sha256, "", StringComparison.Ordinal), StringComparison.Ordinal);
        }
        Assert.Empty(_dir.GetFiles());
    }

    [Fact]
    public async Task Begin_LinkOutOfTheDirectory_IsRefused()
    {
        using var elsewhere = new TemporaryFile(_content);
        File.CreateSymbolicLink(Path.Combine(_dir.FullName, "link"), elsewhere.Path);
        Assert.Contains("symbolic link", await FetchAsync(Sha, $"file://{_dir.FullName}/link"), StringComparison.Ordinal);
        Assert.False(File.Exists(Place));
    }

    [Theory]
    [InlineData("images")]
    [InlineData("/")]
    [InlineData("/srv/../etc")]
    [InlineData("")]
    public void Directories_NotPlainOrTheRoot_AreRefused(string directory) => Assert.Contains("--images", Assert.Throws<FormatException>(() => new ImageDirectories(directory)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Dispose_WhileOneRuns_EndsIt()
    {
        _hang = true;
        var store = new ImageStore(TimeProvider.System);
        store.Begin(new("debian", _url, Sha, "qcow2"), Place);
        await _asked.Task.WaitAsync(TimeSpan.FromSeconds(10), TestContext.Current.CancellationToken);
        store.Dispose();
        Assert.Equal("the daemon stops", await EndedAsync(Sha, store));
    }

    [Fact]
    public async Task Begin_Twice_IsOneDownload()
    {
        _store.Begin(new("debian", _url, Sha, "qcow2"), Place);
        _store.Begin(new("debian", _url, Sha, "qcow2"), Place);
        await EndedAsync(Sha);
        Assert.Single(_ranges);
    }

    public void Dispose()
    {
        _store.Dispose();
        _server.Close();
        _dir.Delete(recursive: true);
    }

    [Fact]
    public async Task Begin_AnotherUrlOfTheSameDigestHangs_IsNotWaitedFor()
    {
        _store.Begin(new("debian", _url + "hangs", Sha, "qcow2"), Place);
        _store.Begin(new("debian", _url, Sha, "qcow2"), Place);
        for (var i = 0; i < 1000 && !File.Exists(Place); i++) await Task.Delay(10, TestContext.Current.CancellationToken);
        Assert.Equal(_content, await File.ReadAllBytesAsync(Place, TestContext.Current.CancellationToken));
    }

    private sealed class TemporaryFile : IDisposable
    {
        public TemporaryFile(byte[] content) => File.WriteAllBytes(Path, content);

        public string Path { get; } = System.IO.Path.GetTempFileName();

        public void Dispose() => File.Delete(Path);
    }

    private async Task<string> FetchAsync(string sha256, string? url = null)
    {
        _store.Begin(new("debian", url ?? _url, sha256, "qcow2"), Place);
        return await EndedAsync(sha256);
    }

    private async Task<string> EndedAsync(string sha256, ImageStore? store = null)
    {
        for (var i = 0; i < 1000; i++)
        {
            var now = (store ?? _store).Running([sha256]);
            if (now.IsEmpty) return "";
            if (now[sha256].Failed.Length > 0) return now[sha256].Failed;
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
        throw new TimeoutException("the download did not end within 10 s");
    }

    private async Task ServeAsync()
    {
        try
        {
            while (true)
            {
                var context = await _server.GetContextAsync();
                _asked.TrySetResult();
                if (_hang || context.Request.Url!.AbsolutePath == "/hangs") continue;
                var range = context.Request.Headers["Range"] ?? "";
                _ranges.Add(range);
                var from = range.Length > 0 ? int.Parse(range["bytes=".Length..].TrimEnd('-')) : 0;
                context.Response.StatusCode = _status != 200 ? _status : from > 0 ? 206 : 200;
                context.Response.ContentLength64 = _status != 200 ? 0 : _content.Length - from;
                try
                {
                    if (_status == 200) await context.Response.OutputStream.WriteAsync(_content.AsMemory(from, Math.Min(_cutAt, _content.Length) - from));
                    if (_cutAt < _content.Length) context.Response.Abort();
                    else context.Response.Close();
                }
                catch (HttpListenerException) { /* Who asked has gone. */ }
            }
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException) { /* The test is over. */ }
    }
}
