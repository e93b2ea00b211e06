using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using AgentMetal.LabTests.Fleets;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>
/// Random faults on virtual machines: nothing that a disk still held after a fault is destroyed or taken out of use by us unsigned. As
/// many sequences as fit in
/// AGENTMETAL_MACHINES_SECONDS (100), 500 in --soak; AGENTMETAL_MACHINES=SEED:INDEX[:COMMANDS] does one again.
/// </summary>
[Story("instance", 180)]
public sealed class MachineAdversaryTests
{
    private const int Workers = 2;
    private const int SoakSequences = 500;

    private readonly ConcurrentQueue<Verdict> verdicts = [];
    private readonly ConcurrentQueue<string> broken = [];

    private static bool Soak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1";

    private static int Number(string variable, int otherwise) => int.TryParse(Environment.GetEnvironmentVariable(variable),
        CultureInfo.InvariantCulture, out var number) ? number : otherwise;

    [Fact]
    public async Task Machines_UnderRandomFaults_LoseNothingUnsigned()
    {
        await SharedLab.RequireCapabilityAsync();
        var stop = TestContext.Current.CancellationToken;
        var seed = Number("AGENTMETAL_SEED", 20261123);
        var one = Environment.GetEnvironmentVariable("AGENTMETAL_MACHINES") is { Length: > 0 } given ? given.Split(':', 3) : null;
        var (most, next) = (one is not null ? 0 : Number("AGENTMETAL_MACHINES_COUNT", Soak ? SoakSequences : int.MaxValue), -1);
        var budget = Soak ? TimeSpan.FromHours(6) : TimeSpan.FromSeconds(Number("AGENTMETAL_MACHINES_SECONDS", 100));
        // Hosts are cut and daemons killed: each worker has a fleet of its own. They begin one after the other, as each sees to the build.
        List<Fleet> fleets = [];
        try
        {
            for (var w = 0; w < (one is null ? Workers : 1); w++) fleets.Add(await Fleet.StartAsync(stop, [$"vm{w}-1", $"vm{w}-2"]));
            await Task.WhenAll(fleets.Select(fleet => Task.Run(() => WorkAsync(fleet), stop)));
        }
        finally
        {
            foreach (var fleet in fleets) await fleet.DisposeAsync();
        }
        Report(seed);
        // One that the lab could not do on a busy machine says nothing of the product; many are a fault of the test.
        Assert.True(broken.Count <= verdicts.Count / 4, string.Join('\n', broken));
        // Whole, since the log of a run is all that somebody else gets to see.
        if (verdicts.Where(v => v.Broken).Select(v => v.Report()).ToArray() is { Length: > 0 } lost) Assert.Fail(string.Join('\n', lost));
        Assert.NotEmpty(verdicts);

        // The last sequences end within the budget too.
        async Task WorkAsync(Fleet fleet)
        {
            if (one is not null) await OneAsync(fleet, int.Parse(one[0], CultureInfo.InvariantCulture), int.Parse(one[1],
                CultureInfo.InvariantCulture), one.ElementAtOrDefault(2), stop);
            for (var clock = Stopwatch.StartNew(); clock.Elapsed < budget - TimeSpan.FromSeconds(Math.Min(45, budget.TotalSeconds / 2))
                && Interlocked.Increment(ref next) is var index && index < most;)
                await OneAsync(fleet, seed, index, null, stop);
        }
    }

    private async Task OneAsync(Fleet fleet, int seed, int index, string? commands, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        var subject = new MachineSubject(fleet, string.Create(CultureInfo.InvariantCulture, $"adv{index}"), (seed % 1000) + index);
        try
        {
            var sequence = commands is null ? Sequence.Draw(seed, index, subject.Kinds) : Sequence.Parse(seed, index, commands);
            var verdict = await Driver.RunAsync(subject, sequence, Task.Delay, stop);
            verdicts.Enqueue(verdict);
            Log($"machine in {clock.Elapsed.TotalSeconds:0} s\n{verdict.Report()}");
            // One that is done again is looked at by a person.
            if (commands is not null || Environment.GetEnvironmentVariable("AGENTMETAL_MACHINES")
                is { Length: > 0 }) Log(string.Join('\n', verdict.Log));
            if (!verdict.Findings.IsEmpty
                || verdict.Ending is Ending.Advised) Log(await subject.DescribeAsync(stop) + await subject.EventsAsync(stop));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            broken.Enqueue($"seed {seed} #{index} could not be run: {e}");
            Log(broken.Last());
        }
        finally { await subject.RemoveAsync(stop); }
    }

    private void Report(int seed)
    {
        var all = verdicts.ToArray();
        Log(string.Create(CultureInfo.InvariantCulture,
            $"adversary: seed {seed}, machines, {all.Length} sequences, {all.Sum(v => v.Done)} faults, {all.Count(v => v.Broken)} with a loss, {all.Count(v => !v.Broken && v.Findings.Length > 0)} with other findings; endings {string.Join(", ", all.GroupBy(v => v.Ending).Select(g => $"{g.Count()} {g.Key}"))}; {all.Sum(v => v.GivenUp)} items given up by faults, {all.Sum(v => v.SignedAway)} signed away"));
    }

    /// <summary>Into the test's output, and at once into a file: a soak that is cut off leaves what it found.</summary>
    private void Log(string text)
    {
        TestContext.Current.TestOutputHelper?.WriteLine(text);
        lock (verdicts) File.AppendAllText(Environment.GetEnvironmentVariable("AGENTMETAL_MACHINES_LOG") is { Length: > 0 } path ? path
            : Path.Combine(Path.GetTempPath(), "agentmetal-machines.log"), text + "\n");
    }
}
