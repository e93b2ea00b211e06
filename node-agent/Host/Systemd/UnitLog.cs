using AgentMetal.NodeAgent.Host.Processes;

namespace AgentMetal.NodeAgent.Host.Systemd;

/// <summary>Reads what a unit wrote to the journal during one of its runs.</summary>
internal interface IUnitLog
{
    /// <summary>The lines of one invocation, oldest first and at most <see cref="UnitLog.MostLines"/>; empty when they cannot be read.</summary>
    /// <param name="invocation">32 hexadecimal digits. journald sets it itself: no other program can write lines under it.</param>
    /// <param name="stop">Ends the reading.</param>
    Task<IReadOnlyList<string>> ReadAsync(string invocation, CancellationToken stop);
}

/// <summary>By journalctl(1), which knows the journal's files; it is run only after a unit has begun anew.</summary>
internal sealed class UnitLog(IProcessRunner processes) : IUnitLog
{
    internal const int MostLines = 400;
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(5);

    public async Task<IReadOnlyList<string>> ReadAsync(string invocation, CancellationToken stop)
    {
        if (invocation.Length != 32 || !invocation.All(char.IsAsciiHexDigitLower)) return [];
        var read = await processes.RunAsync(new()
        {
            Program = "/usr/bin/journalctl",
            Arguments = ["--quiet", "--no-pager", "--output=cat", $"--lines={MostLines}", "_SYSTEMD_INVOCATION_ID=" + invocation],
            Deadline = Deadline,
        }, stop).ConfigureAwait(false);
        return read.IsSuccess ? read.Stdout.Split('\n', StringSplitOptions.RemoveEmptyEntries) : [];
    }
}
