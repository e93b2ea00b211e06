using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;
using Approval = AgentMetal.Proto.V1.Approval;

namespace AgentMetal.Coordinator.Tests.Nodes;

public sealed class TrustTests
{
    private static readonly string Hash = new('a', 64);

    [Fact]
    public async Task Attach_TwoHostsWithOneKey_QuarantinesBoth()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var first = await node.AttachAsync(h => h.BootId = "boot-1");
        await using var second = node.Open(h => h.BootId = "boot-2");
        // The older one speaks although a newer boot has called: both live, so the key was copied. Said until the newer one's call has been seen.
        while (!first.Ended && first.Goodbye is null)
        {
            try { await first.SendAsync(new() { Heartbeat = new() }); }
            catch (Exception e) when (e is RpcException or InvalidOperationException) { break; }
            await Task.Yield();
        }
        await first.UntilAsync(s => s.Ended);
        await second.UntilAsync(s => s.Ended);
        Assert.Null(second.Welcome);
        await using var third = await node.AttachAsync(h => h.BootId = "boot-2");
        Assert.Contains("two hosts use the key of edge-1", third.Goodbye!.Reason, StringComparison.Ordinal);
        var listed = Assert.Single((await kit.Operator.ListNodesAsync(new(), cancellationToken: Stop)).Nodes);
        Assert.Equal("Quarantined", listed.Liveness);
        Assert.Contains((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e is { Reason: "NodeQuarantined", Type: "Warning" });
    }

    [Fact]
    public async Task Attach_AgainFromTheSameBoot_TheNewerWins()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var first = await node.AttachAsync();
        await using var second = await node.AttachAsync();
        await first.UntilAsync(s => s.Ended || s.Goodbye is not null);
        await kit.ApplyAsync(Redis());
        await second.UntilAsync(s => s.Assignments.Count == 1);
        Assert.DoesNotContain((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "NodeAway");
    }

    [Fact]
    public async Task Decide_IsForwardedOrKeptForTheNode()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        using var key = kit.OperatorKey;
        var good = Wire(SignedApproval.Sign(key, ApprovalDecision.Approve, [Hash], "uid", node.Uid, DateTimeOffset.UtcNow.AddHours(1), "because"));
        var bad = good.Clone();
        bad.Reason = "another";
        var stranger = Wire(SignedApproval.Sign(P256.Generate(), ApprovalDecision.Approve, [Hash], "uid", node.Uid, DateTimeOffset.UtcNow.AddHours(1), ""));
        var request = new DecideRequest();
        request.Approvals.AddRange([good, bad, stranger]);
        var results = (await kit.Operator.DecideAsync(request, cancellationToken: Stop)).Results;
        Assert.Equal((false, false, "will be delivered when edge-1 is back; the host judges it then, and an event tells if it does not count"), (results[0].Delivered, results[0].Refused, results[0].Message));
        Assert.All(results.Skip(1), r => Assert.True(r.Refused && r.Message.StartsWith("refused: ", StringComparison.Ordinal), r.Message));

