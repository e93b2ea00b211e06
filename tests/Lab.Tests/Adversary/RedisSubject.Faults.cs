using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.TestKit.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Adversary;

/// <summary>How each fault is done, and what it may take by itself.</summary>
internal sealed partial class RedisSubject
{
    private readonly ConcurrentDictionary<string, bool> frozen = new();
    private readonly HashSet<string> limited = [];
    private readonly List<Order> orders = [];
    private readonly SortedDictionary<string, string> declared = new(StringComparer.Ordinal);
    private bool weakened;
    private bool coordinatorDown;

    /// <summary>A hand told a member whom to copy. Until that copy is done, and those that followed it then have theirs, what they hold
    /// may go by it.</summary>
    private sealed record Order(RedisMember Member, string Target, ImmutableArray<RedisMember> Followers)
    {
        public TimeSpan? Done { get; set; }

        /// <summary>Followers that have their copy, or follow somebody else.</summary>
        public HashSet<RedisMember> Over { get; } = [];
    }

    public async Task<Toll?> InjectAsync(Fault fault, CancellationToken stop)
    {
        try
        {
            return fault.Name switch
            {
                "replicaof" => await ReplicaofAsync(fault, stop),
                "config" => Config(fault),
                "kill" => await KillAsync(fault, stop),
                "stop" => await StopAsync(fault, stop),
                "cont" => await ContAsync(fault, stop),
                "files" => await FilesAsync(fault, stop),
                "limit" => await LimitAsync(fault, stop),
                "fill" => await FillAsync(fault, full: true, stop),
                "free" => await FillAsync(fault, full: false, stop),
                "spec" => await SpecAsync(fault, stop),
                "power" => await PowerAsync([HostOf(fault)], fault.Arguments[1] == "cycle", stop),
                "power-all" => await PowerAsync([.. fleet.Lab.Hosts], true, stop),
                "cut" => await CutAsync(fault, stop),
                "isolate" => await NoneAsync(fleet.Lab.IsolateAsync(HostOf(fault), stop)),
                "heal-network" => await NoneAsync(fleet.Lab.HealAsync(stop)),
                "daemon" => await DaemonAsync(fault, stop),
                "coordinator" => await CoordinatorAsync(fault, stop),
                _ => throw new ArgumentOutOfRangeException(nameof(fault), fault, null),
            };
        }
        catch (LabException e) when (e.Message.Contains("is off", StringComparison.Ordinal)) { return null; }
    }

    private RedisMember? MemberOf(Fault fault) =>
        members.FirstOrDefault(m => m.Ordinal == int.Parse(fault.Arguments[0], CultureInfo.InvariantCulture));

    private LabHost HostOf(Fault fault, int argument = 0) =>
        fleet.Lab.Hosts[int.Parse(fault.Arguments[argument], CultureInfo.InvariantCulture)];

    private static async Task<Toll?> NoneAsync(Task done)
    {
        await done;
        return Toll.None;
    }

    // --- roles ---

