using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>
/// What the cases of one kind share: a group that is up with recorded writes, the faults by their commands, and what must hold once the
/// dust has settled:
/// every acknowledged write is held by a member that serves, or on the disk of one that could, unless a signature's text gave it up.
/// </summary>
[Collection(RedisFleetCollection.Name)]
public abstract partial class RedisCase(RedisFleet shared)
{
    /// <summary>How long a wrong decision would have to show itself: the slowest that was seen took nine seconds.</summary>
    private static readonly TimeSpan Dust = TimeSpan.FromSeconds(18);

    protected static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>One case a kind in ./test.sh, all in --soak; or the one that the environment names.</summary>
    protected static TheoryData<string> Pick(params string[] cases) =>
        Environment.GetEnvironmentVariable("AGENTMETAL_CASE") is { Length: > 0 } chosen
        ? [.. cases.Where(c => chosen == "all" || c.Contains(chosen, StringComparison.Ordinal))]
        : [.. RedisFleet.Soak ? cases : cases[..1]];

    /// <summary>Declares it, runs the case, and removes it whatever came of it.</summary>
    internal async Task WithAsync(string name, string spec, Func<RedisGroup, Task> run)
    {
        var group = await shared.GroupAsync(name, spec);
        try
        {
            await group.UpAsync(Stop);
            await run(group);
        }
        catch (Xunit.Sdk.XunitException)
        {
            TestContext.Current.TestOutputHelper?.WriteLine(await group.DescribeAsync(Stop));
            TestContext.Current.TestOutputHelper?.WriteLine(await group.EventsAsync(Stop));
            throw;
        }
        finally { await CleanAsync(group); }
    }

    /// <summary>Writes to the primary and waits until the others have it.</summary>
    internal static async Task FillAsync(RedisGroup g, int count, int bytes = 0)
    {
        var primary = g.Members.First(m => g.Role(m) == "master");
        Assert.Equal(count, g.Write(primary, count, bytes).Count);
        await g.EventuallyAsync("replicas in sync", TimeSpan.FromSeconds(30),
            () => Task.FromResult(g.Members.All(m => m == primary || g.InSync(m, primary))), Stop);
    }

    // --- faults ---

    internal static async Task DaemonsAsync(RedisGroup g, string verb)
    {
        foreach (var host in g.Members.Select(m => m.Host).Distinct()) await host.ShellAsync("systemctl " + verb + " agentmetald", Stop);
    }

    /// <summary>A Redis that is no member, on this host, with the group's password.</summary>
    internal static async Task<string> ForeignAsync(RedisGroup g, LabHost host, int port, int keys)
    {
        await host.ShellAsync(
            """
            systemctl stop foreign-$1 2>/dev/null || true; systemctl reset-failed foreign-$1 2>/dev/null || true
            rm -rf /tmp/foreign-$1; mkdir -p /tmp/foreign-$1; cd /tmp/foreign-$1
            printf 'port %s\nbind 0.0.0.0\nrequirepass %s\nmasterauth %s\nsave ""\ndir /tmp/foreign-%s\n' "$1" "$2" "$2" "$1" >r.conf
            systemd-run -q --unit foreign-$1 redis-server /tmp/foreign-$1/r.conf
            until REDISCLI_AUTH="$2" redis-cli --no-auth-warning -p $1 PING 2>/dev/null | grep -q PONG; do sleep 0.05; done
            [ "$3" = 0 ] || REDISCLI_AUTH="$2" redis-cli --no-auth-warning -p $1 EVAL 'for i=1,tonumber(ARGV[1]) do redis.call("SET","f:"..i,i) end' 0 "$3" >/dev/null
            [ "$(REDISCLI_AUTH="$2" redis-cli --no-auth-warning -p $1 DBSIZE)" = "$3" ]
            """, Stop, port.ToString(CultureInfo.InvariantCulture), g.Password(g.Members[0]), keys.ToString(CultureInfo.InvariantCulture));
        return string.Create(CultureInfo.InvariantCulture, $"{host.Address} {port}");
    }

