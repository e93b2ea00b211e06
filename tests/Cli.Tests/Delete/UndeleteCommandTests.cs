using System.Text.Json;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Xunit;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Delete;

public sealed class UndeleteCommandTests
{
    [Fact]
    public async Task Undelete_ThatTheCoordinatorTakes_SaysTheGenerationAndWaitsUntilItIsReady()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        List<DeleteRequest> asked = [];
        fleet.Script.OnUndelete = r =>
        {
            asked.Add(r);
            return Samples.Sessions();
        };
        fleet.Script.OnWatch = (_, _) => Now();
        var (code, text, error) = await fleet.RunAsync(["undelete", "redis/sessions"]);
        Assert.True(code == 0, error);
        Assert.Contains("deletion taken back  generation 3", text, StringComparison.Ordinal);
        Assert.Equal(new DeleteRequest { Project = "default", Kind = "Redis", Name = "sessions" }, Assert.Single(asked));
        var json = await fleet.RunAsync(["undelete", "redis", "sessions", "--no-wait", "-o", "json"]);
        Assert.Equal(0, json.Code);
        Assert.Equal("sessions", JsonDocument.Parse(json.Out).RootElement.GetProperty("metadata").GetProperty("name").GetString());

        static async IAsyncEnumerable<ResourceChange> Now()
        {
            await Task.CompletedTask;
            yield return new ResourceChange { Type = "added", Resource = Samples.Sessions() };
        }
    }

    /// <summary>Whoever cannot have it back is told why and what is left to do.</summary>
    [Fact]
    public async Task Undelete_Refused_SaysWhyAndHowItGoesOn()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnUndelete = r => throw (r.Name == "never" ? new RpcException(new Status(StatusCode.NotFound, "there is no Redis default/never; see agentmetal get redis"))
            : new RpcException(new Status(StatusCode.FailedPrecondition, "member 0 is gone from edge-1, and its data with it; let the deletion go through (agentmetal approve redis/sessions)")));
        var (code, text, error) = await fleet.RunAsync(["undelete", "redis/sessions", "-o", "json"]);
        Assert.Equal((1, ""), (code, text));
        Assert.Contains("member 0 is gone from edge-1", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal approve redis/sessions", error, StringComparison.Ordinal);
        Assert.Equal(3, (await fleet.RunAsync(["undelete", "redis/never"])).Code);
        var unnamed = await fleet.RunAsync(["undelete", "redis"]);
        Assert.Equal(2, unnamed.Code);
        Assert.Contains("NAME is missing", unnamed.Error, StringComparison.Ordinal);
        Assert.Equal(2, (await fleet.RunAsync(["undelete", "nonsense/x"])).Code);
    }
}
