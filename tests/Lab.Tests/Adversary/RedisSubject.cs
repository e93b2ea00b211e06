using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using AgentMetal.LabTests.Fleets;
using AgentMetal.TestKit.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary;

/// <summary>A Redis of the fleet under writers, as the adversary's subject: what members hold is read through their own sockets and by
/// loading copies of their files.</summary>
internal sealed partial class RedisSubject(Fleet fleet, RedisShape shape, string name, int port, bool hosts) : ISubject, IAsyncDisposable
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(2.5);
    private static readonly long Origin = Stopwatch.GetTimestamp();

    private readonly RedisGroup group = new(fleet, name, port,
        $"replicas: {shape.Replicas}, persistence: {RedisShape.SpecOf(shape.Persistence)}");
    private readonly ConcurrentDictionary<string, TimeSpan> acked = new();
    private readonly ConcurrentDictionary<Place, int> pids = new();
    private readonly CancellationTokenSource ended = new();
    private Task writing = Task.CompletedTask;
    private ImmutableArray<RedisMember> members = [];

    private static TimeSpan Now => Stopwatch.GetElapsedTime(Origin);

    public IReadOnlyList<FaultKind> Kinds { get; } = RedisFaults.Of(shape, hosts);

    public RedisGroup Group => group;

    public async Task BeginAsync(CancellationToken stop)
    {
        if (shape.SmallDisk) await SmallDisksAsync(stop);
        await group.UpAsync(stop);
        members = group.Members;
        var primary = members[0];
        Took(group.Write(primary, 300));
        await Fleet.EventuallyAsync("replicas in sync", TimeSpan.FromSeconds(30),
            () => Task.FromResult(members.All(m => m == primary || group.InSync(m, primary))), stop);
        // What "an old copy" will be.
        foreach (var m in members)
        {
            if (shape.Persistence == "snapshots") group.Ask(m, "SAVE");
            await m.Host.ShellAsync("rm -rf $1.old; cp -a $2 $1.old", stop, "/var/tmp/" + m.Id, m.DataDir);
        }
        Took(group.Write(primary, 300));
        await Fleet.EventuallyAsync("replicas in sync", TimeSpan.FromSeconds(30),
            () => Task.FromResult(members.All(m => m == primary || group.InSync(m, primary))), stop);
        writing = Task.Run(WriteAsync, CancellationToken.None);
    }

    public async Task<Look> LookAsync(CancellationToken stop)
    {
        var at = Now;
        members = Find();
        var held = new ConcurrentDictionary<Place, IReadOnlySet<string>?>();
        await Parallel.ForEachAsync(members, stop, async (m, token) =>
        {
            held[PlaceOf(m, "memory")] = await MemoryAsync(m, token);
            var (dump, appended) = await RedisFiles.ReadAsync(group.Seen(m.Host, m.DataDir));
            held[PlaceOf(m, "dump")] = dump;
            held[PlaceOf(m, "aof")] = appended;
        });
        return new() { At = at, Held = held.ToImmutableDictionary(), AtRisk = AtRisk() };
    }

    public async Task HealAsync(CancellationToken stop)
    {
        await fleet.Lab.HealAsync(stop);
        if (hosts)
        {
            foreach (var host in fleet.Lab.Hosts)
            {
                await host.StartAsync(stop);
                await host.ShellAsync("systemctl start agentmetald", stop);
            }
            if (coordinatorDown) await fleet.StartCoordinatorAsync(stop);
            coordinatorDown = false;
            await fleet.WaitAttachedAsync(fleet.Lab.Hosts.Count, stop);
        }
        foreach (var m in Find())
            await m.Host.ShellAsync("systemctl kill -s CONT --kill-whom=main $1 2>/dev/null || true; rm -rf /run/systemd/system.control/$1.d $2/.lab-fill; systemctl daemon-reload", stop, m.Unit, m.DataDir);
        limited.Clear();
    }

    public async Task<Ending> SettleAsync(CancellationToken stop)
    {
        var (clock, since, last) = (Stopwatch.StartNew(), TimeSpan.Zero, "");
        while (true)
        {
            var now = (await group.HeldAsync(stop)) is { Count: > 0 } held ? "held "
                + string.Join(' ', held.Select(h => h.GetProperty("plan").GetProperty("hash").GetString()))
                : await group.ReadyAsync(stop) ? "ready" : "";
            if (now != last) (last, since) = (now, clock.Elapsed);
            if (now.Length > 0 && clock.Elapsed - since > TimeSpan.FromSeconds(4)) return now == "ready" ? Ending.Converged : Ending.Held;
            if (clock.Elapsed > TimeSpan.FromSeconds(45) && await group.DescribeAsync(stop) is var said
                && (said.Contains("spec.primary", StringComparison.Ordinal)
                    || said.Contains("agentmetal approve", StringComparison.Ordinal))) return Ending.Advised;
            if (clock.Elapsed > TimeSpan.FromSeconds(75)) return Ending.Restless;
            await Task.Delay(1000, stop);
        }
    }

    public async Task<Signature?> SignAsync(CancellationToken stop)
    {
        var held = await group.HeldAsync(stop);
        var steps = held.SelectMany(h => h.GetProperty("plan").GetProperty("steps").EnumerateArray()).Where(s =>
            s.GetProperty("risk").GetString() == "Dangerous").ToArray();
        if (steps.Length == 0) return null;
        var text = string.Join('\n', steps.Select(s => s.GetRawText()));
        long? most = 0;
        foreach (var step in steps)
        {
            if (AmountSaid(step.GetRawText()) is { } said) most += said;
            else if (step.GetProperty("losesData").GetBoolean()) most = null;
        }
        // Words of what was signed, without hashes and facts, for the log.
        await group.SignAsync("the adversary signs", stop);
        return new(string.Join("; ",
            steps.Select(s => $"{s.GetProperty("node").GetString()}: {s.GetProperty("text").GetString()} [{s.GetProperty("args").GetString()}] {s.GetProperty("why").GetString()}")), most);
    }

    public async Task<IReadOnlyList<string>> UntoldAsync(int givenUp, CancellationToken stop)
    {
        if (givenUp == 0) return [];
        var said = await group.DescribeAsync(stop) + await group.EventsAsync(stop);
        return Loss().IsMatch(said) ? [] : [$"{givenUp} items went with faults, and neither describe nor an event speaks of a loss"];
    }

    /// <summary>Writers end; the resource is deleted with whatever has to be signed.</summary>
    public async ValueTask DisposeAsync()
    {
        await ended.CancelAsync();
        await writing;
        ended.Dispose();
    }

    public async Task RemoveAsync(CancellationToken stop)
    {
        try
        {
            foreach (var host in fleet.Lab.Hosts)
                await host.ShellAsync("for u in $(systemctl list-units --plain --no-legend 'foreign-'$1'-*' | cut -d' ' -f1); do systemctl stop $u; done; rm -rf /tmp/foreign-$1-* /var/tmp/default-$1-*.old; umount -l /var/lib/agentmetal/redis/default-$1-* 2>/dev/null || true", stop, name);
            await fleet.RemoveAsync(name, stop);
        }
        catch (Exception e) when (e is Xunit.Sdk.XunitException or LabException)
        {
            // What is left of it goes with the fleet: the verdict is known.
        }
    }

    internal static long? AmountSaid(string text)
    {
        long[] keys = [.. KeysSaid().Matches(text).Select(m =>
            long.Parse(m.Groups[1].Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture))];
        if (keys.Length > 0) return keys.Max();
        // A key with its value is never less than eight bytes here.
        long[] bytes = [.. BytesSaid().Matches(text).Select(m =>
            long.Parse(m.Groups[1].Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture) / 8)];
        return bytes.Length > 0 ? bytes.Max() : null;
    }

    // --- looking ---

    private static Place PlaceOf(RedisMember m, string medium) => new($"{m.Ordinal}@{m.Host.Name}", medium);

    /// <summary>Where a host has a directory for a member of this name, whatever runs there.</summary>
    private ImmutableArray<RedisMember> Find()
    {
        List<RedisMember> found = [];
        foreach (var host in fleet.Lab.Hosts)
        {
            var below = group.Seen(host, "/var/lib/agentmetal/redis");
            for (var ordinal = 0; ordinal <= 3; ordinal++)
            {
                var id = string.Create(CultureInfo.InvariantCulture, $"default-{name}-{ordinal}");
                if (Directory.Exists(group.Seen(host, "/etc/agentmetal/redis/" + id)) || HasFiles(Path.Combine(below, id)))
                    found.Add(new(host, ordinal, $"agentmetal-redis-{id}.service", port));
            }
        }
        return [.. found.OrderBy(m => m.Ordinal)];
    }

    private static bool HasFiles(string directory)
    {
        try
        {
            return Directory.Exists(directory)
            && Directory.EnumerateFileSystemEntries(directory).Any(e => !e.EndsWith("/.lab-fill", StringComparison.Ordinal));
        }
        catch (IOException) { return false; }
    }

    /// <summary>Null = the process that was there is still there and does not answer: it holds what it held.</summary>
    private async Task<IReadOnlySet<string>?> MemoryAsync(RedisMember m, CancellationToken stop)
    {
        var place = PlaceOf(m, "memory");
        if (group.InMemory(m) is { } items)
        {
            pids[place] = await PidAsync(m, stop);
            return items;
        }
        var pid = await PidAsync(m, stop);
        return pid > 0 && pids.TryGetValue(place, out var known) && known == pid ? null : new HashSet<string>();
    }

    private static async Task<int> PidAsync(RedisMember m, CancellationToken stop)
    {
        try { return await m.Host.MainPidAsync(m.Unit, stop); }
        catch (LabException) { return 0; }
    }

    // --- writers ---

    private void Took(IEnumerable<string> keys)
    {
        foreach (var key in keys) acked[key] = Now;
    }

    /// <summary>To every member that takes writes, on whichever side of a cut it is: there are clients everywhere.</summary>
    private async Task WriteAsync()
    {
        while (!ended.IsCancellationRequested)
        {
            foreach (var m in members)
            {
                try
                {
                    if (frozen.ContainsKey(m.Id)) continue;
                    using var connection = group.Open(m, "other");
                    if (!connection.Text("INFO", "replication").Contains("role:master", StringComparison.Ordinal)) continue;
                    string[][] sets = [.. Enumerable.Range(0,
                        5).Select(_ => group.NextKey()).Select(k => (string[])["SET", k, RedisGroup.ValueOf(k)])];
                    var answers = connection.AskAll(sets);
                    Took(sets.Where((_, i) => answers[i] is "OK").Select(s => s[1]));
                }
                catch (Exception e) when (e is IOException or RespException or LabException or System.Net.Sockets.SocketException) { }
            }
            await Task.WhenAny(Task.Delay(80, ended.Token));
        }
    }

    [GeneratedRegex(@"(\d[\d,]*) (?:\w+ ){0,2}keys?\b")]
    private static partial Regex KeysSaid();

    [GeneratedRegex(@"(\d[\d,]*) bytes\b")]
    private static partial Regex BytesSaid();

    [GeneratedRegex(@"\b(lost|loss|gone|older|fewer|less|without|died|killed|ended)\b", RegexOptions.IgnoreCase)]
    private static partial Regex Loss();
}
