namespace AgentMetal.Conformance.Instance;

/// <summary>Whatever dies, is lost, comes twice or late, and whatever a coordinator says: a machine that moves is run by one host, and its disks are not lost.</summary>
public sealed class TwoHostsTests
{
    private static bool IsSoak => Environment.GetEnvironmentVariable("AGENTMETAL_SOAK") is { Length: > 0 };

    [Fact]
    public void Move_WithNothingInItsWay_Arrives()
    {
        var hosts = new TwoHosts(Course.Straight);
        Nothing(hosts.Run(), "straight on");
        Assert.True(hosts.Moved);
    }

    /// <summary>Every boundary of the source and every boundary of the target, and pairs of them: all under AGENTMETAL_SOAK, else a sample.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Move_KilledAtAnyBoundary_ArrivesOnce(bool withHost)
    {
        var (sources, targets) = Boundaries();
        var random = new Random(20_261);
        var pairs = Enumerable.Range(0, sources + 1).Select(s => (s, 0)).Concat(Enumerable.Range(1, targets).Select(t => (0, t)))
            .Concat(IsSoak ? Enumerable.Range(1, sources).SelectMany(s => Enumerable.Range(1, targets).Select(t => (s, t))) : Enumerable.Range(0, 60).Select(_ => (random.Next(1, sources + 1), random.Next(1, targets + 1))));
        var moved = 0;
        foreach (var (s, t) in pairs)
        {
            var hosts = new TwoHosts(new() { SourceDies = s, TargetDies = t, WithHost = withHost });
            Nothing(hosts.Run(), $"source killed at {s} of {sources}, target at {t} of {targets}");
            if (hosts.Moved) moved++;
        }
        Assert.True(moved > sources, $"{moved} moves arrived");
    }

    [Fact]
    public void Move_WithMessagesLostTwiceAndLate_ArrivesOnce()
    {
        var (sources, targets) = Boundaries();
        for (var seed = 1; seed <= (IsSoak ? 5000 : 150); seed++)
        {
            var random = new Random(seed);
            Nothing(new TwoHosts(new() { Mischief = seed, SourceDies = random.Next(sources), TargetDies = random.Next(targets), WithHost = seed % 2 == 0, ByHand = seed % 5 == 0 ? random.Next(1, 40) : 0 }).Run(), $"seed {seed}");
        }
    }

    [Fact]
    public void Move_CalledOffAtAnyMoment_LeavesItOnOneHost()
    {
        var (sources, targets) = Boundaries();
        var looks = Looks();
        var (back, there) = (0, 0);
        for (var at = 1; at <= looks; at++)
            for (var seed = 0; seed < (IsSoak ? 40 : 4); seed++)
            {
                var random = new Random((at * 100) + seed);
                var hosts = new TwoHosts(new() { CalledOff = at, Mischief = seed, SourceDies = seed == 0 ? 0 : random.Next(sources), TargetDies = seed == 0 ? 0 : random.Next(targets), WithHost = seed % 2 == 1 });
                Nothing(hosts.Run(), $"called off after look {at}, seed {seed}");
                if (hosts.Moved) there++;
                else back++;
            }
        Assert.True(back > 5 && there > 0, $"{back} stayed, {there} arrived");
    }

    /// <summary>A coordinator in strange hands says anything to anybody at any time; the operator has signed the hand-over and nothing else.</summary>
    [Fact]
    public void Move_OfACoordinatorInStrangeHands_NeverRunsTwiceAndLosesNothing()
    {
        var looks = Looks() + 10;
        for (var seed = 1; seed <= (IsSoak ? 5000 : 250); seed++)
        {
            var random = new Random(seed);
            var findings = new TwoHosts(new()
            {
                Mischief = seed,
                TargetToGo = random.Next(2) == 0 ? random.Next(1, looks) : 0,
                SourceToStay = random.Next(2) == 0 ? random.Next(1, looks) : 0,
                SourceForgotten = random.Next(3) == 0 ? random.Next(1, looks) : 0,
                SourceDies = random.Next(60),
                TargetDies = random.Next(60),
                WithHost = seed % 2 == 0,
            }).Run();
            // It need not come to rest: what would lose data waits for a signature that nobody gives.
            Nothing([.. findings.Where(f => !f.Contains("rounds did not end", StringComparison.Ordinal))], $"seed {seed}");
        }
    }

    private static (int Sources, int Targets) Boundaries()
    {
        var hosts = new TwoHosts(Course.Straight);
        Nothing(hosts.Run(), "straight on");
        return (hosts.Effects(source: true), hosts.Effects(source: false));
    }

    private static int Looks()
    {
        var hosts = new TwoHosts(Course.Straight);
        hosts.Run();
        return hosts.Looks;
    }

    private static void Nothing(IReadOnlyList<string> findings, string when) => Assert.True(findings.Count == 0, $"{when}: {string.Join("; ", findings)}");
}
