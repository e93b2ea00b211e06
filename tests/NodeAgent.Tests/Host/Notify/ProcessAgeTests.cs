using System.Diagnostics;
using AgentMetal.NodeAgent.Host.Notify;

namespace AgentMetal.NodeAgent.Tests.Host.Notify;

public sealed class ProcessAgeTests
{
    [Fact]
    public void StartOf_NameWithBracketsAndSpaces_IsTheMiddleOfTheTwentySecondFieldsTick() =>
        Assert.Equal(1_234_565_000_000, ProcessAge.StartOf("7 (a ) (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 123456 200000 300"));

    [Fact]
    public void StartOf_CutShort_IsRefused() => Assert.Throws<InvalidDataException>(() => ProcessAge.StartOf("7 (agentmetald) S 1 7"));

    [Fact]
    public void Of_AProcessThatBeganJustNow_AgreesWithAStopwatchWithinATick()
    {
        var watch = Stopwatch.StartNew();
        using var child = Process.Start(new ProcessStartInfo("sleep", "30"))!;
        try
        {
            var age = ProcessAge.Of($"/proc/{child.Id}/stat")();
            // Younger than the stopwatch, and no more than half a tick is invented.
            Assert.InRange(age, TimeSpan.FromMilliseconds(-6), watch.Elapsed + TimeSpan.FromMilliseconds(6));
        }
        finally
        {
            child.Kill();
        }
    }
}
