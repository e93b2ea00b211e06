using AgentMetal.LabTests.Adversary;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.RedisCases;

/// <summary>Kind 8: what a person signs says what goes, from facts of the moment; and a copy of it is kept where there is room.</summary>
[Story("redis", 40)]
public sealed class SignedTextIsTrueTests(RedisFleet shared) : RedisCase(shared)
{
    public static TheoryData<string> Cases =>
        Pick("two primaries after a cut", "restart of a server that cannot save", "restart of a primary that cannot save, with a replica");

    [Theory]
    [MemberData(nameof(Cases))]
    public Task Signature_LosesNoMoreThanItsTextSays(string what) => what[0] == 't' ? TwoPrimaries()
        : CannotSave(what.EndsWith("replica", StringComparison.Ordinal) ? 1 : 0);

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

    private Task CannotSave(int replicas) =>
        WithAsync("signed", $"replicas: {replicas}, persistence: {{ appendonly: false, save: [{{ seconds: 5, changes: 1 }}] }}", async g =>
    {
        await LimitAsync(g[0]);
        await g.EventuallyAsync("Ready on the small disk", TimeSpan.FromSeconds(60), () => g.ReadyAsync(Stop), Stop);
        await g[0].Host.FillAsync(g[0].DataDir, Stop);
        g.Write(g[0], 1300);
        await g.EventuallyAsync("it cannot save", TimeSpan.FromSeconds(30),
            () => Task.FromResult(g.Info(g[0], "rdb_last_bgsave_status") == "err"), Stop);
        await g.ApplyAsync($"replicas: {replicas}, databases: 32, persistence: {{ appendonly: false, save: [{{ seconds: 5, changes: 1 }}] }}", Stop, "--no-wait");
        await Task.Delay(TimeSpan.FromSeconds(10), Stop);
        var asked = TextsOf(await g.HeldAsync(Stop));
        var said = KeysSaid(asked) ?? 0;
        // Asked with the number, or not asked at all: then it waits until it can be saved, or the replica takes over.
        for (var i = 0; i < 3 && await g.SignAsync("test", Stop) is { Length: > 0 } text; i++)
        {
            said = Math.Max(said, KeysSaid(text) ?? 0);
            await Task.Delay(TimeSpan.FromSeconds(5), Stop);
        }
        var missing = 0;
        for (var i = 0; i < (said > 0 ? 20 : 80) && missing == 0; i++)
        {
            await Task.Delay(1000, Stop);
            missing = (await MissingAsync(g)).Count;
        }
        Assert.True(missing <= said,
            $"the text said {said} keys, {missing} are gone: {asked}\n{await StateAsync(g)}\n{await g.EventsAsync(Stop)}");
        if (missing > 0) return;
        await g[0].Host.FreeAsync(g[0].DataDir, Stop);
        await SignAllAsync(g, TimeSpan.FromSeconds(90));
        Assert.Empty(await MissingAsync(g));
    });
}
