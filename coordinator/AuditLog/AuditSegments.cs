using System.Globalization;
using AgentMetal.Runtime.Audit;
using Google.Protobuf;
using V1 = AgentMetal.Proto.V1;

namespace AgentMetal.Coordinator.AuditLog;

/// <summary>What came of a node's audit records.</summary>
/// <param name="Acked">Durable here up to this sequence number.</param>
/// <param name="Problem">Why the chain is quarantined; null = it is whole.</param>
/// <param name="New">The problem was found just now.</param>
internal sealed record AuditReceipt(long Acked, string? Problem, bool New);

/// <summary>Records of a chain that are missing here although their host was told that they are here: this directory went back.</summary>
/// <param name="From">The first that is missing.</param>
/// <param name="To">The last one.</param>
internal sealed record ChainGap(long From, long To)
{
    /// <summary>For people, and a line of the file GAPS.</summary>
    public string Text => string.Create(CultureInfo.InvariantCulture, $"records {From} to {To} are missing here: this coordinator had them and told the host so, and its data went back since; the host is whole");

    /// <summary>Of a line of that file; null = it is none.</summary>
    public static ChainGap? Parse(string line) => line.Split(' ') is ["records", var from, "to", var to, ..] && long.TryParse(from, NumberStyles.None, CultureInfo.InvariantCulture, out var first)
        && long.TryParse(to, NumberStyles.None, CultureInfo.InvariantCulture, out var last) ? new(first, last) : null;
}

/// <summary>
/// The nodes' hash chains, one directory each, in files of JSON lines. Every record is verified against the one before as it arrives. A chain that does
/// not hold is quarantined: nothing more is taken from it, what was there stays as evidence, and only a person clears it by moving the directory away.
/// </summary>
internal sealed class AuditSegments(string directory)
{
    public const int RecordsPerFile = 10_000;
    private const string Mark = "QUARANTINED";
    private const string GapFile = "GAPS";
    private const int KnownHashes = 4_096;

    private sealed class Chain
    {
        public readonly Lock Lock = new();
        public long Seq;
        public string Hash = AuditChain.Genesis;
        public string? Problem;

        /// <summary>Records that this directory does not have any more, and that their host may have pruned, because it was told that they are here.</summary>
        public readonly List<ChainGap> Gaps = [];

        /// <summary>Up to where the host was told so.</summary>
        public long Told;
        public readonly Queue<(long Seq, string Hash)> Recent = new();
    }

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Chain> _chains = new(StringComparer.Ordinal);

    /// <summary>Names of all chains, ordered.</summary>
    public IReadOnlyList<string> Chains => !Directory.Exists(directory) ? [] :
        [.. Directory.EnumerateDirectories(directory).Select(d => Path.GetFileName(d)!).Order(StringComparer.Ordinal)];

    /// <summary>Where the chain ends.</summary>
    public AuditReceipt Head(string chain)
    {
        var c = Open(chain);
        lock (c.Lock) return new(c.Seq, c.Problem, false);
    }

    /// <summary>Verifies and stores. Records that are there already are passed over if they are the same.</summary>
    /// <param name="chain">The node's uid, from its certificate.</param>
    /// <param name="records">In order.</param>
    /// <exception cref="IOException">The disk refused; nothing is acknowledged.</exception>
    public AuditReceipt Append(string chain, IReadOnlyList<V1.AuditRecord> records)
    {
        var c = Open(chain);
        lock (c.Lock)
        {
            if (c.Problem is not null) return new(c.Seq, c.Problem, false);
            var fresh = new List<V1.AuditRecord>();
            foreach (var record in records)
            {
                if (record.Chain != chain) return Quarantine(chain, c, $"record {record.Seq} says that it is of chain {record.Chain}");
                if (record.Seq > c.Seq) { fresh.Add(record); continue; }
                if (HashAt(chain, c, record.Seq) is { } known && known != record.Hash)
                    return Quarantine(chain, c, $"record {record.Seq} is not the one that was received before: the host's log was rewritten");
            }
            if (fresh.Count == 0) return new(c.Seq, null, false);
            var gap = fresh[0].Seq > c.Seq + 1 && fresh[0].Seq - 1 <= c.Told;
            if (gap) Leap(chain, c, fresh[0]);
            if (AuditChain.Verify(fresh.Select(AuditWire.Read), c.Seq, c.Hash) is { } broken) return Quarantine(chain, c, broken);
            Write(chain, fresh);
            foreach (var record in fresh) Remember(c, record.Seq, record.Hash);
            return new(c.Seq, null, gap);
        }
    }

    /// <summary>
    /// The host was told that its records up to there are here. If they are not, this directory went back, and not the host: what is missing is a gap, which
    /// is told and kept, and the chain goes on after it.
    /// </summary>
    public void Told(string chain, long acked)
    {
        var c = Open(chain);
        lock (c.Lock) c.Told = Math.Max(c.Told, acked);
    }

    /// <summary>What of a chain is missing here, in order.</summary>
    public IReadOnlyList<ChainGap> GapsOf(string chain)
    {
        if (!IsName(chain)) return [];
        var c = Open(chain);
        lock (c.Lock) return [.. c.Gaps];
    }

    /// <summary>The host's newest record is older than what it has sent before.</summary>
    public AuditReceipt Shrunk(string chain, long newest)
    {
        var c = Open(chain);
        lock (c.Lock)
        {
            if (c.Problem is not null || newest >= c.Seq) return new(c.Seq, c.Problem, false);
            return Quarantine(chain, c, $"the host's log ends at record {newest}, but record {c.Seq} was received from it: the host's log was cut or replaced");
        }
    }

