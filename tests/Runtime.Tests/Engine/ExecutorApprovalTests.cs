using AgentMetal.Runtime.Execution;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Risk;
using AgentMetal.Runtime.Trust;
using AgentMetal.TestKit;
using Xunit;

namespace AgentMetal.Runtime.Tests.Engine;

public sealed class ExecutorApprovalTests
{
    private static readonly Panel s_off = Panel.Of(("a", "off"), ("wire", "whole"));
    private static readonly Panel s_goal = Panel.Of(("a", "on"));

    [Fact]
    public void Run_NobodySigned_NeedsApprovalAndTouchesNothing()
    {
        var (rig, step) = Rig();
        var result = rig.Execute(s_goal, [step]);
        Assert.Equal((Ended.NeedsApproval, "nobody has signed it yet"), (result.Ended, result.Detail));
        Assert.Equal((0, 1), (rig.World.Begun, rig.Memory.Writes));
    }

    [Fact]
    public void Run_Signed_ConsumesTheApprovalInTheCommitOfTheIntent()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        Assert.Equal(Ended.Done, rig.Execute(s_goal, [step]).Ended);
        var commit = rig.Port.Trace.OfType<Commit>().First(c => c.Journal.Any(j => j.Entry == Entry.Intent));
        Assert.Equal(step.Hash, commit.Consume);
        Assert.Contains(step.Hash, rig.Memory.Consumed);
        Assert.Contains("\"approvedBy\":\"alice\"", rig.Memory.Audit[0].Body, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_SameApprovalAgain_IsRefused()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        rig.Execute(s_goal, [step]);
        rig.Memory.Write("toy", new Commit { Close = rig.Open!.Run.RunId });
        rig.World.State = s_off;
        Assert.Equal(Ended.NeedsApproval, rig.Execute(s_goal, [step]).Ended);
        Assert.Equal(1, rig.World.Begun);
    }

    [Fact]
    public void Run_ApprovalUsedByAnotherMeanwhile_IsRefusedByTheTransaction()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        rig.Port.Before = e => { if (e is Commit { Consume: { } hash }) rig.Memory.Write("thief", new Commit { Consume = hash, ConsumeOf = 1 }); };
        var result = rig.Execute(s_goal, [step]);
        Assert.Equal((Ended.NeedsApproval, "the approval was already used, or another decision came meanwhile", 0), (result.Ended, result.Detail, rig.World.Begun));
        Assert.Empty(rig.Open!.Entries);
    }

    [Fact]
    public void Run_DeniedBetweenLookAndIntent_DoesNotBegin()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        rig.Port.Before = e => { if (e is Commit { Consume: not null }) rig.Sign([step], ApprovalDecision.Deny); };
        Assert.Equal((Ended.NeedsApproval, 0), (rig.Execute(s_goal, [step]).Ended, rig.World.Begun));
        Assert.Empty(rig.Memory.Consumed);
    }

    /// <summary>Where nobody can be asked for a turn, what a person signed for this member goes; what nobody signed, or signed for another group, waits.</summary>
    [Fact]
    public void Run_TurnOfASignedPlan_SaysSo()
    {
        var (rig, step) = Rig();
        var turned = step with { Turns = ["lock"] };
        rig.Sign([turned]);
        rig.Execute(s_goal, [turned]);
        Assert.True(rig.Port.Trace.OfType<TakeTurn>().First().Signed);
        var (other, unsigned) = Rig();
        other.Execute(s_goal, [unsigned with { Turns = ["lock"] }]);
        Assert.False(other.Port.Trace.OfType<TakeTurn>().First().Signed);
    }

    [Fact]
    public void Run_BasisMovedAfterTheSignature_VoidsItUnused()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        rig.World.State = s_off.With("wire", "cut");
        var result = rig.Execute(s_goal, [step]);
        Assert.Equal((Ended.Moved, "wire is cut, not whole", 0), (result.Ended, result.Detail, rig.World.Begun));
        Assert.Empty(rig.Memory.Consumed);
    }

    [Fact]
    public void Run_UnrelatedDriftAfterTheSignature_KeepsIt()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        rig.World.State = s_off.With("elsewhere", "new");
        Assert.Equal(Ended.Done, rig.Execute(s_goal, [step]).Ended);
    }

    [Fact]
    public void Run_StepEditedAfterTheSignature_NeedsApproval()
    {
        var (rig, step) = Rig();
        rig.Sign([step]);
        // The thief keeps the signed hash and changes what is done: the verifier hashes what it is about to run.
        var result = rig.Execute(s_goal, [step with { Args = """{"Switch":"a","To":"boom"}""", Expect = [new("a", "boom")] }]);
        Assert.Equal((Ended.NeedsApproval, 0), (result.Ended, rig.World.Begun));
    }

    [Theory]
    [InlineData("stranger")]
    [InlineData("expired")]
    [InlineData("denied")]
    [InlineData("other node")]
    [InlineData("other resource")]
    public void Run_ApprovalThatDoesNotHold_IsRefused(string fault)
    {
        var (rig, step) = Rig();
        using var stranger = new Approver("alice", Rig<Panel, Panel>.Began.AddYears(1));
        var (alice, subject, expires) = (Rig<Panel, Panel>.Approver, PlanChecks.Subject, rig.Clock.GetUtcNow().AddHours(1));
        rig.Memory.Take(fault switch
        {
            "stranger" => stranger.Sign(subject, [step], expires),
            "expired" => alice.Sign(subject, [step], rig.Clock.GetUtcNow()),
            "denied" => alice.Sign(subject, [step], expires, ApprovalDecision.Deny),
            "other node" => alice.Sign(subject with { NodeUid = new string('2', 32) }, [step], expires),
            _ => alice.Sign(subject with { ResourceUid = "r-2" }, [step], expires),
        });
        Assert.Equal((Ended.NeedsApproval, 0), (rig.Execute(s_goal, [step]).Ended, rig.World.Begun));
        Assert.Empty(rig.Memory.Consumed);
    }

    [Fact]
    public void Run_KilledAtEveryEffect_ConsumesOnceAndActsOnce()
    {
        var (clean, first) = Rig();
        clean.Sign([first]);
        clean.Execute(s_goal, [first]);
        for (var at = 1; at <= clean.Port.Trace.Count; at++)
            foreach (var afterwards in new[] { false, true })
            {
                var (rig, step) = Rig();
                rig.Sign([step]);
                (rig.Port.DieAt, rig.Port.DieAfterwards) = (at, afterwards);
                Assert.Throws<DiedException>(() => rig.Execute(s_goal, [step]));
                Assert.Equal(Ended.Done, rig.Execute(s_goal, [step]).Ended);
                Assert.Equal(1, Assert.Single(rig.World.Completed).Value);
            }
    }

    private static (Rig<Panel, Panel> Rig, Step Step) Rig()
    {
        var rig = new Rig<Panel, Panel>(s_off, w => new PanelAgent(new FlipTool { World = w, Reads = _ => ["wire"], Risk = (_, _) => Assessment.Dangerous("boom") }));
        return (rig, Hashes.Bind(PlanChecks.Subject, Assert.Single(rig.Plan(s_goal).Steps), "nonce"));
    }
}
