namespace AgentMetal.LabTests;

/// <summary>Where the runtime of these tests is: hosts are given it to run tests of their own.</summary>
internal static class Dotnet
{
    /// <summary>Links are followed: what is on the path is often one to where the runtime is.</summary>
    public static string Directory { get; } = Path.GetDirectoryName(Path.GetFullPath(Environment.ProcessPath is { } path && Path.GetFileName(path) == "dotnet" ? path : OnPath()))!;

    private static string OnPath()
    {
        var found = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Select(d => d + "/dotnet").First(File.Exists);
        return File.ResolveLinkTarget(found, returnFinalTarget: true)?.FullName ?? found;
    }
}
