using CsCheck;

namespace AgentMetal.Conformance;

/// <summary>
/// What every agent's catalog of tools must pass. An agent gives its samples (<see cref="Samples{TGoal, TState}"/>) and inherits the rest; a rule that its
/// samples do not reach is a failure, not a pass.
/// </summary>
public abstract class AgentConformance
{
    /// <summary>The suite with the agent's types closed over.</summary>
    private protected abstract ISuite Suite { get; }

    [Fact]
    public void Steps_AnyState_KeepTheirFootprintAndResolveWhatTheyAnswer() => Suite.Plans();

    [Fact]
    public void Steps_OtherStateWithTheSameReadsAndWrites_DoTheSame() => Suite.Dependence();

    [Fact]
    public void Plans_AnyState_ReachTheGoalOrSayWhyNot() => Suite.Convergence();

    [Fact]
    public void Plans_ToolsInAnyOrder_AreOnePlan() => Suite.Determinism();

    [Fact]
    public void Steps_ThatLoseData_AreDangerousAndRefusedWhenProtected() => Suite.Danger();

    [Fact]
    public void Steps_AnyState_SurviveTheJournalAndShowNoSecret() => Suite.Texts();

    [Fact]
    public void Differences_EveryKind_IsDeclaredMetAndAnswered() => Suite.Kinds();

    [Fact]
    public void Differences_Changed_AFactChanged() => Suite.Facts();

    [Fact]
    public void Tools_Everyone_IsReachedBySomeSample() => Suite.Tools();

    [Fact]
    public void Timings_AnyStep_AreInOrderAndEnd() => Suite.Timings();

    [Fact]
    public void Journeys_KilledAtEveryBoundary_ReachTheirEndWithEffectsOnce() => Suite.Crashes();
}

/// <summary>The rules run over samples; each throws what it finds.</summary>
internal interface ISuite
{
    void Plans();
    void Dependence();
    void Convergence();
    void Determinism();
    void Danger();
    void Texts();
    void Kinds();
    void Facts();
    void Tools();
    void Timings();
    void Crashes();
}

/// <summary>The rules over the samples of one agent.</summary>
internal sealed class Suite<TGoal, TState>(Samples<TGoal, TState> samples) : ISuite
    where TGoal : class
{
    private readonly Rules<TGoal, TState> _rules = new(samples);

    private static readonly bool s_soak = Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") is { Length: > 0 };

    private static readonly uint s_seed = s_soak ? (uint)Environment.TickCount64 : uint.TryParse(Environment.GetEnvironmentVariable("AGENTMETAL_SEED"), out var seed) ? seed : 20261123;

    private readonly PCG _random = new(1, s_seed);

    private Coverage Seen => _rules.Seen;

    public void Plans()
    {
        Each(_rules.Plans);
        Assert.True(Seen.Steps > samples.Count / 3, $"only {Seen.Steps} steps were met");
        // Forward-only agents have none; one that has some must have shown them.
        if (Seen.Inverses > 0) Assert.True(Seen.Inverses > samples.Count / 10, $"only {Seen.Inverses} inverses were met");
    }

    public void Dependence()
    {
        Pairs(_rules.Dependence);
        Assert.True(Seen.Neighbours > samples.Count, $"only {Seen.Neighbours} neighbours were met");
    }

    public void Convergence()
    {
        Each(_rules.Convergence);
        Assert.True(Seen.Reached > samples.Count / 10 && Seen.Waited > samples.Count / 100, $"{Seen.Reached} reached, {Seen.Waited} waited: the samples show nothing");
    }

    public void Determinism() => Sample(Gen.Select(samples.Any, Gen.Int), samples.Count / 2, p => _rules.Determinism(p.Item1, p.Item2));

    public void Danger()
    {
        Each(_rules.Danger);
        Assert.Equal(samples.HoldsData, Seen.Losses > 0); // An agent with data must have shown a step that loses it.
        if (samples.UsesData) Assert.True(Seen.OutOfUse > samples.Count / 50, $"only {Seen.OutOfUse} steps took data out of use");
        // And an agent whose data moves without it must have shown that.
        if (samples.MovesByItself) Assert.True(Seen.ByItself > samples.Count / 10, $"only {Seen.ByItself} starts and copies were met");
    }

    public void Texts()
    {
        Each(_rules.Texts, samples.Count / 3);
        Each(_rules.Shown, samples.Count / 3);
    }

    public void Kinds()
    {
        Each(_rules.Kinds, samples.Count);
        // Later ones come up only on the way.
        foreach (var c in samples.Journeys) None(_rules.Convergence(c));
        // A rare one may need more draws; one that never comes is none.
        for (var i = 0; i < 20 && samples.Kinds.Except(Seen.Kinds).Any(); i++) Each(_rules.Kinds, samples.Count);
        Assert.Empty(samples.Kinds.Except(Seen.Kinds));
    }

    public void Facts()
    {
        Pairs(_rules.Facts);
        Assert.True(Seen.Changes > samples.Count / 10, $"only {Seen.Changes} pairs differed");
    }

    public void Tools()
    {
        foreach (var c in samples.Journeys) None(_rules.Plans(c));
        var catalog = samples.Journeys[0].Agent.Tools.Select(t => t.Name).ToList();
        // Some come up only on the way, and a rare one may need more draws.
        foreach (var c in samples.Journeys) None(_rules.Convergence(c));
        for (var i = 0; i < 20 && catalog.Except(Seen.Tools).Any(); i++) Each(_rules.Plans);
        Assert.Empty(catalog.Except(Seen.Tools));
        Assert.Equal(catalog.Count, catalog.Distinct(StringComparer.Ordinal).Count());
    }

    public void Timings() => Each(_rules.Timings, samples.Count / 3);

    public void Crashes()
    {
        var deaths = 0;
        foreach (var c in samples.Journeys) None(Conformance.Crashes.Of(samples, c, () => deaths++));
        Assert.True(deaths > 20 * samples.Journeys.Count, $"only {deaths} deaths");
    }

    private void Each(Func<Case<TGoal, TState>, IEnumerable<string>> rule, int? count = null)
    {
        foreach (var c in samples.Journeys) None(rule(c).Select(f => $"{c.Name}: {f}"));
        Sample(samples.Any, count ?? samples.Count, rule);
    }

    private void Pairs(Func<Case<TGoal, TState>, TState, IEnumerable<string>> rule) =>
        Sample(Gen.Select(samples.Any, samples.Any), samples.Count / 2, p => rule(p.Item1, p.Item2.State));

    /// <summary>A run is the same for the same seed, so that what fails once fails again; a soak goes on from another one each time, and says which.</summary>
    private void Sample<T>(Gen<T> any, int count, Func<T, IEnumerable<string>> rule)
    {
        for (var i = 0; i < (s_soak ? 20 : 1) * count; i++)
            None(rule(any.Generate(_random, null, out _)).Select(f => $"draw {i} of AGENTMETAL_SEED={s_seed}: {f}"));
    }

    /// <summary>The first few, whole: a collection cut in the middle of a word helps nobody.</summary>
    private static void None(IEnumerable<string> findings)
    {
        var found = findings.Take(6).ToList();
        if (found.Count > 0) Assert.Fail(string.Join("\n", found));
    }
}
