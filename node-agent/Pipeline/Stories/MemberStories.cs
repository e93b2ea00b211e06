using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Text.Json;
using AgentMetal.NodeAgent.Host.Systemd;
using AgentMetal.Runtime.Audit;
using Microsoft.Extensions.Logging;

namespace AgentMetal.NodeAgent.Pipeline.Stories;

/// <summary>Where the past of members is kept.</summary>
internal interface IStoryStore
{
    /// <summary>Null when there is none of this key.</summary>
    ValueTask<string?> ReadAsync(string key, CancellationToken stop);

    /// <summary>The record and what it tells, in one transaction: neither is there without the other.</summary>
    ValueTask WriteAsync(string key, string resourceKey, string json, IReadOnlyList<(string Kind, string Body)> audit, CancellationToken stop);

    ValueTask ForgetAsync(string key, CancellationToken stop);
}

/// <summary>What a member's past says of it now.</summary>
/// <param name="LastEnded">For people; null = it never ended since it is known here.</param>
/// <param name="Unsteady">Why it is not to be trusted to stay up; null = it is.</param>
internal sealed record StoryView(string? LastEnded, (string Reason, string Text)? Unsteady)
{
    public static readonly StoryView None = new(null, null);
}

/// <summary>
/// Tells what happens to members outside our steps: ends that systemd repaired, kills by the kernel, units and settings that somebody changed. It compares
/// what is there at each pass with what was there at the one before, which is on disk, so that a daemon that was away tells it when it is back.
/// </summary>
internal sealed partial class MemberStories(IUnitReader units, OwnJobs jobs, IMemoryEvents memory, IStoryStore store, string boot, TimeProvider clock, ILogger<MemberStories> log)
{
    /// <summary>A server has said by then what it found when it started, and journald has it.</summary>
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(3);

