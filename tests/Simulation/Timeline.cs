using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace AgentMetal.Simulation;

/// <summary>SplitMix64: the only source of chance, the same on every machine and in every version of the platform.</summary>
internal sealed class Dice(ulong seed)
{
    private ulong _state = seed * 0x9E3779B97F4A7C15UL;

    internal int Below(int n) => (int)(Next() % (ulong)n);

    internal bool Chance(int percent) => Below(100) < percent;

    internal TimeSpan Ms(int from, int to) => TimeSpan.FromMilliseconds(from + Below(to - from + 1));

    internal double Fraction() => (Next() >> 11) * (1.0 / (1UL << 53));

    private ulong Next()
    {
        var z = _state += 0x9E3779B97F4A7C15UL;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9UL;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBUL;
        return z ^ (z >> 31);
    }
}

/// <summary>Virtual time and what is to happen in it. Nothing waits; the clock jumps to the next event.</summary>
internal sealed class Timeline : TimeProvider
{
    internal static readonly DateTimeOffset Began = new(2030, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly PriorityQueue<Action, (DateTimeOffset, long)> _events = new();
    private DateTimeOffset _now = Began;
    private long _order;

    internal TimeSpan Elapsed => _now - Began;

    public override DateTimeOffset GetUtcNow() => _now;

    internal void After(TimeSpan span, Action action) => _events.Enqueue(action, (_now + span, ++_order));

    /// <summary>The next event; false = nothing is left.</summary>
    internal bool Step()
    {
        if (!_events.TryDequeue(out var action, out var at)) return false;
        _now = at.Item1;
        action();
        return true;
    }
}

/// <summary>Every line of what happened, as a running hash: two runs of one seed must be the same to the byte.</summary>
internal sealed class Trace(Timeline time, bool keep) : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    internal long Bytes { get; private set; }

    internal List<string> Lines { get; } = [];

    internal void Say(string who, string what)
    {
        var line = string.Create(CultureInfo.InvariantCulture, $"{time.Elapsed.TotalMilliseconds:0} {who} {what}\n");
        var bytes = Encoding.UTF8.GetBytes(line);
        _hash.AppendData(bytes);
        Bytes += bytes.Length;
        if (keep) Lines.Add(line);
    }

    internal string Hex() => Convert.ToHexStringLower(_hash.GetCurrentHash());

    public void Dispose() => _hash.Dispose();
}
