using AgentMetal.Cli.Describe;
using AgentMetal.Cli.Output;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Xunit;

namespace AgentMetal.Cli.Tests.Apply;

public sealed class GoesOnTests
{
    private static Resource Of(string reason, string phase = "Converging", string next = "")
    {
        var r = Samples.Sessions(ready: "False");
        (r.Status.Conditions[0].Reason, r.Status.Conditions[0].NextCommand) = (reason, next);
        r.Status.Members[0].Phase = phase;
        return r;
    }

    [Theory]
    [InlineData("Converging", "Converging", "it goes on by itself")]
    [InlineData("Waiting", "Waiting", "it goes on by itself")]
    [InlineData("Stuck", "Stuck", "it does not go on by itself: it needs you")]
    [InlineData("Escalated", "Escalated", "it does not go on by itself: it needs you")]
    [InlineData("Waiting", "Stuck", "it does not go on by itself: it needs you")]
    [InlineData("NotPlaced", "Converged", "it does not go on by itself: it needs you")]
    [InlineData("AwaitingApproval", "AwaitingApproval", "it goes on when it is approved")]
    [InlineData("NodeAway", "Unseen", "it goes on when that host is back")]
    public void GoesOn_SaysByItselfOnlyOfWhatClearsByItself(string reason, string phase, string words) => Assert.Equal(words, Resources.GoesOn(Of(reason, phase)));

    [Fact]
    public void Describe_NextIsThisVeryCommand_NamesTheEventsInstead()
    {
        var paper = new Paper();
        new DescribeView(paper.Screen).Write(Of("Stuck", "Stuck", "agentmetal describe redis sessions"), [], []);
        Assert.DoesNotContain("agentmetal describe redis sessions", paper.Out, StringComparison.Ordinal);
        Assert.Contains("Next       agentmetal events --for redis/sessions", paper.Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Describe_MemberThatKeepsBeingKilled_SaysLastEndedAndUnsteady()
    {
        var paper = new Paper();
        var r = Samples.Sessions();
        r.Status.Conditions.Add(new Condition { Type = "Unsteady", Status = "True", Reason = "KilledByKernel", Message = "edge-1: ended 3 times in 10 min" });
        r.Status.Members[0].Details["last ended"] = "Nov 30 14:02:05 UTC killed by the kernel: memory limit 256 MiB reached";
        new DescribeView(paper.Screen).Write(r, [], []);
        Assert.Contains("Unsteady  True  edge-1: ended 3 times in 10 min", paper.Out, StringComparison.Ordinal);
        Assert.Contains("last ended  Nov 30 14:02:05 UTC killed by the kernel", paper.Out, StringComparison.Ordinal);
    }
}