    internal static void Replicaof(RedisGroup g, RedisMember m, string target) =>
        Assert.Equal("OK", g.Ask(m, ["REPLICAOF", .. target.Split(' ')]).Split(' ')[0]);

    internal static Task KillAsync(RedisMember m, string signal = "KILL") =>
        m.Host.ShellAsync($"systemctl kill --kill-whom=main -s {signal} {m.Unit}", Stop);

    internal static async Task PowerCutAsync(params LabHost[] hosts)
    {
        await Task.WhenAll(hosts.Select(h => h.PowerOffAsync(Stop)));
        await Task.WhenAll(hosts.Select(h => h.StartAsync(Stop)));
    }

    /// <summary>Its directory becomes a small file system, with what was in it.</summary>
    internal static async Task LimitAsync(RedisMember m)
    {
        await m.Host.ShellAsync($"systemctl stop agentmetald; systemctl stop {m.Unit}", Stop);
        await m.Host.ShellAsync($"mv {m.DataDir} {m.DataDir}.was; mkdir {m.DataDir}; chown --reference={m.DataDir}.was {m.DataDir}; chmod --reference={m.DataDir}.was {m.DataDir}", Stop);
        await m.Host.SizeLimitedMountAsync(m.DataDir, 2 << 20, Stop);
        await m.Host.ShellAsync($"cp -a {m.DataDir}.was/. {m.DataDir}/; rm -rf {m.DataDir}.was; systemctl start {m.Unit}; systemctl start agentmetald", Stop);
    }

    // --- what must hold ---

    /// <summary>What of the acknowledged writes nobody has: not in the memory of a server that answers, nor on the disk of one that does
    /// not.</summary>
    internal static async Task<IReadOnlyList<string>> MissingAsync(RedisGroup g)
    {
        HashSet<string> held = [];
        foreach (var m in g.Members)
        {
            if (g.InMemory(m) is { } memory) held.UnionWith(memory);
            else
            {
                var (dump, appended) = await RedisFiles.ReadAsync(g.Seen(m.Host, m.DataDir));
                held.UnionWith(dump);
                held.UnionWith(appended);
            }
        }
        return [.. g.Acked.Except(held)];
    }

    /// <summary>Watches until a wrong decision would have been made, and nothing that was acknowledged is gone at any look.</summary>
    internal static async Task HeldThroughAsync(RedisGroup g, string after, TimeSpan? within = null)
    {
        var until = DateTime.UtcNow + (within ?? Dust);
        while (true)
        {
            var missing = await MissingAsync(g);
            // A server that is just starting is neither up nor down: what is gone stays gone.
            if (missing.Count > 0)
            {
                await Task.Delay(1500, Stop);
                missing = await MissingAsync(g);
            }
            if (missing.Count > 0) Assert.Fail($"{after}: {missing.Count} of {g.Acked.Count} acknowledged writes are held by nobody, and nobody signed that; such as {missing[0]}\n{await StateAsync(g)}\n{await g.DescribeAsync(Stop)}\n{await g.EventsAsync(Stop)}");
            if (DateTime.UtcNow > until) return;
            await Task.Delay(1000, Stop);
        }
    }

    internal static Task<string> StateAsync(RedisGroup g) => Task.FromResult(string.Join('\n', g.Members.Select(m =>
        $"member {m.Ordinal} on {m.Host.Name}: {g.Role(m)} of {g.Info(m, "master_host")}:{g.Info(m, "master_port")} link {g.Info(m, "master_link_status")}, {g.InMemory(m)?.Count.ToString(CultureInfo.InvariantCulture) ?? "?"} of our keys")));

