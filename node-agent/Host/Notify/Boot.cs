namespace AgentMetal.NodeAgent.Host.Notify;

/// <summary>Which boot of this host it is: the kernel's boot id (proc(5)), and when PID 1 started, because a container boots without a kernel of its own.</summary>
internal static class Boot
{
    /// <summary>The same until the host boots again; what cannot be read is left out.</summary>
    internal static string Id { get; } = Read("/proc/sys/kernel/random/boot_id").Trim() + "/" + StartOf(Read("/proc/1/stat"));

    /// <summary>Field 22 of proc_pid_stat(5); counted from the last bracket, because the name in brackets may contain anything.</summary>
    internal static string StartOf(string stat) => stat[(stat.LastIndexOf(')') + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries) is { Length: > 19 } fields ? fields[19] : "";

    private static string Read(string path)
    {
        try { return File.ReadAllText(path); }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return ""; }
    }
}
