using System.Reflection;
using System.Xml.Linq;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>The tests of the libvirt layer and of the Instance agent against a real libvirt and QEMU, inside a host of the lab that has never run a machine.</summary>
[Story("instance", 245)]
public sealed class InstanceOnLibvirtTests
{
    private const string Assembly = "NodeAgent.Tests.dll";

    private static readonly string[] s_namespaces = ["AgentMetal.NodeAgent.Tests.Host.Libvirt", "AgentMetal.NodeAgent.Tests.Agents.Instance", "AgentMetal.NodeAgent.Tests.Agents.Instance.Volumes"];

    [Fact]
    public async Task EveryStory_OnALabHost_RunsAndHolds()
    {
        var ct = TestContext.Current.CancellationToken;
        var images = await VmImages.DirectoryAsync("busybox", ct);
        var tests = AppContext.BaseDirectory.Replace("Lab.Tests", "NodeAgent.Tests", StringComparison.Ordinal);
        Assert.SkipUnless(File.Exists(tests + Assembly), "the tests of the node agent are not built: dotnet build tests/NodeAgent.Tests");
        var wanted = Explicit(tests + Assembly);
        Assert.All(s_namespaces, n => Assert.Contains(wanted, w => w.StartsWith(n + ".", StringComparison.Ordinal)));
        // For a person who looks for some: those whose name has one of these texts, and a text that no name has is a mistake.
        if (Environment.GetEnvironmentVariable("AGENTMETAL_STORY") is { Length: > 0 } texts)
        {
            var only = texts.Split(',');
            Assert.All(only, t => Assert.Contains(wanted, w => w.Contains(t, StringComparison.Ordinal)));
            wanted = [.. wanted.Where(w => only.Any(t => w.Contains(t, StringComparison.Ordinal)))];
        }
        // Two hosts share the stories, which mostly wait for one guest to boot.
        string[] hosts = wanted.Length == 1 ? ["vm-1"] : ["vm-1", "vm-2"];
        await using var lab = await Lab.StartAsync(new() { HostNames = hosts, Binds = [new(tests, "/opt/nodetests"), new(Dotnet.Directory, "/opt/dotnet"), new(images, "/srv/images")] }, ct);
        foreach (var told in await Task.WhenAll(hosts.Select((host, at) => RunAsync(lab[host], [.. wanted.Where((_, i) => i % hosts.Length == at)], ct)))) TestContext.Current.TestOutputHelper?.WriteLine(told);
    }

    /// <summary>One story after the other: some of them restart, freeze and kill the libvirtd that the others use.</summary>
    private static async Task<string> RunAsync(LabHost host, IReadOnlyList<string> stories, CancellationToken ct)
    {
        var run = await host.RunAsync(
            ["env", "AGENTMETAL_LAB_LEADER=1", "DOTNET_ROOT=/opt/dotnet", "/opt/dotnet/dotnet", "/opt/nodetests/" + Assembly, "-noColor", "-parallelMode", "none", "-explicit", "only", "-xml", "/tmp/result.xml",
                .. stories.SelectMany(s => new[] { "-method", s })],
            timeout: TimeSpan.FromMinutes(20), cancellationToken: ct);
        Assert.True(run.Succeeded, run.Stdout + run.Stderr);
        var results = XDocument.Parse(await host.ReadFileAsync("/tmp/result.xml", ct)).Descendants("test").ToLookup(t => $"{t.Attribute("type")?.Value}.{t.Attribute("method")?.Value}", t => t.Attribute("result")?.Value);
        foreach (var story in stories) Assert.True(results[story].Any() && results[story].All(r => r == "Pass"), $"{story}: {(results[story].Any() ? string.Join(", ", results[story]) : "was not run")}\n{run.Stdout}");
        return $"{host.Name}: {stories.Count} stories\n{run.Stdout}";
    }

    /// <summary>The tests that run only when they are asked for, as the built assembly has them: a story that somebody adds is expected from then on.</summary>
    private static string[] Explicit(string file)
    {
        var classes = System.Reflection.Assembly.LoadFrom(file).GetTypes().Where(t => t is { IsClass: true, IsPublic: true } && s_namespaces.Contains(t.Namespace)).ToList();
        var stories = classes.SelectMany(t => t.GetMethods(BindingFlags.Public | BindingFlags.Instance)).Where(m => m.GetCustomAttribute<FactAttribute>() is { Explicit: true }).Select(m => $"{m.DeclaringType!.FullName}.{m.Name}");
        return [.. stories.Order(StringComparer.Ordinal)];
    }
}
