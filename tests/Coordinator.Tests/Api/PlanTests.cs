using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Xunit;
using static AgentMetal.Coordinator.Tests.Kit.CoordinatorKit;

namespace AgentMetal.Coordinator.Tests.Api;

public sealed class PlanTests
{
    [Fact]
    public async Task Plan_AsksTheHostsAndWritesNothing_AndApplyWithItsHashUsesWhatWasShown()
    {
        await using var kit = await StartAsync();
        await using var stream = await (await kit.JoinAsync("edge-1")).AttachAsync();
        var shown = new List<Assignment>();
        stream.Plans = a => { shown.Add(a); return Plan(a, "absent"); };
        var request = new ApplyRequest();
        request.Resources.Add(Redis());
        var plan = await kit.Operator.PlanAsync(request, cancellationToken: Stop);
        var resource = Assert.Single(plan.Resources);
        Assert.Equal(("created", 0L), (resource.Action, resource.FromGeneration));
        Assert.Equal(["place member 0 on edge-1, port 6379"], resource.FleetSteps.Select(s => s.Text));
        Assert.Equal("install", Assert.Single(Assert.Single(resource.Members).Steps).Text);
        Assert.Contains(resource.Changes, c => c is { Path: "spec.port", Before: "", After: "6379" });
        Assert.Empty((await kit.Operator.ListAsync(new() { Kind = "all" }, cancellationToken: Stop)).Resources);

        var applied = await kit.ApplyAsync(plan.Hash[..8], [Redis()]);
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        Assert.Equal(shown[0].ResourceUid, applied.Results[0].Resource.Metadata.Uid);
        Assert.Equal(shown[0].Secrets["password"], stream.Assignments.Single().Secrets["password"]);
    }

    [Fact]
    public async Task Apply_WhenAFactMoved_IsRefusedAndNamesIt()
    {
        await using var kit = await StartAsync();
        await using var stream = await (await kit.JoinAsync("edge-1")).AttachAsync();
        var seen = "absent";
        stream.Plans = a => Plan(a, seen);
        var request = new ApplyRequest();
        request.Resources.Add(Redis());
        var plan = await kit.Operator.PlanAsync(request, cancellationToken: Stop);
        seen = "present";
        var refused = await Assert.ThrowsAsync<RpcException>(() => kit.ApplyAsync(plan.Hash, [Redis()]));
        Assert.Equal(StatusCode.FailedPrecondition, refused.StatusCode);
        Assert.Contains("package was absent, is present", refused.Status.Detail, StringComparison.Ordinal);
        Assert.Empty((await kit.Operator.ListAsync(new() { Kind = "all" }, cancellationToken: Stop)).Resources);
        var other = await Assert.ThrowsAsync<RpcException>(() => kit.ApplyAsync("0123456789abcdef", [Redis()]));
        Assert.Contains("plan again", other.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Plan_OfAHostThatIsAway_SaysSoInItsPlace()
    {
        await using var kit = await StartAsync();
        var node = await kit.JoinAsync("edge-1");
        await using (await node.AttachAsync())
        {
            await kit.ApplyAsync(Redis());
            await kit.UntilAsync("sessions", r => Is(r, "Ready", "True"));
        }
        await kit.UntilAsync("sessions", r => Is(r, "Ready", "False"));
        var request = new ApplyRequest();
        request.Resources.Add(Redis(spec: """{"timeout":7}"""));
        var plan = await kit.Operator.PlanAsync(request, cancellationToken: Stop);
        Assert.Contains("edge-1 is away", Assert.Single(Assert.Single(plan.Resources).Members).Error, StringComparison.Ordinal);
        Assert.Equal("spec.timeout", Assert.Single(plan.Resources[0].Changes).Path);
    }

    private static PlanSummary Plan(Assignment a, string package)
    {
        var plan = new PlanSummary { Hash = "aaaaaaaaaaaa" + package, Outcome = "Ready", Generation = a.Generation };
        var step = new Step { Tool = "install-package", Args = "{}", Text = "install", Risk = "Safe" };
        step.Basis.Add(new Fact { Key = "package", Value = package });
        plan.Steps.Add(step);
        return plan;
    }
}
