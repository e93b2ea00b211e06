using System.Diagnostics;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Commands;

[Story("lab", 5)]
public sealed class CommandRunnerTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(20);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Run_Command_ReturnsCodeAndBothStreams()
    {
        var result = await CommandRunner.RunAsync(
            ["sh", "-c", "cat; echo bad >&2; exit 3"], Long, "given"u8.ToArray(), cancellationToken: Cancellation);

        Assert.Equal((3, "given", "bad\n"), (result.ExitCode, result.Stdout, result.Stderr));
    }

    [Fact]
    public async Task OrThrow_FailedCommand_NamesItAndItsStandardError()
    {
        var result = await CommandRunner.RunAsync(["sh", "-c", "echo the reason >&2; exit 7"], Long, cancellationToken: Cancellation);

        var exception = Assert.Throws<LabException>(() => result.OrThrow());

        Assert.Contains("exit code 7: the reason", exception.Message, StringComparison.Ordinal);
        Assert.Contains("`sh -c ", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Run_PastTheDeadline_KillsTheWholeTreeAndNamesTheCommand()
    {
        var file = Path.GetTempFileName();

        var exception = await Assert.ThrowsAsync<LabException>(() => CommandRunner.RunAsync(
            ["sh", "-c", "sleep 600 & echo $! >$0; wait", file], TimeSpan.FromSeconds(1), cancellationToken: Cancellation));

        Assert.Contains("did not end within 1 s", exception.Message, StringComparison.Ordinal);
        var child = (await File.ReadAllTextAsync(file, Cancellation)).Trim();
        Assert.NotEqual("", child);
        Assert.False(Directory.Exists($"/proc/{child}") && !(await File.ReadAllTextAsync($"/proc/{child}/stat", Cancellation)).Contains(") Z ", StringComparison.Ordinal));
        File.Delete(file);
    }

    [Fact]
    public async Task Run_DaemonThatHoldsTheStreams_DoesNotHang()
    {
        var started = Stopwatch.GetTimestamp();

        var result = await CommandRunner.RunAsync(["sh", "-c", "sleep 30 & echo $!"], Long, cancellationToken: Cancellation);

        Assert.True(Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(15));
        Process.GetProcessById(int.Parse(result.Stdout.Trim(), System.Globalization.CultureInfo.InvariantCulture)).Kill();
    }

    [Fact]
    public async Task Run_EndlessOutput_IsCutAtTheCapAndDoesNotBlock()
    {
        var result = await CommandRunner.RunAsync(["head", "-c", "20000000", "/dev/zero"], Long, cancellationToken: Cancellation);

        Assert.Equal((0, 4 * 1024 * 1024), (result.ExitCode, result.Stdout.Length));
    }

    [Fact]
    public async Task Run_UnknownProgram_SaysSo()
    {
        var exception = await Assert.ThrowsAsync<LabException>(() => CommandRunner.RunAsync(["no-such-program"], Long, cancellationToken: Cancellation));

        Assert.Contains("`no-such-program` could not be started", exception.Message, StringComparison.Ordinal);
    }
}
