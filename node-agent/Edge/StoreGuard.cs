using System.Collections.Concurrent;
using System.Collections.Immutable;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Store;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.NodeAgent.Edge;

/// <summary>Something that this host is told and does not do.</summary>
/// <param name="Told">As it was told.</param>
/// <param name="Stand">See KnownMember.</param>
/// <param name="Why">For people.</param>
/// <param name="Since">Since when.</param>
internal sealed record RefusedItem(V1.Assignment Told, string Stand, string Why, DateTimeOffset Since);

/// <summary>
/// What this host has seen of a coordinator's store, and what it does not go back from: the store and how far it was followed, the generation of each
/// member, what was handed over. Absence from a list never deletes anything; it makes an orphan, which has a name.
/// </summary>
internal sealed class StoreGuard(ILinkState state, TimeProvider clock)
{
    private const int OrphanBytes = 2 * 1024 * 1024;

    private readonly Dictionary<string, V1.Assignment> _told = new(StringComparer.Ordinal);
    private readonly Dictionary<string, RefusedItem> _refused = new(StringComparer.Ordinal);
    private volatile ConcurrentDictionary<string, SeenMember> _seen = new(StringComparer.Ordinal); // Reports read it, the link writes it.
    private Dictionary<string, DateTimeOffset> _orphans = new(StringComparer.Ordinal);
    private string _storeId = "";
    private ImmutableArray<StoreEpoch> _epochs = [];

    /// <summary>How far the store was followed.</summary>
    public StoreMark Mark { get; private set; } = StoreMark.None;

    /// <summary>Why the store that is offered is not followed; empty = it is.</summary>
    public string Refused { get; private set; } = "";

    public DateTimeOffset Since { get; private set; }

    /// <summary>An operator signed for the store that is offered: attach anew.</summary>
    public bool Accepted { get; private set; }

    public int Orphans => _orphans.Count;

    /// <summary>Whether operators struck that host off.</summary>
    public Func<string, bool> IsStruckOff { get; set; } = static _ => false;

    public async Task LoadAsync(CancellationToken stop)
    {
        Mark = await state.MarkAsync(stop);
        var seen = new ConcurrentDictionary<string, SeenMember>(await state.SeenAsync(stop), StringComparer.Ordinal);
        _orphans = new(await state.OrphansAsync(stop), StringComparer.Ordinal);
        // A host of before has seen what it holds.
        foreach (var a in await state.AssignmentsAsync(stop))
            seen.TryAdd(a.Key, new(a.Generation));
        _seen = seen;
    }

    /// <summary>A coordinator says which store it has. The first that a host hears is the one it follows.</summary>
    public async Task WelcomeAsync(V1.Welcome welcome, CancellationToken stop)
    {
        _told.Clear();
        Accepted = false;
        _storeId = welcome.StoreId;
        _epochs = [.. welcome.Epochs.Select(e => new StoreEpoch(e.Id, e.Token, e.From, e.Until))];
        var why = StoreHistory.WhyNot("this host", Mark, welcome.StoreId, _epochs, welcome.Head) ?? (welcome.PutBack.Length > 0 ? welcome.PutBack : null);
        if (why is not null)
        {
            if (Refused.Length == 0) Since = clock.GetUtcNow();
            Refused = why;
            return;
        }
        Refused = "";
        var next = new StoreMark(welcome.StoreId, _epochs is [.., var last] ? last.Id : Mark.Epoch, _epochs is [.., var now] ? now.Token : Mark.Token, Math.Max(welcome.Head, Mark.StoreId == welcome.StoreId ? Mark.Revision : 0));
        if (next == Mark) return;
        await state.SaveMarkAsync(next, stop);
        Mark = next;
    }

    /// <summary>Operators signed that this store is followed from there on. Null = they signed for another one than is offered here.</summary>
    public StoreMark? Answers(string storeId, string epoch, long from) =>
        storeId == _storeId && StoreHistory.Has(_epochs, epoch, from) ? new(storeId, epoch, _epochs.First(e => e.Id == epoch).Token, from) : null;

