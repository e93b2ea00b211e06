using System.Security.Cryptography;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;

namespace AgentMetal.Coordinator.Tests.Nodes;

/// <summary>A host that is gone is struck off by a signature: its members are made anew, a deletion does not wait for it, and its name is free.</summary>
public sealed class StrikeOffTests
{
    [Fact]
    public async Task StruckOffHost_ItsMembersAreMadeAnewDeletionsGoThroughAndItsNameIsFree()
    {
        await using var kit = await StartAsync();
        var gone = await kit.JoinAsync("edge-1", ("site", "one"));
        var lost = await gone.AttachAsync();
        var two = await (await kit.JoinAsync("edge-2")).AttachAsync();
        await kit.ApplyAsync(Redis(spec: """{"replicas":1}"""), Redis("doomed", """{"port":7001,"placement":{"labels":{"site":"one"}}}"""));
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        var doomed = await kit.UntilAsync("doomed", r => Is(r, "Ready", "True"));
        var early = await Assert.ThrowsAsync<RpcException>(() => StrikeAsync(kit, gone));
        Assert.Contains("is attached", early.Status.Detail, StringComparison.Ordinal);
        await lost.DisposeAsync();
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "False"));
        await kit.Operator.DeleteAsync(new() { Kind = "Redis", Name = "doomed" }, cancellationToken: Stop);
        var three = await (await kit.JoinAsync("edge-3")).AttachAsync();

        // One that names too little is refused: what it does not name would go unsigned.
        var partly = await Assert.ThrowsAsync<RpcException>(() => StrikeAsync(kit, gone, leaveOut: doomed!.Metadata.Uid));
        Assert.Contains("does not name Redis default/doomed #0", partly.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(["alice"], (await StrikeAsync(kit, gone)).By);
        var ready = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True") && r!.Status.Members.Count == 2 && r.Status.Members.All(m => m.NodeUid != gone.Uid));
        Assert.Equal(["edge-2", "edge-3"], ready!.Status.Members.Select(m => m.NodeName).Order());
        Assert.Null(await kit.UntilAsync("doomed", r => r is null));
        foreach (var stream in (FakeStream[])[two, three])
            await stream.UntilAsync(s => s.Messages.SelectMany(m => m.Statements).Any(t => t.Purpose == "strike-off" && t.Fields[0] == gone.Uid));

        await using var back = gone.Open();
        await back.UntilAsync(s => s.Error is not null || s.Goodbye is not null);
        Assert.Contains("edge-1 was struck off by alice", back.ErrorText + back.Goodbye?.Reason, StringComparison.Ordinal);
        // Beside the refusal are the signatures: the host need not take the coordinator's word, by whichever of the two calls it hears it.
        Assert.Equal(gone.Uid, OfFarewell(back.Trailers).Fields[0]);
        var renew = await Assert.ThrowsAsync<RpcException>(async () => await new Enrollment.EnrollmentClient(gone.Channel())
            .RenewAsync(new() { Csr = ByteString.CopyFrom(SigningRequest.Create(P256.Generate(), "edge-1")) }, cancellationToken: Stop));
        Assert.Equal(gone.Uid, OfFarewell(renew.Trailers).Fields[0]);
        Assert.Single((await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events, e => e.Reason == "StruckOffHostCalls");
        var again = await kit.JoinAsync("edge-1", ("site", "one"));
        Assert.NotEqual(gone.Uid, again.Uid);
        await using var anew = await again.AttachAsync();
        Assert.Equal(again.Uid, (await kit.Operator.ListNodesAsync(new() { Name = "edge-1" }, cancellationToken: Stop)).Nodes.Single().Uid);
        // A host that comes later is told too.
        await anew.UntilAsync(s => s.Messages.SelectMany(m => m.Statements).Any(t => t.Fields[0] == gone.Uid));
        await two.DisposeAsync();
        await three.DisposeAsync();
    }

    /// <summary>The declared primary went with its host, and there is no room for another: the replica that leads by signature serves.</summary>
    [Fact]
    public async Task StruckOffPrimary_WithNoRoomForAnother_TheMemberThatLeadsIsServing()
    {
        await using var kit = await StartAsync();
        List<FakeNode> nodes = [await kit.JoinAsync("edge-1"), await kit.JoinAsync("edge-2")];
        List<FakeStream> streams = [await nodes[0].AttachAsync(), await nodes[1].AttachAsync()];
        await kit.ApplyAsync(Redis(spec: """{"replicas":1}"""));
        var ready = await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        var gone = nodes.FindIndex(n => n.Uid == ready!.Status.Members.Single(m => m.Ordinal == 0).NodeUid);
        await streams[gone].DisposeAsync();
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "False"));
        await StrikeAsync(kit, nodes[gone]);
        var left = streams[1 - gone];
        await kit.UntilAsync("sessions", r => r!.Status.Conditions.Any(c => c is { Type: "Serving", Reason: "NoPrimary" }));
        using var told = CancellationTokenSource.CreateLinkedTokenSource(Stop);
        var telling = TellAsync(left, told.Token);
        await kit.UntilAsync("sessions", r => Is(r, "Serving", "True"));
        await told.CancelAsync();
        await telling;
        await left.DisposeAsync();
    }

    /// <summary>
    /// The member that is left leads, said again and again: what the stream answers by itself to a later assignment says nothing of it.
    /// </summary>
    private static async Task TellAsync(FakeStream left, CancellationToken told)
    {
        while (!told.IsCancellationRequested)
        {
            var assignment = left.Assignments[0];
            var report = new MemberReport { Assignment = assignment.Key, Generation = assignment.Generation };
            report.Status = new() { Phase = "Waiting", Ordinal = 1 };
            report.Status.Conditions.Add(new Condition { Type = "Serving", Status = "True", Message = "primary" });
            await left.SendAsync(new() { Reports = { report } });
            try { await Task.Delay(200, told); }
            catch (OperationCanceledException) { }
        }
    }

    private static Statement OfFarewell(Grpc.Core.Metadata trailers) => Assert.Single(CoordinatorMessage.Parser.ParseFrom(trailers.GetValueBytes(StrikeOff.Trailer)).Statements);

    private static async Task<StateReply> StrikeAsync(CoordinatorKit kit, FakeNode node, string leaveOut = "")
    {
        var members = (await kit.Operator.ListNodesAsync(new() { Name = node.Uid }, cancellationToken: Stop)).Nodes.Single().Assignments
            .Select(a => a.Split('/')).Where(p => p[2] != leaveOut).Select(p => $"{p[2]}/{p[3]}");
        return await StateAsync(kit, StatementPurpose.StrikeOff, new StrikeOff(node.Uid, node.Name, [.. members]).Fields);
    }

    internal static async Task<StateReply> StateAsync(CoordinatorKit kit, string purpose, IEnumerable<string> fields)
    {
        using var key = kit.OperatorKey;
        var signed = SignedStatement.Sign(key, new()
        {
            Purpose = purpose,
            Fields = [.. fields],
            Nonce = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)),
            IssuedUnixMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(),
            ExpiresUnixMs = 0,
            Reason = "test",
            KeyId = "",
            Signature = [],
        });
        return await kit.Operator.StateAsync(new() { Statement = TrustWire.Write(signed) }, cancellationToken: Stop);
    }
}
