using AgentMetal.Cli.Home;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Xunit;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Link;

public sealed class LinkTests
{
    [Fact]
    public async Task Version_OwnFleet_IsAnsweredOverMutualTls()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        var (code, text, error) = await fleet.RunAsync(["version"]);
        Assert.True(code == 0, error);
        Assert.Contains("coordinator   9.9.9", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nodes_CoordinatorOfAnotherFleet_IsRefusedHere()
    {
        await using var ours = await FakeCoordinator.StartAsync();
        await using var theirs = await FakeCoordinator.StartAsync();
        var paper = new Paper(clock: TimeProvider.System);
        Assert.Equal(7, await paper.RunAsync("nodes", "--home", ours.Home, "--coordinator", $"127.0.0.1:{theirs.Port}"));
        Assert.Contains("is not a coordinator of this fleet", paper.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nodes_CoordinatorGone_Exits5AndSaysHostsKeepRunning()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        await fleet.StopAsync();
        var (code, _, error) = await fleet.RunAsync(["nodes"]);
        Assert.Equal(5, code);
        Assert.Contains($"the coordinator at 127.0.0.1:{fleet.Port} cannot be reached", error, StringComparison.Ordinal);
        Assert.Contains("hosts keep running", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal local status", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(StatusCode.NotFound, 3)]
    [InlineData(StatusCode.InvalidArgument, 2)]
    [InlineData(StatusCode.FailedPrecondition, 1)]
    [InlineData(StatusCode.PermissionDenied, 7)]
    [InlineData(StatusCode.Unauthenticated, 7)]
    [InlineData(StatusCode.DeadlineExceeded, 6)]
    [InlineData(StatusCode.Internal, 1)]
    public async Task Get_ServerSays_HasItsExitCodeAndANextStep(StatusCode status, int code)
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnList = _ => throw new RpcException(new Status(status, "because"));
        var result = await fleet.RunAsync(["get", "all"]);
        Assert.Equal(code, result.Code);
        Assert.Contains("  = next: ", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Get_NoHome_SaysHowToMakeOne()
    {
        var paper = new Paper();
        Assert.Equal(2, await paper.RunAsync("get", "--home", "/nonexistent/home"));
        Assert.Contains("agentmetal init", paper.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Get_Resources_IsATableAndTheSameAsDocuments()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnList = _ => new ListReply { Resources = { Samples.Sessions() } };
        Assert.Contains("Redis  sessions  True   2/2      primary on edge-1, replica on edge-3", (await fleet.RunAsync(["get"])).Out, StringComparison.Ordinal);
        Assert.Contains("\"name\": \"sessions\"", (await fleet.RunAsync(["get", "-o", "json"])).Out, StringComparison.Ordinal);
        Assert.Contains("name: sessions", (await fleet.RunAsync(["get", "redis", "sessions", "-o", "yaml"])).Out, StringComparison.Ordinal);
        Assert.Equal("redis/sessions\n", (await fleet.RunAsync(["get", "-o", "name"])).Out);
    }

    [Fact]
    public async Task Get_NameThatIsNot_Exits3()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnList = _ => new ListReply();
        Assert.Equal(3, (await fleet.RunAsync(["get", "redis", "none"])).Code);
    }

    [Theory]
    [InlineData("get", "--nonsense")]
    [InlineData("get", "bucketz")]
    [InlineData("nonsense")]
    [InlineData("nodes", "-o", "xml")]
    [InlineData("nodes", "-o", "3")]
    [InlineData("get", "--timeout", "soon")]
    [InlineData("get", "-l", "novalue")]
    [InlineData("events", "--for", "sessions")]
    [InlineData("join-token", "create", "--ttl", "2d")]
    public async Task Any_BadInput_Exits2WithOneErrorAndNoUsagePage(params string[] args)
    {
        var paper = new Paper();
        Assert.Equal(2, await paper.RunAsync([.. args, "--home", "/nonexistent/home"]));
        Assert.StartsWith("error: ", paper.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Usage:", paper.Out + paper.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task JoinToken_Raw_IsTheTokenAlone()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnCreateJoinToken = r => new CreateJoinTokenReply { Token = $"am1.{r.Name}.{r.TtlSeconds}.{r.Labels["site"]}", ExpiresUnixMs = 1 };
        Assert.Equal("am1.edge-1.7200.lab\n", (await fleet.RunAsync(["join-token", "create", "--name", "edge-1", "--ttl", "2h", "--label", "site=lab", "-o", "raw"])).Out);
    }

    [Theory]
    [InlineData("10.0.0.1", "10.0.0.1:7443")]
    [InlineData("10.0.0.1:99", "10.0.0.1:99")]
    [InlineData("control.example", "control.example:7443")]
    [InlineData("fd00::1", "[fd00::1]:7443")]
    [InlineData("[fd00::1]:99", "[fd00::1]:99")]
    [InlineData("control.example:443", "control.example:443")]
    [InlineData("http://x", null)]
    [InlineData("a b", null)]
    [InlineData("x/y", null)]
    [InlineData("", null)]
    public void NormalAddress_Text_IsHostAndPort(string text, string? expected) => Assert.Equal(expected, OperatorHome.NormalAddress(text));
}
