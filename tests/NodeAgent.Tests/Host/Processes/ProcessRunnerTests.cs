using System.Text;
using AgentMetal.NodeAgent.Host.Processes;

namespace AgentMetal.NodeAgent.Tests.Host.Processes;

public sealed class ProcessRunnerTests
{
    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Run_ArgumentsAndStdin_ReachTheProgramUnchanged()
    {
        var outcome = await Run("/bin/sh", ["-c", "printf '%s|' \"$@\"; cat; echo err >&2; exit 7", "sh", "a b", "$(id)", "é"], "in\n");
        Assert.Equal((ProcessResult.Exited, 7), (outcome.Result, outcome.ExitCode));
        Assert.Equal("a b|$(id)|é|in\n", outcome.Stdout);
        Assert.Equal("err\n", outcome.Stderr);
    }

    [Fact]
    public async Task Run_Environment_IsOnlyWhatWasGiven()
    {
        var request = Request("/usr/bin/env", []) with { Environment = new Dictionary<string, string> { ["A"] = "1" } };
        var outcome = await new ProcessRunner(TimeProvider.System).RunAsync(request, Ct);
        Assert.Equal(["A=1", "LANG=C.UTF-8", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], outcome.Stdout.Trim().Split('\n').Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task Run_NoSuchProgram_IsNotStarted()
    {
        var outcome = await Run("/nonexistent/program", []);
        Assert.Equal(ProcessResult.NotStarted, outcome.Result);
        Assert.Contains("/nonexistent/program", outcome.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_DeadlinePasses_KillsTheChildrenToo()
    {
        var marker = Path.GetTempFileName();
        var request = Request("/bin/sh", ["-c", $"sleep 1000 & echo $! > {marker}; echo started; wait"]) with { Deadline = TimeSpan.FromMilliseconds(400) };
        var outcome = await new ProcessRunner(TimeProvider.System).RunAsync(request, Ct);
        Assert.Equal(ProcessResult.DeadlinePassed, outcome.Result);
        Assert.Equal("started\n", outcome.Stdout);
        var grandchild = (await File.ReadAllTextAsync(marker, Ct)).Trim();
        File.Delete(marker);
        Assert.True(!File.Exists($"/proc/{grandchild}/stat") || (await File.ReadAllTextAsync($"/proc/{grandchild}/stat", Ct)).Contains(") Z "), "the grandchild lives");
    }

    [Fact]
    public async Task Run_Cancelled_KillsAndThrows()
    {
        using var cancel = new CancellationTokenSource();
        var run = new ProcessRunner(TimeProvider.System).RunAsync(Request("/bin/sleep", ["1000"]), cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.WaitAsync(TimeSpan.FromSeconds(10), Ct));
    }

    [Fact]
    public async Task Run_MoreOutputThanKept_KeepsTheLastBytes()
    {
        var request = Request("/bin/sh", ["-c", "seq 1 100000; echo end"]) with { MaxOutputBytes = 100 };
        var outcome = await new ProcessRunner(TimeProvider.System).RunAsync(request, Ct);
        Assert.True(outcome.Truncated);
        Assert.Equal(100, outcome.Stdout.Length);
        Assert.EndsWith("99999\n100000\nend\n", outcome.Stdout, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_EndlessOutput_KeepsItsMemoryBounded()
    {
        var request = Request("/usr/bin/head", ["-c", "64000000", "/dev/zero"]) with { MaxOutputBytes = 1000, Deadline = TimeSpan.FromMinutes(1) };
        using var stop = new AgentMetal.NodeAgent.Host.WakeUp();
        using var run = new ProcessRun(request, TimeProvider.System, stop);
        var before = GC.GetAllocatedBytesForCurrentThread(); // The whole run is on this thread.
        var outcome = run.Run();
        Assert.True(outcome is { IsSuccess: true, Truncated: true }, outcome.Detail);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2_000_000);
    }

    [Fact]
    public async Task Run_LongInputThatIsEchoed_DoesNotDeadlock()
    {
        var text = new string('x', 1_000_000);
        var request = Request("/bin/cat", []) with { Stdin = Encoding.UTF8.GetBytes(text), MaxOutputBytes = 2_000_000 };
        var outcome = await new ProcessRunner(TimeProvider.System).RunAsync(request, Ct);
        Assert.Equal(text.Length, outcome.Stdout.Length);
        Assert.True((await Run("/bin/true", [], text)).IsSuccess);
    }

    [Fact]
    public async Task Run_SignalEndsIt_IsSignalledByNumber()
    {
        var outcome = await Run("/bin/sh", ["-c", "kill -TERM $$"]);
        Assert.Equal((ProcessResult.Signalled, 15), (outcome.Result, outcome.Signal));
    }

    [Fact]
    public async Task Run_Child_DoesNotInheritIgnoredSignals()
    {
        var outcome = await Run("/bin/grep", ["SigIgn", "/proc/self/status"]);
        // Signals 1 to 31; the two above belong to the C library, which lets nobody set them.
        var ignored = Convert.ToUInt64(outcome.Stdout.Split('\t')[1].Trim(), 16) & 0x7FFF_FFFF;
        Assert.Equal(0ul, ignored);
    }

    [Fact]
    public async Task Run_ProgramLeavesAChildBehind_ReturnsAtOnce()
    {
        var outcome = await Run("/bin/sh", ["-c", "sleep 1000 & echo done"]);
        Assert.Equal("done\n", outcome.Stdout);
        Assert.True(outcome.IsSuccess);
    }

    private static ProcessRequest Request(string program, string[] arguments) =>
        new() { Program = program, Arguments = arguments, Deadline = TimeSpan.FromSeconds(20) };

    private static Task<ProcessOutcome> Run(string program, string[] arguments, string? stdin = null) =>
        new ProcessRunner(TimeProvider.System).RunAsync(
            Request(program, arguments) with { Stdin = stdin is null ? null : Encoding.UTF8.GetBytes(stdin) }, Ct);
}
