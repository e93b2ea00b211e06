using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>The tests of the Instance agent against a real libvirt and QEMU, inside a host of the lab that has never run a machine.</summary>
public sealed class InstanceOnLibvirtTests
{
    private const string Namespace = "AgentMetal.NodeAgent.Tests.Agents.Instance.";

    [Theory]
    [InlineData("RealInstanceTests", "Total: 6, Errors: 0, Failed: 0, Skipped: 0, Not Run: 1")]
    [InlineData("RealSnapshotTests", "Total: 4, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0")]
    public async Task EveryTool_OnALabHost_PredictionEqualsObservation(string name, string summary)
    {
        var ct = TestContext.Current.CancellationToken;
        var images = await VmImages.DirectoryAsync("busybox", ct);
        var tests = AppContext.BaseDirectory.Replace("Lab.Tests", "NodeAgent.Tests", StringComparison.Ordinal);
        Assert.SkipUnless(File.Exists(tests + "/NodeAgent.Tests.dll"), "the tests of the node agent are not built: dotnet build tests/NodeAgent.Tests");
        await using var lab = await Lab.StartAsync(new() { HostNames = ["vm-1"], Binds = [new(tests, "/opt/nodetests"), new(Dotnet.Directory, "/opt/dotnet"), new(images, "/srv/images")] }, ct);
        var run = await lab["vm-1"].RunAsync(
            ["env", "DOTNET_ROOT=/opt/dotnet", "/opt/dotnet/dotnet", "/opt/nodetests/NodeAgent.Tests.dll", "-noColor", "-explicit", "only", "-class", Namespace + name],
            timeout: TimeSpan.FromMinutes(8), cancellationToken: ct);
        Assert.True(run.Succeeded, run.Stdout + run.Stderr);
        Assert.Contains(summary, run.Stdout, StringComparison.Ordinal);
    }
}
