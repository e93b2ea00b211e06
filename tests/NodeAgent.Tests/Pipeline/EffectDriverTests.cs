using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

public sealed class EffectDriverTests
{
    private static readonly TimeSpan s_hold = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Run_ThatBreaks_GivesItsTurnsBack()
    {
        var turns = new Turns();
        await Assert.ThrowsAsync<InvalidOperationException>(() => Driver(turns).RunAsync(Broken(), CancellationToken.None));
        Assert.Equal(["taken a", "released a"], turns.Log);

        static IEnumerable<Effect> Broken()
        {
            yield return new TakeTurn("a", s_hold);
            throw new InvalidOperationException("a bug");
        }
    }

    [Fact]
    public async Task TakeTurn_Refused_IsNotGrantedAndNotGivenBack()
    {
        var turns = new Turns { Refusal = "held by n7" };
        var turn = new TakeTurn("a", s_hold);
        await Driver(turns).RunAsync([turn], CancellationToken.None);
        Assert.Equal((false, "held by n7"), (turn.Granted, turn.Refusal));
        Assert.DoesNotContain("released a", turns.Log);
    }

    [Fact]
    public async Task Stop_BetweenTwoEffects_IsObeyedThere()
    {
        using var stop = new CancellationTokenSource();
        var told = new List<string>();
        var driver = new EffectDriver<string>(null!, null!, new Turns(), t => { told.Add(t.Reason); stop.Cancel(); }, (_, _) => Task.CompletedTask);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => driver.RunAsync([new Tell("first", ""), new Tell("second", "")], stop.Token));
        Assert.Equal(["first"], told);
    }

    [Fact]
    public async Task Reconcile_AbsentMember_IsGoneOnlyWhenItsAgentSaysSo()
    {
        foreach (var (state, gone) in new[] { ("files left", false), ("nothing", true) })
        {
            var context = new PassContext
            {
                Store = null!,
                Turns = new Turns(),
                Verifier = new ControllerKit.Nobody(),
                Clock = TimeProvider.System,
                Attempts = Attempts.None(DateTimeOffset.UnixEpoch),
                NewRunId = "r",
                Tell = _ => { },
                Pause = (_, _) => Task.CompletedTask,
            };
            var result = await new MemberRunner<string, string>(new Leaving(state)).ReconcileAsync(ControllerKit.Input() with { Absent = true }, context, CancellationToken.None);
            Assert.Equal((ReconcilePhase.Converged, gone), (result.Report.Phase, result.Gone));
        }
    }

    private static EffectDriver<string> Driver(ITurns turns) => new(null!, null!, turns, _ => { }, (_, _) => Task.CompletedTask);

    private sealed class Turns : ITurns
    {
        public string? Refusal { get; init; }
        public List<string> Log { get; } = [];

        public ValueTask<string?> TakeAsync(string key, TimeSpan hold, bool signed, CancellationToken stop)
        {
            Log.Add("taken " + key);
            return new(Refusal);
        }

        public void Release(string key) => Log.Add("released " + key);
    }

    /// <summary>Nothing differs any more; whether nothing is left is another question.</summary>
    private sealed class Leaving(string state) : MemberAgent<string, string>, IStateObserver<string>
    {
        public override string Kind => "Toy";
        public override GoalResult<string> ReadGoal(MemberInput input) => GoalResult<string>.Of(null);
        public override Agent<string, string> AgentFor(MemberInput input) => new Content();
        public override IStateObserver<string> ObserverFor(MemberInput input) => this;
        public override MemberWatch WatchFor(MemberInput input) => new([], [], null);
        public override bool IsGone(string seen) => seen == "nothing";
        public ValueTask<string> ObserveAsync(CancellationToken stop) => new(state);
    }

    private sealed class Content : Agent<string, string>
    {
        public override string Name => "content";
        public override ImmutableArray<Tool<string, string>> Tools => [];
        public override ImmutableArray<Invariant<string, string>> Invariants => [];
        public override IEnumerable<Difference> Differences(string? goal, string state) => [];
        public override string Fact(string state, string key) => FactValue.Absent;
        public override IEnumerable<string> FactKeys(string state) => [];
        public override string Summary(string? goal, string state) => state;
    }
}
