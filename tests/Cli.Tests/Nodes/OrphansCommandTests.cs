using System.Text.Json;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Google.Protobuf;
using Xunit;

namespace AgentMetal.Cli.Tests.Nodes;

public sealed class OrphansCommandTests
{
    private static async Task<(FakeCoordinator Fleet, List<OrphanRequest> Asked)> FleetAsync()
    {
        var fleet = await FakeCoordinator.StartAsync();
        var asked = new List<OrphanRequest>();
        var node = new Node { Name = "edge-1", Uid = "n1", Liveness = "Attached" };
        node.Known.Add(new NodeMember { ResourceKey = "Redis default/later", ResourceUid = "u1", Ordinal = 0, Generation = 4, Stand = "orphan", Summary = "primary", SinceUnixMs = 1_700_000_000_000, Spec = ByteString.CopyFromUtf8("{\"port\":7001}") });
        node.Known.Add(new NodeMember { ResourceKey = "Redis default/sessions", Ordinal = 0, Generation = 2, Stand = "older" });
        fleet.Script.Nodes.Add(node);
        fleet.Script.OnOrphan = r =>
        {
            asked.Add(r);
            var resource = Samples.Sessions(generation: r.Remove ? 5 : 4);
            resource.Metadata.Name = r.Name;
            return resource;
        };
        return (fleet, asked);
    }

    [Fact]
    public async Task List_NamesWhatIsInNoListAndNothingElse_AndWhatToDo()
    {
        var (fleet, _) = await FleetAsync();
        await using var _1 = fleet;
        var (code, text, error) = await fleet.RunAsync(["nodes", "orphans"]);
        Assert.Equal(0, code);
        Assert.Contains("Redis default/later", text, StringComparison.Ordinal);
        Assert.DoesNotContain("sessions", text, StringComparison.Ordinal);
        Assert.Contains("agentmetal nodes orphans adopt KIND NAME", error, StringComparison.Ordinal);
        using var document = JsonDocument.Parse((await fleet.RunAsync(["nodes", "orphans", "-o", "json"])).Out);
        var one = Assert.Single(document.RootElement.GetProperty("items").EnumerateArray());
        Assert.Equal(("Redis default/later", "edge-1", 4), (one.GetProperty("resource").GetString(), one.GetProperty("node").GetString(), one.GetProperty("generation").GetInt32()));
        fleet.Script.Nodes.Clear();
        Assert.Contains("Nothing runs that is in no list", (await fleet.RunAsync(["nodes", "orphans"])).Out, StringComparison.Ordinal);
        Assert.Empty(JsonDocument.Parse((await fleet.RunAsync(["nodes", "orphans", "-o", "json"])).Out).RootElement.GetProperty("items").EnumerateArray());
    }

    [Theory]
    [InlineData("adopt", false, "known again, generation 4", "agentmetal describe redis later")]
    [InlineData("remove", true, "deletion asked for", "agentmetal approve redis/later")]
    public async Task AdoptAndRemove_AskTheCoordinatorOnceAndSayWhatFollows(string verb, bool remove, string said, string next)
    {
        var (fleet, asked) = await FleetAsync();
        await using var _ = fleet;
        var (code, text, error) = await fleet.RunAsync(["nodes", "orphans", verb, "redis/later", "--yes"]);
        Assert.True(code == 0, error);
        Assert.Contains(said, text, StringComparison.Ordinal);
        Assert.Contains(next, error, StringComparison.Ordinal);
        Assert.Equal(new OrphanRequest { Project = "default", Kind = "Redis", Name = "later", Remove = remove }, Assert.Single(asked));
        Assert.Equal("later", JsonDocument.Parse((await fleet.RunAsync(["nodes", "orphans", verb, "redis", "later", "--yes", "-o", "json"])).Out).RootElement.GetProperty("metadata").GetProperty("name").GetString());
        var none = await fleet.RunAsync(["nodes", "orphans", verb, "redis", "sessions", "--yes"]);
        Assert.Equal(3, none.Code);
        Assert.Contains("nothing that runs in no list is called Redis default/sessions", none.Error, StringComparison.Ordinal);
        Assert.Contains("see them: agentmetal nodes orphans", none.Error, StringComparison.Ordinal);
        Assert.Equal(2, (await fleet.RunAsync(["nodes", "orphans", verb, "redis/later"])).Code);
        Assert.Equal(1, (await fleet.RunAsync(["nodes", "orphans", verb, "redis/later"], input: "no\n", canAsk: true)).Code);
        Assert.Equal(2, asked.Count);
        Assert.Equal(0, (await fleet.RunAsync(["nodes", "orphans", verb, "redis/later"], input: "later\n", canAsk: true)).Code);
    }
}
