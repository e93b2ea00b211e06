namespace AgentMetal.Cli.Tests.Support;

/// <summary>A directory that is gone afterwards.</summary>
internal sealed class Place : IDisposable
{
    internal string Path { get; } = Directory.CreateTempSubdirectory("agentmetal-cli-").FullName;

    internal string In(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
