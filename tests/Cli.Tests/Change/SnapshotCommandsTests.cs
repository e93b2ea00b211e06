using AgentMetal.Cli.Change;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using Resource = AgentMetal.Proto.V1.Resource;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Change;

public sealed class SnapshotCommandsTests
{
    private static async Task<(FakeCoordinator Fleet, List<ApplyRequest> Sent)> FleetAsync(string? taken = null)
    {
        var fleet = await FakeCoordinator.StartAsync();
        var sent = new List<ApplyRequest>();
        fleet.Script.OnGet = r => r.Kind == "Instance" || r.Name == taken ? new Resource
        {
            ApiVersion = "agentmetal.io/v1",
            Kind = r.Kind,
            Revision = 41,
            Spec = ByteString.CopyFromUtf8("""{"memory":"96Mi","request":{"action":"none","id":"","snapshot":""}}"""),
            Metadata = new() { Project = "default", Name = r.Name, Uid = "u-1", Generation = 3 },
        } : throw new RpcException(new Status(StatusCode.NotFound, "there is none"));
        fleet.Script.OnApply = r =>
        {
            sent.Add(r);
            return new() { Results = { new ApplyResult { Action = "created", Resource = r.Resources[0] } } };
        };
        return (fleet, sent);
    }

    private static SortedDictionary<string, object?> Spec(ApplyRequest sent) => (SortedDictionary<string, object?>)CanonicalJson.Parse(Assert.Single(sent.Resources).Spec.Memory).Value!;

    [Fact]
    public async Task Snapshot_WithAName_AppliesOne()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        Assert.Equal(0, (await fleet.RunAsync(["snapshot", "instance/hello", "monday", "--no-wait"])).Code);
        var resource = Assert.Single(Assert.Single(sent).Resources);
        Assert.Equal(("Snapshot", "monday", "hello"), (resource.Kind, resource.Metadata.Name, (string)Spec(sent[0])["instance"]!));
    }

    [Fact]
    public async Task Snapshot_WithoutAName_IsCalledByInstanceAndTime()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        Assert.Equal(0, (await fleet.RunAsync(["snapshot", "vm/hello", "--no-wait"])).Code);
        Assert.Matches("^hello-[0-9]{8}t[0-9]{6}z$", Assert.Single(Assert.Single(sent).Resources).Metadata.Name);
        var longest = SnapshotCommands.DefaultName(new string('a', 45) + "-" + new string('b', 17), new(2026, 11, 28, 12, 0, 0, TimeSpan.Zero));
        Assert.Null(Names.LabelError(longest));
        Assert.EndsWith("a-20261128t120000z", longest, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("redis/sessions", "monday", 2, "for instances")]
    [InlineData("instance/hello", "Not_A_Label", 2, "SNAPSHOT")]
    [InlineData("instance/hello", "taken", 1, "agentmetal delete snapshot taken")]
    public async Task Snapshot_ThatCannotBe_IsRefusedAndSaysWhy(string instance, string name, int code, string says)
    {
        var (fleet, sent) = await FleetAsync("taken");
        await using var _ = fleet;
        var (exit, _, error) = await fleet.RunAsync(["snapshot", instance, name, "--no-wait"]);
        Assert.Equal(code, exit);
        Assert.Contains(says, error, StringComparison.Ordinal);
        Assert.Empty(sent);
    }

    [Theory]
    [InlineData("monday", "monday")]
    [InlineData("auto-20261128t120000z", "auto-20261128t120000z")]
    public async Task Revert_AsksOnceAndSaysThatItNeedsAnApproval(string to, string snapshot)
    {
        var (fleet, sent) = await FleetAsync("monday");
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["revert", "instance/hello", "--to", to, "--no-wait"]);
        Assert.Equal(0, code);
        var request = (SortedDictionary<string, object?>)Spec(Assert.Single(sent))["request"]!;
        Assert.Equal(("revert", snapshot), ((string)request["action"]!, (string)request["snapshot"]!));
        Assert.StartsWith("r-", (string)request["id"]!, StringComparison.Ordinal);
        Assert.Equal(41, sent[0].Resources[0].Revision);
        Assert.Contains("agentmetal approve instance/hello", error, StringComparison.Ordinal);
    }
}
