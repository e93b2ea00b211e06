using AgentMetal.Cli.Approve;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Trust;
using Google.Protobuf;
using Xunit;

namespace AgentMetal.Cli.Tests.Approve;

public sealed class ApproveCommandTests
{
    private static ApproverSet Approvers(FakeCoordinator fleet)
    {
        var root = PinnedRoot.FromTrustedBytes(InitBundle.ReadCertificate(File.ReadAllText(Path.Combine(fleet.Home, InitBundle.RootCertificate)), "root").Value).Value;
        return ApproverSet.Verify(File.ReadAllBytes(Path.Combine(fleet.Home, InitBundle.ApproverSetFile)), root.Certificate, DateTimeOffset.UtcNow, 0).Value;
    }

    private static SignedApproval Signed(Approval a) => new()
    {
        StepHashes = a.StepHashes,
        ResourceUid = a.ResourceUid,
        NodeUid = a.NodeUid,
        Decision = SignedApproval.ParseDecision(a.Decision)!.Value,
        ExpiresUnixMs = a.ExpiresUnixMs,
        Reason = a.Reason,
        KeyId = a.KeyId,
        Signature = a.Signature.ToByteArray(),
    };

    [Fact]
    public async Task Approve_Yes_SignsWhatTheHostTakes()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        var held = host.Hold();
        fleet.Script.Held.Add(held);
        fleet.Script.OnDecide = _ => new DecideReply { Results = { new DecideResult { NodeUid = host.Uid, Delivered = true } } };
        var (code, text, error) = await fleet.RunAsync(["approve", "redis/sessions", "--yes", "--reason", "old data"]);
        Assert.True(code == 0, error);
        Assert.Contains("remove-data@1 {\"ordinal\":0}", text, StringComparison.Ordinal);
        Assert.Contains("Approved  edge-1: delivered", text, StringComparison.Ordinal);
        var approval = Signed(Assert.Single(Assert.Single(fleet.Script.Decided).Approvals));
        Assert.Equal([held.Plan.Steps[1].Hash], approval.StepHashes);
        var outcome = ApprovalRule.Judge(held.Plan.Steps[1].Hash, [approval], new ApprovalScope(host.Uid, Samples.Uid), Approvers(fleet), DateTimeOffset.UtcNow);
        Assert.True(outcome.IsApproved, outcome.Problem?.Message);
    }

    [Fact]
    public async Task Approve_TamperedStep_SignsNothingAndExits7()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        var held = host.Hold();
        held.Plan.Steps[1].Args = """{"ordinal":7}""";
        fleet.Script.Held.Add(held);
        var (code, _, error) = await fleet.RunAsync(["approve", "sessions", "--yes"]);
        Assert.Equal(7, code);
        Assert.Contains("is not what the host planned", error, StringComparison.Ordinal);
        Assert.Empty(fleet.Script.Decided);
    }

    [Theory]
    [InlineData("sessions\n", 0)]
    [InlineData("y\n", 1)]
    [InlineData("yes\n", 1)]
    [InlineData("\n", 1)]
    public async Task Approve_Dangerous_TakesTheResourcesName(string typed, int expected)
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        fleet.Script.Held.Add(host.Hold());
        fleet.Script.OnDecide = _ => new DecideReply();
        var (code, _, error) = await fleet.RunAsync(["approve"], typed, canAsk: true);
        Assert.True(code == expected, error);
        Assert.Equal(expected == 0 ? 1 : 0, fleet.Script.Decided.Count);
    }

    [Fact]
    public async Task Approve_NoTerminalAndNoYes_SignsNothing()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        fleet.Script.Held.Add(host.Hold());
        var (code, _, error) = await fleet.RunAsync(["approve"], "sessions\n");
        Assert.Equal(2, code);
        Assert.Contains("--yes", error, StringComparison.Ordinal);
        Assert.Empty(fleet.Script.Decided);
    }

    [Fact]
    public async Task Approve_SeveralWaitAndNoneIsNamed_ListsThem()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        fleet.Script.Held.Add(host.Hold());
        fleet.Script.Held.Add(host.Hold("other"));
        var (code, text, error) = await fleet.RunAsync(["approve", "--yes"]);
        Assert.Equal(2, code);
        Assert.Contains("Redis default/other", text, StringComparison.Ordinal);
        Assert.Contains("name one", error, StringComparison.Ordinal);
        Assert.Empty(fleet.Script.Decided);
    }

    [Fact]
    public async Task Approve_NothingOfThatName_Exits3()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        Assert.Equal(3, (await fleet.RunAsync(["approve", "redis/none"])).Code);
    }

    [Fact]
    public async Task Deny_Yes_SignsADenial()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        fleet.Script.Held.Add(host.Hold());
        fleet.Script.OnDecide = _ => new DecideReply { Results = { new DecideResult { NodeUid = host.Uid } } };
        Assert.Equal(0, (await fleet.RunAsync(["deny", "--yes"])).Code);
        Assert.Equal("deny", fleet.Script.Decided[0].Approvals[0].Decision);
    }

    [Fact]
    public async Task Approve_Offline_WithNoCoordinator_SignsTheSame()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        var held = host.Hold();
        fleet.Script.Held.Add(held);
        Assert.Equal(0, (await fleet.RunAsync(["approve", held.Id, "--export", fleet.In("held.json")])).Code);
        await fleet.StopAsync();
        var (code, _, error) = await fleet.RunAsync(["approve", "--offline", fleet.In("held.json"), "--out", fleet.In("approval.json"), "--yes"]);
        Assert.True(code == 0, error);
        var local = Assert.Single(CarriedFiles.ReadApprovals(fleet.In("approval.json")));
        var approval = new SignedApproval { StepHashes = local.StepHashes, ResourceUid = local.ResourceUid, NodeUid = local.NodeUid, Decision = ApprovalDecision.Approve, ExpiresUnixMs = local.ExpiresUnixMs, Reason = local.Reason, KeyId = local.KeyId, Signature = local.Signature };
        Assert.True(ApprovalRule.Judge(held.Plan.Steps[1].Hash, [approval], new ApprovalScope(host.Uid, Samples.Uid), Approvers(fleet), DateTimeOffset.UtcNow).IsApproved);
    }

    [Fact]
    public async Task Approve_Offline_OfAPlanThatTheHostItselfGave_IsReviewedAsAny()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var host = new HoldingHost(fleet.Authority);
        var held = host.Hold();
        CarriedFiles.WriteHeld(fleet.In("good.json"), [held.ToByteArray()]);
        held.Plan.Steps[1].Args = "{}";
        CarriedFiles.WriteHeld(fleet.In("bad.json"), [held.ToByteArray()]);
        Assert.Equal(0, (await fleet.RunAsync(["approve", "--offline", fleet.In("good.json"), "--out", fleet.In("a.json"), "--yes"])).Code);
        Assert.Equal(7, (await fleet.RunAsync(["approve", "--offline", fleet.In("bad.json"), "--out", fleet.In("b.json"), "--yes"])).Code);
        Assert.False(File.Exists(fleet.In("b.json")));
    }

    [Theory]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("not json")]
    [InlineData("""{"format":"agentmetal/held-file/v1","held":["AAAA"]}""")]
    public async Task Approve_OfflineGarbage_IsBadInput(string text)
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        await File.WriteAllTextAsync(fleet.In("held.json"), text, TestContext.Current.CancellationToken);
        Assert.Contains((await fleet.RunAsync(["approve", "--offline", fleet.In("held.json"), "--out", fleet.In("a.json"), "--yes"])).Code, new[] { 2, 7 });
        Assert.False(File.Exists(fleet.In("a.json")));
    }
}
