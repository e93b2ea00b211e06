using AgentMetal.NodeAgent.Edge;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Local;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

/// <summary>A person at the host holds a member still.</summary>
public sealed class PauseTests
{
    private static readonly MemberPause s_pause = new(new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero), 0, "root (uid 0)", "disk swap", false);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Driver_PausedBeforeTheNextIntent_EndsThere_AndLetsWhatHasBegunEnd()
    {
        var (paused, wrote) = (false, new List<string>());
        var driver = new EffectDriver<string>(new Store(wrote), null!, new ControllerKit.NoTurns(), _ => { }, (_, _) => Task.CompletedTask) { IsPaused = () => paused };
        await Assert.ThrowsAsync<PausedException>(() => driver.RunAsync(Steps(), Stop));
        Assert.Equal(["first intent", "first done"], wrote);

        IEnumerable<Effect> Steps()
        {
            yield return Journal(Entry.Intent, "first intent");
            paused = true;
            yield return Journal(Entry.Done, "first done");
            yield return Journal(Entry.Intent, "second intent");
        }
    }

    [Fact]
    public async Task Pauses_AreThereAfterReopen_AndGoWhenItIsResumed()
    {
        var folder = Directory.CreateTempSubdirectory("agentmetal-pause-");
        try
        {
            var path = Path.Combine(folder.FullName, "local.db");
            await using (var first = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(path, "n")).Store) await first.SetPauseAsync("n/Redis/u/0", s_pause, Stop);
            await using var store = Assert.IsType<LocalOpening.Opened>(LocalStore.Open(path, "n")).Store;
            Assert.Equal(s_pause, Assert.Single(await store.PausesAsync(Stop)).Value);
            await store.SetPauseAsync("n/Redis/u/0", null, Stop);
            Assert.Empty(await store.PausesAsync(Stop));
        }
        finally { folder.Delete(recursive: true); }
    }

    [Fact]
    public async Task Controller_PausedMember_IsLookedAtAndNotTouched_UntilItIsResumed()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        var key = kit.Controller.Members[0].Input.Key;
        var before = kit.Runner.Passes;
        await kit.Controller.PauseAsync(key, s_pause, Stop);
        Assert.Equal(s_pause, kit.Controller.Members[0].Paused);
        Assert.Contains(kit.Controller.Members[0].Events, e => e.Reason == "Paused" && e.Message.Contains("root (uid 0) (disk swap)", StringComparison.Ordinal));
        await ControllerKit.UntilAsync(() => kit.Runner.Previews > 0 && kit.View.Phase == "Paused", "it is looked at");
        Assert.Equal(before, kit.Runner.Passes);
        Assert.Contains("nothing is done to it", kit.View.Blocker, StringComparison.Ordinal);
        Assert.True(await kit.Controller.ResumeAsync(key, "root (uid 0)", Stop));
        Assert.False(await kit.Controller.ResumeAsync(key, "root (uid 0)", Stop));
        await ControllerKit.UntilAsync(() => kit.Runner.Passes > before && kit.View.Phase == "Converged", "it is kept again");
        Assert.Null(kit.Controller.Members[0].Paused);
    }

    /// <summary>What goes with a stop is said first, and nothing is stopped or paused before it is confirmed.</summary>
    [Fact]
    public async Task Hands_StopThatLosesData_AsksFirst_ThenStopsAndStaysPaused()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        var (stopped, audit) = (0, new List<string>());
        kit.Runner.Stop = new(true, "stop it", "its keys are in memory only", _ => { stopped++; return ValueTask.CompletedTask; });
        var hands = new LocalHands(kit.Controller, kit.Clock, (_, kind, body) => { audit.Add(kind + body); return ValueTask.CompletedTask; }, Stop);
        System.Collections.Immutable.ImmutableArray<MemberInput> members = [kit.View.Input];
        var by = new SocketPeer(1, 0, "root (uid 0)");
        var asked = await hands.TakeAsync(members, new("stop", "toy/a"), by, Stop);
        Assert.Equal((true, "Dangerous: its keys are in memory only", 0), (asked?.Confirm, asked?.Error, stopped));
        Assert.Null(kit.View.Paused);
        Assert.Empty(audit);
        Assert.Null(await hands.TakeAsync(members, new("stop", "toy/a", Reason: "free the port", Confirmed: true), by, Stop));
        await ControllerKit.UntilAsync(() => kit.View.Paused?.Progress.StartsWith("was stopped at", StringComparison.Ordinal) == true, "it is stopped");
        Assert.Equal(1, stopped);
        Assert.Contains("free the port", kit.View.Paused!.Text, StringComparison.Ordinal);
        Assert.Null(await hands.TakeAsync(members, new("resume", "toy/a"), by, Stop));
        Assert.True((await hands.TakeAsync(members, new("resume", "toy/a"), by, Stop))!.Refused);
        Assert.Equal(["StoppedByHand", "ResumedByHand"], audit.Select(a => a[..a.IndexOf('{', StringComparison.Ordinal)]));
    }

    private static Commit Journal(Entry entry, string text) => new() { RunId = text, Journal = [new(entry, "h", default, [], [], null, System.Collections.Immutable.ImmutableSortedDictionary<string, string>.Empty)] };

    private sealed class Store(List<string> wrote) : IPassStore
    {
        public ValueTask<bool> CommitAsync(Commit commit, CancellationToken stop)
        {
            wrote.Add(commit.RunId);
            return new(true);
        }

        public ValueTask FindApprovalAsync(FindApproval find, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask RecallAsync(Recall recall, CancellationToken stop) => throw new NotSupportedException();
        public ValueTask PreviewAsync(Preview preview, CancellationToken stop) => throw new NotSupportedException();
    }
}
