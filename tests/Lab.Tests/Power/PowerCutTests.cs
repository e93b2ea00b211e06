using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Power;

/// <summary>
/// The power fails at a seeded random moment of a creation, a change or a deletion. What a virtual machine had not flushed is gone; what the host
/// had acknowledged must be there, whole, before anything on the host could repair it.
/// </summary>
[Story("fleet", 45)]
public sealed class PowerCutTests
{
    private const int RoundsOfASoak = 50;
    private const int RoundsOfAChunk = 10;
    private const int RoundsOfASample = 3;

    /// <summary>A change is applied to the running server; a restart, like a deletion, waits for a signature, because nobody else serves meanwhile.</summary>
    private enum What { Create, Change, Restart, Delete }

    /// <summary>Alone: the coordinator is dead when the power comes back, so that the host has only what is on its disk.</summary>
    private static readonly (What What, bool Alone)[] Cycle =
    [
        (What.Create, false), (What.Change, true), (What.Delete, false), (What.Create, true), (What.Restart, false), (What.Change, true), (What.Restart, false), (What.Delete, false),
    ];

    /// <summary>First round and number of rounds; each chunk has a machine of its own.</summary>
    public static TheoryData<int, int> Chunks()
    {
        var all = new TheoryData<int, int>();
        if (Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") != "1") all.Add(0, RoundsOfASample);
        else for (var first = 0; first < RoundsOfASoak; first += RoundsOfAChunk) all.Add(first, RoundsOfAChunk);
        return all;
    }

    [Theory]
    [MemberData(nameof(Chunks))]
    public async Task Host_PowerCutAtARandomMoment_HasWhatItAcknowledged(int first, int count)
    {
        var stop = TestContext.Current.CancellationToken;
        await RequireGuestAsync(stop);
        var seed = int.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), CultureInfo.InvariantCulture, out var given) ? given : 1;
        await using var rig = await PowerRig.StartAsync(stop);
        var story = new Story(rig, new Random(unchecked((seed * 397) ^ first)));
        for (var round = 0; round < count; round++)
        {
            var (what, alone) = Cycle[round % Cycle.Length];
            try
            {
                await story.RoundAsync(what, alone, stop);
            }
            catch (Exception exception) when (exception is not OperationCanceledException)
            {
                throw new InvalidOperationException($"seed {seed}, round {first + round + 1}: {story.Told}\n{await rig.TellAsync(stop)}", exception);
            }

            TestContext.Current.TestOutputHelper?.WriteLine($"round {first + round + 1}: {story.Told}");
        }
    }

    private static async Task RequireGuestAsync(CancellationToken stop)
    {
        if (await LabGuest.MissingAsync(stop) is not { } missing) return;
        Assert.False(Environment.GetEnvironmentVariable("AGENTMETAL_LAB") == "required", $"the lab is required and this machine lacks {missing}");
        Assert.Skip($"this machine cannot run a guest: it lacks {missing}");
    }

    /// <summary>What was declared, what was seen of it, and what must therefore be true after the next boot.</summary>
    private sealed class Story(PowerRig rig, Random random)
    {
        // How long an action takes here, learned on the way, so that half of the cuts come before its end on any machine.
        private readonly Dictionary<What, double> seconds = new() { [What.Create] = 15, [What.Change] = 8, [What.Restart] = 8, [What.Delete] = 10 };
        private int mebibytes = 32;
        private int databases = 16;
        private int before;
        private long mark;
        private IReadOnlyDictionary<string, string> files = new Dictionary<string, string>();

        public string Told { get; private set; } = "";

        public async Task RoundAsync(What what, bool alone, CancellationToken stop)
        {
            var clock = Stopwatch.StartNew();
            before = what == What.Create ? 0 : mebibytes;
            if (what != What.Delete) mebibytes++;
            // Another number of databases needs a restart, and that a turn from the coordinator.
            if (what == What.Restart) databases = databases == 16 ? 17 : 16;
            var after = TimeSpan.FromSeconds(random.NextDouble() * seconds[what] * 1.25);
            Told = $"{what}{(alone ? ", alone" : "")}, cut after {after.TotalSeconds:0.0} s";
            await rig.WriteUnsyncedAsync(stop);
            await CutDuringAsync(what, after, stop);

            var resource = await rig.ResourceAsync(stop);
            var acknowledged = resource is { } r ? AcknowledgedGeneration(r) : 0;
            var finished = what == What.Delete ? resource is null : resource is { } ready && ready.GetProperty("status").GetProperty("ready").GetBoolean();
            seconds[what] = Math.Clamp(seconds[what] * (finished ? 0.85 : 1.2), 2, 40);
            var audit = rig.Audit();
            var current = resource is { } known && acknowledged == known.GetProperty("metadata").GetProperty("generation").GetInt64();
            Told += $", {(finished ? "finished" : current ? "acknowledged" : "not acknowledged")}, {audit.Count} audit records";
            if (alone) await rig.Fleet.KillCoordinatorAsync();

            await rig.BootAsync(stop);
            Told += $", up at {clock.Elapsed.TotalSeconds:0} s";
            Assert.Equal("", await rig.UnsyncedAsync(stop));
            var held = await StoreHoldsAsync(what, current, audit, stop);
            var found = await rig.FilesAsync("/run/found", stop);
            if (alone)
            {
                if (held > 0) await rig.ConvergedAloneAsync(held, stop);
                await rig.Fleet.StartCoordinatorAsync(stop);
            }

            await SettleAsync(what, finished, found, stop);
            await rig.AuditHoldsAsync(stop);
            SignedOnce(what, rig.Audit());
            Told += $", converged at {clock.Elapsed.TotalSeconds:0} s";
        }

        private async Task CutDuringAsync(What what, TimeSpan after, CancellationToken stop)
        {
            var yaml = PowerRig.Yaml(mebibytes, databases);
            if (IsSigned(what))
            {
                (await (what == What.Delete ? rig.Fleet.CliAsync(stop, "delete", "redis", PowerRig.Name, "--yes", "--no-wait") : rig.Fleet.ApplyAsync(yaml, stop, "--no-wait"))).OrThrow();
                await rig.EventuallyAsync("it waits for a signature", TimeSpan.FromSeconds(60), () => rig.AwaitsApprovalAsync(stop), stop);
            }

            var sent = IsSigned(what) ? rig.ApproveAsync(stop) : rig.Fleet.ApplyAsync(yaml, stop, "--no-wait");
            await Task.Delay(after, stop);
            rig.Guest.CutPower();
            (await sent).OrThrow();
        }

        private static bool IsSigned(What what) => what is What.Restart or What.Delete;

        /// <summary>The generation that the host itself has spoken of.</summary>
        private static long AcknowledgedGeneration(JsonElement resource) =>
            resource.GetProperty("status").GetProperty("members").EnumerateArray().Select(m => m.GetProperty("observedGeneration").GetInt64()).FirstOrDefault();

        /// <summary>The local database, before the daemon of this boot has touched it. Returns the memory that its assignment asks for, 0 without one.</summary>
        private async Task<int> StoreHoldsAsync(What what, bool current, IReadOnlyList<JsonElement> audit, CancellationToken stop)
        {
            Assert.Equal("ok", await rig.FoundAsync("PRAGMA integrity_check", stop));
            var held = 0;
            foreach (var size in new[] { before, mebibytes }.Where(size => size > 0).Distinct())
                if (await rig.FoundAsync($"SELECT count(*) FROM assignments WHERE instr(body, CAST('\"max\":\"{size}Mi\"' AS BLOB)) > 0", stop) == "1") held = size;
            if (what != What.Delete && current) Assert.Equal(mebibytes, held);
            if (what is What.Change or What.Restart) Assert.NotEqual(0, held); // What it had before this change was Ready.

            // The coordinator's copy of the chain must be a beginning of the host's: nothing it was told is unsaid.
            if (audit.Count == 0) return held;
            var (seq, hash) = (PowerRig.Number(audit[^1], "seq"), audit[^1].GetProperty("hash").GetString()!);
            var head = await rig.FoundAsync("SELECT (SELECT value FROM meta WHERE name='audit_seq'), (SELECT value FROM meta WHERE name='audit_hash')", stop);
            var last = long.Parse(head.Split('|')[0], CultureInfo.InvariantCulture);
            Assert.True(last >= seq, $"the host's audit ends at {last}, the coordinator has {seq} of its records");
            var same = last == seq ? head.Split('|')[1] : await rig.FoundAsync($"SELECT coalesce((SELECT hash FROM audit WHERE seq={seq}), (SELECT previous FROM audit WHERE seq={seq + 1}))", stop);
            Assert.Equal(hash, same);
            var consumed = (await rig.FoundAsync("SELECT step FROM consumed", stop)).Split('\n');
            foreach (var step in Signed(audit)) Assert.Contains(step, consumed);
            return held;
        }

        private async Task SettleAsync(What what, bool finished, IReadOnlyDictionary<string, string> found, CancellationToken stop)
        {
            if (what == What.Delete)
            {
                // Each file was there as it had been, or gone.
                foreach (var (path, hash) in found) Assert.Equal(files.GetValueOrDefault(path), hash);
                if (finished) Assert.Empty(found);
                TellSigned(await rig.GoneAsync(stop));
                (files, mark) = (new Dictionary<string, string>(), 0);
                return;
            }

            TellSigned(await rig.ConvergedAsync(mebibytes, databases, IsSigned(what), stop));
            var wanted = await rig.FilesAsync("/", stop);
            Assert.NotEmpty(wanted);
            // Old or new, never empty, never half: compared with what was there before the cut and what is there in the end.
            foreach (var (path, hash) in found)
                Assert.True(hash == wanted.GetValueOrDefault(path) || hash == files.GetValueOrDefault(path), $"{path} was neither the old nor the new one after the cut");
            foreach (var (path, _) in files) Assert.True(found.ContainsKey(path), $"{path} was gone after the cut");
            if (finished) foreach (var (path, hash) in wanted) Assert.Equal(hash, found.GetValueOrDefault(path));
            files = wanted;
            if (mark > 0) Assert.Equal(mark.ToString(CultureInfo.InvariantCulture), await rig.RedisAsync("GET mark", stop));
            mark = random.Next(1, 1_000_000);
            Assert.Equal("OK", await rig.RedisAsync($"SET mark {mark}", stop));
        }

        private void TellSigned(int again)
        {
            if (again > 0) Told += $", signed {again} times more";
        }

        /// <summary>No approval stands behind two intents: what was consumed before the cut is not consumed after it.</summary>
        private static void SignedOnce(What what, IReadOnlyList<JsonElement> audit)
        {
            var signed = Signed(audit);
            if (IsSigned(what)) Assert.NotEmpty(signed);
            Assert.Equal(signed.Distinct().Count(), signed.Length);
        }

        private static string[] Signed(IReadOnlyList<JsonElement> audit) =>
        [
            .. audit.Where(record => record.GetProperty("kind").GetString() == "StepIntent")
                .Select(record => JsonDocument.Parse(record.GetProperty("body").GetString()!).RootElement)
                .Where(body => body.TryGetProperty("approvedBy", out var by) && by.ToString() is { Length: > 0 })
                .Select(body => body.GetProperty("step").GetString()!),
        ];
    }
}
