using AgentMetal.Runtime.Trust;
using Grpc.Core;
using AgentMetal.Coordinator.AuditLog;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Runtime.Audit;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Tests.AuditLog;

public sealed class AuditTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("agentmetal-audit-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task Audit_OfANode_IsKeptAcknowledgedAndListed()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        var records = Chain(node.Uid, 5);
        await using (var stream = await node.AttachAsync())
        {
            await stream.AuditAsync([.. records[..3]]);
            await stream.UntilAsync(s => s.Acked == 3);
        }
        await kit.RestartAsync();
        await using var back = await node.AttachAsync(h => h.AuditSeq = 5);
        Assert.Equal(3, back.Welcome!.AuditAcked);
        await back.AuditAsync([.. records[2..]]);
        await back.UntilAsync(s => s.Acked == 5);
        var listed = await kit.Operator.ListAuditAsync(new() { Chain = "edge-1", AfterSeq = 1 }, cancellationToken: Stop);
        Assert.Equal([2, 3, 4, 5], listed.Records.Select(r => r.Seq));
        Assert.Contains(node.Uid, listed.Chains);
    }

    [Fact]
    public async Task Audit_ThatWasRewritten_IsQuarantinedAndSaidOnce()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using var stream = await node.AttachAsync();
        await stream.AuditAsync([.. Chain(node.Uid, 2)]);
        await stream.UntilAsync(s => s.Acked == 2);
        var forged = Chain(node.Uid, 4, "other");
        await stream.AuditAsync([.. forged[2..]]);
        await stream.AuditAsync([.. Chain(node.Uid, 3)[2..]]);
        await kit.ApplyAsync(Redis());
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        Assert.Equal(2, stream.Acked);
        Assert.Single((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "AuditChainBroken");
        var broken = Assert.Single((await kit.Operator.ListNodesAsync(new(), cancellationToken: Stop)).Nodes).Conditions.Single(c => c.Type == "AuditWhole");
        Assert.Equal("False", broken.Status);
        Assert.Contains("does not continue record 2", broken.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Audit_OfWhichTheCoordinatorLostWhatItAcknowledged_IsAGapOfItsOwnAndGoesOn()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        var records = Chain(node.Uid, 9);
        await using (var stream = await node.AttachAsync())
        {
            await stream.AuditAsync([.. records[..2]]);
            await stream.UntilAsync(s => s.Acked == 2);
        }
        await using var back = await node.AttachAsync(h => (h.AuditSeq, h.AuditAcked) = (8, 5));
        await back.AuditAsync([.. records[5..8]]);
        await back.UntilAsync(s => s.Acked == 8);
        await kit.RestartAsync();
        await using var again = await node.AttachAsync(h => (h.AuditSeq, h.AuditAcked) = (9, 8));
        await again.AuditAsync([.. records[8..]]);
        await again.UntilAsync(s => s.Acked == 9);
        var events = (await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events;
        Assert.DoesNotContain(events, e => e.Reason == "AuditChainBroken");
        Assert.Contains("records 3 to 5", Assert.Single(events, e => e.Reason == "AuditGap").Message, StringComparison.Ordinal);
        var whole = Assert.Single((await kit.Operator.ListNodesAsync(new(), cancellationToken: Stop)).Nodes).Conditions.Single(c => c.Type == "AuditWhole");
        Assert.Equal(("False", "CoordinatorWentBack", "agentmetal audit accept-gap edge-1"), (whole.Status, whole.Reason, whole.NextCommand));

        // Only people can say that they know of it, of just this gap, and that outlives the coordinator.
        var wrong = await Assert.ThrowsAsync<RpcException>(() => Nodes.StrikeOffTests.StateAsync(kit, StatementPurpose.AcceptGap, new AcceptedGap(node.Uid, 3, 6).Fields));
        Assert.Contains("records 3 to 6 of edge-1 are no gap here", wrong.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(["alice"], (await Nodes.StrikeOffTests.StateAsync(kit, StatementPurpose.AcceptGap, new AcceptedGap(node.Uid, 3, 5).Fields)).By);
        await KnownAsync();
        await kit.RestartAsync();
        await KnownAsync();
        Assert.Contains((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "AuditGapAccepted");
        await using var later = await node.AttachAsync(h => (h.AuditSeq, h.AuditAcked) = (9, 9));
        Assert.DoesNotContain(later.Messages.SelectMany(m => m.Statements), s => s.Purpose == StatementPurpose.AcceptGap);

        async Task KnownAsync()
        {
            var known = Assert.Single((await kit.Operator.ListNodesAsync(new(), cancellationToken: Stop)).Nodes).Conditions.Single(c => c.Type == "AuditWhole");
            Assert.Equal(("True", "GapAccepted"), (known.Status, known.Reason));
            Assert.Contains("records 3 to 5 are missing here, which alice signed to know", known.Message, StringComparison.Ordinal);
            var gap = Assert.Single((await kit.Operator.ListAuditAsync(new() { Chain = node.Uid }, cancellationToken: Stop)).Gaps);
            Assert.Equal((3, 5, "accept-gap"), (gap.From, gap.To, gap.Accepted.Single().Purpose));
        }
    }

    [Theory]
    [InlineData(3, "records are missing")]
    [InlineData(0, null)]
    public void Append_WithAGap_IsRefused(int skip, string? problem)
    {
        var segments = new AuditSegments(_folder);
        var records = Chain("n1", 6);
        var receipt = segments.Append("n1", Wire(records[skip..]));
        if (problem is null) Assert.Equal((6L, (string?)null), (receipt.Acked, receipt.Problem));
        else Assert.Contains(problem, receipt.Problem, StringComparison.Ordinal);
        // The verdict outlives the process.
        Assert.Equal(receipt.Problem, new AuditSegments(_folder).Append("n1", Wire(records)).Problem);
    }

    [Fact]
    public void Append_AfterACrashInTheMiddleOfALine_GoesOn()
    {
        var records = Chain("n1", 4);
        new AuditSegments(_folder).Append("n1", Wire(records[..2]));
        var file = Directory.GetFiles(Path.Combine(_folder, "n1"), "*.jsonl").Single();
        File.AppendAllText(file, "{\"chain\":\"n1\",\"se");
        var again = new AuditSegments(_folder);
        Assert.Equal(2, again.Head("n1").Acked);
        Assert.Equal(4, again.Append("n1", Wire(records)).Acked);
        Assert.Equal(4, new AuditSegments(_folder).Read("n1", 0, 100, "").Count());
    }

    [Fact]
    public void Append_AcrossFiles_IsReadInOrder()
    {
        var segments = new AuditSegments(_folder);
        var records = Chain("n1", AuditSegments.RecordsPerFile + 5);
        segments.Append("n1", Wire(records));
        Assert.Equal(2, Directory.GetFiles(Path.Combine(_folder, "n1"), "*.jsonl").Length);
        Assert.Equal(records.Count, new AuditSegments(_folder).Head("n1").Acked);
        Assert.Equal([AuditSegments.RecordsPerFile, AuditSegments.RecordsPerFile + 1], segments.Read("n1", AuditSegments.RecordsPerFile - 1, 2, "").Select(r => (int)r.Seq));
    }

    [Fact]
    public void Shrunk_LogOnTheHost_IsNoticed() => Assert.Multiple(() =>
    {
        var segments = new AuditSegments(_folder);
        segments.Append("n1", Wire(Chain("n1", 4)));
        Assert.Null(segments.Shrunk("n1", 4).Problem);
        Assert.True(segments.Shrunk("n1", 2) is { New: true, Problem: not null });
        Assert.False(segments.Shrunk("n1", 2).New);
    });

    private static List<AuditRecord> Chain(string chain, int count, string body = "{}")
    {
        var records = new List<AuditRecord>();
        for (var i = 0; i < count; i++)
            records.Add(AuditChain.Next(chain, i, i == 0 ? AuditChain.Genesis : records[^1].Hash, DateTimeOffset.FromUnixTimeSeconds(1_700_000_000 + i), "StepDone", "Redis default/sessions", body));
        return records;
    }

    private static List<V1.AuditRecord> Wire(IEnumerable<AuditRecord> records) => [.. records.Select(AuditWire.Write)];
}