    /// <summary>It is on the disk that this store is followed from there on.</summary>
    public void Accept(StoreMark mark)
    {
        Mark = mark;
        foreach (var (key, seen) in _seen.ToList()) _seen[key] = seen with { Generation = 0 };
        (Accepted, Refused) = (true, "");
        _refused.Clear();
    }

    /// <summary>Remembers what was told; while the store is refused, to say in what it differs.</summary>
    public void Hear(V1.CoordinatorMessage message)
    {
        if (message.Full) _told.Clear();
        foreach (var a in message.Assignments) _told[a.Key] = a;
    }

    /// <summary>Whether this host does what it is told of one member; a refusal is kept until something newer is told. True in the second = it is news.</summary>
    public (bool Takes, bool News) Take(V1.Assignment told)
    {
        if (Older(told) is not { } found)
        {
            _refused.Remove(told.Key);
            return (true, false);
        }
        var news = !_refused.TryGetValue(told.Key, out var before) || before.Why != found.Why;
        _refused[told.Key] = new(told, found.Stand, found.Why, news ? clock.GetUtcNow() : before!.Since);
        return (false, news);
    }

    public RefusedItem? RefusedOf(string key) => _refused.GetValueOrDefault(key);

    /// <summary>They are on the disk.</summary>
    public void Saved(IEnumerable<V1.Assignment> taken, StoreMark mark)
    {
        Mark = mark;
        foreach (var a in taken)
            _seen[a.Key] = _seen.TryGetValue(a.Key, out var seen) ? seen with { Generation = Math.Max(seen.Generation, a.Generation) } : new(a.Generation);
    }

    /// <summary>The mark once everything up to this revision is stored.</summary>
    public StoreMark At(long revision) => Mark with { Revision = Math.Max(Mark.Revision, revision) };

    /// <summary>What a full list leaves out is orphaned, and what it names is none any more. Returns those that are new.</summary>
    public async Task<IReadOnlyList<MemberView>> OrphanAsync(IEnumerable<MemberView> left, IEnumerable<string> named, bool full, CancellationToken stop)
    {
        var now = clock.GetUtcNow();
        var before = _orphans.Count;
        List<MemberView> all = [.. left], fresh = [.. all.Where(v => !_orphans.ContainsKey(v.Input.Key))];
        var gone = named.Where(_orphans.ContainsKey).ToList();
        if (full) gone.AddRange(_orphans.Keys.Except(all.Select(v => v.Input.Key)).Except(gone).ToList());
        if (fresh.Count == 0 && gone.Count == 0) return [];
        foreach (var key in gone) _orphans.Remove(key);
        foreach (var view in fresh) _orphans[view.Input.Key] = now;
        await state.SaveOrphansAsync(_orphans, stop);
        return fresh;
    }

    /// <summary>What it remembers of a hand-over once this host has nothing of the member any more, and forgets when it has it back. Null = nothing new.</summary>
    public SeenMember? Handed(MemberView view)
    {
        var seen = _seen.GetValueOrDefault(view.Input.Key) ?? new(view.Input.Generation);
        var to = view.Move.HandedOver;
        if (to.Length > 0 && seen.HandedTo != to) return seen with { HandedTo = to, HandedName = view.Input.MoveTo?.NodeName ?? to };
        return view.Move.Received.Length > 0 && seen.HandedTo.Length > 0 ? seen with { HandedTo = "", HandedName = "" } : null;
    }

    public async Task SaveHandedAsync(string key, SeenMember seen, CancellationToken stop)
    {
        await state.SaveHandedAsync(key, seen, stop);
        _seen[key] = seen;
    }

