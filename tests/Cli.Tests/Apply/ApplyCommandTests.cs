using System.Runtime.CompilerServices;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using Metadata = Grpc.Core.Metadata;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.Apply;

public sealed class ApplyCommandTests
{
    private const string Yaml = """
        apiVersion: agentmetal.io/v1
        kind: Redis
        metadata:
          name: sessions
          labels: {team: web}
        spec:
          replicas: 1
          memory:
            max: 256Mi
        """;

    private static async Task<FakeCoordinator> FleetAsync(string yaml = Yaml)
    {
        var fleet = await FakeCoordinator.StartAsync();
        await File.WriteAllTextAsync(fleet.In("sessions.yaml"), yaml, TestContext.Current.CancellationToken);
        return fleet;
    }

    private static ApplyReply Accept(ApplyRequest request) => new() { Results = { request.Resources.Select(_ => new ApplyResult { Action = "created", Resource = Samples.Sessions(1, "False", 0) }) } };

    private static async IAsyncEnumerable<ResourceChange> Then(Resource[] states, bool stay = false, [EnumeratorCancellation] CancellationToken stop = default)
    {
        foreach (var state in states)
        {
            yield return new ResourceChange { Type = "modified", Resource = state };
            await Task.Yield();
        }
        yield return new ResourceChange { Type = "bookmark" };
        if (stay) await Task.Delay(Timeout.Infinite, stop);
    }

