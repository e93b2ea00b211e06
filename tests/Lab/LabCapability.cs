using System.Globalization;

namespace AgentMetal.Testing;

/// <summary>Whether this machine can run a lab at all.</summary>
public static class LabCapability
{
    private const int CapSysAdmin = 21; // linux/capability.h

    /// <summary>Null when hosts can be made here; otherwise what is missing, in words for a person.</summary>
    public static async Task<string?> MissingAsync(CancellationToken cancellationToken = default)
    {
        if (!OperatingSystem.IsLinux())
            return "Linux";
        if (!Environment.IsPrivilegedProcess)
            return "root";
        if (!HasSysAdmin(File.ReadLines("/proc/self/status")))
            return "the capability CAP_SYS_ADMIN";
        if (!File.ReadLines("/proc/filesystems").Any(line => line.EndsWith("\toverlay", StringComparison.Ordinal)))
            return "the overlay filesystem in this kernel";
        try
        {
            var attempt = await CommandRunner.RunAsync(
                ["unshare", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--pid", "--fork", "true"],
                TimeSpan.FromSeconds(10), cancellationToken: cancellationToken);
            return attempt.Succeeded ? null : $"namespaces: {attempt.Stderr.Trim()}";
        }
        catch (LabException exception)
        {
            return exception.Message;
        }
    }

    internal static bool HasSysAdmin(IEnumerable<string> status)
    {
        var line = status.FirstOrDefault(line => line.StartsWith("CapEff:", StringComparison.Ordinal));
        return line is not null
            && ulong.TryParse(line["CapEff:".Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var bits)
            && (bits >> CapSysAdmin & 1) == 1;
    }
}
