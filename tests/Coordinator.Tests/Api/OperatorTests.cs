using System.Net;
using System.Text;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using Google.Protobuf;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;

namespace AgentMetal.Coordinator.Tests.Api;

public sealed class OperatorTests
{
    [Fact]
    public async Task Apply_OfGarbage_NamesEveryErrorAndChangesNothing()
    {
        await using var kit = await StartAsync();
        var nameless = Redis("");
        nameless.ApiVersion = "v9";
        var unknown = Redis("x");
        unknown.Kind = "Reddis";
        var noJson = Redis("y");
        noJson.Spec = ByteString.CopyFrom(0xff, 0xfe, 0x00);
        var huge = Redis("z");
        huge.Spec = ByteString.CopyFrom(new byte[50_000]);
        var errors = await ErrorsAsync(kit.ApplyAsync(Redis("good"), nameless, unknown, noJson, huge, Redis(new string('a', 200)),
            Redis("w", """{"persistence":{"appendfsync":"sometimes"},"replicas":"two","unheard":1}"""), Redis("good"), new Resource()));
        Assert.Contains(errors, e => e is { Document: 1, Path: "metadata.name" });
        Assert.Contains(errors, e => e is { Document: 1, Path: "apiVersion" });
        Assert.Contains(errors, e => e is { Document: 2, Path: "kind" } && e.Note.Contains("Redis", StringComparison.Ordinal));
        Assert.Contains(errors, e => e is { Document: 3, Path: "spec" });
        Assert.Contains(errors, e => e is { Document: 4, Path: "spec" });
        Assert.Contains(errors, e => e is { Document: 5, Path: "metadata.name" });
        Assert.Contains(errors, e => e is { Document: 6, Path: "spec.persistence.appendfsync" });
        Assert.Contains(errors, e => e is { Document: 6, Path: "spec.replicas" });
        Assert.Contains(errors, e => e is { Document: 6, Path: "spec.unheard" });
        Assert.Contains(errors, e => e.Document == 7 && e.Message.Contains("declared twice", StringComparison.Ordinal));
        Assert.Contains(errors, e => e.Document == 8);
        Assert.Empty((await kit.Operator.ListAsync(new() { Project = "-", Kind = "all" }, cancellationToken: Stop)).Resources);
        Assert.Equal("resources", Assert.Single(await ErrorsAsync(kit.ApplyAsync())).Path);
    }

    [Fact]
    public async Task Apply_Again_BumpsTheGenerationOnlyForTheSpec()
    {
        await using var kit = await StartAsync();
        var first = (await kit.ApplyAsync(Redis())).Results[0];
        Assert.Equal("created", first.Action);
        var same = (await kit.ApplyAsync(Redis(spec: """{ "replicas" : 0 }"""))).Results[0];
        Assert.Equal(("unchanged", 1L, first.Resource.Revision), (same.Action, same.Resource.Metadata.Generation, same.Resource.Revision));
        var labelled = Redis();
        labelled.Metadata.Labels["team"] = "web";
        var changed = (await kit.ApplyAsync(labelled)).Results[0];
        Assert.Equal(("changed", 1L), (changed.Action, changed.Resource.Metadata.Generation));
        Assert.True(changed.Resource.Revision > first.Resource.Revision);
        var respec = (await kit.ApplyAsync(Redis(spec: """{"timeout":5}"""))).Results[0];
        Assert.Equal(("changed", 2L, first.Resource.Metadata.Uid), (respec.Action, respec.Resource.Metadata.Generation, respec.Resource.Metadata.Uid));

        var stale = Redis(spec: """{"timeout":6}""");
        stale.Revision = first.Resource.Revision;
        Assert.Equal("revision", Assert.Single(await ErrorsAsync(kit.ApplyAsync(stale))).Path);
        Assert.Equal("spec.auth.enabled", Assert.Single(await ErrorsAsync(kit.ApplyAsync(Redis(spec: """{"auth":{"enabled":false}}""")))).Path);
    }

    [Fact]
    public async Task Apply_ThatNoHostCanHold_IsRefusedInAPlanAndExplainedWhenApplied()
    {
        await using var kit = await StartAsync();
        await using var stream = await (await kit.JoinAsync("edge-1", ("site", "far"))).AttachAsync();
        var wanted = Redis(spec: """{"placement":{"labels":{"site":"lab"}}}""");
        var dry = new ApplyRequest { DryRun = true };
        dry.Resources.Add(wanted);
        var refused = Assert.Single(await ErrorsAsync(kit.Operator.ApplyAsync(dry, cancellationToken: Stop).ResponseAsync));
        Assert.Equal("spec.placement", refused.Path);
        Assert.Contains("labels site=lab match 0 of 1 hosts", refused.Message, StringComparison.Ordinal);
        await ErrorsAsync(kit.Operator.PlanAsync(dry, cancellationToken: Stop).ResponseAsync);

        await kit.ApplyAsync(wanted);
        var waiting = await kit.UntilAsync("sessions", r => r is not null && Condition(r, "Placed").Reason == "NotPlaced");
        var placed = Condition(waiting, "Placed");
        Assert.Contains("match 0 of 1", placed.Message, StringComparison.Ordinal);
        Assert.True(placed is { Status: "False", SinceUnixMs: > 0, RetryUnixMs: > 0, NextCommand: "agentmetal nodes" });
        // A host that fits comes, and nobody has to ask again.
        await using var other = await (await kit.JoinAsync("edge-2", ("site", "lab"))).AttachAsync();
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
    }

