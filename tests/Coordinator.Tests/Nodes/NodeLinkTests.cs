using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;

namespace AgentMetal.Coordinator.Tests.Nodes;

public sealed class NodeLinkTests
{
    [Fact]
    public async Task Apply_OnAnAttachedHost_IsPushedAndBecomesReadyWhenReported()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1", ("site", "lab"));
        await using var stream = await node.AttachAsync(obedient: false);
        var created = (await kit.ApplyAsync(Redis(spec: """{"placement":{"labels":{"site":"lab"}}}"""))).Results.Single();
        Assert.Equal(("created", 1L), (created.Action, created.Resource.Metadata.Generation));

        await stream.UntilAsync(s => s.Assignments.Count == 1);
        var a = stream.Assignments[0];
        Assert.Equal($"{node.Uid}/Redis/{created.Resource.Metadata.Uid}/0", a.Key);
        Assert.Equal((1L, 0, 6379), (a.Generation, a.PrimaryOrdinal, a.Peers.Single().Port));
        Assert.Equal(43, a.Secrets["password"].Length);
        var before = await kit.UntilAsync("sessions", r => Is(r, "Placed", "True") && Is(r, "Ready", "False"));
        Assert.Contains("edge-1", Condition(before, "Ready").Message, StringComparison.Ordinal);
        Assert.NotEmpty(Condition(before, "Ready").NextCommand);

