using AgentMetal.Cli.Describe;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Xunit;

namespace AgentMetal.Cli.Tests.Describe;

public sealed class DescribeViewTests
{
    [Fact]
    public void Write_NotReady_SaysSinceWhyAndNext()
    {
        var paper = new Paper();
        new DescribeView(paper.Screen).Write(Samples.Sessions(ready: "False"), [], [new Event { Seq = 4, AtUnixMs = FixedClock.Ms("14:02:11"), NodeName = "edge-2", Type = "Warning", Reason = "NodeAway", Message = "no heartbeat for 15 s" }]);
        Assert.Equal(
            """
            Redis default/sessions   generation 3   uid 0198c1d2
            Ready    False  since 14:02:11 (3 min)   edge-2 cannot be reached; last seen 14:02:09; looked at again in 30 s
            Serving  True   primary edge-1, replica edge-3 (lag 0)
            Next       agentmetal nodes describe edge-2

            #  ON      PHASE      ADDRESS         IS              REPORTED
            0  edge-1  Converged  10.0.0.11:6379  primary         10 s
            1  edge-3  Converged  10.0.0.13:6379  replica, lag 0  10 s

            Spec
              memory:
                max: "256Mi"
              replicas: 1

            Events
              14:02:11  edge-2  ! NodeAway  no heartbeat for 15 s

            """, paper.Out);
    }

    [Fact]
    public void Write_NothingReportedYet_SaysSo()
    {
        var paper = new Paper();
        var resource = Samples.Sessions();
        resource.Status = null;
        new DescribeView(paper.Screen).Write(resource, [], []);
        Assert.Contains("Unknown  no host has reported yet", paper.Out, StringComparison.Ordinal);
    }

    [Fact]
    public void Write_OldGenerationReported_SaysTheNewOneIsOnItsWay()
    {
        var paper = new Paper();
        new DescribeView(paper.Screen).Write(Samples.Sessions(generation: 4), [], []);
        Assert.Contains("the hosts speak of generation 3; generation 4 is on its way", paper.Out, StringComparison.Ordinal);
    }
}