        await kit.RestartAsync();
        await using var stream = await node.AttachAsync();
        await stream.UntilAsync(s => s.Approvals.Count == 1);
        Assert.Equal(good, stream.Approvals[0]);
        var denied = new DecideRequest();
        denied.Approvals.Add(Wire(SignedApproval.Sign(key, ApprovalDecision.Deny, [Hash], "uid", node.Uid, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), DateTimeOffset.UtcNow.AddHours(1), "no")));
        Assert.True((await kit.Operator.DecideAsync(denied, cancellationToken: Stop)).Results[0].Delivered);
        await stream.UntilAsync(s => s.Approvals.Count == 2);
    }

    /// <summary>What the host refuses is told at once, and never sent again.</summary>
    [Fact]
    public async Task Decide_RefusedByTheHost_IsToldAndForgotten()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        using var key = kit.OperatorKey;
        await using (var stream = await node.AttachAsync(h => h.ApprovalVersion = 2))
        {
            var (yes, no) = (Decision(ApprovalDecision.Approve, 0), Decision(ApprovalDecision.Approve, 1));
            stream.Decides = a => a.Equals(no) ? "it has been running since 12:00:00 UTC" : "";
            var results = (await kit.Operator.DecideAsync(new() { Approvals = { yes, no } }, cancellationToken: Stop)).Results;
            Assert.Equal((true, false), (results[0].Delivered, results[0].Refused));
            Assert.Equal((false, true, "refused: it has been running since 12:00:00 UTC"), (results[1].Delivered, results[1].Refused, results[1].Message));
        }
        await using var again = await node.AttachAsync(h => h.ApprovalVersion = 2);
        await again.UntilAsync(s => s.Approvals.Count > 0);
        Assert.Single(again.Approvals);

        Approval Decision(ApprovalDecision decision, int place) =>
            Wire(SignedApproval.Sign(key, decision, [Hash], "uid", node.Uid, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() + place, DateTimeOffset.UtcNow.AddHours(1), ""));
    }

    /// <summary>Of a host that is away the coordinator judges by what it carries: a void approval must not lie in wait.</summary>
    [Fact]
    public async Task Decide_ApproveWhileADenialWaitsForTheHost_IsTakenBackByItsGiverOnly()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        using var key = kit.OperatorKey;
        Assert.False(await RefusedAsync(ApprovalDecision.Deny, 5));
        Assert.True(await RefusedAsync(ApprovalDecision.Approve, 4));
        Assert.False(await RefusedAsync(ApprovalDecision.Approve, 6));
        Assert.False(await RefusedAsync(ApprovalDecision.Deny, 7));

        async Task<bool> RefusedAsync(ApprovalDecision decision, int place) => (await kit.Operator.DecideAsync(new()
        {
            Approvals = { Wire(SignedApproval.Sign(key, decision, [Hash], "uid", node.Uid, 1_000_000_000_000 + place, DateTimeOffset.UtcNow.AddHours(1), "")) },
        }, cancellationToken: Stop)).Results[0].Refused;
    }

    /// <summary>A deletion is taken back while nothing was destroyed, and hosts whose word is missing are not guessed at.</summary>
    [Fact]
    public async Task Undelete_BeforeAnythingWasDestroyed_TellsHostsThatItStays()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var stream = await node.AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        var a = stream.Assignments[0];
        await stream.ReportAsync(a);
        var name = new DeleteRequest { Kind = "redis", Name = "sessions" };
        await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.UndeleteAsync(name, cancellationToken: Stop));
        await kit.Operator.DeleteAsync(name, cancellationToken: Stop);
        await stream.UntilAsync(s => s.Assignments.Any(x => x.Absent));
        var going = stream.Assignments[0];
        var early = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.UndeleteAsync(name, cancellationToken: Stop));
        Assert.Contains("edge-1 has not said yet whether it has begun", early.Status.Detail, StringComparison.Ordinal);

        var report = new MemberReport { Assignment = going.Key, Generation = going.Generation, Status = new() { Phase = "AwaitingApproval" }, Destroyed = "delete the data" };
        report.Status.Conditions.Add(new Condition { Type = "Serving", Status = "True", Message = "primary" });
        await stream.SendAsync(new() { Reports = { report } });
        await kit.UntilAsync("sessions", r => Is(r, "Serving", "True"));
        var late = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.UndeleteAsync(name, cancellationToken: Stop));
        Assert.Contains("already begun to delete the data", late.Status.Detail, StringComparison.Ordinal);

        report.Destroyed = "";
        report.Status.Conditions[0].Status = "False";
        await stream.SendAsync(new() { Reports = { report } });
        await kit.UntilAsync("sessions", r => Is(r, "Serving", "False"));
        var kept = await kit.Operator.UndeleteAsync(name, cancellationToken: Stop);
        Assert.Equal((0, going.Generation + 1), (kept.Metadata.DeletedUnixMs, kept.Metadata.Generation));
        await stream.UntilAsync(s => s.Assignments.Any(x => !x.Absent && x.Generation == kept.Metadata.Generation));
    }

    /// <summary>A member that is gone is in no list any more: that it was there is not forgotten, by a coordinator that starts anew neither.</summary>
    [Fact]
    public async Task Undelete_OnceOneMemberIsGone_IsRefusedAlsoAfterARestart()
    {
        await using var kit = await StartAsync();
        var (one, two) = (await kit.JoinAsync("edge-1"), await kit.JoinAsync("edge-2"));
        await using (var first = await one.AttachAsync())
        await using (var second = await two.AttachAsync(obedient: false))
        {
            await kit.ApplyAsync(Redis(spec: """{"replicas":1}"""));
            await second.UntilAsync(s => s.Assignments.Count == 1);
            await second.ReportAsync(second.Assignments[0]);
            await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
            await kit.Operator.DeleteAsync(new() { Kind = "redis", Name = "sessions" }, cancellationToken: Stop);
            await second.UntilAsync(s => s.Assignments.Any(x => x.Absent));
            await second.ReportAsync(second.Assignments[0], "AwaitingApproval");
            await kit.UntilAsync("sessions", r => r!.Status.Members.Count == 1);
            await RefusedAsync();
        }
        await kit.RestartAsync();
        await using var again = await two.AttachAsync(obedient: false);
        await again.UntilAsync(s => s.Assignments.Any(x => x.Absent));
        await again.ReportAsync(again.Assignments[0], "AwaitingApproval");
        await kit.SettledAsync(again);
        await RefusedAsync();

        async Task RefusedAsync()
        {
            var late = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.UndeleteAsync(new() { Kind = "redis", Name = "sessions" }, cancellationToken: Stop));
            Assert.Matches("member [01] is gone from edge-1, and its data with it", late.Status.Detail);
        }
    }

    [Fact]
    public async Task HeldPlan_IsListedAsTheNodeSignedIt_AndOneOfOthersIsRefused()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var stream = await node.AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        var a = stream.Assignments[0];
        var plan = new HeldPlan { Assignment = a.Key, NodeSignature = ByteString.CopyFromUtf8("signed"), ExpiresUnixMs = DateTimeOffset.UtcNow.AddHours(1).ToUnixTimeMilliseconds(), Plan = new() { Hash = new string('b', 64), NodeName = "edge-1" } };
        plan.Plan.Steps.Add(new Step { NodeUid = "another", ResourceUid = a.ResourceUid, Text = "remove data" });
        await Send(stream, plan);
        plan.Plan.Steps[0].NodeUid = node.Uid;
        await Send(stream, plan);
        await stream.ReportAsync(a, "AwaitingApproval", message: "waits");
        var waiting = await kit.UntilAsync("sessions", r => Is(r, "Approved", "False"));
        Assert.Equal("agentmetal approve " + HeldId.Of(plan.Plan.Steps.Select(x => (x.Hash, x.Risk))), Condition(waiting, "Approved").NextCommand);
        var held = Assert.Single((await kit.Operator.ListHeldAsync(new(), cancellationToken: Stop)).Held);
        Assert.Equal((HeldId.Of(plan.Plan.Steps.Select(x => (x.Hash, x.Risk))), "Redis default/sessions", plan.Plan), (held.Id, held.ResourceKey, held.Plan));
        Assert.Equal(node.Certificate.RawData, held.NodeCertificate.ToByteArray());
        Assert.Single((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "HeldPlanRefused");
        plan.Plan.Steps.Clear();
        await Send(stream, plan);
        await kit.UntilAsync("sessions", r => !Is(r, "Approved", "False"));
        Assert.Empty((await kit.Operator.ListHeldAsync(new(), cancellationToken: Stop)).Held);

        static Task Send(FakeStream stream, HeldPlan plan)
        {
            var message = new NodeMessage();
            message.Held.Add(plan.Clone());
            return stream.SendAsync(message);
        }
    }

    [Fact]
    public async Task Turn_HasOneHolder_AlsoAfterARestart()
    {
        await using var kit = await StartAsync();
        var (one, two) = (await kit.JoinAsync("edge-1"), await kit.JoinAsync("edge-2"));
        await using (var stream = await one.AttachAsync())
        {
            await Ask(stream, "t1");
            await stream.UntilAsync(s => s.Turns.ContainsKey("t1"));
            Assert.True(stream.Turns["t1"] is { Granted: true, HoldMs: 60_000 });
        }
        await kit.RestartAsync();
        await using var other = await two.AttachAsync();
        await Ask(other, "t2");
        await other.UntilAsync(s => s.Turns.ContainsKey("t2"));
        Assert.True(other.Turns["t2"] is { Granted: false, Holder: "edge-1" });
        await using var back = await one.AttachAsync();
        await Release(other);
        await Ask(back, "t3");
        await back.UntilAsync(s => s.Turns.ContainsKey("t3"));
        Assert.True(back.Turns["t3"].Granted);
        Assert.True(back.Turns["t3"].Term > 1);
        await Release(back);
        // What two streams send has no order between them: the release may arrive after the first of these.
        var asked = 0;
        do
        {
            Assert.InRange(++asked, 1, 100);
            var id = "after" + asked;
            await Ask(other, id);
            await other.UntilAsync(s => s.Turns.ContainsKey(id));
        } while (!other.Turns["after" + asked].Granted);

        static Task Ask(FakeStream stream, string id)
        {
            var message = new NodeMessage();
            message.Turns.Add(new TurnRequest { Id = id, Key = "redis/uid/disruption", HoldMs = 60_000 });
            return stream.SendAsync(message);
        }

        static Task Release(FakeStream stream)
        {
            var message = new NodeMessage();
            message.ReleasedTurns.Add("redis/uid/disruption");
            return stream.SendAsync(message);
        }
    }

    private static Approval Wire(SignedApproval a) => WireMaps.TrustWire.Write(a);
}
