using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 8: what a person signs says what goes, from facts of the moment; and a copy of it is kept where there is room.</summary>
public sealed class SignedTextIsTrueTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("two primaries after a cut");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task Signature_LosesNoMoreThanItsTextSays(string what) => what[0] == 't' ? TwoPrimaries()
        : throw new ArgumentOutOfRangeException(nameof(what), what, null);

    private Task TwoPrimaries() => WithAsync("signed", "replicas: 1", async g =>
    {
        await FillAsync(g, 1000);
        await g.Fleet.Lab.IsolateAsync(g[0].Host, Stop);
        g.Write(g[0], 1900);
        Replicaof(g, g[1], "NO ONE");
        g.Write(g[1], 1000);
        await g.ApplyAsync("replicas: 1, primary: 1", Stop, "--no-wait");
        await g.Fleet.Lab.HealAsync(Stop);
        var asked = await AskedAsync(g, TimeSpan.FromSeconds(60));
        await HeldThroughAsync(g, "healed and unsigned", TimeSpan.FromSeconds(5));
        Assert.False(await g.ReadyAsync(Stop), "two primaries that take writes are not Ready");
        Assert.InRange(KeysSaid(asked) ?? -1, 1900, 10_000);
        await SignAllAsync(g, TimeSpan.FromSeconds(60));
        await g.EventuallyAsync("one primary", TimeSpan.FromSeconds(30), () => Task.FromResult(g.InSync(g[0], g[1])), Stop);
        Assert.InRange((await MissingAsync(g)).Count, 0, (int)KeysSaid(asked)!.Value);
        // What only the loser had is in a copy.
        HashSet<string> kept = [.. g.InMemory(g[1])!];
        foreach (var copy in (await g[0].Host.ShellAsync("find /var/lib/agentmetal/backups -name '*.rdb' 2>/dev/null || true",
            Stop)).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var directory = Directory.CreateTempSubdirectory("agentmetal-backup-").FullName;
            File.Copy(g.Seen(g[0].Host, copy), Path.Combine(directory, "dump.rdb"));
            kept.UnionWith((await RedisFiles.ReadAsync(directory)).Dump);
            Directory.Delete(directory, recursive: true);
        }
        Assert.Empty(g.Acked.Except(kept));
    });
}
