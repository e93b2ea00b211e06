using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.NodeAgent.Pipeline.Stories;

namespace AgentMetal.NodeAgent.Tests.Pipeline.Stories;

public sealed class UnitChangesTests
{
    private static readonly DateTimeOffset s_start = new(2030, 1, 1, 12, 0, 0, TimeSpan.Zero);
    private static readonly UnitState s_running = Units.Running with { MemoryMax = 256 << 20, TimeoutStop = TimeSpan.FromSeconds(60) };

    private static UnitLook Look(UnitState now, params UnitEnd[] ends) => new(now, ends, new(0, 256 << 20, 200 << 20), 7, "boot", s_start.AddSeconds(30));

    private static UnitMark Before(UnitState? now = null) => UnitChanges.Mark(Look(now ?? s_running) with { At = s_start }, null);

    private static readonly UnitState s_again = s_running with { InvocationId = "two", MainPid = 101, NRestarts = 1 };

    private static readonly UnitEnd s_killed = new(s_start.AddSeconds(10), "signal", 2, 9, 0);

    [Fact]
    public void Between_NothingChanged_TellsNothing() => Assert.Empty(UnitChanges.Between(Before(), Look(s_running)));

    [Fact]
    public void Between_SigkillBesideAKillThatTheKernelCounted_IsTheKernelsWithBothFigures()
    {
        var told = Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed) with { HostKills = 8 }));
        Assert.Equal("KilledByKernel", told.Reason);
        Assert.Equal("killed by the kernel: memory limit 256 MiB reached, peak 256 MiB; systemd starts it again", told.Text);
        Assert.Equal(s_start.AddSeconds(10), told.At);
    }

    [Fact]
    public void Between_SystemdSaysOomKill_IsTheKernelsAlsoWhereNothingWasCounted() =>
        Assert.Equal(EndCause.KilledByKernel, Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed with { Result = "oom-kill" }))).Cause);

    [Fact]
    public void Between_SigkillThatTheKernelDidNotCount_IsSomebodys()
    {
        var told = Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed)));
        Assert.Equal(("Died", "killed by SIGKILL, and not for memory; systemd starts it again"), (told.Reason, told.Text));
    }

    [Fact]
    public void Between_AnEndThatIsStillDealtWith_SaysNothingOfWhatSystemdDoesNext() => Assert.Equal("killed by SIGKILL, and not for memory",
        Assert.Single(UnitChanges.Between(Before(), Look(s_running with { ActiveState = "deactivating", MainPid = 0 }, s_killed))).Text);

    [Fact]
    public void Between_KilledServerWhoseGroupIsStillThere_IsToldOnce() => Assert.Equal("killed by the kernel: memory limit 256 MiB reached, peak 256 MiB",
        Assert.Single(UnitChanges.Between(Before(), Look(s_running with { ActiveState = "deactivating", MainPid = 0 }, s_killed with { Result = "oom-kill" }) with { Memory = new(Before().GroupKills + 1, 256 << 20, 256 << 20) })).Text);

    [Fact]
    public void Between_StartThatAConditionHeldBack_IsNoDeath() =>
        Assert.Empty(UnitChanges.Between(Before(), Look(s_running with { ActiveState = "inactive", MainPid = 0, Result = "exec-condition" })));

    [Fact]
    public void Between_AnotherUnitsKillWhereSystemdTells_IsNotBlamedOnThisOne() => Assert.Equal("Died",
        Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed) with { HostKills = 8, SystemdTells = true })).Reason);

    [Fact]
    public void Between_TwoDeathsAndOneCountedKill_OneIsTheKernels() => Assert.Equal([EndCause.KilledByKernel, EndCause.Died],
        UnitChanges.Between(Before(), Look(s_again, s_killed, s_killed with { At = s_start.AddSeconds(12) }) with { HostKills = 8 }).Select(h => h.Cause!.Value));

    [Fact]
    public void Between_OurOwnJob_IsNotTold() =>
        Assert.Empty(UnitChanges.Between(Before(), Look(s_again with { NRestarts = 0 }, s_killed with { Result = "success", Status = 15 }) with { Ours = (_, _) => true, OursEnded = _ => true }));

    [Fact]
    public void Between_DeathAMomentAfterOurStart_IsNotOurs() =>
        Assert.Equal("KilledByKernel", Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed) with { HostKills = 8, Ours = (_, _) => true })).Reason);

    [Fact]
    public void Between_KernelKillDuringOurJobThatSystemdNames_IsToldAllTheSame() =>
        Assert.Single(UnitChanges.Between(Before(), Look(s_again, s_killed with { Result = "oom-kill" }) with { Ours = (_, _) => true, OursEnded = _ => true }));

    [Fact]
    public void Between_StopThatEndedInSigkill_SaysSoAndForHowLong()
    {
        var down = s_running with { ActiveState = "failed", SubState = "failed", MainPid = 0, Result = "timeout", ExecMainCode = 2, ExecMainStatus = 9, ExecMainExitAt = s_start.AddSeconds(20) };
        var told = Assert.Single(UnitChanges.Between(Before(), Look(down)));
        Assert.Equal("StopTimedOut", told.Reason);
        Assert.Contains("took longer than 60 s, and systemd ended it with SIGKILL", told.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Between_RestartByHandThatIsSeenHalfWay_IsARestart()
    {
        var ended = new UnitEnd(s_start.AddSeconds(20), "success", 1, 0, 0);
        var stopping = s_running with { ActiveState = "deactivating", SubState = "stop-sigterm", MainPid = 0, HasJob = true, ExecMainCode = 1, ExecMainExitAt = ended.At };
        Assert.Empty(UnitChanges.Between(Before(), Look(stopping, ended)));
        var after = UnitChanges.Mark(Look(stopping, ended), Before());
        var between = stopping with { ActiveState = "inactive", SubState = "dead" };
        Assert.Equal("RestartedOutside", Assert.Single(UnitChanges.Between(after, Look(between))).Reason);
        Assert.Equal("StoppedOutside", Assert.Single(UnitChanges.Between(after, Look(between with { HasJob = false }))).Reason);
        var up = s_again with { NRestarts = 0, ExecMainCode = 1, ExecMainExitAt = ended.At };
        Assert.Empty(UnitChanges.Between(UnitChanges.Mark(Look(between), after), Look(up)));
    }

    [Fact]
    public void Between_StopByHand_IsToldOnce()
    {
        var stopping = s_running with { ActiveState = "deactivating", SubState = "stop-sigterm" };
        Assert.Empty(UnitChanges.Between(Before(), Look(stopping)));
        Assert.Equal("StopAsked", Assert.Single(UnitChanges.Between(Before(stopping), Look(stopping))).Reason);
        Assert.Empty(UnitChanges.Between(UnitChanges.Mark(Look(stopping), Before(stopping)), Look(stopping)));
        var down = s_running with { ActiveState = "inactive", SubState = "dead", MainPid = 0, ExecMainCode = 1, ExecMainExitAt = s_start.AddSeconds(20) };
        var told = Assert.Single(UnitChanges.Between(Before(stopping), Look(down)));
        Assert.Equal(("StoppedOutside", "stopped by hand or by another program"), (told.Reason, told.Text));
        Assert.Empty(UnitChanges.Between(Before(down), Look(down)));
    }

    [Fact]
    public void Between_RestartByHand_IsNoDeath() =>
        Assert.Equal("RestartedOutside", Assert.Single(UnitChanges.Between(Before(), Look(s_running with { InvocationId = "two" }, s_killed with { Result = "success", Status = 15 }))).Reason);

    [Fact]
    public void Between_DiedWhileTheDaemonWasAway_IsCountedByWhatSystemdCounted()
    {
        var told = Assert.Single(UnitChanges.Between(Before(), Look(s_again with { NRestarts = 3 }) with { HostKills = 10 }));
        Assert.Equal((3, EndCause.KilledByKernel), (told.Count, told.Cause));
        Assert.StartsWith("ended 3 times while nobody looked", told.Text, StringComparison.Ordinal);
    }

    [Fact]
    public void Between_DaemonDiedWithAStepOpen_ItsUnitsAreNotTold() => Assert.Empty(UnitChanges.Between(Before(), Look(s_again with { NRestarts = 0 }) with { Resumes = true }));

    [Fact]
    public void Between_Boot_IsNobodysDoingButAMaskIs()
    {
        var told = UnitChanges.Between(Before(), Look(s_again with { NRestarts = 0, UnitFileState = "masked", LoadState = "masked" }) with { Boot = "next" });
        Assert.Equal("the unit was masked by hand or by another program", Assert.Single(told).Text);
    }

    [Fact]
    public void Between_Override_IsNamed() =>
        Assert.Contains("/etc/systemd/system/a.service.d/x.conf", Assert.Single(UnitChanges.Between(Before(), Look(s_running with { DropInPaths = ["/etc/systemd/system/a.service.d/x.conf"] }))).Text, StringComparison.Ordinal);

    [Fact]
    public void Between_ChildKilled_IsToldWithThePeakOfTheGroup()
    {
        var told = Assert.Single(UnitChanges.Between(Before(), Look(s_running) with { Memory = new(2, 256 << 20, 256 << 20) }));
        Assert.Equal((2, "the kernel killed 2 processes of it, and not the server: memory limit 256 MiB reached, peak 256 MiB"), (told.Count, told.Text));
    }

    [Fact]
    public void WithCount_FromTheSecondTimeOn_SaysHowOftenAndWhatToDo()
    {
        var told = new Happening(s_start, "KilledByKernel", "killed by the kernel", EndCause.KilledByKernel);
        EndNote Note(int minutes) => new(s_start.AddMinutes(minutes).ToUnixTimeMilliseconds(), "KilledByKernel", "x");
        Assert.Equal("killed by the kernel", StoryText.WithCount(told, StoryText.Lately([Note(-11), Note(0)], "KilledByKernel", s_start), "raise it"));
        Assert.Equal("killed by the kernel; 3rd time in 10 min; raise it", StoryText.WithCount(told, StoryText.Lately([Note(-11), Note(-9), Note(-2), Note(0)], "KilledByKernel", s_start), "raise it"));
    }
}
