using System.Runtime.CompilerServices;
using System.Threading.Channels;
using AgentMetal.Proto.V1;
using Google.Protobuf;

namespace AgentMetal.Coordinator.Events;

/// <summary>
/// What happened, newest 10,000. Kept in two files that take turns, so that a restart loses nothing of it; not in the store, which events would fill.
/// </summary>
internal sealed partial class EventLog : IDisposable
{
    public const int Capacity = 10_000;
    private const int MaxText = 2_000;

    private readonly Lock _lock = new();
    private readonly Queue<Event> _ring = new(Capacity);
    private readonly List<ChannelWriter<bool>> _watchers = [];
    private readonly string _directory;
    private readonly TimeProvider _clock;
    private readonly ILogger<EventLog> _log;
    private StreamWriter? _file;
    private int _inFile;
    private long _last;

    public EventLog(string directory, TimeProvider clock, ILogger<EventLog> log)
    {
        (_directory, _clock, _log) = (directory, clock, log);
        Directory.CreateDirectory(directory);
        foreach (var path in new[] { Older, Newer })
            if (File.Exists(path)) _inFile = Load(path);
        if (!File.Exists(Newer)) _inFile = 0;
        _file = Open();
    }

    private string Newer => Path.Combine(_directory, "events.jsonl");

    private string Older => Path.Combine(_directory, "events.1.jsonl");

    /// <summary>The last sequence number given out.</summary>
    public long Last { get { lock (_lock) return _last; } }

    /// <summary>Something happened here or on a node.</summary>
    /// <param name="node">Name of the node; empty = the coordinator itself.</param>
    /// <param name="resourceKey">"Redis default/sessions"; may be empty.</param>
    /// <param name="type">Normal or Warning.</param>
    /// <param name="reason">CamelCase code.</param>
    /// <param name="message">For people; never a secret.</param>
    /// <param name="at">When; null = now.</param>
    public void Add(string node, string resourceKey, string type, string reason, string message, DateTimeOffset? at = null)
    {
        var happened = new Event
        {
            AtUnixMs = (at ?? _clock.GetUtcNow()).ToUnixTimeMilliseconds(),
            NodeName = Cut(node),
            ResourceKey = Cut(resourceKey),
            Type = type == "Warning" ? "Warning" : "Normal",
            Reason = Cut(reason),
            Message = Cut(message),
        };
        lock (_lock)
        {
            happened.Seq = ++_last;
            Keep(happened);
            Write(happened);
            foreach (var watcher in _watchers) watcher.TryWrite(true);
        }
    }

    public void Warn(string node, string resourceKey, string reason, string message) => Add(node, resourceKey, "Warning", reason, message);

    public void Note(string node, string resourceKey, string reason, string message) => Add(node, resourceKey, "Normal", reason, message);

    /// <summary>The newest that match, oldest first.</summary>
    public IReadOnlyList<Event> List(long afterSeq, int limit, string resourceKey, string node)
    {
        lock (_lock)
            return [.. _ring.Where(e => e.Seq > afterSeq && Matches(e, resourceKey, node)).TakeLast(limit is > 0 and < Capacity ? limit : Capacity)];
    }

    /// <summary>What matches and comes after a sequence number, until cancelled. A reader that falls behind by more than the log holds misses the difference.</summary>
    public async IAsyncEnumerable<Event> WatchAsync(long afterSeq, string resourceKey, string node, [EnumeratorCancellation] CancellationToken cancel)
    {
        var signal = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
        lock (_lock) _watchers.Add(signal.Writer);
        try
        {
            while (true)
            {
                IReadOnlyList<Event> next;
                long seen;
                lock (_lock) (next, seen) = ([.. _ring.Where(e => e.Seq > afterSeq)], _last);
                foreach (var e in next)
                    if (Matches(e, resourceKey, node)) yield return e;
                afterSeq = seen;
                await signal.Reader.ReadAsync(cancel);
            }
        }
        finally
        {
            lock (_lock) _watchers.Remove(signal.Writer);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            // What a full disk did not take is lost with or without a word; the end of a coordinator does not fail for it.
            try { _file?.Dispose(); }
            catch (IOException e) { LogLost(_log, e.Message); }
            _file = null;
        }
    }

    private static bool Matches(Event e, string resourceKey, string node) =>
        (resourceKey.Length == 0 || e.ResourceKey == resourceKey) && (node.Length == 0 || e.NodeName == node);

    private static string Cut(string text) => text.Length <= MaxText ? text : text[..MaxText] + "…";

    private void Keep(Event happened)
    {
        if (_ring.Count == Capacity) _ring.Dequeue();
        _ring.Enqueue(happened);
        _last = happened.Seq;
    }

    private void Write(Event happened)
    {
        try
        {
            if (_inFile >= Capacity)
            {
                _file?.Dispose();
                File.Move(Newer, Older, overwrite: true);
                (_file, _inFile) = (Open(), 0);
            }
            _file?.WriteLine(JsonFormatter.Default.Format(happened));
            _inFile++;
        }
        // A full disk must not stop the fleet: the event is in memory, and said in the log.
        catch (IOException e) { LogLost(_log, e.Message); }
    }

    private StreamWriter Open() => new(new FileStream(Newer, FileMode.Append, FileAccess.Write, FileShare.Read)) { AutoFlush = true };

    private int Load(string path)
    {
        var lines = 0;
        foreach (var line in File.ReadLines(path))
        {
            lines++;
            // The last line of a crash may be cut: what can be read of the rest is worth more than a refusal to start.
            try { Keep(JsonParser.Default.Parse<Event>(line)); }
            catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException) { LogCut(_log, path, lines); }
        }
        return lines;
    }

    [LoggerMessage(EventId = 2101, Level = LogLevel.Warning, Message = "An event could not be written to disk: {Why}")]
    private static partial void LogLost(ILogger log, string why);

    [LoggerMessage(EventId = 2102, Level = LogLevel.Warning, Message = "{Path}: line {Line} is not an event and is left out")]
    private static partial void LogCut(ILogger log, string path, int line);
}
