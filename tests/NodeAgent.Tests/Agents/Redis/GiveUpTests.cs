using System.Globalization;
using System.Net.Sockets;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Tools;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>What a member is told when what it holds is given up, in which order, and what of that is left when it does not come to it.</summary>
public sealed class GiveUpTests : IDisposable
{
    private Func<int, string?> _against = static _ => null;
    private int _looks;
    private const string Role = "follows:10.0.0.2:6379", Loss = "what only this member holds, at most 98 keys";
    private readonly string _root = Directory.CreateTempSubdirectory("am-").FullName;
    private readonly RedisLayout _layout;
    private readonly RedisActuator _actuator;

    public GiveUpTests()
    {
        _layout = RedisLayout.Of("default", "s", 0, new() { Units = _root, Etc = _root + "/etc", Lib = _root + "/lib", Run = _root + "/run" });
        foreach (var dir in (string[])[_layout.ConfDir, _layout.DataDir, Path.GetDirectoryName(_layout.SocketPath)!, _root + "/lib"]) Directory.CreateDirectory(dir);
        File.WriteAllText(_layout.DataDir + "/dump.rdb", "a dump");
        File.WriteAllText(_layout.Role, "# as it was\n");
        _actuator = new(new() { Title = "t", ResourceUid = "u", Generation = 1, Layout = _layout, Auth = new("n", "u", null) },
            new(null!, new EveryUserIsRoot(new FileReader()), null!), new(null!, new FileWriter(), null!, new ProcessRunner(TimeProvider.System)), TimeProvider.System, _ => ValueTask.FromResult(RedisSamples.Converged(RedisSamples.Input(), RedisSamples.Goal(RedisSamples.Input()))));
    }

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private static bool CanRun => Environment.UserName == "root";

