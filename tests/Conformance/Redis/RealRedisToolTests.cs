using System.Formats.Tar;
using AgentMetal.NodeAgent.Agents.Redis;
using AgentMetal.NodeAgent.Tests.Agents.Redis;
using AgentMetal.Runtime.Risk;
using static AgentMetal.NodeAgent.Tests.Agents.Redis.RedisSamples;

namespace AgentMetal.Conformance.Redis;

/// <summary>
/// For every tool of the catalog: what it predicts is what is then observed of real servers. Facts that it writes must become as predicted; every other
/// fact of this member must stay. Stories are told once, and each tool is asked for in the story that needs it.
/// </summary>
public sealed class RealRedisToolTests(RealRedisToolTests.Stories stories) : IClassFixture<RealRedisToolTests.Stories>
{
    private static readonly Dictionary<string, string> s_storyOf = new(StringComparer.Ordinal)
    {
        ["install-package"] = nameof(Stories.CreateAsync),
        ["create-data-dir"] = nameof(Stories.CreateAsync),
        ["write-config"] = nameof(Stories.CreateAsync),
        ["write-auth"] = nameof(Stories.CreateAsync),
        ["write-unit"] = nameof(Stories.CreateAsync),
        ["enable"] = nameof(Stories.CreateAsync),
        ["start"] = nameof(Stories.CreateAsync),
        ["config-set"] = nameof(Stories.DriftAsync),
        ["reconfigure"] = nameof(Stories.DriftAsync),
        ["fix-data-dir"] = nameof(Stories.DriftAsync),
        ["remove-drop-in"] = nameof(Stories.DriftAsync),
        ["write-role"] = nameof(Stories.DriftAsync),
        ["restart"] = nameof(Stories.DriftAsync),
        ["save"] = nameof(Stories.CannotSaveAsync),
        ["last-backup"] = nameof(Stories.DeleteAsync),
        ["stop"] = nameof(Stories.DeleteAsync),
        ["remove-data"] = nameof(Stories.DeleteAsync),
        ["remove-files"] = nameof(Stories.DeleteAsync),
        ["follow"] = nameof(Stories.RolesAsync),
        ["promote"] = nameof(Stories.RolesAsync),
        ["handover"] = nameof(Stories.RolesAsync),
        ["start-adopted"] = nameof(Stories.AdoptedAsync),
        ["set-aside"] = nameof(Stories.DamagedReplicaAsync),
        ["repair"] = nameof(Stories.DamagedAloneAsync),
    };

    public static TheoryData<string> Tools => new(Catalog);

    private static IEnumerable<string> Catalog => new RedisAgent(Scope(Input())).Tools.Select(t => t.Name);

    [Theory]
    [MemberData(nameof(Tools))]
    public async Task Tool_OnRealServers_PredictionEqualsObservation(string tool)
    {
        Assert.True(s_storyOf.TryGetValue(tool, out var story), $"{tool} has no case on a real server: add one");
        Assert.SkipWhen(RedisFleet.Missing is not null, RedisFleet.Missing ?? "");
        var told = await stories.ToldAsync(story);
        Assert.Contains(tool, told.Ran);
        Assert.DoesNotContain(told.Mismatches, m => m.StartsWith(tool + " ", StringComparison.Ordinal));
    }

