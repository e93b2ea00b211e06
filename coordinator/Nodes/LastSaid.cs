using System.Collections.Concurrent;
using AgentMetal.Proto.V1;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Nodes;

/// <summary>
/// What hosts said last, in a file of its own: a coordinator that has just started shows it until they have said it again, and is no alarm for each resource
/// meanwhile. It is for people's eyes only: nothing is placed, granted or deleted by what was said before.
/// </summary>
internal sealed partial class LastSaid
{
    /// <summary>For so long after a start it stands; a host's longest pause between two calls is half of it.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);

    private readonly string _path;
    private readonly TimeProvider _clock;
    private readonly ILogger<LastSaid> _log;
    private readonly DateTimeOffset _started;
    private readonly ConcurrentDictionary<string, MemberReport> _before = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, MemberReport> _now = new(StringComparer.Ordinal);
    private int _dirty;

    public LastSaid(string path, TimeProvider clock, ILogger<LastSaid> log)
    {
        (_path, _clock, _log, _started) = (path, clock, log, clock.GetUtcNow());
        Load();
    }

    /// <summary>Whether what was said before the start still stands.</summary>
    public bool Stands => _clock.GetUtcNow() - _started < Grace;

    /// <summary>What was said of a member before this coordinator started; null when nothing was, or its time is over.</summary>
    public Reported? Before(string assignment) => Stands && _before.TryGetValue(assignment, out var report)
        ? new(report, At(report), At(report), 0) : null;

    /// <summary>When a node was heard last before the start; null = never.</summary>
    public DateTimeOffset? SeenBefore(string node) => _before.Values.Where(r => r.Assignment.StartsWith(node + "/", StringComparison.Ordinal)).Select(r => (DateTimeOffset?)At(r)).Max();

    public void Put(MemberReport report)
    {
        var kept = report.Clone();
        kept.Status.Details.Clear(); // A guest may have written among them: they are stored nowhere.
        _now[report.Assignment] = kept;
        Interlocked.Exchange(ref _dirty, 1);
    }

    public void Forget(string assignment)
    {
        _before.TryRemove(assignment, out _);
        if (_now.TryRemove(assignment, out _)) Interlocked.Exchange(ref _dirty, 1);
    }

    /// <summary>Now and then, and at the end: what is lost of it costs a restart its quiet, and nothing else.</summary>
    public void Save()
    {
        if (Interlocked.Exchange(ref _dirty, 0) == 0) return;
        try
        {
            using (var file = File.Create(_path + ".new"))
                foreach (var report in _now.Values.Concat(_before.Where(b => Stands && !_now.ContainsKey(b.Key)).Select(b => b.Value))) report.WriteDelimitedTo(file);
            File.Move(_path + ".new", _path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { LogNotKept(_log, _path, e.Message); }
    }

    private void Load()
    {
        if (!File.Exists(_path)) return;
        try
        {
            using var file = File.OpenRead(_path);
            while (file.Position < file.Length)
            {
                var report = MemberReport.Parser.ParseDelimitedFrom(file);
                if (report.Status is not null) _before[report.Assignment] = report;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidProtocolBufferException) { LogNotRead(_log, _path, e.Message); }
    }

    private static DateTimeOffset At(MemberReport report) => DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(report.Status.ReportedUnixMs, 0, 253_402_300_799_000));

    [LoggerMessage(EventId = 2321, Level = LogLevel.Warning, Message = "{Path}: what hosts said last could not be kept: {Why}")]
    private static partial void LogNotKept(ILogger log, string path, string why);

    [LoggerMessage(EventId = 2322, Level = LogLevel.Warning, Message = "{Path}: what hosts said last cannot be read: {Why}; they say it again")]
    private static partial void LogNotRead(ILogger log, string path, string why);
}