    /// <summary>Records after a sequence number, at most so many, of one resource if named.</summary>
    public IEnumerable<V1.AuditRecord> Read(string chain, long afterSeq, int limit, string resourceKey)
    {
        if (!IsName(chain) || !Directory.Exists(Folder(chain))) yield break;
        foreach (var path in Files(chain))
        {
            if (LastOf(path) <= afterSeq) continue;
            foreach (var record in ReadFile(path))
            {
                if (record.Seq <= afterSeq || (resourceKey.Length > 0 && record.ResourceKey != resourceKey)) continue;
                if (limit-- <= 0) yield break;
                yield return record;
            }
        }
    }

    private Chain Open(string name)
    {
        if (!IsName(name)) throw new ArgumentException("not a node uid", nameof(name));
        lock (_lock)
        {
            if (_chains.TryGetValue(name, out var chain)) return chain;
            chain = new();
            if (Directory.Exists(Folder(name)))
            {
                var mark = Path.Combine(Folder(name), Mark);
                var gaps = Path.Combine(Folder(name), GapFile);
                if (File.Exists(gaps)) chain.Gaps.AddRange(File.ReadAllLines(gaps).Select(ChainGap.Parse).OfType<ChainGap>());
                if (File.Exists(mark)) chain.Problem = File.ReadAllText(mark).Trim();
                if (Files(name).LastOrDefault() is { } newest) Load(chain, newest);
            }
            return _chains[name] = chain;
        }
    }

    private static void Load(Chain chain, string path)
    {
        var lines = CutPartialLine(path);
        foreach (var record in ReadFile(path))
        {
            Remember(chain, record.Seq, record.Hash);
            lines--;
        }
        if (lines > 0) chain.Problem ??= $"{Path.GetFileName(path)} is damaged after record {chain.Seq}";
    }

    private void Leap(string name, Chain chain, V1.AuditRecord next)
    {
        var gap = new ChainGap(chain.Seq + 1, next.Seq - 1);
        Directory.CreateDirectory(Folder(name));
        File.AppendAllText(Path.Combine(Folder(name), GapFile), gap.Text + "\n");
        chain.Gaps.Add(gap);
        (chain.Seq, chain.Hash) = (next.Seq - 1, next.Previous);
    }

    private AuditReceipt Quarantine(string name, Chain chain, string problem)
    {
        Directory.CreateDirectory(Folder(name));
        File.WriteAllText(Path.Combine(Folder(name), Mark), problem + "\n");
        chain.Problem = problem;
        return new(chain.Seq, problem, true);
    }

    private void Write(string name, List<V1.AuditRecord> records)
    {
        Directory.CreateDirectory(Folder(name));
        foreach (var file in records.GroupBy(r => (r.Seq - 1) / RecordsPerFile))
        {
            using var stream = new FileStream(PathOf(name, file.Key), FileMode.Append, FileAccess.Write, FileShare.Read);
            foreach (var record in file)
            {
                stream.Write(System.Text.Encoding.UTF8.GetBytes(JsonFormatter.Default.Format(record)));
                stream.WriteByte((byte)'\n');
            }
            // Acknowledged records may be pruned on the host: they must be on disk here first.
            stream.Flush(flushToDisk: true);
        }
    }

    private string? HashAt(string name, Chain chain, long seq)
    {
        foreach (var known in chain.Recent)
            if (known.Seq == seq) return known.Hash;
        return Read(name, seq - 1, 1, "").FirstOrDefault(r => r.Seq == seq)?.Hash;
    }

    private static void Remember(Chain chain, long seq, string hash)
    {
        (chain.Seq, chain.Hash) = (seq, hash);
        chain.Recent.Enqueue((seq, hash));
        if (chain.Recent.Count > KnownHashes) chain.Recent.Dequeue();
    }

    private string Folder(string name) => Path.Combine(directory, name);

    private string PathOf(string name, long index) => Path.Combine(Folder(name), index.ToString("D6", CultureInfo.InvariantCulture) + ".jsonl");

    private IEnumerable<string> Files(string name) => Directory.EnumerateFiles(Folder(name), "*.jsonl").Order(StringComparer.Ordinal);

    private static long LastOf(string path) => (long.Parse(Path.GetFileNameWithoutExtension(path), CultureInfo.InvariantCulture) + 1) * RecordsPerFile;

    /// <summary>The records of a file, up to the first line that is none: one that is being written just now, or damage, which Open finds.</summary>
    private static IEnumerable<V1.AuditRecord> ReadFile(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        using var reader = new StreamReader(stream);
        while (reader.ReadLine() is { } line)
        {
            V1.AuditRecord record;
            try { record = JsonParser.Default.Parse<V1.AuditRecord>(line); }
            catch (Exception e) when (e is InvalidProtocolBufferException or InvalidJsonException) { yield break; }
            yield return record;
        }
    }

    /// <summary>A crash may leave a line without its end: it was never acknowledged, so it goes. Whole lines are never touched. Returns how many remain.</summary>
    private static long CutPartialLine(string path)
    {
        var bytes = File.ReadAllBytes(path);
        var end = bytes.AsSpan().LastIndexOf((byte)'\n') + 1;
        if (end < bytes.Length)
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.Read);
            stream.SetLength(end);
        }
        return bytes.AsSpan(0, end).Count((byte)'\n');
    }

    private static bool IsName(string name) => name.Length is > 0 and <= 64 && name.All(char.IsAsciiLetterOrDigit);
}