    private async Task<Toll?> ReplicaofAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m) return null;
        var target = fault.Arguments[1] switch
        {
            "none" => "NO ONE",
            "nowhere" => "192.0.2.9 6379",
            "empty" => await ForeignAsync(m, 0, stop),
            "foreign" => await ForeignAsync(m, 50, stop),
            var member => members.FirstOrDefault(o => "member:" + o.Ordinal == member && o != m)?.Address,
        };
        if (target is null) return null;
        var linked = group.Info(m, "master_link_status") == "up"
            && $"{group.Info(m, "master_host")} {group.Info(m, "master_port")}" == target;
        var followers = FollowersOf(m);
        if (!group.Ask(m, ["REPLICAOF", .. target.Split(' ')]).StartsWith("OK", StringComparison.Ordinal)) return null;
        if (target is "NO ONE" or "192.0.2.9 6379" || linked) return Toll.None;
        followers = followers.Union(FollowersOf(m)).Remove(m);
        orders.Add(new(m, target, [.. followers.Where(f => f.Address != target)]));
        return new() { Places = [.. PlacesOf(m), .. followers.SelectMany(PlacesOf)] };
    }

    /// <summary>A stranger with this group's password on the same host, with so many keys.</summary>
    private async Task<string> ForeignAsync(RedisMember m, int keys, CancellationToken stop)
    {
        var at = port + 2000 + (keys > 0 ? 500 : 0);
        await m.Host.ShellAsync(
            """
            u=foreign-$4-$1
            if ! systemctl is-active -q $u; then
              systemctl reset-failed $u 2>/dev/null || true
              mkdir -p /tmp/$u
              printf 'port %s\nbind 0.0.0.0\nrequirepass %s\nmasterauth %s\nsave ""\ndir /tmp/%s\n' "$1" "$2" "$2" "$u" >/tmp/$u/r.conf
              systemd-run -q --unit $u redis-server /tmp/$u/r.conf
              until REDISCLI_AUTH="$2" redis-cli --no-auth-warning -p $1 PING 2>/dev/null | grep -q PONG; do sleep 0.05; done
              [ "$3" = 0 ] || REDISCLI_AUTH="$2" redis-cli --no-auth-warning -p $1 EVAL 'for i=1,tonumber(ARGV[1]) do redis.call("SET","f:"..i,i) end' 0 "$3" >/dev/null
            fi
            """, stop, at.ToString(CultureInfo.InvariantCulture), group.Password(m), keys.ToString(CultureInfo.InvariantCulture), name);
        return string.Create(CultureInfo.InvariantCulture, $"{m.Host.Address} {at}");
    }

    private string MasterOf(RedisMember m) => $"{group.Info(m, "master_host")} {group.Info(m, "master_port")}";

    /// <summary>Who follows it now, at any distance.</summary>
    private ImmutableHashSet<RedisMember> FollowersOf(RedisMember of)
    {
        var masters = members.Where(m => !frozen.ContainsKey(m.Id)).ToDictionary(m => m, MasterOf);
        var found = ImmutableHashSet<RedisMember>.Empty;
        while (masters.Where(m => !found.Contains(m.Key) && m.Key != of
            && (m.Value == of.Address || found.Any(f => f.Address == m.Value))).Select(m => m.Key).ToArray() is { Length: > 0 } more)
            found = found.Union(more);
        return found;
    }

    private static IEnumerable<Place> PlacesOf(RedisMember m) => [PlaceOf(m, "memory"), PlaceOf(m, "dump"), PlaceOf(m, "aof")];

    private ImmutableHashSet<Place> AtRisk()
    {
        var risk = ImmutableHashSet.CreateBuilder<Place>();
        foreach (var order in orders.ToArray())
        {
            // Somebody told it otherwise, or it was started anew: the hand's word is over.
            if (group.Role(order.Member).Length > 0 && MasterOf(order.Member) != order.Target) { orders.Remove(order); continue; }
            if (group.Info(order.Member, "master_link_status") == "up") order.Done ??= Now;
            else risk.UnionWith(PlacesOf(order.Member));
            var past = order.Done is { } done && Now - done > TimeSpan.FromSeconds(3);
            // A follower has its copy some seconds later, as servers wait for more of them before they send; nobody of us told it to
            // take one.
            foreach (var follower in order.Followers.Where(f => !order.Over.Contains(f)))
            {
                var answers = group.Role(follower).Length > 0;
                var chained = MasterOf(follower) is var m && (m == order.Member.Address || order.Followers.Any(f => f.Address == m));
                if (answers && (!chained || (past && group.Info(follower, "master_link_status") == "up"))) order.Over.Add(follower);
                else risk.UnionWith(PlacesOf(follower));
            }
            if (past && (order.Over.Count == order.Followers.Length || Now - order.Done > TimeSpan.FromSeconds(40))) orders.Remove(order);
        }
        foreach (var m in members.Where(m => limited.Contains(m.Id))) risk.Add(PlaceOf(m, "memory"));
        return risk.ToImmutable();
    }

    // --- settings ---

    private Toll? Config(Fault fault)
    {
        if (MemberOf(fault) is not { } m) return null;
        string[] set = fault.Arguments[1] switch
        {
            "requirepass" => ["requirepass", "other"],
            "save" => ["save", ""],
            "appendonly-no" => ["appendonly", "no"],
            "appendonly-yes" => ["appendonly", "yes"],
            "maxmemory" => ["maxmemory", "1mb"],
            "masterauth" => ["masterauth", "wrong"],
            var other => throw new ArgumentOutOfRangeException(nameof(fault), other, null),
        };
        if (!group.Ask(m, ["CONFIG", "SET", .. set]).StartsWith("OK", StringComparison.Ordinal)) return null;
        weakened |= set[0] is "save" or "appendonly";
        return Toll.None;
    }

    private async Task<Toll?> SpecAsync(Fault fault, CancellationToken stop)
    {
        var before = new SortedDictionary<string, string>(declared, StringComparer.Ordinal);
        declared[fault.Arguments[0]] = fault.Arguments[1];
        weakened |= fault.Arguments[0] == "persistence";
        var replicas = declared.GetValueOrDefault("replicas", shape.Replicas.ToString(CultureInfo.InvariantCulture));
        var spec = $"replicas: {replicas}, persistence: {RedisShape.SpecOf(declared.GetValueOrDefault("persistence", shape.Persistence))}, primary: {declared.GetValueOrDefault("primary", "0")}, "
            + $"databases: {declared.GetValueOrDefault("databases", "16")}, memory: {{ max: {declared.GetValueOrDefault("memory", "0")} }}";
        if ((await group.ApplyAsync(spec, stop, "--no-wait")).ExitCode is 0 or 6) return Toll.None;
        declared.Clear();
        foreach (var (key, value) in before) declared[key] = value;
        return null;
    }

    // --- processes and hosts ---

    /// <summary>Memory goes; what the declared persistence keeps must not.</summary>
    private Toll Death(params RedisMember[] of)
    {
        var (at, persistence, weak) = (Now, shape.Persistence, weakened);
        return new()
        {
            Places = [.. of.Select(m => PlaceOf(m, "memory"))],
            MayGo = item => weak || persistence is "snapshots" or "memory"
                || (persistence == "everysec" && (!acked.TryGetValue(item, out var when) || when > at - Window - Window)),
        };
    }

    private async Task<Toll?> KillAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m || await PidAsync(m, stop) is not (> 0 and var pid)) return null;
        if (fault.Arguments[1] == "TERM" && frozen.GetValueOrDefault(m.Id)) return null; // It hears that only when it is thawed.
        var death = Death(m);
        await m.Host.ShellAsync("systemctl kill --kill-whom=main -s $2 $1 2>/dev/null || true", stop, m.Unit, fault.Arguments[1]);
        if (fault.Arguments[1] == "TERM") await EndedAsync(m, pid, stop);
        if (fault.Arguments[1] != "STOP") return death;
        frozen[m.Id] = true;
        return Toll.None;
    }

    private async Task<Toll?> StopAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m || frozen.GetValueOrDefault(m.Id)) return null;
        var pid = await PidAsync(m, stop);
        await m.Host.ShellAsync("systemctl stop --no-block $1", stop, m.Unit);
        await EndedAsync(m, pid, stop);
        return Death(m);
    }

    /// <summary>A primary waits up to ten seconds for replicas that lag before it ends (shutdown-timeout): until then its memory is not what the fault left.</summary>
    private async Task EndedAsync(RedisMember m, int pid, CancellationToken stop)
    {
        for (var until = DateTime.UtcNow + TimeSpan.FromSeconds(15); DateTime.UtcNow < until && await PidAsync(m, stop) == pid;) await Task.Delay(300, stop);
    }

    private async Task<Toll?> ContAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m || !frozen.TryRemove(m.Id, out _)) return null;
        await m.Host.ShellAsync("systemctl kill --kill-whom=main -s CONT $1 2>/dev/null || true", stop, m.Unit);
        return Toll.None;
    }

    private async Task<Toll?> LimitAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m) return null;
        limited.Add(m.Id);
        await m.Host.ShellAsync("systemctl set-property --runtime $1 MemoryMax=6M 2>/dev/null || true", stop, m.Unit);
        return Death(m);
    }

    private async Task<Toll?> PowerAsync(LabHost[] cut, bool on, CancellationToken stop)
    {
        var death = Death([.. members.Where(m => cut.Contains(m.Host))]);
        foreach (var m in members.Where(m => cut.Contains(m.Host))) frozen.TryRemove(m.Id, out _);
        await Task.WhenAll(cut.Select(h => h.PowerOffAsync(stop)));
        if (on) await Task.WhenAll(cut.Select(h => h.StartAsync(stop)));
        return death;
    }

    private async Task<Toll?> CutAsync(Fault fault, CancellationToken stop)
    {
        if (fault.Arguments[0] == fault.Arguments[1]) await fleet.Lab.PartitionFromControlAsync(HostOf(fault), stop);
        else await fleet.Lab.PartitionAsync(HostOf(fault), HostOf(fault, 1), stop);
        return Toll.None;
    }

    private async Task<Toll?> DaemonAsync(Fault fault, CancellationToken stop)
    {
        await HostOf(fault).ShellAsync(fault.Arguments[1] == "kill" ? "systemctl kill -s KILL agentmetald 2>/dev/null || true"
            : "systemctl $1 agentmetald", stop, fault.Arguments[1]);
        return Toll.None;
    }

    private async Task<Toll?> CoordinatorAsync(Fault fault, CancellationToken stop)
    {
        if (fault.Arguments[0] == "kill" == coordinatorDown) return null;
        if (fault.Arguments[0] == "kill") await fleet.KillCoordinatorAsync();
        else await fleet.StartCoordinatorAsync(stop);
        coordinatorDown = !coordinatorDown;
        return Toll.None;
    }

    // --- files ---

    /// <summary>Before it is declared, where its members will have their directories.</summary>
    private async Task SmallDisksAsync(CancellationToken stop)
    {
        foreach (var host in fleet.Lab.Hosts)
        {
            for (var ordinal = 0; ordinal <= 2; ordinal++)
            {
                var path = string.Create(CultureInfo.InvariantCulture, $"/var/lib/agentmetal/redis/default-{name}-{ordinal}");
                await host.ShellAsync("mkdir -p $1; chown redis: $1; chmod 700 $1", stop, path);
                await host.SizeLimitedMountAsync(path, 4 << 20, stop);
            }
        }
    }

    private async Task<Toll?> FillAsync(Fault fault, bool full, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m) return null;
        // What is taken while the file cannot be written is not on the disk before it can.
        weakened = true;
        if (full) await m.Host.RunAsync(["sh", "-c", "mountpoint -q $1 && dd if=/dev/zero of=$1/.lab-fill bs=4k 2>/dev/null", "sh",
            m.DataDir], cancellationToken: stop);
        else await m.Host.FreeAsync(m.DataDir, stop);
        return Toll.None;
    }

    private async Task<Toll?> FilesAsync(Fault fault, CancellationToken stop)
    {
        if (MemberOf(fault) is not { } m) return null;
        var (script, media) = fault.Arguments[1] switch
        {
            "delete-dump" => ("rm -f $1/dump.rdb", "dump"),
            "delete-aof" => ("rm -rf $1/appendonlydir", "aof"),
            "delete-all" => ("rm -rf $1 2>/dev/null || true", "dump aof"),
            "cut-aof" => ("f=$(ls $1/appendonlydir/*.incr.aof 2>/dev/null | tail -1); [ -z \"$f\" ] || truncate -s -300 $f 2>/dev/null || true", "aof"),
            "overwrite-aof" => ("f=$(ls $1/appendonlydir/*.incr.aof 2>/dev/null | tail -1); [ -z \"$f\" ] || dd if=/dev/urandom of=$f bs=1 count=300 seek=$(( $(stat -c %s $f) * 9 / 10 )) conv=notrunc 2>/dev/null", "aof"),
            "cut-dump" => ("[ ! -e $1/dump.rdb ] || truncate -s -100 $1/dump.rdb 2>/dev/null || true", "dump"),
            "old-copy" => ("systemctl kill -s KILL $2 2>/dev/null || true; systemctl stop $2; rm -rf $1 2>/dev/null || true; mkdir -p $1; cp -a $3/. $1/ || true; chown --reference=$3 $1; systemctl start --no-block $2", "memory dump aof"),
            var other => throw new ArgumentOutOfRangeException(nameof(fault), other, null),
        };
        if (fault.Arguments[1] == "old-copy" && !Directory.Exists(group.Seen(m.Host, $"/var/tmp/{m.Id}.old"))) return null;
        await m.Host.ShellAsync(script, stop, m.DataDir, m.Unit, $"/var/tmp/{m.Id}.old");
        weakened = true;
        if (fault.Arguments[1] == "old-copy") frozen.TryRemove(m.Id, out _);
        return new() { Places = [.. media.Split(' ').Select(medium => PlaceOf(m, medium))] };
    }
}
