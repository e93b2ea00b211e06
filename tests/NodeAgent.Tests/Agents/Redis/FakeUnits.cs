using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Agents.Redis.Data;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Host.Packages;
using AgentMetal.NodeAgent.Host.Systemd;

namespace AgentMetal.NodeAgent.Tests.Agents.Redis;

/// <summary>
/// What systemd does for the units of a test: it loads unit files on a reload, runs their ExecStart= as the user redis, and knows what became
/// of it. Only what the agent relies on; the real one is tried in the lab.
/// </summary>
internal sealed class FakeUnits(RedisRoots roots) : IUnitReader, IUnitWriter, IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private readonly Dictionary<string, string> _loaded = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Process> _running = new(StringComparer.Ordinal);
    private readonly HashSet<int> _seen = [];
    private readonly HashSet<string> _stoppedByUs = new(StringComparer.Ordinal);

    /// <summary>What the start gate said.</summary>
    public List<string> GateSaid { get; } = [];

    /// <summary>Units whose host goes down under them: nobody sees their end.</summary>
    public HashSet<string> PowerCut { get; } = new(StringComparer.Ordinal);

    /// <summary>How often each verb was asked for.</summary>
    public List<string> Calls { get; } = [];

    public Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct)
    {
        var path = roots.Units + "/" + name;
        var text = Text(path);
        var loaded = _loaded.GetValueOrDefault(name);
        var alive = _running.TryGetValue(name, out var process) && !process.HasExited;
        var dropIns = DropIns(name);
        return Task.FromResult(Observed<UnitState>.Seen(new()
        {
            Name = name,
            LoadState = loaded is null && !alive ? "not-found" : "loaded",
            ActiveState = alive ? "active" : process is null || _stoppedByUs.Contains(name) || process.ExitCode == 0 ? "inactive" : "failed",
            SubState = alive ? "running" : "dead",
            UnitFileState = text is null ? "" : IsEnabled(name) ? "enabled" : "disabled",
            FragmentPath = loaded is null ? "" : path,
            DropInPaths = dropIns,
            NeedDaemonReload = loaded is not null && loaded != text + string.Concat(dropIns.Select(File.ReadAllText)),
            InvocationId = "",
            MainPid = alive ? process!.Id : 0,
            Result = alive || process is null || process.ExitCode == 0 ? "success" : "exit-code",
            NRestarts = 0,
            ExecMainStatus = 0,
            MemoryCurrent = null,
        }));
    }

    public async IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, [EnumeratorCancellation] CancellationToken ct)
    {
        await Task.CompletedTask;
        yield break;
    }

    public async Task<UnitOutcome> StartAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        Calls.Add("start " + name);
        if (_running.TryGetValue(name, out var running) && !running.HasExited) return Done;
        if (!_loaded.TryGetValue(name, out var text)) return new() { Result = UnitResult.Refused, ErrorName = "org.freedesktop.systemd1.NoSuchUnit" };
        See(name, text);
        var exec = Line(text, "ExecStart=");
        // ExecCondition=: what the unit asks before each start; 1 = skipped, and no failure.
        if (text.Split('\n').FirstOrDefault(l => l.StartsWith("ExecCondition=", StringComparison.Ordinal)) is { } gate
            && await RedisGateProgram.RunAsync(gate.Split(' ')[^1], new FileReader(), new FileWriter(), TimeProvider.System, GateSaid.Add, ct) != 0)
        {
            _stoppedByUs.Add(name);
            return new() { Result = UnitResult.Skipped };
        }
        var runtime = roots.Run + "/" + Line(text, "RuntimeDirectory=");
        Directory.CreateDirectory(runtime);
        Run("/bin/chown", "redis:redis", runtime);
        _stoppedByUs.Remove(name);
        // exec keeps the process id, and the redirections keep the server from holding the test's own streams.
        var process = _running[name] = Process.Start("/bin/sh", ["-c", $"umask 077; exec setpriv --reuid=redis --regid=redis --clear-groups {exec} </dev/null >>{roots.Run}/{name}.log 2>&1"]);
        var socket = runtime + "/redis.sock";
        var since = Stopwatch.StartNew();
        while (!process.HasExited && since.Elapsed < Patience)
        {
            try
            {
                using var client = await RespClient.ConnectAsync(RespEndpoint.Unix(socket), TimeSpan.FromSeconds(1), ct);
                if ((await client.CallAsync(RespCommand.Of("PING"), TimeSpan.FromSeconds(1), ct)).Code != "LOADING")
                {
                    if (text.Split('\n').FirstOrDefault(l => l.StartsWith("ExecStartPost=", StringComparison.Ordinal)) is { } post)
                        await RedisNoteProgram.RunAsync(post.Split(' ')[^1], new FileReader(), new FileWriter(), TimeProvider.System, GateSaid.Add, ct);
                    return Done;
                }
            }
            catch (RespException)
            {
                // Not there yet.
            }
            await Task.Delay(20, ct);
        }
        return new() { Result = UnitResult.Failed, Detail = File.ReadAllText($"{roots.Run}/{name}.log") };
    }

    public async Task<UnitOutcome> StopAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        Calls.Add("stop " + name);
        if (_running.TryGetValue(name, out var process) && !process.HasExited)
        {
            _stoppedByUs.Add(name);
            if (_loaded.GetValueOrDefault(name)?.Split('\n').FirstOrDefault(l => l.StartsWith("ExecStop=", StringComparison.Ordinal)) is { } asks)
                await RedisNoteProgram.RunAsync(asks.Split(' ')[^1], new FileReader(), new FileWriter(), TimeProvider.System, GateSaid.Add, ct, Invocation(process));
            Run("/bin/kill", "-TERM", process.Id.ToString());
            if (!process.WaitForExit(Patience)) process.Kill();
            process.WaitForExit();
        }
        if (_loaded.TryGetValue(name, out var text)) See(name, text);
        RemoveRuntime(name);
        return Done;
    }

    private static string Invocation(Process process) => process.Id.ToString(CultureInfo.InvariantCulture);

    /// <summary>ExecStopPost=: what the unit runs once after each end of its process, however that ended.</summary>
    private void See(string name, string text)
    {
        if (!_running.TryGetValue(name, out var process) || !process.HasExited || !_seen.Add(process.Id) || PowerCut.Contains(name)) return;
        if (text.Split('\n').FirstOrDefault(l => l.StartsWith("ExecStopPost=", StringComparison.Ordinal)) is { } post)
            RedisEndProgram.Run(post.Split(' ')[^1], new FileReader(), new FileWriter(), TimeProvider.System,
                process.ExitCode > 128 ? new("signal", "killed", "KILL", Invocation(process)) : new(process.ExitCode == 0 ? "success" : "exit-code", "exited", process.ExitCode.ToString(CultureInfo.InvariantCulture), Invocation(process)), GateSaid.Add);
    }

    public async Task<UnitOutcome> RestartAsync(string name, TimeSpan deadline, CancellationToken ct)
    {
        await StopAsync(name, deadline, ct);
        return await StartAsync(name, deadline, ct);
    }

    public Task<UnitOutcome> ReloadDaemonAsync(TimeSpan deadline, CancellationToken ct)
    {
        _loaded.Clear();
        foreach (var path in Directory.GetFiles(roots.Units, "*.service"))
            _loaded[Path.GetFileName(path)] = File.ReadAllText(path) + string.Concat(DropIns(Path.GetFileName(path)).Select(File.ReadAllText));
        return Task.FromResult(Done);
    }

    public Task<UnitOutcome> EnableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct)
    {
        Directory.CreateDirectory(Wants);
        foreach (var name in names.Where(n => !IsEnabled(n))) File.CreateSymbolicLink(Wants + "/" + name, roots.Units + "/" + name);
        return Task.FromResult(Done);
    }

    public Task<UnitOutcome> DisableAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct)
    {
        foreach (var name in names) File.Delete(Wants + "/" + name);
        return Task.FromResult(Done);
    }

    public Task<UnitOutcome> MaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => throw new InvalidOperationException("the agent masks nothing");

    public Task<UnitOutcome> UnmaskAsync(IReadOnlyCollection<string> names, TimeSpan deadline, CancellationToken ct) => throw new InvalidOperationException("the agent masks nothing");

    public Task<UnitOutcome> ResetFailedAsync(string name, TimeSpan deadline, CancellationToken ct) => Task.FromResult(Done);

    public Task<UnitOutcome> KillAsync(string name, KillTarget who, int signal, TimeSpan deadline, CancellationToken ct)
    {
        Calls.Add("kill " + name);
        if (_running.TryGetValue(name, out var process) && !process.HasExited)
        {
            Run("/bin/kill", "-" + signal, process.Id.ToString());
            if (signal == 9) process.WaitForExit();
        }
        return Task.FromResult(Done);
    }

    public void Dispose()
    {
        foreach (var process in _running.Values)
        {
            if (!process.HasExited) process.Kill();
            process.Dispose();
        }
    }

    public static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
    }

    private string Wants => roots.Units + "/multi-user.target.wants";

    private bool IsEnabled(string name) => new FileInfo(Wants + "/" + name).LinkTarget is not null;

    private static UnitOutcome Done { get; } = new() { Result = UnitResult.Done };

    private static string? Text(string path) => File.Exists(path) ? File.ReadAllText(path) : null;

    private static string Line(string text, string start) => text.Split('\n').First(l => l.StartsWith(start, StringComparison.Ordinal))[start.Length..];

    /// <summary>Of the unit, and of each name that it begins with up to a dash (systemd.unit(5)).</summary>
    private string[] DropIns(string name) => [.. name.Select((c, i) => c == '-' ? name[..(i + 1)] + ".service" : "").Append(name).Where(n => n.Length > 0).Select(n => $"{roots.Units}/{n}.d")
        .Where(Directory.Exists).SelectMany(d => Directory.GetFiles(d, "*.conf").Order(StringComparer.Ordinal))];

    private void RemoveRuntime(string name)
    {
        if (_loaded.TryGetValue(name, out var text) && Directory.Exists(roots.Run + "/" + Line(text, "RuntimeDirectory="))) Directory.Delete(roots.Run + "/" + Line(text, "RuntimeDirectory="), recursive: true);
    }
}

/// <summary>redis-server is installed, as it is on this machine.</summary>
internal sealed class InstalledPackages : IPackageReader, IPackageWriter
{
    public bool Installed { get; set; }

    public Task<Observed<PackageState>> GetAsync(string name, CancellationToken ct) => Task.FromResult(Observed<PackageState>.Seen(new()
    {
        Name = name,
        Status = Installed ? PackageStatus.Installed : PackageStatus.NotInstalled,
        Version = Installed ? "7" : "",
    }));

    public Task<PackageOutcome> InstallAsync(PackageRequest request, CancellationToken ct)
    {
        Assert.Contains("redis-server.service", request.QuietUnits);
        Installed = true;
        return Task.FromResult(new PackageOutcome { Result = PackageResult.Done });
    }
}
