using System.Globalization;

namespace AgentMetal.Coordinator.Hosting;

/// <summary>Whether the disk that holds the coordinator's data still takes anything: asked of the file system, and by writing.</summary>
internal sealed class DiskWatch(string data, TimeProvider clock, Func<string, long>? free = null)
{
    /// <summary>Below this the next write may be the one that fails.</summary>
    public const long Least = 16L << 20;

    public static readonly TimeSpan Every = TimeSpan.FromSeconds(5);

    private readonly Func<string, long> _free = free ?? (static path => new DriveInfo(path).AvailableFreeSpace);
    private DateTimeOffset _next;

    /// <summary>What is wrong and what to do; null = nothing.</summary>
    public string? Problem { get; private set; }

    public long Free { get; private set; }

    /// <summary>Looks, if it is time to. True = what is wrong changed.</summary>
    public bool Tick()
    {
        var now = clock.GetUtcNow();
        if (now < _next) return false;
        _next = now + Every;
        var before = Problem;
        Problem = Look();
        return before is null != Problem is null;
    }

    private string? Look()
    {
        var fix = $"free space there (df {data}); hosts keep running, and nothing that is declared now is kept";
        try
        {
            Free = _free(data);
            if (Free < Least) return string.Create(CultureInfo.InvariantCulture, $"the disk that holds the coordinator's data, {data}, is full: {Free >> 20} MiB free: {fix}");
            var probe = Path.Combine(data, ".probe");
            File.WriteAllBytes(probe, [1]);
            File.Delete(probe);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return $"the disk that holds the coordinator's data, {data}, cannot be written: {e.Message}: {fix}"; }
    }
}