    /// <summary>Where this host and the store do not agree, for the coordinator and its people.</summary>
    public async Task<V1.HostStanding> StandingAsync(IReadOnlyList<MemberView> members, CancellationToken stop)
    {
        if (Refused.Length == 0 && _orphans.Count == 0 && _refused.Count == 0) return new();
        var standing = new V1.HostStanding { StoreRefused = Refused };
        if (Refused.Length > 0) (standing.Seen, standing.SinceUnixMs) = (ToProto(Mark), Since.ToUnixTimeMilliseconds());
        var stored = (await state.AssignmentsAsync(stop)).ToDictionary(a => a.Key, StringComparer.Ordinal);
        var bytes = 0;
        foreach (var view in members.Where(v => !v.Gone))
        {
            var (key, own) = (view.Input.Key, stored.GetValueOrDefault(view.Input.Key));
            if (own is null) continue;
            var told = _told.GetValueOrDefault(key);
            var orphan = Refused.Length > 0 ? told is null : _orphans.ContainsKey(key);
            if (orphan) standing.Members.Add(Orphan(own, view, ref bytes));
            else if (Refused.Length > 0 && told!.Absent && !own.Absent) standing.Members.Add(Differs(own, view, told, "absent", "it is to be deleted there"));
            else if (Refused.Length > 0 && told!.Generation < own.Generation) standing.Members.Add(Differs(own, view, told, "older", $"generation {told.Generation} there, {own.Generation} here"));
        }
        foreach (var item in _refused.Values)
            if (stored.GetValueOrDefault(item.Told.Key) is var own && standing.Members.All(m => m.Assignment.Key != item.Told.Key))
                standing.Members.Add(new V1.KnownMember { Assignment = Bare(own ?? item.Told), Stand = item.Stand, Why = item.Why, SinceUnixMs = item.Since.ToUnixTimeMilliseconds(), ToldGeneration = item.Told.Generation });
        if (Refused.Length == 0) return standing;
        foreach (var told in _told.Values.Where(t => !t.Absent && !stored.ContainsKey(t.Key)))
        {
            // What is gone from here, and is older there than its deletion, is not set back: it returns.
            var older = Older(told) is { Stand: not "older" } found ? found : ((string Stand, string Why)?)null;
            standing.Members.Add(new V1.KnownMember { Assignment = Bare(told), Stand = older?.Stand ?? "returns", Why = older?.Why ?? "it is not here, and would be made", ToldGeneration = told.Generation });
        }
        return standing;
    }

    private (string Stand, string Why)? Older(V1.Assignment told)
    {
        if (!_seen.TryGetValue(told.Key, out var seen)) return null;
        var key = $"{told.Kind} {told.Project}/{told.Name} #{told.Ordinal}";
        if (told.Generation < seen.Generation) return ("older", $"generation {told.Generation} of {key} is older than {seen.Generation}, which this host was told before");
        if (seen.HandedTo.Length > 0 && !told.Absent && told.MoveFrom is null && told.MoveTo?.NodeUid != seen.HandedTo && !IsStruckOff(seen.HandedTo))
            return ("handed-over", $"{key} was handed over to {seen.HandedName} and may run there: it is not made here again");
        return null;
    }

    private V1.KnownMember Orphan(V1.Assignment own, MemberView view, ref int bytes)
    {
        var size = own.CalculateSize();
        var whole = bytes + size <= OrphanBytes;
        if (whole) bytes += size;
        return new()
        {
            Assignment = whole ? own.Clone() : Bare(own),
            Stand = "orphan",
            Why = whole ? "it is not in the coordinator's list" : "it is not in the coordinator's list; there are too many to tell all of them at once",
            Summary = view.Summary,
            SinceUnixMs = (_orphans.TryGetValue(own.Key, out var since) ? since : Since).ToUnixTimeMilliseconds(),
        };
    }

    private static V1.KnownMember Differs(V1.Assignment own, MemberView view, V1.Assignment told, string stand, string why) =>
        new() { Assignment = Bare(own), Stand = stand, Why = why, Summary = view.Summary, ToldGeneration = told.Generation };

    /// <summary>What names it and what it takes of its host, without what it is made of.</summary>
    private static V1.Assignment Bare(V1.Assignment a)
    {
        var bare = new V1.Assignment { Key = a.Key, Kind = a.Kind, Project = a.Project, Name = a.Name, ResourceUid = a.ResourceUid, Ordinal = a.Ordinal, Generation = a.Generation, ReserveMemory = a.ReserveMemory, ReserveCpuMillis = a.ReserveCpuMillis };
        bare.Peers.AddRange(a.Peers.Where(p => p.Ordinal == a.Ordinal));
        return bare;
    }

    public static V1.StoreMark ToProto(StoreMark mark) => new() { StoreId = mark.StoreId, Epoch = mark.Epoch, Token = mark.Token, Revision = mark.Revision };
}
