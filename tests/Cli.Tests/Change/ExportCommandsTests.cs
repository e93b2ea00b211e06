using AgentMetal.Cli.Tests.Support;
using AgentMetal.Proto.V1;
using AgentMetal.Runtime.Resources.Kinds;
using Google.Protobuf;
using Xunit;
using Resource = AgentMetal.Proto.V1.Resource;

namespace AgentMetal.Cli.Tests.Change;

public sealed class ExportCommandsTests
{
    private const string Sha = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    private const string Manifest = """
        # Declares the exported instance again
        ---
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata: { project: "default", name: "kernel" }
        spec: {"format":"kernel","sha256":"SHA","url":"https://images.example/vmlinuz"}
        ---
        apiVersion: agentmetal.io/v1
        kind: Image
        metadata: { project: "default", name: "root-aaaaaaaaaaaa" }
        spec: {"format":"qcow2","sha256":"SHA","url":"file:///var/lib/agentmetal/exports/default-web-r-1/root.qcow2"}
        ---
        apiVersion: agentmetal.io/v1
        kind: Instance
        metadata: { project: "default", name: "web" }
        spec: {"boot":{"kernel":"kernel"},"disks":[{"image":"root-aaaaaaaaaaaa","name":"root","size":"1Gi"}],"nics":[{"mac":"52:54:00:00:00:01"}],"placement":{"labels":{"site":"lab"}}}

        """;

    private static async Task<(FakeCoordinator Fleet, List<ApplyRequest> Sent)> FleetAsync(string power = "running")
    {
        var fleet = await FakeCoordinator.StartAsync();
        var sent = new List<ApplyRequest>();
        fleet.Script.OnGet = _ => new() { ApiVersion = "agentmetal.io/v1", Kind = "Instance", Revision = 41, Spec = ByteString.CopyFromUtf8("{\"power\":\"" + power + "\",\"disks\":[{\"name\":\"root\",\"size\":\"1Gi\"}]}"), Metadata = new() { Project = "default", Name = "web", Uid = "u-1", Generation = 3 } };
        fleet.Script.OnApply = r =>
        {
            sent.Add(r);
            return new() { Results = { r.Resources.Select(x => new ApplyResult { Action = "created", Resource = x }) } };
        };
        return (fleet, sent);
    }

    [Theory]
    [InlineData("running", true)]
    [InlineData("stopped", false)]
    public async Task Export_AsksOnceAndSaysWhereItWillBe(string power, bool says)
    {
        var (fleet, sent) = await FleetAsync(power);
        await using var _ = fleet;
        var (code, text, error) = await fleet.RunAsync(["export", "instance/web", "--no-wait"]);
        Assert.True(code == 0, error);
        Assert.Contains("\"action\":\"export\"", Assert.Single(sent).Resources[0].Spec.ToStringUtf8(), StringComparison.Ordinal);
        Assert.Equal(says, (text + error).Contains("agentmetal stop instance/web", StringComparison.Ordinal));
        Assert.Contains("/var/lib/agentmetal/exports/", text + error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Import_WithoutMore_DeclaresTheManifestAndSaysWhatIsSigned()
    {
        var (resources, said) = await ImportAsync();
        Assert.Equal(["kernel", "root-aaaaaaaaaaaa", "web"], resources.Select(r => r.Metadata.Name));
        Assert.Contains("file:///var/lib/agentmetal/exports/default-web-r-1/root.qcow2", resources[1].Spec.ToStringUtf8(), StringComparison.Ordinal);
        Assert.Contains("52:54:00:00:00:01", resources[2].Spec.ToStringUtf8(), StringComparison.Ordinal);
        Assert.Contains("aaaaaaaaaaaa", said, StringComparison.Ordinal); // Signed, or named as not signed.
    }

    [Fact]
    public async Task Import_WithAnotherName_HasAddressesOfItsOwn()
    {
        var (resources, _) = await ImportAsync("--name", "web-2");
        Assert.Equal("web-2", resources[2].Metadata.Name);
        Assert.DoesNotContain("52:54:00:00:00:01", resources[2].Spec.ToStringUtf8(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Import_FromAnotherPlace_FindsTheDisksThereAndLeavesOtherImages()
    {
        var (resources, _) = await ImportAsync("--base-url", "https://files.example/web/");
        Assert.Equal("https://files.example/web/root.qcow2", ImageSpec.Parse(resources[1].Spec.Memory).Url);
        Assert.Equal("https://images.example/vmlinuz", ImageSpec.Parse(resources[0].Spec.Memory).Url);
    }

    [Fact]
    public async Task Import_ToAHost_RunsThereAndNowhereElse()
    {
        var (resources, _) = await ImportAsync("--to", "edge-2");
        Assert.Contains("\"placement\":{\"node\":\"edge-2\"}", resources[2].Spec.ToStringUtf8(), StringComparison.Ordinal);
        Assert.Contains("52:54:00:00:00:01", resources[2].Spec.ToStringUtf8(), StringComparison.Ordinal);
        (resources, _) = await ImportAsync();
        Assert.Contains("\"placement\":{\"labels\":{\"site\":\"lab\"}}", resources[2].Spec.ToStringUtf8(), StringComparison.Ordinal);
        var (code, said, sent) = await RunImportAsync(["--to", "edge-9"]);
        Assert.Equal(2, code);
        Assert.Empty(sent);
        Assert.Contains("no host is named edge-9; there are edge-1, edge-2", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Import_OfAFileThatIsNoManifest_IsBadInput()
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        var file = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.yaml");
        await File.WriteAllTextAsync(file, Manifest[..Manifest.IndexOf("---\napiVersion: agentmetal.io/v1\nkind: Instance", StringComparison.Ordinal)].Replace("SHA", Sha, StringComparison.Ordinal), TestContext.Current.CancellationToken);
        try { Assert.Equal(2, (await fleet.RunAsync(["import", "-f", file])).Code); }
        finally { File.Delete(file); }
        Assert.Empty(sent);
    }

    private static async Task<(Resource[] Resources, string Said)> ImportAsync(params string[] more)
    {
        var (code, said, sent) = await RunImportAsync(more);
        Assert.True(code == 0, said);
        return ([.. Assert.Single(sent).Resources], said);
    }

    private static async Task<(int Code, string Said, List<ApplyRequest> Sent)> RunImportAsync(string[] more)
    {
        var (fleet, sent) = await FleetAsync();
        await using var _ = fleet;
        fleet.Script.Nodes.AddRange([new Node { Name = "edge-1" }, new Node { Name = "edge-2" }]);
        var file = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.yaml");
        await File.WriteAllTextAsync(file, Manifest.Replace("SHA", Sha, StringComparison.Ordinal), TestContext.Current.CancellationToken);
        try
        {
            var (code, text, error) = await fleet.RunAsync(["import", "-f", file, "--no-wait", .. more]);
            return (code, text + error, sent);
        }
        finally { File.Delete(file); }
    }
}
