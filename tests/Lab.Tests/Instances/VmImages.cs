using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using AgentMetal.Testing;

namespace AgentMetal.LabTests.Instances;

/// <summary>The images that vm-images.sh builds, each set once for a run of the tests.</summary>
internal static class VmImages
{
    /// <summary>Where hosts of a fleet see the set `busybox`.</summary>
    public const string OnHosts = "/srv/images";

    /// <summary>What a kernel wants to hear on emulated processors of a busy machine; vm-images.sh says why.</summary>
    public const string CommandLine = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check";

    private static readonly ConcurrentDictionary<string, Task<string>> s_sets = new(StringComparer.Ordinal);

    /// <summary>The directory of a set; skips the calling test, naming what is missing, where its machines cannot run.</summary>
    public static async Task<string> DirectoryAsync(string set, CancellationToken stop)
    {
        await SharedLab.RequireCapabilityAsync();
        if (RuntimeInformation.OSArchitecture != Architecture.X64) Assert.Skip("this machine cannot run a lab: it lacks an x86-64 processor, which its virtual machines are made for");
        return await s_sets.GetOrAdd(set, name => LabScript.VmImagesAsync(name, stop));
    }

    /// <summary>The Image resource for one file of a set.</summary>
    public static async Task<string> ResourceAsync(string set, string file, string name, string format, string url, CancellationToken stop)
    {
        var digest = (await File.ReadAllTextAsync(Path.Combine(await DirectoryAsync(set, stop), file + ".sha256"), stop)).Trim();
        return $$"""
            apiVersion: agentmetal.io/v1
            kind: Image
            metadata: { name: {{name}} }
            spec: { url: "{{url}}", sha256: {{digest}}, format: {{format}} }
            ---

            """;
    }
}
