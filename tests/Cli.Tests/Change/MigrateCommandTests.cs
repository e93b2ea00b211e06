using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using Google.Protobuf;
using Xunit;
using Condition = AgentMetal.Proto.V1.Condition;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Tests.Change;

public sealed class MigrateCommandTests
{
    private static async Task<(FakeCoordinator Fleet, List<ApplyRequest> Sent)> FleetAsync(string more = "")
    {
        var fleet = await FakeCoordinator.StartAsync();
        var sent = new List<ApplyRequest>();
        fleet.Script.OnGet = _ => new()
        {
            ApiVersion = "agentmetal.io/v1",
            Kind = "Instance",
            Revision = 41,
            Spec = ByteString.CopyFromUtf8("{\"memory\":\"96Mi\",\"placement\":{\"labels\":{\"site\":\"lab\"}}" + more + "}"),
            Metadata = new() { Project = "default", Name = "hello", Uid = "u-1", Generation = 3 },
            Status = new() { Members = { new MemberStatus { NodeName = "edge-1" } }, Conditions = { new Condition { Type = "Ready", Status = "True" } } },
        };
        fleet.Script.Nodes.AddRange([new Node { Name = "edge-1" }, new Node { Name = "edge-2" }]);
        fleet.Script.OnApply = r =>
        {
            sent.Add(r);
            return new() { Results = { new ApplyResult { Action = "changed", Resource = r.Resources[0] } } };
        };
        return (fleet, sent);
    }

    [Fact]
    public async Task Migrate_ToAnotherHost_SetsOneFieldAtTheRevisionReadAndSaysWhatHappens()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["migrate", "instance/hello", "--to", "edge-2", "--no-wait"]);
        Assert.True(code == 0, error);
        var resource = Assert.Single(Assert.Single(sent).Resources);
        Assert.Equal(41, resource.Revision);
        var placement = (SortedDictionary<string, object?>)((SortedDictionary<string, object?>)CanonicalJson.Parse(resource.Spec.Memory).Value!)["placement"]!;
        Assert.Equal("edge-2", placement["node"]);
        Assert.Equal("lab", ((SortedDictionary<string, object?>)placement["labels"]!)["site"]);
        Assert.Contains("shut down on edge-1", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal approve instance/hello", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "edge-9", "no host is named edge-9")]
    [InlineData(",\"adopt\":{\"domain\":\"web\"}", "edge-2", "taken over")]
    public async Task Migrate_OfWhatCannotMove_SaysWhyAndAsksNothing(string more, string to, string why)
    {
        var (fleet, sent) = await FleetAsync(more);
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["migrate", "instance/hello", "--to", to]);
        Assert.NotEqual(0, code);
        Assert.Contains(why, error, StringComparison.Ordinal);
        Assert.Empty(sent);
    }
}
