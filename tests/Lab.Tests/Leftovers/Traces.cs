using AgentMetal.Testing;

namespace AgentMetal.LabTests.Leftovers;

/// <summary>What a lab has left on this machine, looked up without the lab's own records.</summary>
internal static class Traces
{
    /// <summary>Whether an interface is of a lab that this process made, or of one that nobody has registered.</summary>
    public static bool IsOfThisProcess(string name)
    {
        var cache = Environment.GetEnvironmentVariable("AGENTMETAL_CACHE") is { Length: > 0 } chosen ? chosen : Path.Combine(Environment.GetEnvironmentVariable("HOME") ?? "/root", ".cache/agentmetal");
        var index = string.Concat(name.SkipWhile(c => !char.IsAsciiDigit(c)).TakeWhile(char.IsAsciiDigit));
        return name.StartsWith("am", StringComparison.Ordinal) && Read(Path.Combine(cache, "labs", index, "owner")).Split(' ', ':')[0].Trim() is var owner
            && (owner.Length == 0 || owner == Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture));
    }

    /// <summary>Processes, control groups, interfaces, nft tables and directories that bear the lab's mark; empty when it is gone.</summary>
    public static async Task<IReadOnlyList<string>> OfAsync(int index, string stateDirectory, CancellationToken cancellationToken)
    {
        var traces = new List<string>();
        traces.AddRange(Directory.EnumerateDirectories("/sys/class/net").Select(Path.GetFileName)
            .Where(name => name == $"am{index}" || name!.StartsWith($"am{index}-", StringComparison.Ordinal)).Select(name => $"interface {name}"));
        traces.AddRange(Directory.EnumerateDirectories("/sys/fs/cgroup", $"amlab-{index}-*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true })
            .Select(path => $"group {path}"));
        foreach (var process in Directory.EnumerateDirectories("/proc").Where(path => int.TryParse(Path.GetFileName(path), out _)))
            if (Read(Path.Combine(process, "cgroup")).Contains($"/amlab-{index}-", StringComparison.Ordinal) && !IsDead(process))
                traces.Add($"process {process}");
        var tables = (await CommandRunner.RunAsync(["nft", "list", "tables"], TimeSpan.FromSeconds(10), cancellationToken: cancellationToken)).OrThrow();
        traces.AddRange(tables.Stdout.Split('\n').Where(line => line == $"table bridge am{index}"));
        if (Directory.Exists(stateDirectory))
            traces.Add($"directory {stateDirectory}");
        if (File.ReadAllText("/proc/self/mounts").Contains(stateDirectory, StringComparison.Ordinal))
            traces.Add("mount");
        return traces;
    }

    /// <summary>A zombie waits for this machine's PID 1 to collect it and holds nothing.</summary>
    private static bool IsDead(string process) => Read(Path.Combine(process, "stat")) is var stat && (stat.Length == 0 || stat.Contains(") Z ", StringComparison.Ordinal));

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return ""; // The process ended while we looked.
        }
    }
}
