using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.LabTests.RedisCases;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.LabTests.Adversary;

/// <summary>
/// Random faults on Redis pairs and triples under writers: nothing that a member still held after a fault is lost by us unsigned.
/// As many sequences as fit in AGENTMETAL_ADVERSARY_SECONDS (six minutes), 500 in --soak;
/// AGENTMETAL_ADVERSARY=SEED:INDEX[:COMMANDS] does one again.
/// </summary>
[Story("redis", 380)]
[Collection(RedisFleetCollection.Name)]
public sealed class RedisAdversaryTests(RedisFleet shared)
{
    private const int Workers = 3;
    private const int SoakSequences = 500;

    private readonly ConcurrentQueue<Verdict> verdicts = [];
    private readonly ConcurrentQueue<string> broken = [];
    private readonly ConcurrentBag<Task> removals = [];

    private static int Number(string variable, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), CultureInfo.InvariantCulture, out var number) ? number : otherwise;

    [Fact]
    public async Task Redis_UnderRandomFaults_LosesNothingUnsigned()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        // Faults of whole hosts are for a fleet that has one resource.
        await using var alone = await Fleet.StartAsync(stop, ["lone-1", "lone-2", "lone-3"]);
        var seed = Number("AGENTMETAL_SEED", 20261123);
        if (Environment.GetEnvironmentVariable("AGENTMETAL_ADVERSARY") is { Length: > 0 } one)
        {
            var parts = one.Split(':', 3);
            await OneAsync(parts[1] is var i && IsHost(int.Parse(i, CultureInfo.InvariantCulture)) ? alone : fleet,
                int.Parse(parts[0], CultureInfo.InvariantCulture), int.Parse(parts[1], CultureInfo.InvariantCulture),
                parts.ElementAtOrDefault(2), stop);
        }
        else
        {
            var (clock, most) = (Stopwatch.StartNew(),
                Number("AGENTMETAL_ADVERSARY_COUNT", RedisFleet.Soak ? SoakSequences : int.MaxValue));
            var budget = RedisFleet.Soak ? TimeSpan.FromHours(9) : TimeSpan.FromSeconds(Number("AGENTMETAL_ADVERSARY_SECONDS", 360));
            // The last sequences end within the budget too.
            var last = budget - TimeSpan.FromSeconds(Math.Min(90, budget.TotalSeconds / 3));
            var (many, few) = (-1, -1);
            await Task.WhenAll(Enumerable.Range(0, Workers + 1).Select(w => Task.Run(async () =>
            {
                while (clock.Elapsed < last)
                {
                    // Every fourth index is one with faults of whole hosts.
                    var n = w == Workers ? Interlocked.Increment(ref few) : Interlocked.Increment(ref many);
                    var index = w == Workers ? (n * 4) + 3 : (n / 3 * 4) + (n % 3);
                    if (index >= most) return;
                    await OneAsync(w == Workers ? alone : fleet, seed, index, null, stop);
                }
            }, stop)));
        }
        await Task.WhenAny(Task.WhenAll(removals), Task.Delay(TimeSpan.FromSeconds(20), stop));
        Report(seed);
        // One that the lab could not do on a busy machine says nothing of the product; many are a fault of the test.
        Assert.True(broken.Count <= verdicts.Count / 4, string.Join('\n', broken));
        // Whole, since the log of a run is all that somebody else gets to see.
        if (verdicts.Where(v => v.Broken).Select(v => v.Report()).ToArray() is { Length: > 0 } lost) Assert.Fail(string.Join('\n', lost));
        Assert.NotEmpty(verdicts);
    }

    private static bool IsHost(int index) => index % 4 == 3;

    private async Task OneAsync(Fleet fleet, int seed, int index, string? commands, CancellationToken stop)
    {
        var shape = RedisShape.All[index % RedisShape.All.Length];
        var clock = Stopwatch.StartNew();
        var subject = new RedisSubject(fleet, shape, string.Create(CultureInfo.InvariantCulture, $"adv{index}"), 7000 + index,
            IsHost(index));
        try
        {
            var sequence = commands is null ? Sequence.Draw(seed, index, subject.Kinds) : Sequence.Parse(seed, index, commands);
            var verdict = await Driver.RunAsync(subject, sequence, Task.Delay, stop);
            verdicts.Enqueue(verdict);
            Log($"{shape} in {clock.Elapsed.TotalSeconds:0} s\n{verdict.Report()}");
            if (!verdict.Findings.IsEmpty) Log(await subject.Group.DescribeAsync(stop) + await subject.Group.EventsAsync(stop));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            broken.Enqueue($"seed {seed} #{index} could not be run: {e}");
            Log(broken.Last());
            await subject.HealAsync(stop);
        }
        finally
        {
            await subject.DisposeAsync();
            if (IsHost(index)) await subject.RemoveAsync(stop);
            else removals.Add(subject.RemoveAsync(stop));
        }
    }

    private void Report(int seed)
    {
        var all = verdicts.ToArray();
        Log(string.Create(CultureInfo.InvariantCulture,
            $"adversary: seed {seed}, {all.Length} sequences, {all.Sum(v => v.Done)} faults, {all.Count(v => v.Broken)} with a loss, {all.Count(v => !v.Broken && v.Findings.Length > 0)} with other findings; endings {string.Join(", ", all.GroupBy(v => v.Ending).Select(g => $"{g.Count()} {g.Key}"))}; {all.Sum(v => v.GivenUp)} items given up by faults, {all.Sum(v => v.SignedAway)} signed away"));
    }

    /// <summary>Into the test's output, and at once into a file: a soak that is cut off leaves what it found.</summary>
    private void Log(string text)
    {
        TestContext.Current.TestOutputHelper?.WriteLine(text);
        lock (verdicts) File.AppendAllText(Environment.GetEnvironmentVariable("AGENTMETAL_ADVERSARY_LOG") is { Length: > 0 } path ? path
            : Path.Combine(Path.GetTempPath(), "agentmetal-adversary.log"), text + "\n");
    }
}
