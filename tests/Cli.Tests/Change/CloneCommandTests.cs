using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources;
using AgentMetal.Runtime.Resources.Kinds;
using Google.Protobuf;
using Xunit;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Tests.Change;

public sealed class CloneCommandTests
{
    private const string Web = """{"memory":"96Mi","power":"stopped","request":{"action":"restart","id":"r-1"},"boot":{"kernel":"kernel"},"nics":[{"mac":"52:54:00:00:00:01"},{}],"disks":[{"name":"root","image":"debian","size":"4Gi"},{"name":"data","size":"1Gi","format":"raw"}],"cloudInit":{"enabled":true,"hostname":"web"}}""";

    private static async Task<(FakeCoordinator Fleet, List<ApplyRequest> Sent)> FleetAsync(string spec = Web, bool taken = false)
    {
        var fleet = await FakeCoordinator.StartAsync();
        var sent = new List<ApplyRequest>();
        var (canonical, errors) = InstanceKind.Schema.Validate(System.Text.Encoding.UTF8.GetBytes(spec));
        Assert.Empty(errors);
        var web = new Resource { ApiVersion = "agentmetal.io/v1", Kind = "Instance", Revision = 41, Spec = ByteString.CopyFrom(canonical.AsSpan()), Metadata = new() { Project = "default", Name = "web", Uid = "u-1", Generation = 3, Protect = true, Labels = { ["team"] = "web" } } };
        fleet.Script.OnGet = _ => web;
        fleet.Script.OnList = _ => taken ? new() { Resources = { web } } : new();
        fleet.Script.OnApply = r =>
        {
            sent.Add(r);
            return new() { Results = { new ApplyResult { Action = "created", Resource = r.Resources[0] } } };
        };
        return (fleet, sent);
    }

    [Fact]
    public async Task Clone_AnInstance_KeepsItsSpecWithoutWhatOnlyOneCanHave()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        var (code, text, error) = await fleet.RunAsync(["clone", "instance/web", "web-2", "--no-wait"]);
        Assert.True(code == 0, error);
        Assert.Contains("agentmetal stop instance/web", text + error, StringComparison.Ordinal);
        var clone = Assert.Single(sent).Resources[0];
        Assert.Equal(("web-2", "", 0L, false, "web"), (clone.Metadata.Name, clone.Metadata.Uid, clone.Revision, clone.Metadata.Protect, clone.Metadata.Labels["team"]));
        var (spec, errors) = InstanceKind.Schema.Validate(clone.Spec.Memory);
        Assert.Empty(errors);
        var kept = InstanceSpec.Parse(spec.ToArray());
        Assert.Equal(("web", 96L << 20, "stopped", "kernel", false), (kept.Source, kept.Memory, kept.Power, kept.Kernel, kept.Request.IsGiven));
        Assert.Equal(["", ""], kept.Nics.Select(n => n.Mac));
        Assert.Equal([("root", "", 4L << 30, "qcow2"), ("data", "", 1L << 30, "raw")], kept.Disks.Select(d => (d.Name, d.Image, d.Size, d.Format)));
        Assert.Equal("", kept.CloudInit.Hostname);
        // What it executes is another seed: it is signed anew, or named as not signed.
        Assert.Contains(kept.CloudInitDigest[..12], text + error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"disks":[{"name":"root","volume":"data"}]}""", "uses Volume data")]
    [InlineData("""{"adopt":{"domain":"old"}}""", "which was taken over")]
    public async Task Clone_WhatCannotBeCopied_IsRefused(string spec, string says)
    {
        var (fleet, sent) = await FleetAsync(spec);
        await using var _ = fleet;
        var (code, _, error) = await fleet.RunAsync(["clone", "instance/web", "web-2"]);
        Assert.NotEqual(0, code);
        Assert.Contains(says, error, StringComparison.Ordinal);
        Assert.Empty(sent);
    }

    [Theory]
    [InlineData("web", "web-2")]
    [InlineData("redis/web", "web-2")]
    [InlineData("instance/web", "Web_2")]
    public async Task Clone_BadNames_AreBadInput(string from, string name)
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        Assert.Equal(2, (await fleet.RunAsync(["clone", from, name])).Code);
        Assert.Empty(sent);
    }

    [Fact]
    public async Task Clone_NameThatIsTaken_ChangesNothing()
    {
        var (fleet, sent) = await FleetAsync(taken: true);
        await using var _ = fleet;
        Assert.Equal(2, (await fleet.RunAsync(["clone", "instance/web", "other"])).Code);
        Assert.Empty(sent);
    }
}
