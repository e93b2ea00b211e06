using AgentMetal.Runtime.Store;
using CsCheck;
using Xunit;

namespace AgentMetal.Runtime.Tests.Trust;

/// <summary>A store is followed only where it goes on from what was seen of it.</summary>
public sealed class StoreHistoryTests
{
    private static readonly StoreEpoch[] Runs = [new("e1", 1, 1, 40), new("e2", 2, 40, 80), new("e3", 3, 80, 0)];

    [Theory]
    [InlineData("", "", 0, 0, true)]              // the first that is heard
    [InlineData("s", "e3", 3, 300, true)]         // goes on
    [InlineData("s", "e2", 2, 79, true)]          // seen in an earlier run
    [InlineData("s", "", 0, 300, true)]           // seen by a build that knew of no runs
    [InlineData("t", "e3", 3, 300, false)]        // restored, or another one
    [InlineData("s", "e3", 3, 301, false)]        // head below
    [InlineData("s", "e2", 2, 80, false)]         // the run went on further than this copy of it
    [InlineData("s", "e9", 3, 90, false)]         // a run that this history has not: put back, and written on past the number
    [InlineData("s", "e3", 9, 90, false)]         // a higher token was seen
    public void Store_HeldAgainstWhatWasSeen_IsFollowedOnlyWhereItGoesOn(string id, string epoch, long token, long revision, bool follows) =>
        Assert.Equal(follows, StoreHistory.WhyNot("this host", new(id, epoch, token, revision), "s", Runs, 300) is null);

    /// <summary>Whatever is written to a copy that was put back, whoever saw more of the first history than the copy has never follows it.</summary>
    [Fact]
    public void Copy_PutBackAndWrittenOn_IsNeverTakenForTheStoreThatWasSeen() => Gen.Select(Gen.Int[1, 5], Gen.Int[1, 50], Gen.Int[0, 5], Gen.Int[1, 200], Gen.Int[0, 40]).Sample((runs, cutAfter, more, written, beyond) =>
    {
        // The first history: so many runs of ten revisions each; the copy was made after `cut`.
        List<StoreEpoch> first = [.. Enumerable.Range(0, runs).Select(i => new StoreEpoch("a" + i, i + 1, 1 + i * 10, i + 1 == runs ? 0 : 1 + (i + 1) * 10))];
        var head = runs * 10;
        var cut = Math.Min(cutAfter, head);
        List<StoreEpoch> copy = [.. first.Where(e => e.From <= cut)];
        for (var i = 0; i <= more; i++)
        {
            var from = cut + 1 + i * written;
            copy[^1] = copy[^1] with { Until = from };
            copy.Add(new("b" + i, copy[^1].Token + 1, from, 0));
        }
        var copyHead = cut + 1 + more * written + beyond;
        var seen = Math.Min(head, cut + 1 + beyond % 10);
        if (seen <= cut) return;
        var epoch = first.Last(e => e.From <= seen);
        Assert.NotNull(StoreHistory.WhyNot("this host", new("s", epoch.Id, epoch.Token, seen), "s", copy, copyHead));
        Assert.Null(StoreHistory.WhyNot("this host", new("s", epoch.Id, epoch.Token, seen), "s", first, head));
    });
}
