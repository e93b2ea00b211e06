using System.Runtime.CompilerServices;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using Condition = AgentMetal.Proto.V1.Condition;
using Metadata = Grpc.Core.Metadata;
using Resource = AgentMetal.Proto.V1.Resource;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Change;

public sealed class InstanceCommandsTests
{
    private static Resource Hello(string power = "running", long generation = 3, bool ready = true) => new()
    {
        ApiVersion = "agentmetal.io/v1",
        Kind = "Instance",
        Revision = 41,
        Spec = ByteString.CopyFromUtf8("""{"memory":"96Mi","power":"POWER","request":{"action":"none","id":""}}""".Replace("POWER", power, StringComparison.Ordinal)),
        Metadata = new() { Project = "default", Name = "hello", Uid = "u-1", Generation = generation, Protect = true, Labels = { ["team"] = "web" } },
        Status = new() { ObservedGeneration = generation, Conditions = { new Condition { Type = "Ready", Status = ready ? "True" : "False", Message = "running" } } },
    };

    private static async Task<(FakeCoordinator Fleet, List<ApplyRequest> Sent)> FleetAsync(string power = "running")
    {
        var fleet = await FakeCoordinator.StartAsync();
        var sent = new List<ApplyRequest>();
        fleet.Script.OnGet = _ => Hello(power);
        fleet.Script.OnApply = r =>
        {
            sent.Add(r);
            return new() { Results = { new ApplyResult { Action = "changed", Resource = Hello(power, 4, ready: false) } } };
        };
        fleet.Script.OnWatch = (_, stop) => Then([Hello(power), Hello(power, 4)], stop);
        return (fleet, sent);
    }

    private static async IAsyncEnumerable<ResourceChange> Then(Resource[] states, [EnumeratorCancellation] CancellationToken stop = default)
    {
        foreach (var state in states) yield return new ResourceChange { Type = "modified", Resource = state };
        yield return new ResourceChange { Type = "bookmark" };
        await Task.Delay(Timeout.Infinite, stop);
    }

    private static Dictionary<string, string> Fields(ApplyRequest sent)
    {
        var spec = (SortedDictionary<string, object?>)CanonicalJson.Parse(Assert.Single(sent.Resources).Spec.Memory).Value!;
        var request = (SortedDictionary<string, object?>)spec["request"]!;
        return new() { ["memory"] = (string)spec["memory"]!, ["power"] = (string)spec["power"]!, ["action"] = (string)request["action"]!, ["id"] = (string)request["id"]! };
    }

    [Theory]
    [InlineData("instance/hello", null)]
    [InlineData("instance", "hello")]
    [InlineData("vm", "hello")]
    public async Task Restart_EitherSpelling_AsksOnceAtTheRevisionReadAndFollows(string kind, string? name)
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        var (code, text, error) = await fleet.RunAsync(["restart", kind, .. name is null ? Array.Empty<string>() : [name]]);
        Assert.True(code == 0, error);
        var resource = Assert.Single(sent).Resources[0];
        Assert.Equal((41, "u-1", true, "web"), (resource.Revision, resource.Metadata.Uid, resource.Metadata.Protect, resource.Metadata.Labels["team"]));
        var fields = Fields(sent[0]);
        Assert.Equal(("96Mi", "running", "restart"), (fields["memory"], fields["power"], fields["action"]));
        Assert.Matches("^r-[0-9]{8}t[0-9]{6}z-[0-9a-f]{4}$", fields["id"]);
        Assert.Null(Names.LabelError(fields["id"]));
        Assert.Contains("Instance default/hello  changed  generation 4", text, StringComparison.Ordinal);
        Assert.Contains("Ready", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restart_Twice_HasTwoIds()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        for (var i = 0; i < 2; i++) Assert.Equal(0, (await fleet.RunAsync(["restart", "instance/hello", "--no-wait"])).Code);
        Assert.NotEqual(Fields(sent[0])["id"], Fields(sent[1])["id"]);
    }

    [Fact]
    public async Task Reset_SaysThatItNeedsAnApproval()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["reset", "instance/hello", "--no-wait"]);
        Assert.Equal(0, code);
        Assert.Equal("reset", Fields(Assert.Single(sent))["action"]);
        Assert.Contains("agentmetal approve instance/hello", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("start", "running")]
    [InlineData("stop", "stopped")]
    [InlineData("pause", "paused")]
    public async Task Power_IsSetAndNothingElse(string verb, string power)
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        Assert.Equal(0, (await fleet.RunAsync([verb, "instance/hello", "--no-wait"])).Code);
        var fields = Fields(Assert.Single(sent));
        Assert.Equal((power, "none", "96Mi"), (fields["power"], fields["action"], fields["memory"]));
    }

    [Fact]
    public async Task Restart_OfOneThatShouldNotRun_SaysWhatStartsIt()
    {
        var (fleet, sent) = await FleetAsync("stopped");
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["restart", "instance/hello"]);
        Assert.Equal(1, code);
        Assert.Empty(sent);
        Assert.Contains("spec.power is stopped", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal start instance/hello", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restart_ChangedMeanwhile_SaysToRunItAgain()
    {
        var (fleet, _) = await FleetAsync();
        await using var __ = fleet;
        var errors = new FieldErrors { Errors = { new Proto.V1.FieldError { Path = "revision", Message = "expects revision 41" } } };
        fleet.Script.OnApply = _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "wrong"), new Metadata { { "agentmetal-errors-bin", errors.ToByteArray() } });
        var (code, _, error) = await fleet.RunAsync(["restart", "instance/hello"]);
        Assert.Equal(1, code);
        Assert.Contains("changed meanwhile", error, StringComparison.Ordinal);
        Assert.Contains("run it again", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restart_ForPrograms_IsJson()
    {
        var (fleet, _) = await FleetAsync();
        await using var __ = fleet;
        var (code, text, _) = await fleet.RunAsync(["restart", "instance/hello", "-o", "json"]);
        Assert.Equal(0, code);
        Assert.Equal("changed", System.Text.Json.JsonDocument.Parse(text).RootElement.GetProperty("items")[0].GetProperty("action").GetString());
    }

    [Fact]
    public async Task Restart_OfARedis_IsBadInput()
    {
        var (fleet, _) = await FleetAsync();
        await using var __ = fleet;
        Assert.Equal(2, (await fleet.RunAsync(["restart", "redis/sessions"])).Code);
    }
}
