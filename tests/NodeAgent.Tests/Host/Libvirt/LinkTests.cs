using System.Net.Sockets;
using AgentMetal.NodeAgent.Host.Libvirt;
using static AgentMetal.NodeAgent.Tests.Host.Libvirt.TestHost;

namespace AgentMetal.NodeAgent.Tests.Host.Libvirt;

/// <summary>The connection, its threads and its watches.</summary>
public sealed class LinkTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Watch_DomainsChange_TellsEachChangeAfterAResync()
    {
        await using var host = new TestHost();
        await using var watch = new WatchReader(host.Reader);
        Assert.Equal(DomainSignalKind.Resync, (await watch.NextAsync()).Kind);
        var uuid = await host.DefineAsync(1, "seen");
        Assert.Equal(new DomainSignal(DomainSignalKind.Domain, uuid, "seen", "defined", "added"), await watch.NextAsync());
        await host.Writer.CreateAsync(uuid, Patience, Ct);
        Assert.Equal(new DomainSignal(DomainSignalKind.Domain, uuid, "seen", "started", "booted"), await watch.NextAsync());
        await host.Writer.SuspendAsync(uuid, Patience, Ct);
        Assert.Equal("suspended paused", Words(await watch.NextAsync()));
        await host.Writer.ResumeAsync(uuid, Patience, Ct);
        Assert.Equal("resumed unpaused", Words(await watch.NextAsync()));
        await host.Writer.DestroyAsync(uuid, graceful: false, Patience, Ct);
        Assert.Equal("stopped destroyed", Words(await watch.NextAsync()));
        await host.Writer.UndefineAsync(uuid, Patience, Ct);
        Assert.Equal("undefined removed", Words(await watch.NextAsync()));
    }

    [Fact]
    public async Task Watch_NobodyReads_BecomesOneResyncAndDoesNotGrow()
    {
        await using var host = new TestHost();
        var box = new DomainBox();
        host.Link.Add(box);
        await using var watch = new WatchReader(host.Reader);
        Assert.Equal(DomainSignalKind.Resync, (await watch.NextAsync()).Kind);
        Assert.Equal(DomainSignalKind.Resync, Assert.Single((await box.TakeAsync(Ct))!).Kind);
        for (var i = 0; i <= DomainBox.Capacity; i++)
        {
            await host.DefineAsync(i);
            // A reader that keeps up has seen it: then the one that does not has been told too.
            Assert.Equal($"vm-{i}", (await watch.NextAsync()).Name);
            Assert.InRange(box.Count, 1, DomainBox.Capacity);
        }

        Assert.Equal(1, box.Count);
        Assert.Equal(DomainSignalKind.Resync, Assert.Single((await box.TakeAsync(Ct))!).Kind);
        await host.DefineAsync(9999, "after");
        await watch.NextAsync();
        Assert.Equal("after", Assert.Single((await box.TakeAsync(Ct))!).Name);
    }

    [Fact]
    public async Task Watch_LinkDisposed_Ends()
    {
        var host = new TestHost();
        await using var watch = new WatchReader(host.Reader);
        await watch.NextAsync();
        await host.DisposeAsync();
        Assert.True(await watch.HasEndedAsync());
        var after = await host.Reader.DomainsAsync(Ct);
        Assert.False(after.IsSeen);
        Assert.Equal(DomainResult.Unreachable, (await host.Writer.CreateAsync(Uuid(1), Patience, Ct)).Result);
    }

    [Fact]
    public async Task Library_Missing_IsUnseenWithTheNextCommand()
    {
        await using var link = new LibvirtLink(new LibvirtOptions { Uri = "test:///default", Library = "libvirt-that-nobody-has.so.0" }, TimeProvider.System);
        var versions = await new LibvirtReader(link).VersionsAsync(Ct);
        Assert.False(versions.IsSeen);
        Assert.StartsWith("libvirt is not installed: ", versions.WhyUnseen, StringComparison.Ordinal);
        Assert.Contains("apt-get install", versions.WhyUnseen, StringComparison.Ordinal);
        Assert.Equal(DomainResult.Unreachable, (await new LibvirtWriter(link).CreateAsync(Uuid(1), Patience, Ct)).Result);
        await using var watch = new WatchReader(new LibvirtReader(link));
        var first = await watch.NextAsync();
        Assert.Equal(DomainSignalKind.Unseen, first.Kind);
        Assert.Equal(versions.WhyUnseen, first.Detail);
    }

    [Fact]
    public async Task Daemon_NotThere_IsUnseenAndUnreachable()
    {
        await using var host = new TestHost(new LibvirtOptions { Uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock", CallDeadline = Patience });
        var seen = await host.Reader.DomainAsync(Uuid(1), Ct);
        Assert.False(seen.IsSeen);
        Assert.Contains("/nonexistent/libvirt-sock", seen.WhyUnseen, StringComparison.Ordinal);
        Assert.Equal(DomainResult.Unreachable, (await host.Writer.CreateAsync(Uuid(1), Patience, Ct)).Result);
    }

    [Fact]
    public async Task Daemon_ClosesEveryConnection_IsUnreachable()
    {
        using var daemon = new Listener();
        await using var host = new TestHost(new LibvirtOptions { Uri = daemon.Uri, CallDeadline = Patience });
        var closing = daemon.CloseNextAsync(Ct);
        var outcome = await host.Writer.CreateAsync(Uuid(1), Patience, Ct);
        Assert.Equal(DomainResult.Unreachable, outcome.Result);
        Assert.StartsWith("libvirt at qemu+unix", outcome.Detail, StringComparison.Ordinal);
        await closing;
    }

    [Fact]
    public async Task Daemon_NeverAnswers_EndsEachCallAtItsDeadlineAndHoldsOneThread()
    {
        using var daemon = new Listener();
        await using var host = new TestHost(new LibvirtOptions { Uri = daemon.Uri, CallDeadline = TimeSpan.FromMilliseconds(100) });
        for (var i = 0; i < 3; i++)
        {
            var outcome = await host.Writer.CreateAsync(Uuid(1), TimeSpan.FromMilliseconds(100), Ct);
            Assert.Equal(DomainResult.DeadlinePassed, outcome.Result);
            Assert.Contains("was not begun", outcome.Detail, StringComparison.Ordinal);
        }

        Assert.False((await host.Reader.DomainAsync(Uuid(1), Ct)).IsSeen);
        Assert.Equal(1, host.Link.BusyThreads);
        // When it dies at last, so does the attempt, and whoever watches is told.
        await using var watch = new WatchReader(host.Reader);
        await daemon.CloseNextAsync(Ct);
        Assert.Equal(DomainSignalKind.Unseen, (await watch.NextAsync()).Kind);
    }

    [Fact]
    public async Task Console_WhereTheHypervisorHasNone_IsRefusedAndCountsNothing()
    {
        await using var host = new TestHost();
        var uuid = await host.DefineAsync(1);
        var consoles = new LibvirtConsole(host.Link);
        for (var i = 0; i <= LibvirtConsole.MaxOpen; i++)
        {
            var (console, outcome) = await consoles.OpenAsync(uuid, force: false, Patience, Ct);
            Assert.Null(console);
            Assert.DoesNotContain("already", outcome.Detail, StringComparison.Ordinal);
            Assert.NotEqual(DomainResult.Done, outcome.Result);
        }

        Assert.Equal(0, consoles.Open);
    }

    [Fact]
    public async Task Calls_SixtyFourAtOnce_AreAllAnsweredOnEightThreads()
    {
        await using var host = new TestHost();
        var calls = Enumerable.Range(0, 64).Select(async i =>
        {
            var uuid = await host.DefineAsync(i);
            Assert.True((await host.Writer.CreateAsync(uuid, Patience, Ct)).IsDone);
            var state = await host.StateAsync(uuid);
            Assert.InRange(host.Link.BusyThreads, 0, 8);
            return state.Power;
        });
        Assert.All(await Task.WhenAll(calls), power => Assert.Equal(DomainPower.Running, power));
    }

    [Fact]
    public async Task Link_OpenedAndClosedFiftyTimes_LeavesNoThreadAndNoDescriptor()
    {
        await RoundAsync();
        var before = Descriptors();
        for (var i = 0; i < 50; i++)
            await RoundAsync();
        // Other tests of this process may hold a few; fifty rounds of a leak cannot hide among them.
        Assert.InRange(Descriptors() - before, -40, 25);
        // The same holds for threads for calls; there is one loop for the whole process, whoever uses it.
        await UntilAsync(() => Threads("libvirt") <= 8 * 4);
        Assert.InRange(Threads("libvirt-events"), 0, 1);

        static async Task RoundAsync()
        {
            await using var host = new TestHost();
            await using var watch = new WatchReader(host.Reader);
            Assert.Equal(DomainSignalKind.Resync, (await watch.NextAsync()).Kind);
            await host.DefineAsync(1);
            Assert.Equal("defined", (await watch.NextAsync()).Event);
        }
    }

    private static string Words(DomainSignal signal) => $"{signal.Event} {signal.Detail}";

    private static int Threads(string name) => Directory.EnumerateDirectories("/proc/self/task").Count(task => Comm(task) == name);

    private static string Comm(string task)
    {
        try
        {
            return File.ReadAllText(task + "/comm").TrimEnd();
        }
        catch (IOException)
        {
            return "";
        }
    }

    private static int Descriptors() => Directory.EnumerateFileSystemEntries("/proc/self/fd").Count();

    private static async Task UntilAsync(Func<bool> condition)
    {
        var started = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(started) < Patience, "it did not come true in time");
            await Task.Delay(20, Ct);
        }
    }

    /// <summary>A socket where a daemon could be.</summary>
    private sealed class Listener : IDisposable
    {
        private readonly string _directory = Directory.CreateTempSubdirectory("agentmetal-virt-").FullName;
        private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

        internal Listener()
        {
            _socket.Bind(new UnixDomainSocketEndPoint(Path.Combine(_directory, "sock")));
            _socket.Listen();
        }

        internal string Uri => $"qemu+unix:///system?socket={_directory}/sock";

        internal async Task CloseNextAsync(CancellationToken stop)
        {
            using var client = await _socket.AcceptAsync(stop);
        }

        public void Dispose()
        {
            _socket.Dispose();
            Directory.Delete(_directory, recursive: true);
        }
    }
}
