using System.Collections.Concurrent;
using AgentMetal.Coordinator.Agents.Orchestrator;
using AgentMetal.Coordinator.Events;
using AgentMetal.Coordinator.Fleet;
using AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.Api;

/// <summary>
/// Makes an event of every change of Ready and Serving, with its cause, also of a Ready that came back. Looked at once a second, so that what flickers in between is one
/// change; one that flaps is told once a minute, with how often it changed.
/// </summary>
internal sealed class ReadinessLog(FleetModel model, StatusBoard board, EventLog events, TimeProvider clock)
{
    /// <summary>Told one by one, so often within <see cref="Window"/>.</summary>
    public const int Plain = 6;

    public static readonly TimeSpan Window = TimeSpan.FromMinutes(10);
    public static readonly TimeSpan Every = TimeSpan.FromMinutes(1);

    private static readonly string[] s_types = ["Ready", "Serving"];

    private sealed class Track
    {
        public string Status = "";
        public DateTimeOffset Since;
        public int Untold;
        public readonly Queue<DateTimeOffset> Told = new();
    }

    private readonly ConcurrentDictionary<string, bool> _dirty = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Uid, string Type), Track> _tracks = [];
    private readonly HashSet<string> _before = new(StringComparer.Ordinal);

    /// <summary>What is there when the coordinator starts; before the first tick.</summary>
    public void Begin(IEnumerable<string> uids)
    {
        foreach (var uid in uids)
        {
            _before.Add(uid);
            Touch(uid);
        }
    }

    /// <summary>Something of this resource may have changed.</summary>
    public void Touch(string uid) => _dirty[uid] = true;

    /// <summary>Called by one loop, once a second.</summary>
    public void Tick()
    {
        foreach (var uid in _tracks.Where(t => t.Value.Untold > 0).Select(t => t.Key.Uid).Concat(_dirty.Keys).Distinct(StringComparer.Ordinal).ToList())
        {
            _dirty.TryRemove(uid, out _);
            if (!model.Current.Resources.TryGetValue(uid, out var row))
            {
                foreach (var type in s_types) _tracks.Remove((uid, type));
                continue;
            }
            var resource = board.Dressed(row);
            var told = "";
            foreach (var type in s_types)
                if (resource.Status.Conditions.FirstOrDefault(c => c.Type == type) is { } condition && Take(resource, condition, told)) told = condition.Message;
        }
    }

    /// <param name="resource">Whose.</param>
    /// <param name="now">How it is.</param>
    /// <param name="told">What was just told of the same resource: one cause is one event.</param>
    /// <returns>Whether it was told.</returns>
    private bool Take(Resource resource, Condition now, string told)
    {
        var (key, at) = ((resource.Metadata.Uid, now.Type), clock.GetUtcNow());
        if (!_tracks.TryGetValue(key, out var track))
        {
            // What was there before this coordinator started was told then. One that is new was not Ready before it was there.
            _tracks[key] = track = new() { Status = now.Status, Since = at };
            if (_before.Contains(key.Uid) || now.Status != "True") return false;
            (track.Status, track.Since) = ("False", DateTimeOffset.FromUnixTimeMilliseconds(resource.Metadata.CreatedUnixMs));
        }
        var (was, lasted) = (track.Status, at - track.Since);
        var changed = was != now.Status;
        if (changed) (track.Status, track.Since, track.Untold) = (now.Status, at, track.Untold + 1);
        if (track.Untold == 0) return false;
        while (track.Told.TryPeek(out var first) && at - first > Window) track.Told.Dequeue();
        if (track.Told.Count >= Plain && at - track.Told.Last() < Every) return false;
        var flaps = track.Untold > 1 ? $" ({track.Untold} changes since it was told last)" : "";
        track.Untold = 0;
        if (told.Length > 0 && told == now.Message) return false;
        track.Told.Enqueue(at);
        var good = now.Status == "True";
        var word = good ? now.Type : "Not" + now.Type;
        var text = good ? $"{now.Type} after {Length(lasted)}: {now.Message}" : $"{(now.Status == "Unknown" ? $"whether it is {now.Type} is unknown" : $"no longer {now.Type}")}: {(now.Message.Length > 0 ? now.Message : now.Reason)}";
        // Somebody who changes what is declared knows that it is not there yet.
        var expected = now.Reason is "Converging" or "Planning" or "Placing" or "Pending" or "Deleting";
        if (good || expected) events.Note("", Keys.Of(resource), word, text + flaps);
        else events.Warn("", Keys.Of(resource), word, text + flaps);
        return true;
    }

    private static string Length(TimeSpan span) => span.TotalSeconds < 120 ? $"{Math.Max(0, (long)span.TotalSeconds)} s" : span.TotalMinutes < 120 ? $"{(long)span.TotalMinutes} min" : $"{(long)span.TotalHours} h";
}
