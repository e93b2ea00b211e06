using AgentMetal.Cli.Audit;
using AgentMetal.Cli.Home;
using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using Grpc.Core;
using Xunit;
using Status = Grpc.Core.Status;

namespace AgentMetal.Cli.Tests.CommandLine;

/// <summary>What cannot be meant is said, with exit code 2, and nothing is asked or changed.</summary>
public sealed class BadInputTests
{
    [Theory]
    [InlineData("events", "--limit", "-4")]
    [InlineData("events", "--limit", "0")]
    [InlineData("events", "--limit", "many")]
    [InlineData("audit", "--limit", "-1")]
    public async Task Limit_NoPossibleNumber_IsNamedWithoutWordsOfTheRuntime(string command, string option, string value)
    {
        var paper = new Paper();
        Assert.Equal(2, await paper.RunAsync(command, option, value));
        Assert.Contains($"{option}: \"{value}\" is not a whole number from 1 to 10000", paper.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("System.", paper.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("apply", "-f", "x.yaml")]
    [InlineData("delete", "redis", "sessions")]
    [InlineData("restart", "instance", "web")]
    [InlineData("migrate", "instance/web", "--to", "edge-1")]
    [InlineData("snapshot", "instance/web", "monday")]
    public async Task WaitAndNoWait_Together_AreRefusedBeforeAnythingIsAsked(params string[] command)
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        var (code, _, error) = await fleet.RunAsync([.. command, "--wait", "--no-wait"]);
        Assert.Equal(2, code);
        Assert.Contains("--wait and --no-wait were both given", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ValidFor_LongerThanASignatureStands_IsRefused()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        var (code, _, error) = await fleet.RunAsync(["approve", "--valid-for", "30d"]);
        Assert.Equal(2, code);
        Assert.Contains("stands at most 7 d", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Home_ThatDoesNotExist_IsNotTheWorkingDirectory()
    {
        var before = Environment.GetEnvironmentVariable("HOME");
        var (home, set) = (Environment.GetEnvironmentVariable("AGENTMETAL_HOME"), "/nonexistent/of-nobody");
        try
        {
            Environment.SetEnvironmentVariable("HOME", set);
            Environment.SetEnvironmentVariable("AGENTMETAL_HOME", null);
            Assert.Equal(set + "/.agentmetal", OperatorHome.At(null).Path);
        }
        finally
        {
            Environment.SetEnvironmentVariable("HOME", before);
            Environment.SetEnvironmentVariable("AGENTMETAL_HOME", home);
        }
    }

    [Fact]
    public void AuditText_Body_IsWordsAndNoJson()
    {
        Assert.Equal("by alice, resources created \"x\"; changed y, step 0123456789ab…", AuditText.Of("""{"by":"alice","resources":"created \u0022x\u0022\nchanged y","step":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","reason":""}"""));
        Assert.Equal("reasons [a, b], basis [(key k, value v)]", AuditText.Of("""{"reasons":["a","b"],"basis":[{"key":"k","value":"v"}]}"""));
        Assert.Equal("{broken", AuditText.Of("{broken"));
    }

    [Fact]
    public async Task Audit_QuarantinedChainThatIsWholeHere_IsNotCalledIntact()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        var record = Runtime.Audit.AuditChain.Next("n1", 0, Runtime.Audit.AuditChain.Genesis, DateTimeOffset.UnixEpoch, "Planned", "", "{}");
        fleet.Script.Audit.Add(new AuditRecord { Chain = "n1", Seq = 1, AtUnixMs = 0, Kind = "Planned", Body = "{}", Previous = record.Previous, Hash = record.Hash });
        var node = new Node { Uid = "n1", Name = "edge-1", AuditSeq = 1 };
        fleet.Script.Nodes.Add(node);
        Assert.Equal(0, (await fleet.RunAsync(["audit", "--verify"])).Code);
        node.Conditions.Add(new Condition { Type = "AuditWhole", Status = "False", Message = "the host's log was cut" });
        var (code, text, _) = await fleet.RunAsync(["audit", "--verify"]);
        Assert.Equal(1, code);
        Assert.Contains("the host's log was cut", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Revert_SnapshotThatDoesNotExistOrIsAnothers_IsRefused()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnGet = r => r.Kind == "Instance" ? Machine(withDisk: true) : r.Name == "monday" ? Snapshot("db") : throw new RpcException(new Status(StatusCode.NotFound, "none"));
        Assert.Equal(3, (await fleet.RunAsync(["revert", "instance/web", "--to", "never"])).Code);
        var (code, _, error) = await fleet.RunAsync(["revert", "instance/web", "--to", "monday"]);
        Assert.Equal(2, code);
        Assert.Contains("is of instance db, and not of web", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Snapshot_MachineWithoutADisk_IsRefused()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnGet = _ => Machine(withDisk: false);
        var (code, _, error) = await fleet.RunAsync(["snapshot", "instance/web", "monday"]);
        Assert.Equal(1, code);
        Assert.Contains("has no disk", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Get_CoordinatorWithAFullDisk_SaysSo()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        fleet.Script.OnList = _ => new ListReply { Resources = { Samples.Sessions() }, Notes = { "the disk that holds the coordinator's data, /x, is full" } };
        Assert.Contains("note: the disk that holds the coordinator's data, /x, is full", (await fleet.RunAsync(["get", "all"])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Get_Watch_OutlivesARestartOfTheCoordinatorAndRepeatsNothing()
    {
        await using var fleet = await FakeCoordinator.StartAsync();
        using var enough = new CancellationTokenSource();
        var watches = 0;
        fleet.Script.OnWatch = (_, _) => Stream(++watches, enough);
        var paper = new Paper(clock: TimeProvider.System);
        var code = await Cli.CommandLine.Root.RunAsync(paper.Screen, ["get", "all", "-w", "--home", fleet.Home, "--coordinator", $"127.0.0.1:{fleet.Port}"], enough.Token);
        Assert.Equal(130, code);
        Assert.Equal(2, watches);
        Assert.Contains("watching again when it is back", paper.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("added", paper.Out, StringComparison.Ordinal);
        Assert.Contains("modified", paper.Out, StringComparison.Ordinal);
    }

    private static async IAsyncEnumerable<ResourceChange> Stream(int watch, CancellationTokenSource enough)
    {
        yield return new ResourceChange { Type = "added", Resource = Samples.Sessions() };
        yield return new ResourceChange { Type = "bookmark" };
        if (watch == 1) throw new RpcException(new Status(StatusCode.Unavailable, "restarts"));
        yield return new ResourceChange { Type = "modified", Resource = Samples.Sessions(ready: "False") };
        await Task.Delay(500);
        await enough.CancelAsync();
        await Task.Delay(Timeout.Infinite, enough.Token);
    }

    private static Resource Machine(bool withDisk) => new()
    {
        ApiVersion = "agentmetal.io/v1",
        Kind = "Instance",
        Metadata = new() { Project = "default", Name = "web", Uid = "u" },
        Spec = Google.Protobuf.ByteString.CopyFromUtf8(withDisk ? """{"disks":[{"name":"root"}]}""" : """{"disks":[]}"""),
    };

    private static Resource Snapshot(string of) => new() { ApiVersion = "agentmetal.io/v1", Kind = "Snapshot", Metadata = new() { Project = "default", Name = "monday", Uid = "s" }, Spec = Google.Protobuf.ByteString.CopyFromUtf8($$"""{"instance":"{{of}}"}""") };
}
