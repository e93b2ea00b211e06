using System.Runtime.CompilerServices;
using AgentMetal.NodeAgent.Host;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.NodeAgent.Pipeline.Stories;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace AgentMetal.NodeAgent.Tests.Pipeline.Stories;

public sealed class MemberStoriesTests
{
    private static readonly MemberWatch s_watch = new(["a.service"], [], null) { MemoryAdvice = "raise spec.limits.memory" };
    private readonly FakeTimeProvider _clock = new(new DateTimeOffset(2030, 1, 1, 12, 0, 0, TimeSpan.Zero));
    private readonly Disk _disk = new();
    private readonly OneUnit _unit = new();
    private readonly Counts _counts = new();
    private readonly List<Happening> _told = [];
    private readonly OwnJobs _jobs;

    public MemberStoriesTests() => _jobs = new(_clock);

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    /// <summary>A daemon that has just started: it knows what is on the disk and nothing else.</summary>
    private MemberStories Daemon() => new(_unit, _jobs, _counts, _disk, "boot", _clock, NullLogger<MemberStories>.Instance) { Told = (_, h) => _told.Add(h) };

    [Fact]
    public async Task Look_KilledTwiceAcrossARestartOfTheDaemon_IsToldOnceEachAndCounted()
    {
        var daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Kill();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Single(_told);
        Assert.Null(daemon.View(ControllerKit.Key).Unsteady);

        daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Single(_told);
        Assert.Contains("killed by the kernel", daemon.View(ControllerKit.Key).LastEnded, StringComparison.Ordinal);
        Kill();
        daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Equal(2, _told.Count);
        Assert.EndsWith("2nd time in 10 min; raise spec.limits.memory", _told[1].Text, StringComparison.Ordinal);
        Assert.Equal("KilledByKernel", daemon.View(ControllerKit.Key).Unsteady!.Value.Reason);
        Assert.Equal(["KilledByKernel", "KilledByKernel"], _disk.Audit.Select(a => a.Kind));

        _clock.Advance(TimeSpan.FromMinutes(11));
        Assert.Null(daemon.View(ControllerKit.Key).Unsteady);
    }

    [Fact]
    public async Task Look_UnitThatWasNeverRestartedDiesWhileTheDaemonIsAway_IsTold()
    {
        await Daemon().LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Kill();
        await Daemon().LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Single(_told);
    }

    [Fact]
    public async Task Look_NothingHappens_WritesNothing()
    {
        var daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        var writes = _disk.Writes;
        _clock.Advance(TimeSpan.FromMinutes(10));
        _counts.Host++;
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Equal(writes, _disk.Writes);
    }

    [Fact]
    public async Task Look_UnitThatCannotBeRead_IsNoEnd()
    {
        var daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        _unit.Away = true;
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        _unit.Away = false;
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Empty(_told);
    }

    [Fact]
    public async Task ReadLogs_UnitThatBeganAnew_TellsWhatItSaidOfItsStartOnce()
    {
        var watch = s_watch with { LogWords = static line => line == "cut" ? "its file was cut" : null };
        var daemon = new MemberStories(_unit, _jobs, _counts, _disk, "boot", _clock, NullLogger<MemberStories>.Instance) { Told = (_, h) => _told.Add(h), Log = new Lines(["ready", "cut", "cut"]) };
        await daemon.LookAsync(ControllerKit.Input(), watch, false, Stop);
        await daemon.ReadLogsAsync(Stop);
        Assert.Empty(_told);
        Kill();
        await daemon.LookAsync(ControllerKit.Input(), watch, false, Stop);
        await daemon.ReadLogsAsync(Stop);
        Assert.Single(_told);
        _clock.Advance(TimeSpan.FromSeconds(5));
        await daemon.ReadLogsAsync(Stop);
        await daemon.ReadLogsAsync(Stop);
        Assert.Equal("its file was cut", _told[1].Text);
        Assert.Equal(2, _told.Count);
    }

    private sealed class Lines(IReadOnlyList<string> lines) : IUnitLog
    {
        public Task<IReadOnlyList<string>> ReadAsync(string invocation, CancellationToken stop) => Task.FromResult(lines);
    }

    [Fact]
    public async Task Look_KilledByOurOwnStep_IsNotTold()
    {
        var daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        using (_jobs.Begin("a.service", ends: true)) Kill(kernel: false);
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Empty(_told);
    }