    [Fact]
    public async Task LastBackup_OfAServerThatIsDown_IsItsFiles()
    {
        Assert.SkipWhen(RedisFleet.Missing is not null, RedisFleet.Missing ?? "");
        await using var fleet = new RedisFleet(1);
        await Stories.CreateAsync(fleet);
        await fleet.Units.StopAsync(fleet.Layout(0).Unit, TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
        await Stories.DeleteAsync(fleet);
        Assert.Contains("0 last-backup", fleet.Ran);
        Assert.Empty(fleet.Mismatches);
        using var archive = new TarReader(File.OpenRead(fleet.Layout(0).ColdBackup(fleet.Uid, fleet.Generation)));
        var kept = new List<string>();
        while (archive.GetNextEntry() is { } entry) kept.Add(entry.Name);
        Assert.Contains("./dump.rdb", kept);
        Assert.False(Directory.Exists(fleet.Layout(0).DataDir));
    }

    [Fact]
    public void Cases_OfToolsThatAreGone_AreGoneToo() => Assert.Empty(s_storyOf.Keys.Except(Catalog));

    /// <summary>What a story showed: the tools that ran and were compared, and where prediction and observation differed.</summary>
    internal sealed record Told(IReadOnlyCollection<string> Ran, IReadOnlyCollection<string> Mismatches);

    /// <summary>Each story is told once, whichever tool asks first.</summary>
    public sealed class Stories
    {
        private readonly Dictionary<string, Told> _told = new(StringComparer.Ordinal);

        internal async Task<Told> ToldAsync(string story)
        {
            if (_told.TryGetValue(story, out var told)) return told;
            // One member's life, in order: a story that is asked for first tells those before it.
            if (story is nameof(CreateAsync) or nameof(DriftAsync) or nameof(DeleteAsync))
            {
                await using var fleet = new RedisFleet(1);
                _told[nameof(CreateAsync)] = await OfAsync(fleet, CreateAsync);
                _told[nameof(DriftAsync)] = await OfAsync(fleet, DriftAsync);
                _told[nameof(DeleteAsync)] = await OfAsync(fleet, DeleteAsync);
                return _told[story];
            }
            await using var other = new RedisFleet(story is nameof(RolesAsync) or nameof(DamagedReplicaAsync) ? 2 : 1);
            return _told[story] = await OfAsync(other, story switch
            {
                nameof(RolesAsync) => RolesAsync,
                nameof(DamagedReplicaAsync) => DamagedReplicaAsync,
                nameof(DamagedAloneAsync) => DamagedAloneAsync,
                nameof(CannotSaveAsync) => CannotSaveAsync,
                _ => AdoptedAsync,
            });
        }

        internal static async Task CreateAsync(RedisFleet fleet)
        {
            await fleet.ConvergeAsync(fleet.Input(0));
            await fleet.CommandAsync(0, "SET", "a", "1");
        }

        internal static async Task DriftAsync(RedisFleet fleet)
        {
            fleet.Spec = """{"memory":{"max":"64Mi"},"databases":32}""";
            await fleet.ConvergeAsync(fleet.Input(0));
            var layout = fleet.Layout(0);
            FakeUnits.Run("/bin/chown", "-R", "root:root", layout.DataDir);
            File.Delete(layout.Role);
            File.WriteAllText(Directory.CreateDirectory(layout.DropInDir).FullName + "/o.conf", "[Service]\nMemoryMax=1\n");
            await fleet.ConvergeAsync(fleet.Input(0));
            await fleet.SignalAsync(0, 19);
            await fleet.ConvergeAsync(fleet.Input(0));
        }

        internal static async Task DeleteAsync(RedisFleet fleet)
        {
            fleet.Generation++;
            await fleet.ConvergeAsync(fleet.Input(0, absent: true, teardown: true));
        }

        internal static async Task RolesAsync(RedisFleet fleet)
        {
            await fleet.ConvergeAllAsync();
            await fleet.CommandAsync(0, "SET", "a", "1");
            await fleet.CommandAsync(1, "REPLICAOF", "NO", "ONE"); // follow
            await fleet.ConvergeAllAsync();
            fleet.Primary = 1; // hand over
            await fleet.ConvergeAllAsync();
            await fleet.CommandAsync(1, "REPLICAOF", "127.0.0.1", fleet.Input(0).Peers[0].Port.ToString()); // nobody is primary: promote
            await fleet.ConvergeAllAsync();
        }

        internal static async Task DamagedReplicaAsync(RedisFleet fleet)
        {
            await fleet.ConvergeAllAsync();
            for (var i = 0; i < 50; i++) await fleet.CommandAsync(0, "SET", "k" + i, "value");
            await Task.Delay(300, TestContext.Current.CancellationToken);
            await DamageAsync(fleet, 1);
            await fleet.ConvergeAllAsync();
            Assert.Equal("value", (await fleet.CommandAsync(1, "GET", "k49")).Text);
            Assert.NotEmpty(Directory.GetDirectories(fleet.Layout(1).DataDir, "appendonlydir.damaged-*")); // The bad file is kept.
        }

        internal static async Task DamagedAloneAsync(RedisFleet fleet)
        {
            await fleet.ConvergeAsync(fleet.Input(0));
            for (var i = 0; i < 50; i++) await fleet.CommandAsync(0, "SET", "k" + i, "value");
            await fleet.ObserveAsync(0);
            await DamageAsync(fleet, 0);
            var step = Assert.Single((await fleet.PlanAsync(fleet.Input(0))).Steps);
            Assert.Equal(("repair", RiskLevel.Dangerous, true), (step.Tool, step.Risk.Level, step.Risk.LosesData));
            Assert.Contains("behind byte ", step.Args, StringComparison.Ordinal);
            await fleet.ConvergeAsync(fleet.Input(0));
            Assert.Equal("value", (await fleet.CommandAsync(0, "GET", "k1")).Text);
            Assert.NotEmpty(Directory.GetFiles(Path.GetDirectoryName(fleet.Layout(0).Backup(fleet.Uid, 1))!, "*-replaced-*.tar"));
        }

        /// <summary>A save fails, and what it failed for goes: it takes writes again within seconds, and not with its next save rule.</summary>
        internal static async Task CannotSaveAsync(RedisFleet fleet)
        {
            await fleet.ConvergeAsync(fleet.Input(0));
            await fleet.CommandAsync(0, "SET", "a", "1");
            File.Delete(fleet.Layout(0).DataDir + "/dump.rdb");
            var inTheWay = Directory.CreateDirectory(fleet.Layout(0).DataDir + "/dump.rdb/x").Parent!;
            await fleet.CommandAsync(0, "BGSAVE");
            var stop = TestContext.Current.CancellationToken;
            while (!(await fleet.CommandAsync(0, "INFO", "persistence")).Text.Contains("rdb_last_bgsave_status:err", StringComparison.Ordinal)) await Task.Delay(50, stop);
            Assert.Contains("MISCONF", (await fleet.CommandAsync(0, "SET", "a", "2")).Text, StringComparison.Ordinal);
            inTheWay.Delete(recursive: true);
            await fleet.ConvergeAsync(fleet.Input(0));
            Assert.Equal("OK", (await fleet.CommandAsync(0, "SET", "a", "2")).Text);
        }

        /// <summary>Random bytes over the end of the newest part, as a bad disk leaves them; the server ends on it.</summary>
        private static async Task DamageAsync(RedisFleet fleet, int ordinal)
        {
            var (unit, stop) = (fleet.Layout(ordinal).Unit, TestContext.Current.CancellationToken);
            await fleet.Units.StopAsync(unit, TimeSpan.FromSeconds(20), stop);
            var part = Directory.GetFiles(fleet.Layout(ordinal).DataDir + "/appendonlydir", "*.incr.aof").Order(StringComparer.Ordinal).Last();
            var bytes = await File.ReadAllBytesAsync(part, stop);
            Array.Fill(bytes, (byte)0x15, bytes.Length - 200, 150);
            using (var file = File.OpenWrite(part)) await file.WriteAsync(bytes, stop);
            await fleet.Units.StartAsync(unit, TimeSpan.FromSeconds(20), stop);
        }

        internal static async Task AdoptedAsync(RedisFleet fleet)
        {
            var unit = await fleet.SetUpForeignAsync();
            fleet.Spec = $$$"""{"auth":{"enabled":false},"adopt":{"unit":"{{{unit}}}"}}""";
            await fleet.ConvergeAsync(fleet.Input(0));
            await fleet.Units.StopAsync(unit, TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
            await fleet.ConvergeAsync(fleet.Input(0));
        }

        private static async Task<Told> OfAsync(RedisFleet fleet, Func<RedisFleet, Task> story)
        {
            var (ran, wrong) = (fleet.Ran.Count, fleet.Mismatches.Count);
            await story(fleet);
            return new([.. fleet.Ran.Skip(ran).Select(r => r[2..]).Distinct()], [.. fleet.Mismatches.Skip(wrong)]);
        }
    }
}
