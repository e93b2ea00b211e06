using System.Collections.Immutable;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.Conformance.Adversary;

/// <summary>An adversary that finds nothing may be one that looks at nothing: each planted way of losing is found, and none where there
/// is none.</summary>
public sealed class AdversaryTests
{
    private const int Seed = 20261123;
    private const int Runs = 300;

    private static readonly Func<TimeSpan, CancellationToken, Task> AtOnce = (_, _) => Task.CompletedTask;

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("none", "")]
    [InlineData("blink", "")]
    [InlineData("old one leads", "are gone, and nobody signed that")]
    [InlineData("follows the wiped", "are gone, and nobody signed that")]
    [InlineData("kills what hangs", "are gone, and nobody signed that")]
    [InlineData("deletes while it settles", "are gone, and nobody signed that")]
    [InlineData("forgets what it saved", "are gone, and nobody signed that")]
    [InlineData("says it may take the disk", "that the declared persistence does not give up")]
    [InlineData("text says nothing goes", "the texts that were signed said 0")]
    [InlineData("text names no number", "whose text names no number")]
    [InlineData("restless", "it is neither as declared")]
    [InlineData("untold", "it was not said")]
    public async Task Driver_SubjectWithOneDefect_FindsItAndNothingElse(string defect, string expected)
    {
        List<Verdict> verdicts = [];
        for (var i = 0; i < Runs; i++) verdicts.Add(await RunAsync(defect, i));
        var findings = verdicts.SelectMany(v => v.Findings).ToArray();
        if (expected.Length == 0)
        {
            Assert.Empty(findings);
            // And it did something: faults took items, holds were signed, each kind of fault was done.
            Assert.True(verdicts.Sum(v => v.GivenUp) > 100 && verdicts.Sum(v => v.SignedAway) > 20
                && verdicts.Sum(v => v.Done) > 3 * Runs / 2,
                $"{verdicts.Sum(v => v.GivenUp)} {verdicts.Sum(v => v.SignedAway)} {verdicts.Sum(v => v.Done)}");
            return;
        }
        Assert.Contains(findings, f => f.What.Contains(expected, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Sequence_SameSeedAndIndex_IsTheSameAndReplays()
    {
        var kinds = new ToyPair("none").Kinds;
        for (var i = 0; i < 200; i++)
        {
            var drawn = Sequence.Draw(Seed, i, kinds);
            Assert.Equal(drawn.Commands(), Sequence.Draw(Seed, i, kinds).Commands());
            Assert.Equal(drawn.Commands(), Sequence.Parse(Seed, i, drawn.Commands()).Commands());
            Assert.InRange(drawn.Faults.Count(f => f.Name is not (Fault.Wait or Fault.Sign)), Sequence.Fewest, Sequence.Most);
        }
        Assert.NotEqual(Sequence.Draw(Seed, 0, kinds).Commands(), Sequence.Draw(Seed, 1, kinds).Commands());
        Assert.NotEqual(Sequence.Draw(Seed, 0, kinds).Commands(), Sequence.Draw(Seed + 1, 0, kinds).Commands());
        var failing = (await Task.WhenAll(Enumerable.Range(0, Runs).Select(i => RunAsync("old one leads", i)))).First(v => v.Broken);
        var again = await RunAsync("old one leads", failing.Sequence.Index);
        Assert.Equal(failing.Report(), again.Report());
        Assert.Contains("FINDING after command", failing.Report(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Failing_IsAPrefixThatFails_AndShrinksToWhatIsNeeded()
    {
        for (var i = 0; i < Runs; i++)
        {
            var verdict = await RunAsync("follows the wiped", i);
            if (!verdict.Broken) continue;
            Assert.True(await FailsAsync(verdict.Failing), verdict.Report());
            var shrunk = await Shrinker.ShrinkAsync(verdict.Failing, FailsAsync, 50);
            Assert.True(await FailsAsync(shrunk));
            Assert.InRange(shrunk.Faults.Length, 1, 5);
        }

        async Task<bool> FailsAsync(Sequence s) => (await Driver.RunAsync(new ToyPair("follows the wiped"), s, AtOnce, Stop)).Broken;
    }

    [Fact]
    public void Ledger_PlaceAtRiskOrHung_IsNotTakenForAFact()
    {
        var ledger = new Ledger();
        Place memory = new("0", "memory"), disk = new("0", "disk");
        Assert.Empty(ledger.See(Look((memory, ["a", "b"]), (disk, ["a"])), 0));
        // It hangs: what it held counts as held, so its death unsigned is a loss once it is seen.
        Assert.Empty(ledger.See(Look((memory, null), (disk, ["a"])), 1));
        Assert.Equal(["a", "b"], ledger.Protected.Order());
        Assert.Contains("1 of 2 items", Assert.Single(ledger.See(Look((memory, ["a"]), (disk, ["a"])), 2)).What, StringComparison.Ordinal);
        // A standing order may take what only that place has.
        Assert.Empty(ledger.See(Look((memory, ["a", "c"]), (disk, ["a"])) with { AtRisk = [memory] }, 3));
        Assert.Empty(ledger.See(Look((memory, []), (disk, ["a"])), 4));
        // A member that is no more is not presumed to hold anything.
        Assert.Single(ledger.See(Look((memory, [])), 5));
    }

    [Fact]
    public void Ledger_SignatureCoversSoManyAndNoMore()
    {
        var ledger = new Ledger();
        Place memory = new("0", "memory");
        ledger.See(Look((memory, ["a", "b", "c", "d"])), 0);
        ledger.Sign(new("three keys go", 3));
        Assert.Empty(ledger.See(Look((memory, ["c", "d"])), 1));
        Assert.Empty(ledger.See(Look((memory, ["d"])), 2));
        Assert.Single(ledger.See(Look((memory, [])), 3));
        Assert.Equal(3, ledger.SignedAway);
    }

    private static Task<Verdict> RunAsync(string defect, int index)
    {
        var subject = new ToyPair(defect);
        return Driver.RunAsync(subject, Sequence.Draw(Seed, index, subject.Kinds), AtOnce, Stop);
    }

    private static Look Look(params (Place Place, string[]? Items)[] held) =>
        new() { At = TimeSpan.Zero, Held = held.ToImmutableDictionary(h => h.Place, h => (IReadOnlySet<string>?)h.Items?.ToHashSet()) };
}
