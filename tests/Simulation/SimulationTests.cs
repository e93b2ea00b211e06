using System.Globalization;
using Xunit;

namespace AgentMetal.Simulation;

/// <summary>
/// Safety at every event, convergence once the faults stop, and the same trace for the same seed. AGENTMETAL_SOAK=1 runs a thousand seeds; AGENTMETAL_SEED=n
/// runs one and prints its trace.
/// </summary>
public sealed class SimulationTests(ITestOutputHelper output)
{
    private static int Seeds => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") == "1" ? 1000 : 60;

    [Fact]
    public void Fleet_EverySeed_StaysSafeConvergesAndReplaysByteForByte()
    {
        var (total, slowest) = (new Counts(), TimeSpan.Zero);
        for (var seed = 1UL; seed <= (ulong)Seeds; seed++)
        {
            TestContext.Current.CancellationToken.ThrowIfCancellationRequested();
            var (counts, took, hash, bytes) = Run(seed);
            total.Add(counts);
            if (took > slowest) slowest = took;
            var again = Run(seed);
            Assert.True((hash, bytes) == (again.Hash, again.Bytes), $"seed {seed} does not replay: {hash} of {bytes} bytes, then {again.Hash} of {again.Bytes} bytes");
        }
        output.WriteLine($"{Seeds} seeds, slowest to converge {slowest}; {total}");
        // A day on which nothing went wrong proves nothing.
        foreach (var (what, count) in new[]
        {
            ("crashes", total.Crashes), ("reboots", total.Reboots), ("coordinator crashes", total.CoordinatorCrashes), ("store away", total.StoreAway), ("dropped", total.Dropped),
            ("doubled", total.Doubled), ("partitions", total.Partitions), ("drifts", total.Drifts), ("refusals", total.Refusals), ("resumed", total.Resumed),
            ("turns refused", total.TurnsRefused), ("promotions", total.Promotions), ("approvals", total.Approvals), ("forged", total.Forged), ("wipes", total.Wipes),
        })
            Assert.True(count >= Seeds / 2, string.Create(CultureInfo.InvariantCulture, $"only {count} {what} in {Seeds} seeds"));
    }

    [Theory]
    [InlineData("TurnsForEverybody", "two primaries")]
    [InlineData("AnySignature", "nobody signed it")]
    [InlineData("JournalLost", "the audit chain has lost records")]
    public void Fleet_Sabotaged_IsCaught(string sabotage, string expected)
    {
        for (var seed = 1UL; seed <= 400; seed++)
        {
            using var fleet = new Fleet(seed, Enum.Parse<Sabotage>(sabotage));
            try { fleet.Run(); }
            catch (ViolationException e) when (e.Message.Contains(expected, StringComparison.Ordinal))
            {
                output.WriteLine($"seed {seed}: {e.Message}");
                return;
            }
            catch (ViolationException) { } // Another property fell first; this one is looked for.
        }
        Assert.Fail($"{sabotage} is never noticed");
    }

    [Fact]
    public void Fleet_OneSeed_PrintsItsTrace()
    {
        if (!ulong.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), CultureInfo.InvariantCulture, out var seed)) return;
        using var fleet = new Fleet(seed, keep: true);
        try { fleet.Run(); }
        finally { output.WriteLine(string.Concat(fleet.Trace.Lines)); }
    }

    private static (Counts Counts, TimeSpan Took, string Hash, long Bytes) Run(ulong seed)
    {
        using var fleet = new Fleet(seed);
        try
        {
            var took = fleet.Run();
            return (fleet.Counts, took, fleet.Trace.Hex(), fleet.Trace.Bytes);
        }
        catch (Exception e) when (e is ViolationException or InvalidOperationException)
        {
            throw new ViolationException($"seed {seed} at {fleet.Time.Elapsed}: {e.Message} (AGENTMETAL_SEED={seed} prints the trace)");
        }
    }
}