    [Fact]
    public async Task Apply_OfMoreThanATransaction_IsAllThere()
    {
        await using var kit = await StartAsync();
        var many = Enumerable.Range(0, 300).Select(i => Redis($"r{i}", $$"""{"port":{{2000 + i}}}""")).ToArray();
        Assert.All((await kit.ApplyAsync(many)).Results, r => Assert.Equal("created", r.Action));
        Assert.Equal(300, (await kit.Operator.ListAsync(new() { Kind = "redis" }, cancellationToken: Stop)).Resources.Count);
        await kit.RestartAsync();
        Assert.Equal(300, (await kit.Operator.ListAsync(new() { Kind = "redis" }, cancellationToken: Stop)).Resources.Count);
    }

    [Fact]
    public async Task Delete_OfTheProtected_IsRefusedWithTheFix()
    {
        await using var kit = await StartAsync();
        await kit.ApplyAsync(Redis(protect: true));
        var refused = await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.DeleteAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop));
        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Contains("metadata.protect", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Equal(1, (await kit.ApplyAsync(Redis())).Results[0].Resource.Metadata.Generation);
        await kit.Operator.DeleteAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop);
        await kit.UntilAsync("sessions", r => r is null);
    }

    [Fact]
    public async Task Apply_WhileItIsBeingDeleted_IsRefused()
    {
        await using var kit = await StartAsync();
        await using var stream = await (await kit.JoinAsync("edge-1")).AttachAsync(obedient: false);
        await kit.ApplyAsync(Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        await kit.Operator.DeleteAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop);
        Assert.Contains("being deleted", Assert.Single(await ErrorsAsync(kit.ApplyAsync(Redis()))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Json_OverHttp_ListsAndRefusesLikeGrpc()
    {
        await using var kit = await StartAsync();
        await kit.ApplyAsync(Redis());
        var http = kit.OperatorHttp();
        var text = await http.GetStringAsync("/v1/projects/default/redis/sessions", Stop);
        Assert.Contains("\"name\":\"sessions\"", text, StringComparison.Ordinal);
        using var bad = new StringContent("""{"resources":[{"apiVersion":"agentmetal.io/v1","kind":"Redis","metadata":{"name":"Bad Name"}}]}""", Encoding.UTF8, "application/json");
        var refused = await http.PostAsync("/v1/apply", bad, Stop);
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
        Assert.Contains("metadata.name", await refused.Content.ReadAsStringAsync(Stop), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/v1/projects/default/redis/none", Stop)).StatusCode);
    }

    [Fact]
    public async Task Metrics_OnLoopback_AnswerAndServeNothingElse()
    {
        await using var kit = await StartAsync();
        await kit.ApplyAsync(Redis());
        using var http = new HttpClient { BaseAddress = new Uri($"http://{kit.Host.MetricsEndPoint}") };
        Assert.Equal("ok\n", await http.GetStringAsync("/healthz", Stop));
        Assert.Contains("agentmetal_resources{kind=\"Redis\",ready=\"False\"} 1", await http.GetStringAsync("/metrics", Stop), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/v1/projects/default/redis/sessions", Stop)).StatusCode);
    }

    [Fact]
    public async Task JoinToken_OutOfBounds_NamesTheField()
    {
        await using var kit = await StartAsync();
        Assert.Equal("ttl", Assert.Single(await ErrorsAsync(kit.Operator.CreateJoinTokenAsync(new() { TtlSeconds = 5 }, cancellationToken: Stop).ResponseAsync)).Path);
        Assert.Equal("name", Assert.Single(await ErrorsAsync(kit.Operator.CreateJoinTokenAsync(new() { Name = "Bad Name" }, cancellationToken: Stop).ResponseAsync)).Path);
    }

    internal static async Task<IReadOnlyList<FieldError>> ErrorsAsync<T>(Task<T> call)
    {
        var refused = await Assert.ThrowsAsync<RpcException>(() => call);
        Assert.Equal(StatusCode.InvalidArgument, refused.StatusCode);
        return FieldErrors.Parser.ParseFrom(refused.Trailers.GetValueBytes("agentmetal-errors-bin")).Errors;
    }
}