        await stream.ReportAsync(a, "Converging", message: "starts");
        await kit.UntilAsync("sessions", r => r is not null && Condition(r, "Ready").Message.Contains("starts", StringComparison.Ordinal));
        await stream.ReportAsync(a);
        var ready = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        Assert.True(Is(ready, "Serving", "True"));
        Assert.Equal(a.Peers[0].Address + ":6379", ready!.Status.Outputs["address"]);
    }

    [Fact]
    public async Task Scale_OutAndIn_PlacesTheNewAndReleasesTheHighestFirst()
    {
        await using var kit = await StartAsync();
        var streams = new List<FakeStream>();
        foreach (var name in new[] { "edge-1", "edge-2", "edge-3" }) streams.Add(await (await kit.JoinAsync(name)).AttachAsync());
        await kit.ApplyAsync(Redis());
        var one = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        await kit.ApplyAsync(Redis(spec: """{"replicas":2}"""));
        var three = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True") && r!.Metadata.Generation == 2 && r.Status.Members.Count == 3);
        Assert.Equal(3, three!.Status.Members.Select(m => m.NodeName).Distinct().Count());
        Assert.Equal(one!.Status.Members[0].NodeUid, three.Status.Members[0].NodeUid);

        await kit.ApplyAsync(Redis(spec: """{"replicas":1}"""));
        var two = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True") && r!.Metadata.Generation == 3 && r.Status.Members.Count == 2);
        Assert.Equal([0, 1], two!.Status.Members.Select(m => m.Ordinal));
        foreach (var stream in streams)
            await stream.UntilAsync(s => s.Assignments.All(a => a.Generation == 3 && a.Peers.Count == 2));
        foreach (var stream in streams) await stream.DisposeAsync();
    }

    [Fact]
    public async Task ScaleIn_WhenThePrimaryMoves_WaitsUntilTheNewOneServes()
    {
        await using var kit = await StartAsync();
        var one = await kit.JoinAsync("edge-1");
        var two = await kit.JoinAsync("edge-2");
        await using var first = await one.AttachAsync(obedient: false);
        await using var second = await two.AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis(spec: """{"replicas":1,"primary":1}"""));
        await first.UntilAsync(s => s.Assignments.Count == 1);
        await second.UntilAsync(s => s.Assignments.Count == 1);
        await first.ReportAsync(first.Assignments[0]);
        await second.ReportAsync(second.Assignments[0]);
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));

        await kit.ApplyAsync(Redis());
        var (kept, leaving) = first.Assignments[0].Ordinal == 0 ? (first, second) : (second, first);
        // The one that leaves is told who comes next, and stays.
        await leaving.UntilAsync(s => s.Assignments[0] is { Generation: 2, PrimaryOrdinal: 0 });
        await kept.UntilAsync(s => s.Assignments[0] is { Generation: 2 });
        await leaving.ReportAsync(leaving.Assignments[0]);
        await kit.SettledAsync(leaving);
        Assert.DoesNotContain(leaving.Messages.SelectMany(m => m.Assignments), a => a.Absent);
        await kept.ReportAsync(Of(kept));
        await leaving.UntilAsync(s => Of(s).Absent);
        Assert.False(Of(leaving).Teardown);
        await leaving.ReportAsync(Of(leaving), gone: true);
        await kit.UntilAsync("sessions", r => r!.Status.Members.Count == 1);
        await leaving.UntilAsync(s => s.Assignments.All(a => a.Name != "sessions"));

        static Assignment Of(FakeStream stream) => stream.Assignments.Single(a => a.Name == "sessions");
    }

    [Fact]
    public async Task Delete_GoesWhenEveryHostAcknowledged()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var stream = await node.AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        await stream.ReportAsync(stream.Assignments[0]);
        var deleted = await kit.Operator.DeleteAsync(new() { Kind = "redis", Name = "sessions" }, cancellationToken: Stop);
        Assert.Equal(2, deleted.Metadata.Generation);
        await stream.UntilAsync(s => s.Assignments[0] is { Absent: true, Teardown: true, Generation: 2 });
        // An acknowledgement of something older is not one of this.
        var old = stream.Assignments[0].Clone();
        old.Generation = 1;
        await stream.ReportAsync(old, gone: true);
        await kit.SettledAsync(stream);
        var mine = stream.Assignments.Single(a => a.Name == "sessions");
        var waiting = await kit.UntilAsync("sessions", r => Is(r, "Ready", "False") && Condition(r, "Ready").Reason == "Deleting");
        Assert.Contains("edge-1", Condition(waiting, "Ready").Message, StringComparison.Ordinal);
        await stream.ReportAsync(mine, gone: true);
        await kit.UntilAsync("sessions", r => r is null);
        await stream.UntilAsync(s => s.Assignments.All(a => a.Name != "sessions"));
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.GetAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop))).StatusCode);
    }

    [Fact]
    public async Task Hello_WithAnotherNodesUid_IsStillTheCertificatesNode()
    {
        await using var kit = await StartAsync();
        var victim = await kit.JoinAsync("edge-1");
        await using var honest = await victim.AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis());
        await honest.UntilAsync(s => s.Assignments.Count == 1);
        var thief = await kit.JoinAsync("edge-2");
        await using var stream = await thief.AttachAsync(h => h.NodeUid = victim.Uid, obedient: false);
        // It is served as who it is, gets nothing of the other, and what it says of the other's member is not heard.
        await stream.ReportAsync(honest.Assignments[0]);
        await stream.ReportAsync(new Assignment { Key = thief.Uid + "/Redis/x/0" });
        await kit.SettledAsync(stream);
        var unheard = await kit.Operator.GetAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop);
        Assert.Contains("has not reported", Condition(unheard, "Ready").Message, StringComparison.Ordinal);
        await honest.ReportAsync(honest.Assignments[0], "Stuck", message: "no space");
        var seen = await kit.UntilAsync("sessions", r => r is not null && Condition(r, "Ready").Message.Contains("no space", StringComparison.Ordinal));
        Assert.Equal("Stuck", Condition(seen, "Ready").Reason);
        Assert.DoesNotContain(stream.Messages.SelectMany(m => m.Assignments), a => a.Name == "sessions");
        var nodes = await kit.Operator.ListNodesAsync(new(), cancellationToken: Stop);
        Assert.Equal(["Attached", "Attached"], nodes.Nodes.Select(n => n.Liveness));
    }

    [Fact]
    public async Task Services_AskForTheirOwnRole()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        using var asNode = kit.OperatorChannel;
        var wrong = new NodeLink.NodeLinkClient(kit.OperatorChannel).Attach(cancellationToken: Stop);
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await wrong.ResponseStream.MoveNext(Stop))).StatusCode);
        var asOperator = new Operator.OperatorClient(node.Channel());
        Assert.Equal(StatusCode.PermissionDenied, (await Assert.ThrowsAsync<RpcException>(async () => await asOperator.VersionAsync(new(), cancellationToken: Stop))).StatusCode);
        var nobody = new Operator.OperatorClient(kit.Channel(null));
        Assert.Equal(StatusCode.Unauthenticated, (await Assert.ThrowsAsync<RpcException>(async () => await nobody.VersionAsync(new(), cancellationToken: Stop))).StatusCode);
    }

    [Fact]
    public async Task Attach_WithAnotherStoreId_GetsTheWholeList_WithItsRevisionOnlyWhatChanged()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        string store;
        long revision;
        await using (var stream = await node.AttachAsync())
        {
            await kit.ApplyAsync(Redis("a"));
            await kit.ApplyAsync(Redis("b", """{"port":6380}"""));
            await stream.UntilAsync(s => s.Assignments.Count == 2);
            (store, revision) = (stream.Welcome!.StoreId, stream.Revision);
        }
        await kit.UntilAsync("a", r => Is(r, "Ready", "False") && Condition(r, "Ready").Reason == "NodeAway");
        await kit.ApplyAsync(Redis("b", """{"port":6380,"timeout":9}"""));
        await kit.UntilAsync("b", r => r!.Metadata.Generation == 2 && !Is(r, "Placed", "False"));
        await using (var stream = await node.AttachAsync(h => (h.StoreId, h.Revision) = (store, revision)))
        {
            await stream.UntilAsync(s => s.Assignments.Any(a => a.Generation == 2));
            Assert.Equal("b", Assert.Single(stream.Assignments).Name);
            Assert.DoesNotContain(stream.Messages, m => m.Full);
        }
        await using var again = await node.AttachAsync(h => (h.StoreId, h.Revision) = ("another", 1));
        await again.UntilAsync(s => s.Assignments.Count == 2);
        Assert.Contains(again.Messages, m => m.Full);
    }

    [Fact]
    public async Task Restart_KeepsEverythingThatWasDeclared()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        string password;
        await using (var stream = await node.AttachAsync())
        {
            await kit.ApplyAsync(Redis());
            await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
            password = stream.Assignments[0].Secrets["password"].ToStringUtf8();
        }
        await kit.RestartAsync();
        var away = await kit.Operator.GetAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop);
        Assert.Contains("as last seen at", Condition(away, "Ready").Message, StringComparison.Ordinal);
        await using var back = await node.AttachAsync();
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        Assert.Equal(password, back.Assignments.Single().Secrets["password"].ToStringUtf8());
        Assert.Equal(password, (await kit.Operator.GetSecretsAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop)).Values["password"]);
        var events = await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop);
        Assert.Equal(2, events.Events.Count(e => e.Reason == "CoordinatorStarted"));
        var audit = await kit.Operator.ListAuditAsync(new(), cancellationToken: Stop);
        Assert.Null(Runtime.Audit.AuditChain.Verify(audit.Records.Select(AgentMetal.Coordinator.AuditLog.AuditWire.Read)));
        Assert.Contains(audit.Records, r => r.Kind == "SecretsRead");
        Assert.DoesNotContain(audit.Records, r => r.Body.Contains(password, StringComparison.Ordinal));
    }
}
