using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using AgentMetal.Runtime.Store;

namespace AgentMetal.Coordinator.Fleet;

/// <summary>One run, as it is in the store; the revision that wrote it is where it began.</summary>
internal sealed record EpochRecord(string Id, long Token, long AtUnixMs);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(EpochRecord))]
[JsonSerializable(typeof(StoreMark))]
internal sealed partial class StoreBookJson : JsonSerializerContext;

/// <summary>
/// The history of the store as its runs wrote it, and, in a file beside the store, how far this coordinator has followed it. A copy that is put back has
/// neither what was written since nor the run that wrote it; a store that this coordinator has not seen so is told, and nothing is done by it until an
/// operator signs.
/// </summary>
internal sealed partial class StoreBook(IStore store, string path, TimeProvider clock, ILogger<StoreBook> log)
{
    /// <summary>Runs that every host is told; older ones only where its mark or a statement names them.</summary>
    private const int Newest = 8;

    private readonly TaskCompletionSource _accepted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private List<StoreEpoch> _epochs = [];
    private StoreMark _written = StoreMark.None;

    /// <summary>Why this store is not the one that was followed; null = it is, or nothing is known of another.</summary>
    public string? PutBack { get; private set; }

    public DateTimeOffset Since { get; private set; }

    /// <summary>Completes when the store is, or is said to be, the one to follow.</summary>
    public Task Accepted => _accepted.Task;

    /// <summary>This run.</summary>
    public StoreEpoch Current => _epochs[^1];

    /// <summary>Holds the store against what was seen, and begins a run.</summary>
    /// <exception cref="StoreAwayException">The store cannot answer.</exception>
    public async Task BeginAsync(LeaderProof proof, CancellationToken stop)
    {
        var listing = await store.ListAsync(StoreKeys.Epochs, stop);
        Read(listing);
        var seen = ReadSeen();
        PutBack = StoreHistory.WhyNot("this coordinator", seen, store.StoreId, _epochs, listing.At.Number);
        // The run lies in the store from its first write on, so a copy of before has it not.
        var run = new EpochRecord(Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(16)), proof.Token, clock.GetUtcNow().ToUnixTimeMilliseconds());
        var key = StoreKeys.Epoch(_epochs.Count == 0 ? 1 : long.Parse(listing.Entries[^1].Key.AsSpan(StoreKeys.Epochs.Length), System.Globalization.CultureInfo.InvariantCulture) + 1);
        if (await store.TxnAsync(new() { Compares = [new(key, 0)], Writes = [StoreWrite.Put(key, JsonSerializer.SerializeToUtf8Bytes(run, StoreBookJson.Default.EpochRecord))], Leader = proof }, stop) is not StoreResult.Committed)
            throw new NotLeaderException("another coordinator wrote to the store while this one started");
        Read(await store.ListAsync(StoreKeys.Epochs, stop));
        if (PutBack is not null)
        {
            (_written, Since) = (seen, clock.GetUtcNow());
            LogPutBack(log, PutBack);
            return;
        }
        _accepted.TrySetResult();
        Note(Current.From);
    }

    /// <summary>Remembers how far the store was followed; never beyond what it has committed.</summary>
    public void Note(long revision)
    {
        if (PutBack is not null || (_written.Revision >= revision && _written.Epoch == Current.Id)) return;
        var mark = new StoreMark(store.StoreId, Current.Id, Current.Token, revision);
        try
        {
            Write(JsonSerializer.SerializeToUtf8Bytes(mark, StoreBookJson.Default.StoreMark));
            _written = mark;
        }
        // Hosts remember too, and the next revision tries again.
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { LogNotKept(log, path, e.Message); }
    }

    /// <summary>Operators signed for this store. False = it was not in question.</summary>
    public bool Accept(long revision)
    {
        if (PutBack is null) return false;
        PutBack = null;
        Note(revision);
        return _accepted.TrySetResult();
    }

    public bool Has(string epoch, long revision) => StoreHistory.Has(_epochs, epoch, revision);

    /// <summary>The newest runs, and those that are named.</summary>
    public IReadOnlyList<StoreEpoch> Told(IReadOnlySet<string> named) => [.. _epochs.Where((e, i) => i >= _epochs.Count - Newest || named.Contains(e.Id))];

    private void Read(StoreListing listing)
    {
        List<StoreEpoch> read = [];
        foreach (var entry in listing.Entries)
        {
            var run = JsonSerializer.Deserialize(entry.Value.Span, StoreBookJson.Default.EpochRecord)!;
            if (read.Count > 0) read[^1] = read[^1] with { Until = entry.CreatedAt };
            read.Add(new(run.Id, run.Token, entry.CreatedAt, 0));
        }
        _epochs = read;
    }

    private StoreMark ReadSeen()
    {
        try { return File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllBytes(path), StoreBookJson.Default.StoreMark) ?? StoreMark.None : StoreMark.None; }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            LogUnreadable(log, path, e.Message);
            return StoreMark.None;
        }
    }

    /// <summary>Written aside, synced and renamed: at no moment is there half a file. A rename that a power cut takes back leaves less, which is true as well.</summary>
    private void Write(byte[] bytes)
    {
        var temporary = path + ".tmp";
        using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            stream.Write(bytes);
            stream.Flush(flushToDisk: true);
        }
        File.Move(temporary, path, overwrite: true);
    }

    [LoggerMessage(EventId = 2021, Level = LogLevel.Error, Message = "This store is not the one that was followed: {Why}. Nothing is placed or told to hosts by it until an operator signs: agentmetal nodes accept-store")]
    private static partial void LogPutBack(ILogger log, string why);

    [LoggerMessage(EventId = 2022, Level = LogLevel.Warning, Message = "How far the store was followed cannot be kept in {Path}: {Why}")]
    private static partial void LogNotKept(ILogger log, string path, string why);

    [LoggerMessage(EventId = 2023, Level = LogLevel.Warning, Message = "{Path} cannot be read ({Why}): whether an older store was put back is left to the hosts to say")]
    private static partial void LogUnreadable(ILogger log, string path, string why);
}
