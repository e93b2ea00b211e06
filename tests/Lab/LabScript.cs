namespace AgentMetal.Testing;

/// <summary>Calls host.sh for one lab. The script is the only place that knows how a host is made.</summary>
internal sealed class LabScript(string stateDirectory)
{
    private static readonly string ScriptDirectory = Path.Combine(AppContext.BaseDirectory, "lab");

    public static string CacheDirectory { get; } =
        Environment.GetEnvironmentVariable("AGENTMETAL_CACHE") is { Length: > 0 } chosen
            ? Path.GetFullPath(chosen)
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", "agentmetal");

    public string StateDirectory => stateDirectory;

    /// <summary>One verb with its arguments, to its end. Errors name the verb and carry what the script said.</summary>
    public async Task<string> RequireAsync(TimeSpan timeout, CancellationToken cancellationToken, params string[] arguments) =>
        (await RunAsync(timeout, default, cancellationToken, arguments)).OrThrow().Stdout.Trim();

    public Task<CommandResult> RunAsync(
        TimeSpan timeout, ReadOnlyMemory<byte> stdin, CancellationToken cancellationToken, params string[] arguments) =>
        CommandRunner.RunAsync(
            [Path.Combine(ScriptDirectory, "host.sh"), .. arguments], timeout, stdin, ScriptEnvironment(), cancellationToken);

    /// <summary>Builds the root filesystem if it is missing (about a minute), installs missing tools.</summary>
    /// <returns>Its directory.</returns>
    public static async Task<string> RootFilesystemAsync(CancellationToken cancellationToken)
    {
        var result = await CommandRunner.RunAsync(
            [Path.Combine(ScriptDirectory, "rootfs.sh")], TimeSpan.FromMinutes(20), default, CacheEnvironment(), cancellationToken);
        return result.OrThrow().Stdout.Trim();
    }

    private Dictionary<string, string> ScriptEnvironment() => new(CacheEnvironment()) { ["LAB_STATE"] = stateDirectory };

    private static Dictionary<string, string> CacheEnvironment() => new() { ["AGENTMETAL_CACHE"] = CacheDirectory };
}