    private string Copy => _layout.BackupDir + "/copy.rdb";

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public async Task Follow_NoMoreThanSigned_IsPausedCopiedLookedAtAndFollowsInOne()
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 98 };
        await _actuator.FollowAsync(Role, Loss, Copy, Against, Ct);
        Assert.Equal(["CLIENT PAUSE 15000 WRITE", "BGSAVE SCHEDULE", "CLIENT PAUSE 15000 WRITE", "MULTI", "CLIENT UNPAUSE", "REPLICAOF 10.0.0.2 6379", "EXEC"], server.Changing);
        Assert.Equal("a dump", await File.ReadAllTextAsync(Copy, Ct));
        Assert.Contains("replicaof 10.0.0.2 6379", await File.ReadAllTextAsync(_layout.Role, Ct), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Follow_MoreThanSigned_ChangesNothingAndFreesItsClients()
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 231 };
        await RefusedAsync(server, Copy, "signed for at most 98 keys, now 231 would be lost");
        Assert.False(File.Exists(Copy), "it is known before a copy is made");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Follow_GrownMeanwhile_ChangesNothing(bool keeps)
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        // Somebody ends the pause, and its clients write on.
        var pauses = 0;
        using var server = new Scripted(_layout.SocketPath) { Keys = 90 };
        server.On = (s, command) => { if (keeps ? command.StartsWith("BGSAVE", StringComparison.Ordinal) : command.StartsWith("CLIENT PAUSE", StringComparison.Ordinal) && ++pauses == 2) s.Keys = 99; };
        await RefusedAsync(server, keeps ? Copy : null, "signed for at most 98 keys, now 99 would be lost");
    }

    /// <summary>As many keys as before, and not the same: the copy is made anew, and in the end it is not done.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Follow_PauseHadAGap_IsCopiedAnewOrNotDone(int gaps)
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 90 };
        var left = gaps;
        server.On = (s, command) => { if (command.StartsWith("BGSAVE", StringComparison.Ordinal)) s.Changes = left-- > 0 ? 3 : 0; };
        if (gaps == 3) await RefusedAsync(server, Copy, "cannot be held back");
        else await _actuator.FollowAsync(Role, Loss, Copy, Against, Ct);
        Assert.Equal(gaps == 3 ? 3 : 2, server.Changing.Count(c => c.StartsWith("BGSAVE", StringComparison.Ordinal)));
        Assert.Equal(gaps < 3, server.Changing.Contains("REPLICAOF 10.0.0.2 6379"));
    }

    [Theory]
    [InlineData("BGSAVE SCHEDULE", "no space")]
    [InlineData("CLIENT PAUSE 15000 WRITE", "syntax error")]
    [InlineData("REPLICAOF 10.0.0.2 6379", "not now")]
    public async Task Follow_ServerRefuses_ChangesNothingAndFreesItsClients(string command, string error)
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 1, Refuses = (command, error) };
        await Assert.ThrowsAsync<WorldException>(async () => await _actuator.FollowAsync(Role, Loss, Copy, Against, Ct));
        Assert.Equal("CLIENT UNPAUSE", server.Changing[^1]);
        Assert.Equal("# as it was\n", await File.ReadAllTextAsync(_layout.Role, Ct));
    }

    /// <summary>A text without one figure bounds nothing.</summary>
    [Theory]
    [InlineData("all that is here")]
    [InlineData("a, at most 1 keys; b, at most 2 keys")]
    public async Task Follow_TextWithoutAFigure_IsNotDone(string loss)
    {
        using var server = new Scripted(_layout.SocketPath) { Keys = 1 };
        await Assert.ThrowsAsync<WorldException>(async () => await _actuator.FollowAsync(Role, loss, null, Against, Ct));
        Assert.Empty(server.Changing);
    }

    [Fact]
    public async Task Follow_ServerWithoutThatPause_OnlyWhereTheTextSaysSo()
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 1, Refuses = ("CLIENT PAUSE 15000 WRITE", "syntax error") };
        await _actuator.FollowAsync(Role, Loss + LossText.Unheld, null, Against, Ct);
        Assert.Equal(["REPLICAOF 10.0.0.2 6379"], server.Changing);
    }

    /// <summary>What a primary gives up to one that has all of it: it is looked at once more while nobody can write to it.</summary>
    [Fact]
    public async Task Follow_NothingToLose_IsLookedAtWhileItIsPaused()
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 98 };
        await _actuator.FollowAsync(Role, null, null, Against, Ct);
        Assert.Equal(["CLIENT PAUSE 15000 WRITE", "CLIENT PAUSE 15000 WRITE", "MULTI", "CLIENT UNPAUSE", "REPLICAOF 10.0.0.2 6379", "EXEC"], server.Changing);
        Assert.Equal(2, _looks);
    }

    [Theory]
    [InlineData(null, 1)]
    [InlineData(null, 2)] // In the pause.
    [InlineData(Loss, 1)]
    public async Task Follow_TheOtherHasItNoMore_ChangesNothing(string? loss, int look)
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 98 };
        _against = n => n == look ? "10.0.0.2:6379 holds no key any more" : null;
        var thrown = await Assert.ThrowsAsync<WorldException>(async () => await _actuator.FollowAsync(Role, loss, null, Against, Ct));
        Assert.Equal("10.0.0.2:6379 holds no key any more; nothing was changed", thrown.Message);
        Assert.DoesNotContain("REPLICAOF 10.0.0.2 6379", server.Changing);
        if (server.Changing.Count > 0) Assert.Equal("CLIENT UNPAUSE", server.Changing[^1]);
        Assert.Equal("# as it was\n", await File.ReadAllTextAsync(_layout.Role, Ct));
    }

    /// <summary>
    /// A server that cannot hold its writes back, and one that follows already: nothing is written before the last look either.
    /// </summary>
    [Fact]
    public async Task Follow_WithoutAPause_TheOtherHasItNoMore_ChangesNothing()
    {
        Assert.SkipUnless(CanRun, "not root: files cannot be given away");
        using var server = new Scripted(_layout.SocketPath) { Keys = 98 };
        _against = static _ => "10.0.0.2:6379 holds no key any more";
        await Assert.ThrowsAsync<WorldException>(async () => await _actuator.FollowAsync(Role, Loss + LossText.Unheld, null, Against, Ct));
        Assert.Empty(server.Changing);
        Assert.Equal("# as it was\n", await File.ReadAllTextAsync(_layout.Role, Ct));
    }

    private string? Against(RedisState now) => _against(++_looks);

    private async Task RefusedAsync(Scripted server, string? keep, string why)
    {
        var thrown = await Assert.ThrowsAsync<WorldException>(async () => await _actuator.FollowAsync(Role, Loss, keep, Against, Ct));
        Assert.Contains(why, thrown.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("REPLICAOF 10.0.0.2 6379", server.Changing);
        Assert.Equal("CLIENT UNPAUSE", server.Changing[^1]);
        Assert.Equal("# as it was\n", await File.ReadAllTextAsync(_layout.Role, Ct));
    }

    /// <summary>Answers as a primary does, and keeps what it was told to do.</summary>
    private sealed class Scripted : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        private readonly List<string> _changing = [];
        private int _saves;

        public Scripted(string path)
        {
            _listener.Bind(new UnixDomainSocketEndPoint(path));
            _listener.Listen();
            _ = Task.Run(AcceptAsync);
        }

        public long Keys { get; set; }
        public int Changes { get; set; }
        public (string Command, string Error) Refuses { get; init; }
        public Action<Scripted, string>? On { get; set; }

        /// <summary>Without questions.</summary>
        public List<string> Changing { get { lock (_changing) return [.. _changing]; } }

        public void Dispose() => _listener.Dispose();

        private async Task AcceptAsync()
        {
            try { while (true) _ = ServeAsync(await _listener.AcceptAsync()); }
            catch (Exception e) when (e is SocketException or ObjectDisposedException) { }
        }

        private async Task ServeAsync(Socket peer)
        {
            using var stream = new NetworkStream(peer, ownsSocket: true);
            using var reader = new StreamReader(stream, Encoding.UTF8);
            List<string>? queued = null;
            while (await reader.ReadLineAsync() is { } count)
            {
                var words = new string[int.Parse(count[1..], CultureInfo.InvariantCulture)];
                for (var i = 0; i < words.Length; i++) { await reader.ReadLineAsync(); words[i] = (await reader.ReadLineAsync())!; }
                var command = string.Join(' ', words);
                var reply = command switch
                {
                    "MULTI" => Do(command, () => queued = []),
                    "EXEC" => Do(command, static () => { })[..0] + $"*{queued!.Count}\r\n" + string.Concat(queued.Select(q => Answer(q, log: false))),
                    _ when queued is not null => Do(command, () => queued.Add(command), "+QUEUED\r\n"),
                    _ => Answer(command, log: true),
                };
                await stream.WriteAsync(Encoding.UTF8.GetBytes(reply));
            }
        }

        private string Do(string command, Action action, string reply = "+OK\r\n")
        {
            lock (_changing) _changing.Add(command);
            action();
            return reply;
        }

        private string Answer(string command, bool log)
        {
            if (command == "PING") return "+PONG\r\n";
            if (command.StartsWith("INFO", StringComparison.Ordinal))
            {
                var info = command[5..] switch
                {
                    "replication" => $"role:master\r\nmaster_replid:{new string('a', 40)}\r\n",
                    "persistence" => $"rdb_bgsave_in_progress:0\r\nrdb_last_bgsave_status:ok\r\nrdb_last_save_time:{_saves}\r\nrdb_changes_since_last_save:{Changes}\r\n",
                    "keyspace" => $"db0:keys={Keys - 1},expires=0\r\ndb3:keys=1,expires=1\r\n",
                    _ => "\r\n",
                };
                return $"${info.Length}\r\n{info}\r\n";
            }
            if (log) lock (_changing) _changing.Add(command);
            if (command == Refuses.Command) return $"-ERR {Refuses.Error}\r\n";
            if (command.StartsWith("BGSAVE", StringComparison.Ordinal)) _saves++;
            On?.Invoke(this, command);
            return "+OK\r\n";
        }
    }

    /// <summary>The package's user need not exist here.</summary>
    private sealed class EveryUserIsRoot(IFileReader inner) : IFileReader
    {
        public Observed<FileState> Look(string path, bool hash = false) => inner.Look(path, hash);
        public Observed<FileContent> Read(string path, int maxBytes) => inner.Read(path, maxBytes);
        public Observed<FileContent> Head(string path, int bytes) => inner.Head(path, bytes);
        public Observed<FileContent> Tail(string path, int bytes) => inner.Tail(path, bytes);
        public Observed<Stream> Open(string path) => inner.Open(path);
        public Observed<IReadOnlyList<string>> List(string path, int maxEntries) => inner.List(path, maxEntries);
        public Observed<SpaceState> Space(string path) => inner.Space(path);
        public DateTimeOffset? ChangedAt(string path) => inner.ChangedAt(path);
        public Observed<UserState> User(string name) => inner.User("root");
    }
}
