using AgentMetal.Coordinator.Api;
using AgentMetal.Coordinator.Hosting;
using AgentMetal.Coordinator.Nodes;
using AgentMetal.Coordinator.Tests.Kit;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Xunit;

namespace AgentMetal.Coordinator.Tests.Api;

public sealed class ReadinessTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    private static RootCause.Why Why(int ordinal, string reason, string message) => new(ordinal, reason, message);

    [Fact]
    public void RootCause_MemberThatOthersWaitFor_IsShownBeforeThem()
    {
        Assert.Equal(1, RootCause.Of([Why(0, "Waiting", "member 1 cannot be seen"), Why(1, "Stuck", "down: port 6379 is taken")]));
        Assert.Equal(1, RootCause.Of([Why(0, "Waiting", "edge-1: member 1 cannot be seen"), Why(1, "Waiting", "port 6379 is taken")]));
        Assert.Equal(0, RootCause.Of([Why(0, "Waiting", "member 1 cannot be seen"), Why(1, "Waiting", "member 0 comes first")]));
        Assert.Equal(0, RootCause.Of([Why(0, "Escalated", "tried"), Why(1, "Stuck", "x")]));
    }

    [Fact]
    public async Task Ready_LostAndBack_LeavesAnEventOfEachWithItsCause()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var node = await kit.JoinAsync("edge-1");
        var stream = await node.AttachAsync();
        await kit.ApplyAsync(CoordinatorKit.Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        var assignment = stream.Assignments[0];
        await stream.ReportAsync(assignment, "Converged");
        await EventAsync(kit, "Ready");
        await stream.ReportAsync(assignment, "Stuck", message: "every write is refused (OOM)");
        Assert.Contains("no longer Ready: edge-1: every write is refused (OOM)", (await EventAsync(kit, "NotReady", after: "Ready")).Message, StringComparison.Ordinal);
        await stream.ReportAsync(assignment, "Converged");
        Assert.StartsWith("Ready after", (await EventAsync(kit, "Ready", after: "NotReady")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Restart_WhatHostsSaidLast_StandsUntilTheySayItAgain()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        var node = await kit.JoinAsync("edge-1");
        var stream = await node.AttachAsync();
        await kit.ApplyAsync(CoordinatorKit.Redis());
        await stream.UntilAsync(s => s.Assignments.Count == 1);
        await stream.ReportAsync(stream.Assignments[0]);
        await kit.UntilAsync("sessions", r => CoordinatorKit.Is(r, "Ready", "True"));
        await kit.RestartAsync();
        var after = await kit.Operator.GetAsync(new() { Kind = "Redis", Name = "sessions" }, cancellationToken: Stop);
        Assert.True(CoordinatorKit.Is(after, "Ready", "True"), after.Status.ToString());
        Assert.Contains("as last seen at", CoordinatorKit.Condition(after, "Ready").Message, StringComparison.Ordinal);
        Assert.Equal("Converged", after.Status.Members[0].Phase);
        Assert.True(CoordinatorKit.Is(after, "Serving", "True"));
    }

    [Fact]
    public void LastSaid_AfterTheGrace_StandsForNothing()
    {
        var (clock, path) = (new FakeTimeProvider(), Path.Combine(Directory.CreateTempSubdirectory("agentmetal-said-").FullName, "said"));
        var first = new LastSaid(path, clock, NullLogger<LastSaid>.Instance);
        var report = new MemberReport { Assignment = "n/Redis/u/0", Status = new() { Phase = "Converged", ReportedUnixMs = 5 } };
        report.Status.Details["console"] = "a guest's";
        first.Put(report);
        first.Save();
        Assert.DoesNotContain("a guest's", File.ReadAllText(path), StringComparison.Ordinal);
        var second = new LastSaid(path, clock, NullLogger<LastSaid>.Instance);
        Assert.Equal("Converged", second.Before("n/Redis/u/0")!.Report.Status.Phase);
        Assert.Equal(0, second.Before("n/Redis/u/0")!.Served);
        clock.Advance(LastSaid.Grace);
        Assert.Null(second.Before("n/Redis/u/0"));
        File.WriteAllBytes(path, [1, 2, 3]);
        Assert.Null(new LastSaid(path, clock, NullLogger<LastSaid>.Instance).Before("n/Redis/u/0"));
    }

    [Fact]
    public void DiskWatch_Full_SaysWhichDiskAndWhenItIsOver()
    {
        var (clock, free) = (new FakeTimeProvider(), 1L << 30);
        var data = Directory.CreateTempSubdirectory("agentmetal-disk-").FullName;
        var disk = new DiskWatch(data, clock, _ => free);
        Assert.False(disk.Tick());
        Assert.Null(disk.Problem);
        free = 1 << 20;
        Assert.False(disk.Tick());
        clock.Advance(DiskWatch.Every);
        Assert.True(disk.Tick());
        Assert.Contains(data + ", is full: 1 MiB free", disk.Problem, StringComparison.Ordinal);
        free = 1L << 30;
        clock.Advance(DiskWatch.Every);
        Assert.True(disk.Tick());
        Assert.Null(disk.Problem);
    }

    [Fact]
    public async Task Events_OfNothingThatExists_IsNotFound()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        await kit.JoinAsync("edge-1");
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.ListEventsAsync(new() { Node = "nope" }, cancellationToken: Stop))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(async () => await kit.Operator.ListEventsAsync(new() { ResourceKey = "Redis default/nope" }, cancellationToken: Stop))).StatusCode);
        await kit.Operator.ListEventsAsync(new() { Node = "edge-1" }, cancellationToken: Stop);
    }

    [Fact]
    public async Task Admission_LimitBelowWhatItLimits_IsRefused()
    {
        await using var kit = await CoordinatorKit.StartAsync();
        foreach (var spec in new[] { """{"boot":{"kernel":"k"},"cpus":4,"maxCpus":2}""", """{"boot":{"kernel":"k"},"memory":"512Mi","maxMemory":"256Mi"}""" })
        {
            var refused = await Assert.ThrowsAsync<RpcException>(() => kit.ApplyAsync(new Resource { ApiVersion = "agentmetal.io/v1", Kind = "Instance", Metadata = new() { Name = "web" }, Spec = Google.Protobuf.ByteString.CopyFromUtf8(spec) }));
            Assert.Equal(StatusCode.InvalidArgument, refused.StatusCode);
        }
    }

    private static async Task<Event> EventAsync(CoordinatorKit kit, string reason, string after = "")
    {
        var until = DateTimeOffset.UtcNow.AddSeconds(30);
        while (true)
        {
            var events = (await kit.Operator.ListEventsAsync(new(), cancellationToken: Stop)).Events.ToList();
            var from = after.Length == 0 ? 0 : events.FindLastIndex(e => e.Reason == after) + 1;
            if (events.Skip(from).FirstOrDefault(e => e.Reason == reason) is { } found) return found;
            Assert.True(DateTimeOffset.UtcNow < until, $"no event {reason}: {string.Join(" | ", events.Select(e => e.Reason + " " + e.Message))}");
            await Task.Delay(100, Stop);
        }
    }
}
