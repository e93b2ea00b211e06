using AgentMetal.LabTests.Fleets;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>A machine is written to files, deleted, and declared again from them.</summary>
[Story("instance", 25)]
public sealed class ExportTests(SharedFleet shared)
{
    private static readonly TimeSpan Boot = TimeSpan.FromMinutes(4);

    [Fact]
    public async Task Export_DeleteImport_GivesTheDataBack()
    {
        var stop = TestContext.Current.CancellationToken;
        var fleet = await shared.GetAsync();
        var host = fleet.Lab.Hosts[0];
        (await fleet.ApplyAsync(await Machines.ImagesAsync(stop) + $$"""
            apiVersion: agentmetal.io/v1
            kind: Instance
            metadata: { name: carried }
            spec: { memory: 96Mi, disks: [ { name: root, image: busybox-disk } ], nics: [ { network: default } ], shutdown: { seconds: 20, force: allowed }, placement: { labels: { host: {{host.Name}} } } }
            """, stop)).OrThrow();
        Assert.Equal("1", await Machines.SaysAsync(host, "carried", "boots ", 1, Boot, stop));
        (await fleet.CliAsync(stop, "stop", "instance/carried")).OrThrow();
        (await fleet.CliAsync(stop, "export", "instance/carried")).OrThrow();
        var directory = await host.ShellAsync("ls -d /var/lib/agentmetal/exports/default-carried-r-*", stop);
        Assert.DoesNotContain("partial", directory, StringComparison.Ordinal);
        await host.ShellAsync($"cd {directory} && sha256sum -c SHA256SUMS", stop);
        await Machines.RemoveAsync(fleet, stop, "carried");
        Assert.Equal("", await host.ShellAsync("ls -d /var/lib/agentmetal/instances/default-carried 2>/dev/null || true", stop));

        var manifest = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.yaml");
        await File.WriteAllTextAsync(manifest, await host.ShellAsync($"cat {directory}/manifest.yaml", stop) + "\n", stop);
        try
        {
            var imported = (await fleet.CliAsync(stop, "import", "-f", manifest, "--name", "returned")).OrThrow();
            Assert.Contains("Signed", imported.Stderr + imported.Stdout, StringComparison.Ordinal);
            (await fleet.CliAsync(stop, "start", "instance/returned")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(host, "returned", "boots ", 1, Boot, stop));

            // And on another host, which finds the files elsewhere.
            var other = fleet.Lab.Hosts[1];
            using var server = new FileServer($"/proc/{host.LeaderPid}/root{directory}", fleet.Lab.GatewayAddress);
            (await fleet.CliAsync(stop, "import", "-f", manifest, "--name", "elsewhere", "--to", other.Name, "--base-url", server.Url)).OrThrow();
            (await fleet.CliAsync(stop, "start", "instance/elsewhere")).OrThrow();
            Assert.Equal("2", await Machines.SaysAsync(other, "elsewhere", "boots ", 1, Boot, stop));
        }
        finally
        {
            File.Delete(manifest);
            await Machines.RemoveAsync(fleet, stop, "returned", "elsewhere");
        }
    }
}