    [Fact]
    public async Task Apply_UntilReady_SendsTheFileAndExits0()
    {
        await using var fleet = await FleetAsync();
        ApplyRequest? sent = null;
        fleet.Script.OnApply = r => Accept(sent = r);
        fleet.Script.OnWatch = (_, stop) => Then([Samples.Sessions(1, "False", 0), Samples.Sessions(1, "True", 1)], stay: true, stop);
        var (code, text, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.True(code == 0, error);
        Assert.Equal("Redis", sent!.Resources[0].Kind);
        Assert.Equal("web", sent.Resources[0].Metadata.Labels["team"]);
        Assert.Contains("256Mi", sent.Resources[0].Spec.ToStringUtf8(), StringComparison.Ordinal);
        Assert.Contains("Redis default/sessions  created  generation 1", text, StringComparison.Ordinal);
        Assert.Contains("primary on edge-1, replica on edge-3  Ready", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_ReadyOfAnOlderGeneration_IsNotReady()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = r => new ApplyReply { Results = { new ApplyResult { Action = "changed", Resource = Samples.Sessions(4, "True", 3) } } };
        fleet.Script.OnWatch = (_, stop) => Then([Samples.Sessions(4, "True", 3)], stay: true, stop);
        var (code, _, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml"), "--timeout", "1s"]);
        Assert.Equal(6, code);
        Assert.Contains("is not Ready after 1 s", error, StringComparison.Ordinal);
        Assert.Contains("agentmetal describe redis sessions", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_AStepIsUnderWay_SaysHowFarAndNotEverySecond()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = Accept;
        Resource At(int percent)
        {
            var loading = Samples.Sessions(1, "False", 1);
            loading.Status.Members[0].Details["progress"] = $"fetching image debian {percent}% (120 of 286 MiB)";
            return loading;
        }
        fleet.Script.OnWatch = (_, stop) => Then([At(41), At(42), At(43), Samples.Sessions(1, "True", 1)], stay: true, stop);
        var (code, text, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.True(code == 0, error);
        Assert.Contains("edge-1  Converging  fetching image debian 41% (120 of 286 MiB)", text, StringComparison.Ordinal);
        Assert.DoesNotContain("42%", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_HostsHoldAStep_Exits4WithTheApproveCommand()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = Accept;
        var waiting = Samples.Sessions(1, "False", 1);
        waiting.Status.Members[0].Phase = "AwaitingApproval";
        fleet.Script.OnWatch = (_, stop) => Then([waiting], stay: true, stop);
        var (code, _, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.Equal(4, code);
        Assert.Contains("agentmetal approve redis/sessions", error, StringComparison.Ordinal);
    }

    /// <summary>As after an approval: the host is at it, and its last word is from before.</summary>
    [Fact]
    public async Task Apply_AHeldStepIsUnderWay_WaitsForIt()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = Accept;
        var working = Samples.Sessions(1, "False", 1);
        working.Status.Members[0].Phase = "AwaitingApproval";
        working.Status.Members[0].Details["progress"] = "hand it over to edge-2";
        fleet.Script.OnWatch = (_, stop) => Then([working, Samples.Sessions(1, "True", 1)], stay: true, stop);
        var (code, text, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.True(code == 0, error);
        Assert.Contains("hand it over to edge-2", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_CoordinatorsFieldErrors_StandAtTheirLines()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = _ => throw new RpcException(new Status(StatusCode.InvalidArgument, "1 error"), new Metadata
        {
            { "agentmetal-errors-bin", new FieldErrors { Errors = { new FieldError { Path = "spec.replicas", Message = "2 members cannot be spread over 1 host", Note = "allow spread: none", Document = 0 } } }.ToByteArray() },
        });
        var (code, _, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.Equal(2, code);
        Assert.Contains("sessions.yaml:7: spec.replicas: 2 members cannot be spread over 1 host", error, StringComparison.Ordinal);
        Assert.Contains("nothing was changed", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_BadFile_NeverAsksTheCoordinator()
    {
        await using var fleet = await FleetAsync(Yaml.Replace("256Mi", "lots", StringComparison.Ordinal));
        var (code, _, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")]);
        Assert.Equal(2, code);
        Assert.Contains("spec.memory.max", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_PlanHash_IsSent()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = r => throw new RpcException(new Status(StatusCode.FailedPrecondition, $"plan {r.PlanHash} no longer holds: edge-1 moved"));
        var (code, _, error) = await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml"), "--plan", "7f3a9c21"]);
        Assert.Equal(1, code);
        Assert.Contains("plan 7f3a9c21 no longer holds", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Apply_WatchEndsEarly_LooksAgain()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnApply = Accept;
        var looks = 0;
        fleet.Script.OnWatch = (_, stop) => ++looks == 1 ? Then([Samples.Sessions(1, "False", 0)], stop: stop) : Then([Samples.Sessions(1, "True", 1)], stay: true, stop);
        Assert.Equal(0, (await fleet.RunAsync(["apply", "-f", fleet.In("sessions.yaml")])).Code);
        Assert.Equal(2, looks);
    }

    [Fact]
    public async Task Delete_Wait_EndsWhenItIsNoLongerListed()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnGet = _ => Samples.Sessions();
        fleet.Script.OnDelete = _ => Samples.Sessions(4);
        fleet.Script.OnWatch = (_, stop) => Then([], stay: true, stop);
        var (code, text, error) = await fleet.RunAsync(["delete", "redis", "sessions", "--yes", "--wait"]);
        Assert.True(code == 0, error);
        Assert.Contains("Gone", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Delete_NoTerminalAndNoYes_DeletesNothing()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnGet = _ => Samples.Sessions();
        Assert.Equal(2, (await fleet.RunAsync(["delete", "redis", "sessions"], "y\n")).Code);
    }

    [Theory]
    [InlineData("10m", 9 * 60, 10 * 60)]
    [InlineData("5s", 20, 30)] // What a plan needs is not taken from it.
    public async Task Plan_Timeout_LengthensAndNeverShortensTheCall(string timeout, int least, int most)
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnPlan = _ => new PlanReply();
        await fleet.RunAsync(["plan", "-f", fleet.In("sessions.yaml"), "--timeout", timeout]);
        Assert.InRange(fleet.Script.PlanTime.TotalSeconds, least, most);
    }

    [Fact]
    public async Task Plan_Changes_ShowsThemAndHasADetailedExitCode()
    {
        await using var fleet = await FleetAsync();
        fleet.Script.OnPlan = _ => Samples.Bigger();
        var file = fleet.In("sessions.yaml");
        var (code, text, error) = await fleet.RunAsync(["plan", "-f", file]);
        Assert.True(code == 0, error);
        Assert.Contains($"Apply with: agentmetal apply -f {file} --plan 7f3a9c21", text, StringComparison.Ordinal);
        Assert.Equal(10, (await fleet.RunAsync(["plan", "-f", file, "--detailed-exitcode"])).Code);
        Assert.Contains("\"hash\": \"7f3a9c21d0a1\"", (await fleet.RunAsync(["plan", "-f", file, "-o", "json"])).Out, StringComparison.Ordinal);
    }
}
