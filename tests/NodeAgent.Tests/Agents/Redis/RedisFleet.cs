using System.Collections.Immutable;
using System.Net;
using System.Net.Sockets;
using System.Text;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Processes;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>
/// Real redis-servers on loopback, each member converged by an agent of its own. Files are real; systemd is a fake, or the host's own where
/// AGENTMETAL_REDIS_SYSTEMD is 1 (inside a host of the lab, whose directories are then used as they are).
/// </summary>
internal sealed class RedisFleet : IAsyncDisposable
{
    /// <summary>Facts that others own: clients write keys, peers follow and sync by themselves, the server writes its files when it likes.</summary>
    private static bool IsOthers(string key) => key.StartsWith("peer", StringComparison.Ordinal) || key == RedisFacts.Data;

    private readonly string _root = Directory.CreateTempSubdirectory("agentmetal-redis-").FullName;
    private readonly int[] _ports;
    private readonly RedisRoots _roots;
    private readonly InstalledPackages _packages = new();
    private readonly FakeUnits? _fake;
    private readonly SystemdLink? _bus;

    public RedisFleet(int members)
    {
        _ports = FreePorts(members);
        // What a server that was taken over comes up with is in files that are not ours to read: it is looked at, not predicted.
        Driver = new(() => Member, RedisSamples.Request) { Name = static (input, step) => input.Ordinal + " " + step.Tool, IsOthers = IsOthers, IsCompared = step => step.Tool != "start-adopted" };
        if (OnSystemd)
        {
            _roots = new() { Gate = Environment.GetEnvironmentVariable("AGENTMETAL_REDIS_GATE") ?? "/usr/bin/agentmetald" };
            _bus = new(new(), TimeProvider.System);
            (UnitReader, Units) = (new UnitReader(_bus), new UnitWriter(_bus));
            return;
        }
        FakeUnits.Run("/bin/chmod", "755", _root);
        _roots = new() { Units = _root + "/units", Etc = _root + "/etc", Lib = _root + "/lib", Run = _root + "/run" };
        foreach (var dir in (string[])[_roots.Units, _roots.Etc, _roots.Lib, _roots.Run]) Directory.CreateDirectory(dir);
        _fake = new(_roots);
        (UnitReader, Units) = (_fake, _fake);
    }

    /// <summary>Null when this machine can run these tests.</summary>
    public static string? Missing => !File.Exists("/usr/bin/redis-server") ? "redis-server is not installed" : Environment.UserName != "root" ? "not root: files cannot be given to the user redis" : null;

    public static bool OnSystemd => Environment.GetEnvironmentVariable("AGENTMETAL_REDIS_SYSTEMD") == "1";

    public IUnitReader UnitReader { get; }
    public IUnitWriter Units { get; }
    public string Uid { get; } = Guid.NewGuid().ToString();
    public string Spec { get; set; } = "{}";
    public int Primary { get; set; }
    public long Generation { get; set; } = 1;
    public string Password { get; set; } = "first-password";
    public int Count => _ports.Length;
    public List<string> Ran => Driver.Ran;

    /// <summary>Whether every step's prediction is compared with what is observed after it.</summary>
    public List<string> Mismatches => Driver.Mismatches;