    [Fact]
    public async Task Look_HandLongAfterAJobOfOurs_IsToldAsTheHands()
    {
        var daemon = Daemon();
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        _clock.Advance(TimeSpan.FromHours(1));
        _jobs.Begin(null).Dispose(); // systemd read its files again, for another member.
        _clock.Advance(TimeSpan.FromMinutes(1));
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        _clock.Advance(TimeSpan.FromHours(1));
        _unit.Now = _unit.Now with { UnitFileState = "disabled" };
        await daemon.LookAsync(ControllerKit.Input(), s_watch, false, Stop);
        Assert.Contains("was disabled by hand", Assert.Single(_told).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Compare_SettingThatMoved_IsToldUnlessAStepOfOursRan()
    {
        var daemon = Daemon();
        await Compare(daemon, "1", changed: false);
        await Compare(daemon, "2", changed: true);
        Assert.Equal("max 1 2", Assert.Single(_told).Text);
        await Compare(daemon, "1", changed: false);
        Assert.Single(_told);
        daemon = Daemon();
        await Compare(daemon, "3", changed: false);
        Assert.Equal(["max 1 2", "max 1 3"], _told.Select(t => t.Text));
    }

    [Fact]
    public async Task Compare_WhatCannotBeSeenNow_IsRememberedAndNotTold()
    {
        var daemon = Daemon();
        await Compare(daemon, "1", changed: false);
        await daemon.CompareAsync(ControllerKit.Input(), "", MemberDetails.None, false, Words, Stop);
        Assert.Empty(_told);
        await Compare(daemon, "2", changed: false);
        Assert.Single(_told);
    }

    [Fact]
    public async Task Note_DecisionsWhileTheDaemonWasAway_AreToldOnceEachInOrder()
    {
        OutsideNote Note(int n) => new($"{n}@0", _clock.GetUtcNow(), "GateHeld", "held " + n);
        await Daemon().NoteAsync(ControllerKit.Input(), [Note(1)], Stop);
        var daemon = Daemon();
        await daemon.NoteAsync(ControllerKit.Input(), [Note(1), Note(2), Note(3)], Stop);
        var writes = _disk.Writes;
        await daemon.NoteAsync(ControllerKit.Input(), [Note(1), Note(2), Note(3)], Stop);
        await Daemon().NoteAsync(ControllerKit.Input(), [Note(2), Note(3)], Stop);
        Assert.Equal(writes, _disk.Writes);
        Assert.Equal(["held 1", "held 2", "held 3"], _told.Select(t => t.Text));
        await daemon.NoteAsync(ControllerKit.Input(), [Note(7), Note(8)], Stop); // More than are kept, or a list that was begun anew.
        Assert.Equal(["held 7", "held 8"], _told.Skip(3).Select(t => t.Text));
        Assert.Equal(5, _disk.Audit.Count(a => a.Kind == "GateHeld"));
    }

    private static string Words(string key, string was, string now) => $"{key} {was} {now}";

    private async Task Compare(MemberStories daemon, string value, bool changed) =>
        await daemon.CompareAsync(ControllerKit.Input(), "", MemberDetails.None.Add("max", value), changed, Words, Stop);

    private void Kill(bool kernel = true)
    {
        _clock.Advance(TimeSpan.FromSeconds(10));
        if (kernel) _counts.Host++;
        _unit.Ends.Add(new(_clock.GetUtcNow(), "signal", 2, 9, _unit.Now.NRestarts));
        _unit.Now = _unit.Now with { InvocationId = _unit.Now.InvocationId + "+", NRestarts = _unit.Now.NRestarts + 1 };
        _clock.Advance(TimeSpan.FromMilliseconds(200));
    }

    private sealed class Counts : IMemoryEvents
    {
        public long Host { get; set; }
        public long? HostKills() => Host;
        public bool SystemdTells => false;
        public MemoryFigures? Of(string controlGroup) => new(0, 64 << 20, 60 << 20);
    }

    private sealed class Disk : IStoryStore
    {
        private readonly Dictionary<string, string> _kept = [];
        public int Writes { get; private set; }
        public List<(string Kind, string Body)> Audit { get; } = [];
        public ValueTask<string?> ReadAsync(string key, CancellationToken stop) => new(_kept.GetValueOrDefault(key));
        public ValueTask WriteAsync(string key, string resourceKey, string json, IReadOnlyList<(string Kind, string Body)> audit, CancellationToken stop)
        {
            (_kept[key], Writes) = (json, Writes + 1);
            Audit.AddRange(audit);
            return default;
        }
        public ValueTask ForgetAsync(string key, CancellationToken stop)
        {
            _kept.Remove(key);
            return default;
        }
    }

    private sealed class OneUnit : IUnitReader
    {
        public bool Away { get; set; }
        public List<UnitEnd> Ends { get; } = [];
        public UnitState Now { get; set; } = Units.Running;

        public Task<Observed<UnitState>> GetUnitAsync(string name, CancellationToken ct) => Task.FromResult(Away ? Observed<UnitState>.Unseen("away") : Observed<UnitState>.Seen(Now));

        public IReadOnlyList<UnitEnd> TakeEnds(string name)
        {
            UnitEnd[] taken = [.. Ends];
            Ends.Clear();
            return taken;
        }

        public async IAsyncEnumerable<UnitSignal> WatchAsync(IReadOnlyCollection<string> names, [EnumeratorCancellation] CancellationToken ct)
        {
            await Task.CompletedTask;
            yield break;
        }
    }
}

public sealed class EventMergeTests
{
    private static readonly DateTimeOffset s_at = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);

    private static MemberEvent Event(int seconds, string message = "x") => new(s_at.AddSeconds(seconds), "Died", message, true);

    [Fact]
    public void Take_TwentyOfOne_ThreeAreToldAndOneLineCountsTheRest()
    {
        var merge = new EventMerge();
        Assert.Equal(3, Enumerable.Range(0, 20).Count(i => merge.Take(Event(i)) is not null));
        Assert.Empty(merge.Due(s_at.AddSeconds(30)));
        var line = Assert.Single(merge.Due(s_at.AddSeconds(80)));
        Assert.Equal(("x (17 times more in 1 min)", 17), (line.Message, line.Count));
        Assert.Empty(merge.Due(s_at.AddSeconds(200)));
    }

    [Fact]
    public void Take_AnotherText_IsToldAtOnce()
    {
        var merge = new EventMerge();
        for (var i = 0; i < 10; i++) merge.Take(Event(i));
        Assert.NotNull(merge.Take(Event(10, "y")));
    }

    [Fact]
    public void Take_TheSameMuchLater_IsNoFlood()
    {
        var merge = new EventMerge();
        for (var i = 0; i < 3; i++) merge.Take(Event(i));
        Assert.NotNull(merge.Take(Event(700)));
    }
}
