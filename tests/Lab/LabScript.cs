using System.Diagnostics;

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

    /// <summary>Builds the disk and kernel of guests if they are missing (half a minute, and the root filesystem before it).</summary>
    public static async Task GuestImageAsync(CancellationToken cancellationToken) => (await CommandRunner.RunAsync(
        [Path.Combine(ScriptDirectory, "guest.sh"), "image"], TimeSpan.FromMinutes(30), default, CacheEnvironment(), cancellationToken)).OrThrow();

    /// <summary>Builds a set of images of virtual machines (`busybox`, `cloud`) if it is missing: half a minute, or some for the second.</summary>
    /// <returns>Its directory.</returns>
    public static async Task<string> VmImagesAsync(string set, CancellationToken cancellationToken) => (await CommandRunner.RunAsync(
        [Path.Combine(ScriptDirectory, "vm-images.sh"), set], TimeSpan.FromMinutes(30), default, CacheEnvironment(), cancellationToken)).OrThrow().Stdout.Trim();

    /// <summary>A guest's address; its disk is made by this.</summary>
    public async Task<string> DefineGuestAsync(string name, IEnumerable<string> options, CancellationToken cancellationToken)
    {
        (await CommandRunner.RunAsync(
            [Path.Combine(ScriptDirectory, "guest.sh"), "define", name, .. options], TimeSpan.FromMinutes(2), default, ScriptEnvironment(), cancellationToken)).OrThrow();
        return await RequireAsync(TimeSpan.FromSeconds(30), cancellationToken, "address", name);
    }

    /// <summary>The machine itself: the script becomes it, so that killing this process is its power cut.</summary>
    public Process StartGuest(string name)
    {
        var start = new ProcessStartInfo(Path.Combine(ScriptDirectory, "guest.sh"))
        {
            ArgumentList = { "run", name },
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (key, value) in ScriptEnvironment())
            start.Environment[key] = value;
        return Process.Start(start) ?? throw new LabException("guest.sh could not be started");
    }

    private Dictionary<string, string> ScriptEnvironment() => new(CacheEnvironment()) { ["LAB_STATE"] = stateDirectory };

    private static Dictionary<string, string> CacheEnvironment() => new() { ["AGENTMETAL_CACHE"] = CacheDirectory };
}