    private readonly ConcurrentDictionary<string, StoryRecord> _records = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string Key, string Unit), (MemberInput Input, MemberWatch Watch, string Invocation, DateTimeOffset Due)> _unread = [];
    private readonly ConcurrentDictionary<(string Key, string Unit), DateTimeOffset> _looked = [];

    /// <summary>One at a time of each member: what is read, compared and written belongs together.</summary>
    private readonly ConcurrentDictionary<string, SemaphoreSlim> _turns = new(StringComparer.Ordinal);

    /// <summary>Reads what units say of their start; null = nobody does.</summary>
    public IUnitLog? Log { get; init; }

    /// <summary>Called for each thing that happened, in order.</summary>
    public Action<MemberInput, Happening>? Told { get; set; }

    public StoryView View(string key) => _records.TryGetValue(key, out var record) ? new(StoryText.LastEnded(record), StoryText.Unsteady(record, clock.GetUtcNow())) : StoryView.None;

    /// <summary>Before a pass: what happened to the member's units since the last one.</summary>
    /// <param name="input">The member.</param>
    /// <param name="watch">Its units.</param>
    /// <param name="resumes">A step was open when the daemon ended.</param>
    /// <param name="stop">Ends the looking.</param>
    public async Task LookAsync(MemberInput input, MemberWatch watch, bool resumes, CancellationToken stop)
    {
        var turn = TurnOf(input.Key);
        await turn.WaitAsync(stop);
        try { await LookOnceAsync(input, watch, resumes, stop); }
        finally { turn.Release(); }
    }

    /// <summary>What units that began anew said of it: a file that was cut, data that could not be read. Called now and then.</summary>
    public async Task ReadLogsAsync(CancellationToken stop)
    {
        foreach (var (at, unread) in _unread)
        {
            if (Log is not { } log || clock.GetUtcNow() < unread.Due || !_unread.TryRemove(new(at, unread))) continue;
            var lines = await log.ReadAsync(unread.Invocation, stop);
            List<Happening> told = [.. lines.Select(unread.Watch.LogWords!).OfType<string>().Distinct(StringComparer.Ordinal).Take(8).Select(text => new Happening(clock.GetUtcNow(), "ServerSaid", text))];
            if (told.Count == 0) continue;
            var turn = TurnOf(at.Key);
            await turn.WaitAsync(stop);
            try
            {
                var (record, _) = await ReadAsync(at.Key, stop);
                await KeepAsync(unread.Input, unread.Watch.MemoryAdvice, record, record with { Said = told[^1].Text }, told, stop);
            }
            finally { turn.Release(); }
        }
    }

    private async Task LookOnceAsync(MemberInput input, MemberWatch watch, bool resumes, CancellationToken stop)
    {
        var (record, known) = await ReadAsync(input.Key, stop);
        var (next, told) = (record, new List<Happening>());
        foreach (var unit in watch.Units)
        {
            var seen = await units.GetUnitAsync(unit, stop);
            if (!seen.IsSeen) continue; // What cannot be read has not ended.
            var look = new UnitLook(seen.Value, units.TakeEnds(unit), memory.Of(seen.Value.ControlGroup), memory.HostKills(), boot, clock.GetUtcNow())
            {
                Ours = (from, until) => jobs.Any(unit, from, until),
                OursEnded = at => jobs.Ended(unit, at),
                Since = _looked.TryGetValue((input.Key, unit), out var since) ? since : null,
                Resumes = resumes && !known,
                SystemdTells = memory.SystemdTells,
            };
            _looked[(input.Key, unit)] = look.At;
            var before = record.Units.GetValueOrDefault(unit);
            if (before is not null) told.AddRange(UnitChanges.Between(before, look));
            var mark = UnitChanges.Mark(look, before);
            if (watch.LogWords is not null && before is not null && mark.Invocation != before.Invocation && mark.Invocation.Length > 0)
                _unread[(input.Key, unit)] = (input, watch, mark.Invocation, clock.GetUtcNow() + Settled);
            // Times and counts of the host alone are no news: they would write to the disk at every pass.
            if (before is null || told.Count > 0 || mark with { AtMs = before.AtMs, HostKills = before.HostKills, DropIns = before.DropIns } != before || !mark.DropIns.SequenceEqual(before.DropIns)) next = next with { Units = next.Units.SetItem(unit, mark) };
        }
        await KeepAsync(input, watch.MemoryAdvice, record, next, told, stop);
    }

    /// <summary>After a pass: settings and roles that moved since the last one.</summary>
    /// <param name="input">The member.</param>
    /// <param name="advice">See <see cref="MemberWatch.MemoryAdvice"/>.</param>
    /// <param name="watched">As the pass saw them before it changed anything; null = it saw nothing.</param>
    /// <param name="changed">The pass changed something: what is seen next is no news.</param>
    /// <param name="words">What is told of a key, its value before and now; null = nothing.</param>
    /// <param name="stop">Ends the looking.</param>
    public async Task CompareAsync(MemberInput input, string advice, ImmutableSortedDictionary<string, string>? watched, bool changed, Func<string, string, string, string?> words, CancellationToken stop)
    {
        var turn = TurnOf(input.Key);
        await turn.WaitAsync(stop);
        try { await CompareOnceAsync(input, advice, watched, changed, words, stop); }
        finally { turn.Release(); }
    }

    private async Task CompareOnceAsync(MemberInput input, string advice, ImmutableSortedDictionary<string, string>? watched, bool changed, Func<string, string, string, string?> words, CancellationToken stop)
    {
        var (record, _) = await ReadAsync(input.Key, stop);
        var told = record.Watched is { } was && watched is not null ? StoryText.Moved(was, watched, words, clock.GetUtcNow()) : [];
        var next = changed ? null : watched is null ? record.Watched : (record.Watched ?? ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal)).SetItems(watched);
        if (told.IsEmpty && (next is null ? record.Watched is null : record.Watched is { } old && old.SequenceEqual(next))) return;
        await KeepAsync(input, advice, record, record with { Watched = next }, told, stop);
    }

    /// <summary>Tells what of ours decided outside every pass, each once: what comes after the last one that was told.</summary>
    public async Task NoteAsync(MemberInput input, ImmutableArray<OutsideNote> notes, CancellationToken stop)
    {
        if (notes.IsDefaultOrEmpty) return;
        var turn = TurnOf(input.Key);
        await turn.WaitAsync(stop);
        try
        {
            var (record, _) = await ReadAsync(input.Key, stop);
            if (record.Noted == notes[^1].Id) return;
            // One that is not among them is of a list that was begun anew, or older than all that is kept.
            var told = notes.Skip(notes.IndexOf(notes.FirstOrDefault(n => n.Id == record.Noted)!) + 1).Select(n => new Happening(n.At, n.Reason, n.Text)).ToList();
            await KeepAsync(input, "", record, record with { Noted = notes[^1].Id }, told, stop);
        }
        finally { turn.Release(); }
    }

    private SemaphoreSlim TurnOf(string key) => _turns.GetOrAdd(key, static _ => new(1));

    public async Task ForgetAsync(string key, CancellationToken stop)
    {
        _records.TryRemove(key, out _);
        await store.ForgetAsync(key, stop);
    }

    private async Task KeepAsync(MemberInput input, string advice, StoryRecord record, StoryRecord next, IReadOnlyList<Happening> told, CancellationToken stop)
    {
        var words = new List<Happening>();
        foreach (var happened in told)
        {
            var text = happened.Text;
            if (happened.Cause is { } cause)
            {
                var note = new EndNote(happened.At.ToUnixTimeMilliseconds(), cause.ToString(), "", happened.Count);
                text = StoryText.WithCount(happened, StoryText.Lately(next.Ends.Append(note), note.Cause, happened.At), advice);
                next = next with { Ends = [.. next.Ends.TakeLast(StoryRecord.MostEnds - 1), note with { Text = text }] };
            }
            words.Add(happened with { Text = text });
        }
        if (ReferenceEquals(next, record)) return;
        var json = JsonSerializer.Serialize(next, StoryJson.Default.StoryRecord);
        try { await store.WriteAsync(input.Key, input.ResourceKey, json, [.. words.Select(w => (w.Reason, AuditBody.Of(("member", input.Ordinal.ToString(System.Globalization.CultureInfo.InvariantCulture)), ("what", w.Text))))], stop); }
        // A full disk must not keep it from being told; a daemon that ends before there is room tells it once more.
        catch (IOException e) { LogNotKept(log, input.ResourceKey, e.Message); }
        _records[input.Key] = next;
        foreach (var happened in words) Told?.Invoke(input, happened);
    }

    /// <summary>The record, and whether this daemon has looked before.</summary>
    private async ValueTask<(StoryRecord Record, bool Known)> ReadAsync(string key, CancellationToken stop)
    {
        if (_records.TryGetValue(key, out var known)) return (known, true);
        StoryRecord? read = null;
        if (await store.ReadAsync(key, stop) is { Length: > 0 } json)
        {
            // One that cannot be read is a past that is not known; what is there now is the beginning.
            try { read = JsonSerializer.Deserialize(json, StoryJson.Default.StoryRecord); }
            catch (JsonException e) { LogNotRead(log, key, e.Message); }
        }
        return (_records[key] = read ?? StoryRecord.None, false);
    }

    [LoggerMessage(EventId = 1020, Level = LogLevel.Warning, Message = "{Resource}: what happened could not be kept: {Why}; it may be told twice")]
    private static partial void LogNotKept(ILogger log, string resource, string why);

    [LoggerMessage(EventId = 1021, Level = LogLevel.Warning, Message = "{Key}: what was kept of its past cannot be read: {Why}")]
    private static partial void LogNotRead(ILogger log, string key, string why);
}