    /// <summary>Ready with everything, or it waits for a signature, or it says in describe what a person can do: no other end is
    /// one.</summary>
    internal static async Task<string> EndAsync(RedisGroup g, TimeSpan within)
    {
        var end = "";
        await g.EventuallyAsync("it is Ready, or waits for a signature", within, async () =>
        {
            if ((await g.HeldAsync(Stop)).Count > 0) end = "held";
            else if (await g.ReadyAsync(Stop)) end = "ready";
            return end.Length > 0;
        }, Stop);
        return end;
    }

    /// <summary>Waits for a Dangerous step of this resource and gives all texts of the plans that wait: what a person would sign.</summary>
    internal static async Task<string> AskedAsync(RedisGroup g, TimeSpan within)
    {
        var texts = "";
        await g.EventuallyAsync("a step waits for a signature", within, async () => (texts = TextsOf(await g.HeldAsync(Stop))).Length > 0,
            Stop);
        return texts;
    }

    internal static string TextsOf(IReadOnlyList<JsonElement> held)
    {
        var text = new StringBuilder();
        foreach (var step in held.SelectMany(h => h.GetProperty("plan").GetProperty("steps").EnumerateArray()).Where(s =>
            s.GetProperty("risk").GetString() == "Dangerous")) text.AppendLine(step.GetRawText());
        return text.ToString();
    }

    /// <summary>The most keys that such a text gives up; null when it names no number.</summary>
    internal static long? KeysSaid(string texts)
    {
        var numbers = Keys().Matches(texts).Select(m =>
            long.Parse(m.Groups[1].Value.Replace(",", "", StringComparison.Ordinal), CultureInfo.InvariantCulture)).ToImmutableArray();
        return numbers.Length == 0 ? null : numbers.Max();
    }

    /// <summary>Our keys in the copies that steps made on this member's host.</summary>
    internal static async Task<HashSet<string>> CopiesAsync(RedisGroup g, RedisMember of)
    {
        HashSet<string> kept = [];
        foreach (var copy in (await of.Host.ShellAsync("find /var/lib/agentmetal/backups -name '*.rdb' 2>/dev/null || true", Stop))
            .Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var directory = Directory.CreateTempSubdirectory("agentmetal-backup-").FullName;
            File.Copy(g.Seen(of.Host, copy), Path.Combine(directory, "dump.rdb"));
            kept.UnionWith((await RedisFiles.ReadAsync(directory)).Dump);
            Directory.Delete(directory, recursive: true);
        }
        return kept;
    }

    internal static async Task SignAllAsync(RedisGroup g, TimeSpan within)
    {
        await g.EventuallyAsync("Ready once it was signed", within, async () =>
        {
            if ((await g.HeldAsync(Stop)).Count > 0) await g.SignAsync("test", Stop);
            return await g.ReadyAsync(Stop);
        }, Stop);
    }

    private async Task CleanAsync(RedisGroup g)
    {
        var fleet = await shared.GetAsync();
        foreach (var m in g.Members)
        {
            await m.Host.ShellAsync($"systemctl kill -s CONT {m.Unit} 2>/dev/null || true; systemctl stop 'foreign-*' 2>/dev/null || true", Stop);
            // A small disk goes before the directory does: a mount point cannot be removed.
            await m.Host.RunAsync(["sh", "-c",
                "mountpoint -q $2 || exit 0; rm -f $2/.lab-fill; systemctl stop agentmetald; systemctl stop $1; cp -a $2 $2.was; umount $2; rm -rf $2; mv $2.was $2; systemctl start --no-block $1; systemctl start agentmetald", "sh", m.Unit, m.DataDir],
                timeout: TimeSpan.FromSeconds(90), cancellationToken: Stop);
        }
        try { await fleet.RemoveAsync(g.Name, Stop); }
        catch (Xunit.Sdk.XunitException e)
        {
            // The test's own end counts; what is left goes with the fleet.
            TestContext.Current.TestOutputHelper?.WriteLine(e.Message);
        }
    }

    [GeneratedRegex(@"(\d[\d,]*) (?:\w+ ){0,2}keys?\b")]
    private static partial Regex Keys();
}
