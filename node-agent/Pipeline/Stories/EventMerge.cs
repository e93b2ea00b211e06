using System.Globalization;

namespace AgentMetal.NodeAgent.Pipeline.Stories;

/// <summary>
/// Floods of one member's events: the same text is told a few times, then one line a while says how often it came since. Pure; one a member, the owner locks.
/// </summary>
internal sealed class EventMerge
{
    /// <summary>Told one by one, so often.</summary>
    public const int Plain = 3;

    /// <summary>Between two lines of one flood.</summary>
    public static readonly TimeSpan Every = TimeSpan.FromMinutes(1);

    /// <summary>A text that did not come for so long begins anew.</summary>
    public static readonly TimeSpan Over = TimeSpan.FromMinutes(10);

    private const int MostTexts = 64;

    private sealed class Flood
    {
        public int Told;
        public int Waiting;
        public DateTimeOffset LastTold;
        public DateTimeOffset LastSeen;
        public DateTimeOffset FirstWaiting;
        public required MemberEvent Latest;
    }

    private readonly Dictionary<(string Reason, string Message), Flood> _floods = [];

    /// <summary>What to tell now: the event itself, or nothing while its flood is counted.</summary>
    public MemberEvent? Take(MemberEvent happened)
    {
        var key = (happened.Reason, happened.Message);
        if (!_floods.TryGetValue(key, out var flood) || happened.At - flood.LastSeen > Over)
        {
            if (_floods.Count >= MostTexts) _floods.Remove(_floods.MinBy(f => f.Value.LastSeen).Key);
            _floods[key] = flood = new() { Latest = happened };
        }
        (flood.LastSeen, flood.Latest) = (happened.At, happened);
        if (flood.Told < Plain)
        {
            (flood.Told, flood.LastTold) = (flood.Told + 1, happened.At);
            return happened;
        }
        if (flood.Waiting++ == 0) flood.FirstWaiting = happened.At;
        return null;
    }

    /// <summary>The lines of floods whose time has come.</summary>
    public IReadOnlyList<MemberEvent> Due(DateTimeOffset now)
    {
        List<MemberEvent> due = [];
        foreach (var flood in _floods.Values)
        {
            if (flood.Waiting == 0 || now - flood.LastTold < Every) continue;
            var span = flood.LastSeen - flood.FirstWaiting;
            var times = flood.Waiting == 1 ? "once more" : string.Create(CultureInfo.InvariantCulture, $"{flood.Waiting} times more in {Math.Max(1, Math.Ceiling(span.TotalMinutes)):0} min");
            due.Add(flood.Latest with { Message = $"{flood.Latest.Message} ({times})", Count = flood.Waiting });
            (flood.Waiting, flood.LastTold) = (0, now);
        }
        return due;
    }
}
