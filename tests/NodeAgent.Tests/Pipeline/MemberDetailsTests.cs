using System.Collections.Immutable;
using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using Microsoft.Extensions.Logging.Abstractions;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

public sealed class MemberDetailsTests
{
    private static ImmutableSortedDictionary<string, string> Of(params (string Key, string Value)[] all) => all.ToImmutableSortedDictionary(a => a.Key, a => a.Value, StringComparer.Ordinal);

    [Theory]
    [InlineData("cpuPercent", "10", "12", false)]
    [InlineData("cpuPercent", "10", "14", true)]
    [InlineData("memoryUsed", "100000000", "104000000", false)]
    [InlineData("memoryUsed", "100000000", "120000000", true)]
    [InlineData("diskReadPerSecond", "0", "9000", false)]
    [InlineData("console", "a", "b", true)]
    [InlineData("addresses", "10.0.0.1", "10.0.0.2", true)]
    public void Differ_Noise_IsNoChange(string key, string before, string after, bool differ) => Assert.Equal(differ, MemberDetails.Differ(Of((key, before)), Of((key, after))));

    [Fact]
    public void Differ_KeyGoneOrOther_IsAChange()
    {
        Assert.True(MemberDetails.Differ(Of(("a", "1")), Of()));
        Assert.True(MemberDetails.Differ(Of(("a", "1")), Of(("b", "1"))));
    }

    [Fact]
    public async Task Refresh_Change_IsToldOnceAndCausesNoPass()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        var (told, source) = (new List<MemberView>(), new Numbers { Next = Of(("cpuPercent", "10")) });
        kit.Controller.DetailsChanged = told.Add;
        kit.Controller.Changed = _ => Assert.Fail("a change of details alone is no change");
        var details = new MemberDetails(kit.Controller, [source], kit.Clock, NullLogger<MemberDetails>.Instance);
        for (var i = 0; i < 3; i++) await details.RefreshAsync(TestContext.Current.CancellationToken);
        Assert.Equal("10", Wire.ToReport(Assert.Single(told), "edge-1").Status.Details["cpuPercent"]);
        source.Next = Of(("cpuPercent", "50"));
        await details.RefreshAsync(TestContext.Current.CancellationToken);
        Assert.Equal("50", told[1].Details["cpuPercent"]);
        Assert.Equal(1, kit.Runner.Passes);
    }

    [Fact]
    public async Task Refresh_NoMemberOfTheKind_AsksNobody()
    {
        await using var kit = new ControllerKit();
        var source = new Numbers { Next = Of(("a", "1")) };
        kit.Controller.DetailsChanged = _ => Assert.Fail("there is nobody to tell of");
        await new MemberDetails(kit.Controller, [source], kit.Clock, NullLogger<MemberDetails>.Instance).RefreshAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, source.Asked);
    }

    [Fact]
    public async Task Refresh_SourceBreaks_OthersAreStillTold()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        var told = 0;
        kit.Controller.DetailsChanged = _ => told++;
        await new MemberDetails(kit.Controller, [new Numbers(), new Numbers { Next = Of(("a", "1")) }], kit.Clock, NullLogger<MemberDetails>.Instance).RefreshAsync(TestContext.Current.CancellationToken);
        Assert.Equal(1, told);
    }

    [Fact]
    public async Task Run_Quarter_OfAMinute()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        var source = new Numbers { Next = Of(("a", "1")) };
        using var stop = new CancellationTokenSource();
        var running = new MemberDetails(kit.Controller, [source], kit.Clock, NullLogger<MemberDetails>.Instance).RunAsync(stop.Token);
        kit.Clock.Advance(TimeSpan.FromSeconds(14));
        Assert.Equal(0, source.Asked);
        kit.Clock.Advance(TimeSpan.FromSeconds(1));
        await ControllerKit.UntilAsync(() => source.Asked == 1, "it is asked after 15 s");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Step_ThatRunsLong_IsToldWhileItRunsAndGoneWhenThePassEnds()
    {
        await using var kit = new ControllerKit();
        var told = new List<string>();
        kit.Controller.DetailsChanged = v => told.Add(v.Details[MemberDetails.Progress]);
        kit.Runner.Pass = (_, context, _) =>
        {
            context.Underway!("fetching 1%");
            context.Underway("fetching 2%"); // Within the same second: seen by who looks here, and told to nobody.
            Assert.Equal("fetching 2%", kit.View.Details[MemberDetails.Progress]);
            kit.Clock.Advance(TimeSpan.FromSeconds(1));
            context.Underway("fetching 3%");
            return Task.FromResult(ControllerKit.Report() with { Details = Of(("power", "running")) });
        };
        await kit.BeginAsync();
        Assert.Equal(["fetching 1%", "fetching 3%"], told);
        Assert.Equal(Of(("power", "running")), kit.View.Details);
    }

    [Fact]
    public async Task Driver_StepUnderWay_SaysWhatItDoes()
    {
        var said = new List<string>();
        var driver = new EffectDriver<string>(null!, null!, new ControllerKit.NoTurns(), _ => { }, (_, _) => Task.CompletedTask) { Underway = said.Add };
        await driver.RunAsync([new Pause(TimeSpan.FromSeconds(1)), new Pause(TimeSpan.FromSeconds(1)) { Underway = "fetching 42%" }], CancellationToken.None);
        Assert.Equal(["fetching 42%"], said);
    }

    private sealed class Numbers : IMemberDetails
    {
        public string Kind => "Toy";
        public int Asked { get; private set; }
        public ImmutableSortedDictionary<string, string>? Next { get; set; }

        public ValueTask<IReadOnlyDictionary<string, ImmutableSortedDictionary<string, string>>> ReadAsync(IReadOnlyList<MemberInput> members, CancellationToken stop)
        {
            Asked++;
            return new(members.ToDictionary(m => m.Key, _ => Next ?? throw new InvalidOperationException("a bug")));
        }
    }
}
