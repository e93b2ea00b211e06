using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;

namespace AgentMetal.Coordinator.Tests.Nodes;

/// <summary>An older copy of the store that is put back is told at the start, decides nothing, and goes on once an operator signed.</summary>
public sealed class PutBackTests
{
    [Fact]
    public async Task OlderCopy_IsToldDecidesNothingAndIsFollowedOnceSigned()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        var stream = await node.AttachAsync();
        await kit.ApplyAsync(Redis());
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        var copy = Path.Combine(Path.GetDirectoryName(kit.Data)!, "copy.db");
        await kit.RestartAsync(() => File.Copy(Path.Combine(kit.Data, "store.db"), copy));
        Assert.Equal("", (await kit.Operator.VersionAsync(new(), cancellationToken: Stop)).PutBack);
        stream = await node.AttachAsync();
        await kit.ApplyAsync(Redis("later", """{"port":7001}"""));
        await kit.UntilAsync("later", r => Is(r, "Ready", "True"));
        var seen = stream.Welcome!.Epochs[^1];
        await kit.RestartAsync(() => File.Copy(copy, Path.Combine(kit.Data, "store.db"), overwrite: true));

        var said = await kit.Operator.VersionAsync(new(), cancellationToken: Stop);
        Assert.Contains("an older copy was put back", said.PutBack, StringComparison.Ordinal);
        Assert.Contains((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "StorePutBack");
        var refused = await Assert.ThrowsAsync<RpcException>(() => kit.ApplyAsync(Redis("other", """{"port":7002}""")));
        Assert.Contains("agentmetal nodes accept-store", refused.Status.Detail, StringComparison.Ordinal);
        stream = await node.AttachAsync(h => (h.StoreId, h.Revision, h.Seen) = (said.StoreId, 999, new() { StoreId = said.StoreId, Epoch = seen.Id, Token = seen.Token, Revision = seen.From }));
        Assert.NotEqual("", stream.Welcome!.PutBack);
        Assert.DoesNotContain(stream.Welcome.Epochs, e => e.Id == seen.Id);
        await stream.UntilAsync(s => s.Messages.Any(m => m.Full));

        // A restart does not make it the right one.
        await kit.RestartAsync();
        said = await kit.Operator.VersionAsync(new(), cancellationToken: Stop);
        Assert.NotEqual("", said.PutBack);
        await Assert.ThrowsAsync<RpcException>(() => StrikeOffTests.StateAsync(kit, StatementPurpose.AcceptStore, new StoreAcceptance(said.StoreId, seen.Id, seen.From, [node.Uid]).Fields));
        Assert.True((await StrikeOffTests.StateAsync(kit, StatementPurpose.AcceptStore, new StoreAcceptance(said.StoreId, said.Epoch, said.EpochFrom, [node.Uid]).Fields)).Holds);
        Assert.Equal("", (await kit.Operator.VersionAsync(new(), cancellationToken: Stop)).PutBack);
        stream = await node.AttachAsync();
        Assert.Equal(("", "accept-store"), (stream.Welcome!.PutBack, stream.Messages.SelectMany(m => m.Statements).Single().Purpose));
        await kit.ApplyAsync(Redis("other", """{"port":7002}"""));
        await kit.UntilAsync("other", r => Is(r, "Ready", "True"));
        await kit.RestartAsync();
        Assert.Equal("", (await kit.Operator.VersionAsync(new(), cancellationToken: Stop)).PutBack);
    }

    [Fact]
    public async Task Orphan_IsNamedCountsForRoomKeepsItsNameAndIsAdoptedAsItRuns()
    {
        await using var kit = await StartAsync();
        var one = await kit.JoinAsync("edge-1");
        var two = await kit.JoinAsync("edge-2");
        await using var first = await one.AttachAsync();
        var a = new Assignment { Kind = "Redis", Project = "default", Name = "lost", ResourceUid = new string('e', 32), Ordinal = 0, Generation = 4, Spec = Redis(spec: """{"port":7007,"replicas":1}""").Spec, ReserveMemory = 1 << 20 };
        a.Key = $"{one.Uid}/Redis/{a.ResourceUid}/0";
        a.Peers.Add(new Peer { Ordinal = 0, NodeUid = one.Uid, NodeName = "edge-1", Address = "10.0.0.1", Port = 7007 });
        a.Peers.Add(new Peer { Ordinal = 1, NodeUid = two.Uid, NodeName = "edge-2", Address = "10.0.0.2", Port = 7007 });
        a.Secrets["password"] = Google.Protobuf.ByteString.CopyFromUtf8("known-only-there");
        var standing = new NodeMessage { Standing = new() };
        standing.Standing.Members.Add(new KnownMember { Assignment = a, Stand = "orphan", Summary = "primary", SinceUnixMs = 5 });
        standing.Events.Add(new Event { Reason = "Orphaned", ResourceKey = "Redis default/lost", AtUnixMs = 1 });
        await first.SendAsync(standing);
        await kit.SettledAsync(first);
        var node = (await kit.Operator.ListNodesAsync(new() { Name = "edge-1" }, cancellationToken: Stop)).Nodes.Single();
        Assert.Equal(("Redis default/lost", 0, 4L, "primary"), (node.Known[0].ResourceKey, node.Known[0].Ordinal, node.Known[0].Generation, node.Known[0].Summary));
        Assert.True(node.MemoryReserved >= 1 << 20);
        Assert.Contains((await kit.Operator.ListEventsAsync(new() { ResourceKey = "Redis default/lost" }, cancellationToken: Stop)).Events, e => e.Reason == "Orphaned");
        var second = await Assert.ThrowsAsync<RpcException>(() => kit.ApplyAsync(Redis("lost")));
        Assert.Contains("nodes orphans adopt redis lost", second.Status.Detail, StringComparison.Ordinal);

        var known = await kit.Operator.AdoptOrphanAsync(new() { Kind = "Redis", Name = "lost" }, cancellationToken: Stop);
        Assert.Equal((a.ResourceUid, 4L), (known.Metadata.Uid, known.Metadata.Generation));
        await first.UntilAsync(s => s.Assignments.Any(x => x.Key == a.Key));
        var told = first.Assignments.Single(x => x.Key == a.Key);
        Assert.Equal((4L, a.Spec, "known-only-there"), (told.Generation, told.Spec, told.Secrets["password"].ToStringUtf8()));
        // The member of the host that is away is not placed elsewhere.
        await using var other = await two.AttachAsync();
        await other.UntilAsync(s => s.Assignments.Any(x => x.ResourceUid == a.ResourceUid && x.Ordinal == 1));
    }
}
