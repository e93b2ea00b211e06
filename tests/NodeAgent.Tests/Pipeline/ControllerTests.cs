using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Approval;
using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Trust;
using static AgentMetal.NodeAgent.Tests.Pipeline.ControllerKit;

namespace AgentMetal.NodeAgent.Tests.Pipeline;

/// <summary>When a member is looked at, and what a pass may do. Every wait is for something that must happen; nothing sleeps.</summary>
public sealed class ControllerTests
{
    [Fact]
    public async Task Assign_Input_IsJudgedByTheHostsOwnVerifier()
    {
        var asked = new Asked();
        await using var kit = new ControllerKit(digests: asked);
        await kit.BeginAsync();
        // Whoever made the input cannot bring a verifier of his own.
        kit.Controller.Assign(Input(generation: 2) with { DigestVerifier = new Everything() });
        await kit.EndedAsync();
        Assert.Equal(2, kit.Runner.Last!.Generation);
        Assert.False(kit.Runner.Last.IsTrusted("image", new('a', 64)).IsTrusted);
        Assert.Equal(["image " + new string('a', 64)], asked.Questions);
    }

    private sealed class Asked : IDigestVerifier
    {
        public List<string> Questions { get; } = [];

        public DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> found)
        {
            Questions.Add(purpose + " " + sha256);
            return DigestOutcome.NoSet(purpose, sha256);
        }
    }

    private sealed class Everything : IDigestVerifier
    {
        public DigestOutcome IsTrusted(string purpose, string sha256, IReadOnlyList<DigestSignature> found) => new() { IsTrusted = true, By = ["x"], Problem = "" };
    }

    [Fact]
    public async Task Wake_WhileAPassRuns_IsWorkedAfterIt()
    {
        await using var kit = new ControllerKit();
        var gate = new TaskCompletionSource();
        kit.Runner.Pass = async (n, _, _) =>
        {
            if (n == 1) await gate.Task;
            return Report();
        };
        kit.Controller.Assign(Input());
        kit.Controller.Start();
        await UntilAsync(() => kit.Runner.Passes == 1, "the first pass did not begin");
        kit.Controller.Wake(Key);
        gate.SetResult();
        await kit.EndedAsync();
        await kit.EndedAsync();
        Assert.Equal(2, kit.Runner.Passes);
    }

    [Fact]
    public async Task LookedAtAll_SomeStillWait_IsDoneAfterTheLastOrWhenItIsForgotten()
    {
        const string second = "n0/Toy/uid-2/0", third = "n0/Toy/uid-3/0";
        await using var kit = new ControllerKit();
        var gate = new TaskCompletionSource();
        kit.Runner.Pass = async (n, _, _) =>
        {
            if (n == 2) await gate.Task;
            return Report();
        };
        foreach (var key in (string[])[Key, second, third]) kit.Controller.Assign(Input(key));
        kit.Controller.Start();
        await kit.EndedAsync();
        await UntilAsync(() => kit.Runner.Passes == 2, "the second pass did not begin");
        kit.Controller.Forget(third);
        Assert.False(kit.Controller.LookedAtAll.IsCompleted);
        gate.SetResult();
        await kit.Controller.LookedAtAll.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task LookedAtAll_NoMembers_IsDoneAtTheStart()
    {
        await using var kit = new ControllerKit();
        kit.Controller.Start();
        Assert.True(kit.Controller.LookedAtAll.IsCompleted);
    }

    [Fact]
    public async Task Probe_Changed_IsLookedAtAndUnchangedIsNot()
    {
        // No resync within the time that passes here: only the probe can wake.
        await using var kit = new ControllerKit(new() { Workers = 1, Resync = TimeSpan.FromDays(300) });
        var (probe, probes) = ("primary", 0);
        kit.Runner.Watch = _ => new([], [], _ => { Interlocked.Increment(ref probes); return new(probe); });
        await kit.BeginAsync();
        for (var i = 0; i < 3; i++)
        {
            var before = Volatile.Read(ref probes);
            await UntilAsync(() => { kit.Advance(TimeSpan.FromSeconds(4)); return Volatile.Read(ref probes) > before; }, "it is no longer probed");
        }
        Assert.Equal(1, kit.Runner.Passes);
        probe = "hung";
        await UntilAsync(() => { kit.Advance(TimeSpan.FromSeconds(1)); return kit.Runner.Passes == 2; }, "a changed probe woke nobody");
        // The next pass has its own baseline: the probe is probed on, and says nothing new.
        await kit.EndedAsync();
        var seen = Volatile.Read(ref probes);
        await UntilAsync(() => { kit.Advance(TimeSpan.FromSeconds(4)); return Volatile.Read(ref probes) > seen + 1; }, "it is no longer probed");
        Assert.Equal(2, kit.Runner.Passes);
    }

    [Fact]
    public async Task Watches_SetBeforeAPassAndAgainAfterIt()
    {
        await using var kit = new ControllerKit();
        var (unit, gate) = ("before.service", new TaskCompletionSource());
        kit.Runner.Watch = _ => new([Volatile.Read(ref unit)], [], null);
        kit.Runner.Pass = async (_, _, _) =>
        {
            await gate.Task;
            return Report();
        };
        kit.Controller.Assign(Input());
        kit.Controller.Start();
        await UntilAsync(() => kit.Units.Watched.SequenceEqual(["before.service"]), "nothing is watched while the pass runs");
        Volatile.Write(ref unit, "after.service");
        gate.SetResult();
        await UntilAsync(() => kit.Units.Watched.SequenceEqual(["after.service"]), "what the pass made is not watched");
    }

    [Fact]
    public async Task Signal_OfOneUnitOrOfAll_WakesWhomItConcerns()
    {
        await using var kit = new ControllerKit();
        const string Other = "n0/Toy/uid-2/0";
        kit.Runner.Watch = input => new([input.Key == Key ? "a.service" : "b.service"], [], null);
        kit.Controller.Assign(Input(Other));
        await kit.BeginAsync();
        await kit.EndedAsync();
        await UntilAsync(() => kit.Units.Watched.Count == 2, "not both are watched");
        kit.Runner.Seen.Clear();
        kit.Units.Signal("b.service");
        await kit.EndedAsync();
        Assert.Equal([Other], kit.Runner.Seen.Select(s => s.Key));
        kit.Units.Signal(null);
        await kit.EndedAsync();
        await kit.EndedAsync();
        Assert.Equal([Key, Other], kit.Runner.Seen.Skip(1).Select(s => s.Key).Order(StringComparer.Ordinal));
        kit.Controller.WakeResource("uid-1");
        await kit.EndedAsync();
        Assert.Equal(Key, kit.Runner.Seen.Last().Key);
    }

    [Fact]
    public async Task Paused_PassesProposeOnlyUntilItIsLifted()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        kit.Controller.SetPaused(true);
        await kit.EndedAsync();
        kit.Controller.SetPaused(false);
        await kit.EndedAsync();
        Assert.Equal([Mode.Enforce, Mode.Propose, Mode.Enforce], kit.Runner.Seen.Select(s => s.Mode));
    }

    [Fact]
    public async Task Forget_Member_LeavesNoWatchAndNoWork()
    {
        var folder = Directory.CreateTempSubdirectory("agentmetal-forget-");
        try
        {
            await using var kit = new ControllerKit();
            const string Other = "n0/Toy/uid-2/0";
            var own = folder.CreateSubdirectory("own").FullName;
            kit.Runner.Watch = input => input.Key == Key ? new(["a.service"], [own], null) : new(["b.service"], [folder.FullName], null);
            kit.Controller.Assign(Input(Other));
            await kit.BeginAsync();
            await kit.EndedAsync();
            await UntilAsync(() => kit.Units.Watched.Count == 2, "not both are watched");
            Assert.True(IsWatched(own));
            kit.Controller.Forget(Key);
            await UntilAsync(() => kit.Units.Watched.SequenceEqual(["b.service"]), "the unit of a forgotten member is still watched");
            Assert.False(IsWatched(own), "the folder of a forgotten member is still watched");
            // The other one still hears of its own.
            kit.Runner.Seen.Clear();
            File.WriteAllText(folder.FullName + "/new", "");
            await kit.EndedAsync();
            kit.Advance(TimeSpan.FromHours(1));
            await kit.EndedAsync();
            Assert.All(kit.Runner.Seen, s => Assert.Equal(Other, s.Key));
            Assert.DoesNotContain(kit.Controller.Members, m => m.Input.Key == Key);
        }
        finally { folder.Delete(recursive: true); }
    }

    [Fact]
    public async Task Pass_ThatNeverSettles_BacksOffAfterItsBoundAndAConvergedOneStartsAnew()
    {
        await using var kit = new ControllerKit(new() { Workers = 1, MaxImmediate = 3 });
        kit.Runner.Pass = static (n, _, _) => Task.FromResult(n == 5 ? Report() : Report(ReconcilePhase.Converging, TimeSpan.Zero));
        await kit.BeginAsync();
        for (var i = 0; i < 3; i++) await kit.EndedAsync();
        Assert.True(kit.View.RetryAt > kit.Clock.GetUtcNow(), "the fourth pass in a row was not put off");
        kit.Controller.Wake(Key);
        await kit.EndedAsync();
        Assert.Null(kit.View.RetryAt);
        kit.Controller.Wake(Key);
        for (var i = 0; i < 4; i++) await kit.EndedAsync();
        Assert.Equal(9, kit.Runner.Passes);
        Assert.True(kit.View.RetryAt > kit.Clock.GetUtcNow(), "the bound does not count anew");
    }

    [Fact]
    public async Task Pass_ThatFails_IsTriedAgainWithinTwentySeconds()
    {
        await using var kit = new ControllerKit();
        kit.Runner.Pass = static (n, _, _) => n % 2 == 0 ? throw new IOException("the disk is away") : Task.FromResult(Report(ReconcilePhase.Stuck, backOff: true));
        await kit.BeginAsync();
        for (var i = 0; i < 12; i++)
        {
            var wait = kit.View.RetryAt!.Value - kit.Clock.GetUtcNow();
            Assert.InRange(wait.TotalMilliseconds, 500, 20_000);
            kit.Advance(wait);
            await kit.EndedAsync();
        }
        Assert.Equal(13, kit.Runner.Passes);
        Assert.Equal("Stuck", kit.View.Phase);
    }

    [Fact]
    public async Task Converged_NothingSignalled_IsLookedAtAgainAtTheResync()
    {
        await using var kit = new ControllerKit();
        await kit.BeginAsync();
        Assert.Null(kit.View.RetryAt);
        kit.Advance(TimeSpan.FromMinutes(11));
        await kit.EndedAsync();
        Assert.Equal(2, kit.Runner.Passes);
    }

    [Fact]
    public async Task Pause_OfAStep_EndsAtASignal()
    {
        await using var kit = new ControllerKit();
        var waiting = new TaskCompletionSource();
        kit.Runner.Pass = async (n, context, stop) =>
        {
            if (n > 1) return Report();
            var pause = context.Pause(TimeSpan.FromHours(1), stop);
            waiting.SetResult();
            await pause;
            return Report();
        };
        kit.Controller.Assign(Input());
        kit.Controller.Start();
        await waiting.Task.WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        kit.Controller.Wake(Key);
        await kit.EndedAsync(); // No virtual time has passed.
    }

    [Fact]
    public async Task Assign_NewGenerationThatConvergesToo_IsNews()
    {
        await using var kit = new ControllerKit();
        var said = new List<long>();
        kit.Controller.Changed = v => said.Add(v.Input.Generation);
        await kit.BeginAsync();
        kit.Controller.Wake(Key);
        await kit.EndedAsync();
        kit.Controller.Assign(Input(generation: 2));
        await kit.EndedAsync();
        await UntilAsync(() => said.Count == 2, "the new generation was not reported");
        Assert.Equal([1, 2], said);
    }

    /// <summary>Whether any inotify instance of this process watches the folder (proc(5), fdinfo).</summary>
    private static bool IsWatched(string folder)
    {
        using var stat = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo("/usr/bin/stat", ["-c", "%i", folder]) { RedirectStandardOutput = true })!;
        var inode = "ino:" + long.Parse(stat.StandardOutput.ReadToEnd(), System.Globalization.CultureInfo.InvariantCulture).ToString("x", System.Globalization.CultureInfo.InvariantCulture) + " ";
        foreach (var file in Directory.GetFiles("/proc/self/fdinfo"))
        {
            try
            {
                if (File.ReadAllText(file).Split('\n').Any(l => l.StartsWith("inotify ", StringComparison.Ordinal) && l.Contains(inode, StringComparison.Ordinal))) return true;
            }
            catch (IOException)
            {
                // Another test closed it meanwhile.
            }
        }
        return false;
    }
}