    public MemberInput Input(int ordinal, bool absent = false, bool teardown = false)
    {
        var spec = Count == 1 ? Spec : $"{{\"replicas\":{Count - 1}{(Spec == "{}" ? "" : ",")}{Spec[1..]}";
        var (canonical, errors) = RedisKind.Schema.Validate(Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        return new()
        {
            Key = $"n{ordinal}/Redis/{Uid}/{ordinal}",
            ResourceKey = "Redis default/sessions",
            Project = "default",
            Name = "sessions",
            ResourceUid = Uid,
            Ordinal = ordinal,
            Generation = Generation,
            Spec = canonical.ToArray(),
            Absent = absent,
            Teardown = teardown,
            Peers = [.. _ports.Select((port, i) => new PeerAddress(i, "n" + i, "edge-" + i, "127.0.0.1", port))],
            PrimaryOrdinal = Primary,
            Secrets = new Dictionary<string, ReadOnlyMemory<byte>> { ["password"] = Encoding.UTF8.GetBytes(Password) },
            NodeUid = "n" + ordinal,
        };
    }

    public void MovePort(int ordinal) => _ports[ordinal] = FreePorts(1)[0];

    public RedisLayout Layout(int ordinal) => RedisLayout.Of("default", "sessions", ordinal, _roots);

    // One for the fleet's life, as in the daemon: it remembers since when a peer does not answer.
    public RedisMember Member => field ??= new(new(UnitReader, new FileReader(), _packages), new(Units, new FileWriter(), _packages, new ProcessRunner(TimeProvider.System)), TimeProvider.System, _roots);

    private MemberDriver<RedisGoal, RedisState> Driver { get; }

    public Task<RedisState> ObserveAsync(int ordinal) => Driver.ObserveAsync(Input(ordinal));

    public Task<Plan<RedisGoal, RedisState>> PlanAsync(MemberInput input) => Driver.PlanAsync(input);

    /// <summary>Plans and runs until nothing differs; Dangerous steps run too, as if they had been signed.</summary>
    public Task ConvergeAsync(MemberInput input) => Driver.ConvergeAsync(input);

    /// <summary>All members in turn, until a whole round finds nothing to do.</summary>
    public async Task ConvergeAllAsync()
    {
        for (var round = 0; round < 300; round++) // Half a minute: a replica asks for its primary once in a second or five.
        {
            var quiet = true;
            for (var i = 0; i < Count; i++)
            {
                var plan = await PlanAsync(Input(i));
                quiet &= plan.Outcome == Outcome.Converged;
                await Driver.RunAsync(Input(i), plan);
            }
            if (quiet) return;
            await Task.Delay(100, TestContext.Current.CancellationToken);
        }
        var plans = await Task.WhenAll(Enumerable.Range(0, Count).Select(n => PlanAsync(Input(n))));
        Assert.Fail(string.Join("\n", plans.Select((p, n) => $"{n}: {p.Outcome}, {string.Join("; ", p.Differences.Select(d => d.Text))}, steps {string.Join("; ", p.Steps.Select(s => s.Key))}, blocked {string.Join("; ", p.Blocked.SelectMany(b => b.Reasons))}")));
    }

    /// <summary>A command by a client, over TCP with the password.</summary>
    public async Task<RespReply> CommandAsync(int ordinal, params string[] words)
    {
        var session = await RedisSession.OpenAsync(new("127.0.0.1", _ports[ordinal]), [Password], TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);
        using var client = session.Client!;
        return await client.CallAsync(RespCommand.Of([.. words]), TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);
    }

    /// <summary>A server that somebody else set up: its own unit, its own file, on the member's port, without a password.</summary>
    public async Task<string> SetUpForeignAsync()
    {
        var unit = "foreign-" + Uid[..8] + ".service";
        var (dir, runtime) = (Directory.CreateDirectory(_root + "/foreign").FullName, "foreign-" + Uid[..8]);
        FakeUnits.Run("/bin/chmod", "755", _root);
        FakeUnits.Run("/bin/chown", "redis:redis", dir);
        await File.WriteAllTextAsync(dir + "/redis.conf", $"port {_ports[0]}\nbind 127.0.0.1\ndir {dir}\nunixsocket {_roots.Run}/{runtime}/redis.sock\nsupervised systemd\n");
        await File.WriteAllTextAsync(_roots.Units + "/" + unit, $"[Service]\nType=notify\nExecStart=/usr/bin/redis-server {dir}/redis.conf\nUser=redis\nRuntimeDirectory={runtime}\n");
        await Units.ReloadDaemonAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        Assert.Equal(UnitResult.Done, (await Units.StartAsync(unit, TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken)).Result);
        return unit;
    }

    /// <summary>What the start gate decided, and what is noted.</summary>
    public string GateSaid(int ordinal) => string.Join('\n', new[] { Layout(ordinal).GateRecord, Layout(ordinal).Notes }.Where(File.Exists).Select(File.ReadAllText));

    public async Task SignalAsync(int ordinal, int signal)
    {
        Assert.Equal(UnitResult.Done, (await Units.KillAsync(Layout(ordinal).Unit, KillTarget.Main, signal, TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken)).Result);
        await Task.Delay(100, TestContext.Current.CancellationToken);
        // What the unit runs after an end is a program on .NET here: each start that is asked for meanwhile counts against its limit.
        for (var i = 0; i < 100 && await UnitReader.GetUnitAsync(Layout(ordinal).Unit, TestContext.Current.CancellationToken) is { IsSeen: true, Value.ActiveState: "deactivating" }; i++)
            await Task.Delay(50, TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _fake?.Dispose();
        if (_bus is not null)
        {
            for (var i = 0; i < Count; i++)
            {
                await Units.StopAsync(Layout(i).Unit, TimeSpan.FromSeconds(30), CancellationToken.None);
                await Units.DisableAsync([Layout(i).Unit], TimeSpan.FromSeconds(30), CancellationToken.None);
                File.Delete(Layout(i).UnitPath);
                foreach (var dir in (string[])[Layout(i).ConfDir, Layout(i).DataDir, Layout(i).DropInDir])
                    if (Directory.Exists(dir)) Directory.Delete(dir, recursive: true);
            }
            await Units.ReloadDaemonAsync(TimeSpan.FromSeconds(30), CancellationToken.None);
            await _bus.DisposeAsync();
        }
        Directory.Delete(_root, recursive: true);
    }

    private static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var listener in listeners) listener.Start();
        var ports = listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port).ToArray();
        foreach (var listener in listeners) listener.Dispose();
        return ports;
    }
}
