using System.Security.Cryptography;
using AgentMetal.NodeAgent.Agents.Instance;
using AgentMetal.Runtime.Planning;
using AgentMetal.Runtime.Resources.Kinds;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

/// <summary>Exports of machines against a real qemu-img, libvirt and QEMU; explicit, as RealInstanceTests.</summary>
public sealed class RealExportTests
{
    [Fact(Explicit = true)]
    public async Task Export_OfAMachine_IsWholeAndItsDisksStandAlone()
    {
        var ct = TestContext.Current.CancellationToken;
        await using var world = new InstanceWorld();
        world.More["Image/disk"] = InstanceWorld.Image("busybox.qcow2", "qcow2");
        const string spec = """{"memory":"96Mi","disks":[{"name":"root","image":"disk"},{"name":"more","size":"32Mi","format":"raw"}],"nics":[{}],"shutdown":{"seconds":30,"force":"allowed"}}""";
        world.Spec = spec;
        await world.ConvergeAsync();
        await world.SaysAsync("agentmetal-vm boots 1");
        world.Spec = "{" + InstanceSamples.Asked("export") + spec[1..];
        Assert.Contains((await world.PlanAsync(world.Input())).Blocked, b => b.Reasons.Any(r => r.Contains("agentmetal stop instance/", StringComparison.Ordinal)));
        world.Spec = "{" + InstanceSamples.Asked("export") + "\"power\":\"stopped\"," + spec[1..];
        await world.ConvergeAsync();

        var directory = world.Layout.Export("r-1");
        Assert.Equal(["SHA256SUMS", "manifest.yaml", "more.qcow2", "root.qcow2"], Directory.GetFiles(directory).Select(f => Path.GetFileName(f)!).Order(StringComparer.Ordinal));
        Assert.False(Directory.Exists(directory + ".partial"));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(directory));
        foreach (var line in await File.ReadAllLinesAsync(directory + "/SHA256SUMS", ct))
            Assert.Equal(line[..64], Convert.ToHexStringLower(SHA256.HashData(await File.ReadAllBytesAsync($"{directory}/{line[66..]}", ct))));
        foreach (var file in (string[])["root.qcow2", "more.qcow2"])
            Assert.Null(DiskHeader.Refusal("qcow2", (await File.ReadAllBytesAsync($"{directory}/{file}", ct)).AsSpan(0, 4096)));

        // Asked again for the same, it is not made again; from the manifest another machine goes on where this one was.
        await world.ConvergeAsync(absent: true);
        var manifest = await File.ReadAllTextAsync(directory + "/manifest.yaml", ct);
        await using var again = new InstanceWorld();
        foreach (var document in manifest.Split("---\n")[1..])
        {
            var (name, text) = (document.Split("name: \"")[1].Split('"')[0], document[(document.IndexOf("\nspec: ", StringComparison.Ordinal) + 7)..]);
            if (document.Contains("kind: Image", StringComparison.Ordinal)) again.More["Image/" + name] = InstanceSamples.Valid(ImageKind.Schema, text);
            else again.Spec = text.Replace("\"power\":\"stopped\"", "\"power\":\"running\"", StringComparison.Ordinal);
        }
        await again.ConvergeAsync();
        await again.SaysAsync("agentmetal-vm boots 2");
        await again.ConvergeAsync(absent: true);
        Directory.Delete(directory, recursive: true);
        Assert.Single(world.Ran, t => t == "export-once");
        Assert.Empty(world.Mismatches);
        Assert.Empty(again.Mismatches);
    }
}
