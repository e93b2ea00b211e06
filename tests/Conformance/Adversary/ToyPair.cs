using System.Collections.Immutable;
using System.Globalization;
using AgentMetal.TestKit.Adversary;

namespace AgentMetal.Conformance.Adversary;

/// <summary>
/// A pair of stores that write to disk now and then, with an agent of a few lines that is right unless a defect is planted in it: what
/// the driver must find on
/// real servers, each way of losing once.
/// </summary>
internal sealed class ToyPair(string defect) : ISubject
{
    private readonly Member[] _members = [new(), new()];
    private int _next;
    private int? _leader = 0;
    private bool _asks;
    private bool _blink = defect == "blink";

    public IReadOnlyList<FaultKind> Kinds { get; } =
    [
        new("kill", 2, r => [Text(r.Next(2))]), new("wipe", 1, r => [Text(r.Next(2))]), new("lead", 1, r => [Text(r.Next(2))]),
            new("hang", 1, r => [Text(r.Next(2))]), new("write", 3, r => [Text(r.Next(1, 9))]),
    ];

    public Task BeginAsync(CancellationToken stop)
    {
        Write(10);
        Save();
        Write(10);
        return Task.CompletedTask;
    }

    public Task<Look> LookAsync(CancellationToken stop)
    {
        Act();
        // Only what a second look puts right: with one that hangs there is no telling.
        _blink = defect == "blink" && !_blink && !_members.Any(m => m.Hangs);
        var held = ImmutableDictionary.CreateBuilder<Place, IReadOnlySet<string>?>();
        foreach (var (m, i) in _members.Select((m, i) => (m, i)))
        {
            held[new(Text(i), "memory")] = m.Hangs ? null : _blink ? new HashSet<string>() : m.Memory.ToHashSet();
            held[new(Text(i), "disk")] = _blink ? new HashSet<string>() : m.Disk.ToHashSet();
        }
        return Task.FromResult(new Look { At = TimeSpan.Zero, Held = held.ToImmutable() });
    }

    public Task<Toll?> InjectAsync(Fault fault, CancellationToken stop)
    {
        var at = int.Parse(fault.Arguments[0], CultureInfo.InvariantCulture);
        switch (fault.Name)
        {
            case "write":
                Write(at);
                return Task.FromResult<Toll?>(Toll.None);
            case "kill":
                if (_members[at].Down) return Task.FromResult<Toll?>(null);
                var saved = _members[at].Disk.ToHashSet();
                if (defect == "forgets what it saved") _members[at].Disk.Clear();
                _members[at].Memory.Clear();
                (_members[at].Down, _members[at].Hangs) = (true, false);
                // Declared: what was saved stays.
                var takesDisk = defect == "says it may take the disk";
                return Task.FromResult<Toll?>(new()
                {
                    Places = takesDisk ? [new(Text(at), "memory"), new(Text(at), "disk")]
                    : [new(Text(at), "memory")],
                    MayGo = i => !saved.Contains(i)
                });
            case "wipe": // A hand's deletion, of files and of what runs from them.
                _members[at].Memory.Clear();
                _members[at].Disk.Clear();
                return Task.FromResult<Toll?>(new() { Places = [new(Text(at), "memory"), new(Text(at), "disk")] });
            case "hang":
                _members[at].Hangs = !_members[at].Down;
                return Task.FromResult<Toll?>(Toll.None);
            case "lead": // A hand makes another one lead; which copies nothing by itself.
                _leader = at;
                return Task.FromResult<Toll?>(Toll.None);
            default: throw new ArgumentOutOfRangeException(nameof(fault), fault, null);
        }
    }

    public Task HealAsync(CancellationToken stop)
    {
        foreach (var m in _members) m.Hangs = false;
        return Task.CompletedTask;
    }

    public Task<Ending> SettleAsync(CancellationToken stop)
    {
        Act();
        if (defect == "restless") return Task.FromResult(Ending.Restless);
        if (defect == "deletes while it settles") _members[1].Memory.Clear();
        _asks = !_members[0].Memory.SetEquals(_members[1].Memory);
        return Task.FromResult(_asks ? Ending.Held : Ending.Converged);
    }

    public Task<Signature?> SignAsync(CancellationToken stop)
    {
        Act();
        if (!_asks || _members.Any(m => m.Hangs)) return Task.FromResult<Signature?>(null);
        // What is signed: the leader's copy replaces the other one.
        var (keeps, goes) = (_leader ?? 0, 1 - (_leader ?? 0));
        var lost = _members[goes].Memory.Union(_members[goes].Disk).Except(_members[keeps].Memory).Except(_members[keeps].Disk).Count();
        _members[goes].Memory.Clear();
        _members[goes].Memory.UnionWith(_members[keeps].Memory);
        _members[goes].Disk.Clear();
        _members[goes].Disk.UnionWith(_members[keeps].Disk);
        return Task.FromResult<Signature?>(new("it goes",
            defect switch { "text says nothing goes" => 0, "text names no number" => null, _ => lost }));
    }

    public Task<IReadOnlyList<string>> UntoldAsync(int givenUp, CancellationToken stop) =>
        Task.FromResult<IReadOnlyList<string>>(defect == "untold" ? ["it was not said"] : []);

    /// <summary>The agent: starts what is down, and copies only from who has everything.</summary>
    private void Act()
    {
        foreach (var (m, i) in _members.Select((m, i) => (m, i)))
        {
            if (defect == "kills what hangs" && m.Hangs && ++m.Hung > 2)
            {
                m.Memory.Clear();
                m.Memory.UnionWith(m.Disk);
                m.Hangs = false;
            }
            if (!m.Down) continue;
            m.Memory.UnionWith(m.Disk);
            m.Down = false;
            if (defect != "old one leads" || i != 0) continue;
            _leader = 0;
            _members[1].Memory.Clear();
            _members[1].Memory.UnionWith(m.Memory);
            _members[1].Disk.Clear();
            _members[1].Disk.UnionWith(m.Memory);
        }
        for (var i = 0; i < 2; i++)
        {
            var (from, to) = (_members[1 - i], _members[i]);
            if (from.Hangs || to.Hangs) continue;
            if (defect == "follows the wiped" && _leader == 1 - i && from.Memory.Count == 0) to.Memory.Clear();
            if (from.Memory.IsSupersetOf(to.Memory) && from.Memory.IsSupersetOf(to.Disk)) to.Memory.UnionWith(from.Memory);
        }
        if (defect == "follows the wiped" && _members.Any(m => m.Memory.Count == 0)) foreach (var m in _members) m.Disk.Clear();
    }

    private void Write(int count)
    {
        foreach (var key in Enumerable.Range(0, count).Select(_ => Text(_next++)).ToArray())
            foreach (var m in _members.Where(m => !m.Down && !m.Hangs)) m.Memory.Add(key);
    }

    private void Save()
    {
        foreach (var m in _members) m.Disk.UnionWith(m.Memory);
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private sealed class Member
    {
        public HashSet<string> Memory { get; } = [];
        public HashSet<string> Disk { get; } = [];
        public bool Down { get; set; }
        public bool Hangs { get; set; }
        public int Hung { get; set; }
    }
}
