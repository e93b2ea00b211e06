using System.Text.Json;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources.Kinds;
using AgentMetal.Runtime.Trust;
using AgentMetal.WireMaps;
using Grpc.Core;
using Xunit;
using AuditRecord = AgentMetal.Proto.V1.AuditRecord;
using Condition = AgentMetal.Proto.V1.Condition;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Nodes;

/// <summary>Commands by which an operator says something about the fleet: what is shown, what is signed, and what is refused with the way on.</summary>
public sealed class StatementCommandsTests
{
    private static readonly string s_uid = new('c', NodeUid.Length), s_other = new('d', NodeUid.Length);

    /// <summary>edge-1 is away and has a member of sessions; edge-2 is attached.</summary>
    private static async Task<(FakeCoordinator Fleet, List<SignedStatement> Signed)> FleetAsync(bool holds = true)
    {
        var fleet = await FakeCoordinator.StartAsync();
        var signed = new List<SignedStatement>();
        fleet.Script.Nodes.Add(new Node { Name = "edge-1", Uid = s_uid, Liveness = "Away", LastSeenUnixMs = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), Assignments = { $"{s_uid}/Redis/{Samples.Uid}/0" } });
        fleet.Script.Nodes.Add(new Node { Name = "edge-2", Uid = s_other, Liveness = "Attached" });
        fleet.Script.OnList = _ => new ListReply { Resources = { Samples.Sessions() } };
        fleet.Script.Store.StoreId = "0123456789abcdef";
        (fleet.Script.Store.Epoch, fleet.Script.Store.EpochFrom) = ("epoch-9", 41);
        fleet.Script.OnState = r =>
        {
            signed.Add(TrustWire.Read(r.Statement));
            return holds ? new() { Holds = true, Message = "done", By = { "alice" } } : new() { Message = "kept; 2 approvers must say the same" };
        };
        return (fleet, signed);
    }

    public static TheoryData<string> All => new("nodes remove edge-1", "nodes revoke edge-1", "nodes accept-store", "nodes set-time edge-1", "audit accept-gap edge-1");

    private static string[] Words(string command) => command.Split(' ');

    /// <summary>What is signed is by the operator's key, says what was asked for, and bears the reason.</summary>
    [Theory]
    [MemberData(nameof(All))]
    public async Task Statement_WithYes_IsSignedByTheOperatorAndToldAsWordsAndAsJson(string command)
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        fleet.Script.Store.PutBack = "an older copy was put back";
        fleet.Script.Gaps.Add(new AuditGap { From = 3, To = 5 });
        var (code, text, error) = await fleet.RunAsync([.. Words(command), "--yes", "--reason", "burnt"]);
        Assert.True(code == 0, error);
        Assert.Equal("", text);
        Assert.Contains("Signed done", error, StringComparison.Ordinal);
        var said = Assert.Single(signed);
        Assert.Equal("burnt", said.Reason);
        Assert.Contains(s_uid, said.Fields);
        using var root = PinnedRoot.FromTrustedBytes(InitBundle.ReadCertificate(File.ReadAllText(Path.Combine(fleet.Home, InitBundle.RootCertificate)), "root").Value).Value;
        var set = ApproverSet.Verify(File.ReadAllBytes(Path.Combine(fleet.Home, InitBundle.ApproverSetFile)), root.Certificate, DateTimeOffset.UtcNow, 0).Value;
        Assert.True(said.Verify(set, DateTimeOffset.UtcNow).IsTrusted);

        var json = await fleet.RunAsync([.. Words(command), "--yes", "-o", "json"]);
        Assert.Equal(0, json.Code);
        using var document = JsonDocument.Parse(json.Out);
        Assert.Equal((said.Purpose, true, "done", "alice"), (document.RootElement.GetProperty("purpose").GetString(), document.RootElement.GetProperty("holds").GetBoolean(),
            document.RootElement.GetProperty("message").GetString(), document.RootElement.GetProperty("by")[0].GetString()));
        Assert.NotEqual(said.Nonce, signed[1].Nonce);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task Statement_UnaskedOrMistyped_SignsNothing(string command)
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        fleet.Script.Store.PutBack = "an older copy was put back";
        fleet.Script.Gaps.Add(new AuditGap { From = 3, To = 5 });
        var (code, _, error) = await fleet.RunAsync(Words(command));
        Assert.Equal(2, code);
        Assert.Contains("nobody can be asked: this is not a terminal", error, StringComparison.Ordinal);
        Assert.Contains("--yes", error, StringComparison.Ordinal);
        Assert.Equal(1, (await fleet.RunAsync(Words(command), input: "edge-2\n", canAsk: true)).Code);
        Assert.Empty(signed);
        Assert.Equal(0, (await fleet.RunAsync(Words(command), input: command == "nodes accept-store" ? "01234567\n" : "edge-1\n", canAsk: true)).Code);
        Assert.Single(signed);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task Statement_ThatNeedsMoreApprovers_SaysWhatTheOthersRun(string command)
    {
        var (fleet, _) = await FleetAsync(holds: false);
        await using var _1 = fleet;
        fleet.Script.Store.PutBack = "an older copy was put back";
        fleet.Script.Gaps.Add(new AuditGap { From = 3, To = 5 });
        var (code, _, error) = await fleet.RunAsync([.. Words(command), "--yes"]);
        Assert.Equal(0, code);
        Assert.Contains("2 approvers must say the same", error, StringComparison.Ordinal);
        Assert.Contains("The others run the same: agentmetal " + command.Replace("revoke", "remove", StringComparison.Ordinal), error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nodes remove edge-9", 3, "no host is called edge-9", "see them: agentmetal nodes")]
    [InlineData("nodes set-time edge-9", 3, "no host is called edge-9", "see them: agentmetal nodes")]
    [InlineData("nodes accept-store edge-9", 3, "no host is called edge-9", "see them: agentmetal nodes")]
    [InlineData("audit accept-gap edge-9", 3, "no host is called edge-9", "see them: agentmetal nodes")]
    [InlineData("nodes remove edge-2", 7, "edge-2 is attached: it is not gone", "switch it off for good first")]
    public async Task Statement_AboutWhatIsNotThere_IsRefusedWithTheNextCommand(string command, int expected, string why, string next)
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync([.. Words(command), "--yes"]);
        Assert.Equal(expected, code);
        Assert.Contains(why, error, StringComparison.Ordinal);
        Assert.Contains(next, error, StringComparison.Ordinal);
        Assert.Empty(signed);
    }

    [Theory]
    [MemberData(nameof(All))]
    public async Task Statement_RefusedByTheCoordinator_SaysWhy(string command)
    {
        var (fleet, _) = await FleetAsync();
        await using var _1 = fleet;
        fleet.Script.Store.PutBack = "an older copy was put back";
        fleet.Script.Gaps.Add(new AuditGap { From = 3, To = 5 });
        fleet.Script.OnState = _ => throw new RpcException(new Status(StatusCode.FailedPrecondition, "look and sign again"));
        var (code, text, error) = await fleet.RunAsync([.. Words(command), "--yes", "-o", "json"]);
        Assert.Equal((1, ""), (code, text));
        Assert.Contains("look and sign again", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("nodes remove", "Strike off a host that is gone for good")]
    [InlineData("nodes accept-store", "Sign that hosts follow this store")]
    [InlineData("nodes set-time", "Sign that it is no later than this machine's time")]
    [InlineData("nodes orphans", "What runs on hosts and is in no list")]
    [InlineData("nodes orphans adopt", "Make it known again as it runs")]
    [InlineData("nodes orphans remove", "hosts hold what would lose data for your approval")]
    [InlineData("audit accept-gap", "the gap stays to be seen")]
    [InlineData("undelete", "Take back a deletion that has destroyed nothing yet")]
    [InlineData("local pause", "Do nothing to a resource's member here until it is resumed")]
    [InlineData("local stop", "so that it stays stopped until it is resumed")]
    [InlineData("local resume", "Keep a resource's member here as declared again")]
    public async Task Help_SaysWhatTheCommandDoes(string command, string words)
    {
        var paper = new Paper();
        Assert.Equal(0, await paper.RunAsync([.. Words(command), "--help"]));
        Assert.Contains(words, paper.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Remove_ShowsWhatGoesWithTheHost_AndNamesEachMember()
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        var (_, _, error) = await fleet.RunAsync(["nodes", "remove", "edge-1", "--yes"]);
        Assert.Contains("Redis default/sessions #0", error, StringComparison.Ordinal);
        Assert.Contains("what only it held is lost; left: #0 on edge-1 (primary), #1 on edge-3 (replica, lag 0)", error, StringComparison.Ordinal);
        Assert.Contains("it stops what it had, keeps its data", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal join-token create --name edge-1", error, StringComparison.Ordinal);
        Assert.Equal([s_uid, "edge-1", $"{Samples.Uid}/0"], signed[0].Fields);

        // What a member says of what it holds is what goes, and what is left.
        var told = Samples.Sessions();
        foreach (var member in told.Status.Members) member.Details[RedisDetail.Holds] = $"at most {12 * (member.Ordinal + 1)} keys";
        fleet.Script.OnList = _ => new ListReply { Resources = { told } };
        error = (await fleet.RunAsync(["nodes", "remove", "edge-1", "--yes"])).Error;
        Assert.Contains("(replica, lag 0: at most 24 keys, as it last said)", error, StringComparison.Ordinal);
        fleet.Script.Nodes[0].Liveness = "StruckOff";
        var again = await fleet.RunAsync(["nodes", "remove", "edge-1", "--yes"]);
        Assert.Equal(7, again.Code);
        Assert.Contains("edge-1 was struck off already", again.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AcceptStore_ShowsWhatGoesBackOnEachHost_AndSignsForTheNamedOnes()
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        var node = fleet.Script.Nodes[1];
        node.StoreRefused = "an older copy was put back: revision 79, seen 299";
        node.Known.Add(new NodeMember { ResourceKey = "Redis default/sessions", Ordinal = 1, Generation = 7, ToldGeneration = 3, Stand = "older", Summary = "primary" });
        node.Known.Add(new NodeMember { ResourceKey = "Redis default/later", Generation = 1, Stand = "orphan" });
        node.Known.Add(new NodeMember { ResourceKey = "Redis default/bygone", ToldGeneration = 2, Stand = "returns" });
        var (code, _, error) = await fleet.RunAsync(["nodes", "accept-store", "edge-2", "--yes"]);
        Assert.Equal(0, code);
        Assert.Contains("Redis default/sessions #1  generation 7 (primary): goes back to generation 3", error, StringComparison.Ordinal);
        Assert.Contains("Redis default/later #0  generation 1: this store does not know it; it keeps running, in no list", error, StringComparison.Ordinal);
        Assert.Contains("Redis default/bygone #0  is not there: is made again, generation 2", error, StringComparison.Ordinal);
        Assert.Equal(["0123456789abcdef", "epoch-9", "41", s_other], signed[0].Fields);
        Assert.True(signed[0].ExpiresUnixMs > 0);

        node.StoreRefused = "";
        var none = await fleet.RunAsync(["nodes", "accept-store", "-o", "json"]);
        Assert.Equal(0, none.Code);
        Assert.Contains("nothing is to be signed", JsonDocument.Parse(none.Out).RootElement.GetProperty("message").GetString(), StringComparison.Ordinal);
        fleet.Script.Store.Epoch = "";
        Assert.Contains("update the coordinator", (await fleet.RunAsync(["nodes", "accept-store", "--yes"])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SetTime_ToAFile_IsAStatementThatAHostCanBeHanded()
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        var file = fleet.In("time.bin");
        var (code, _, error) = await fleet.RunAsync(["nodes", "set-time", "edge-1", "--yes", "--out", file]);
        Assert.True(code == 0, error);
        Assert.Contains("agentmetal local state", error, StringComparison.Ordinal);
        var said = SignedTime.Read(TrustWire.Read(Statement.Parser.ParseFrom(await File.ReadAllBytesAsync(file, TestContext.Current.CancellationToken))));
        Assert.Equal([s_uid], said!.Nodes);
        Assert.InRange((DateTimeOffset.UtcNow - said.At).TotalMinutes, -1, 1);
        Assert.Empty(signed);
        Assert.Equal(2, (await fleet.RunAsync(["nodes", "set-time", "edge-1", "--yes", "--out", file])).Code);
    }

    /// <summary>A gap that was signed for is said beside a chain that is called intact; a coordinator that only says that somebody signed is not believed.</summary>
    [Fact]
    public async Task AcceptedGap_IsToldAndTheChainIntact_ButOnlyByASignatureOfAnApprover()
    {
        var (fleet, signed) = await FleetAsync();
        await using var _ = fleet;
        var records = Audit.ChainCheckTests.Chain(s_uid, 7);
        fleet.Script.Audit.AddRange([.. records.Take(2), .. records.Skip(5)]);
        fleet.Script.Nodes[0].AuditSeq = 7;
        fleet.Script.Nodes[0].Conditions.Add(new Condition { Type = "AuditWhole", Status = "False", Reason = "CoordinatorWentBack", Message = "records 3 to 5 are missing here" });
        fleet.Script.Gaps.Add(new AuditGap { From = 3, To = 5 });
        var before = await fleet.RunAsync(["audit", "--verify"]);
        Assert.Equal(1, before.Code);
        Assert.Contains("records 3 to 5 are missing here", before.Out, StringComparison.Ordinal);
        Assert.Equal(0, (await fleet.RunAsync(["audit", "accept-gap", "edge-1", "--yes", "--reason", "the disk died"])).Code);
        fleet.Script.Nodes[0].Conditions[0].Status = "True";
        var wire = TrustWire.Write(signed[0]);
        fleet.Script.Gaps[0].Accepted.Add(wire);
        var after = await fleet.RunAsync(["audit", "--verify", "-o", "json"]);
        Assert.True(after.Code == 0, after.Out);
        Assert.Contains("records 3 to 5 are missing here, which approvers signed to know", after.Out, StringComparison.Ordinal);
        wire.Fields[2] = "6";
        Assert.Equal(1, (await fleet.RunAsync(["audit", "--verify"])).Code);
        fleet.Script.Gaps[0].Accepted.Clear();
        Assert.Equal(1, (await fleet.RunAsync(["audit", "--verify"])).Code);
    }
}
