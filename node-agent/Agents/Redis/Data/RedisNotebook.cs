using System.Collections.Concurrent;
using System.Collections.Immutable;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.NodeAgent.Pipeline;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// Keeps what this host sees of its members, durably, for the time when nobody can be asked. A note is written when a person would call the data
/// another: an idle server costs nothing. What a stranger put into a member is not taken for the member's own.
/// </summary>
internal sealed class RedisNotebook(IFileReader reader, IFileWriter writer, TimeProvider clock)
{
    private const int MaxBytes = 256 * 1024;
    private const long GrowthBytes = 4096;
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(60);

    private readonly ConcurrentDictionary<string, RedisNotes> _known = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<(string, int), long> _away = new();
    private readonly ConcurrentDictionary<string, (RedisDisk Of, RedisDisk Scanned)> _scanned = new(StringComparer.Ordinal);

    /// <summary>The notes of a member; null = none, or they are of another resource with its name.</summary>
    public static RedisNotes? Read(IFileReader files, RedisScope scope) => Read(files, scope.Layout.Notes) is { } notes && notes.Uid == scope.ResourceUid ? notes : null;

    /// <summary>The notes that lie there, of whatever resource.</summary>
    public static RedisNotes? Read(IFileReader files, string path) =>
        files.Read(path, MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? RedisNotes.Parse(file.Bytes.Span) : null;

    /// <summary>
    /// The notes without what members held whose host was struck off, once for each: one that is made anew elsewhere has their ordinal, and perhaps their address, and nothing of
    /// theirs is to be waited for or followed unseen.
    /// </summary>
    public static RedisNotes Forgotten(RedisNotes notes, ImmutableArray<StruckPeer> struck)
    {
        if (struck.IsDefaultOrEmpty) return notes;
        var gone = notes.Gone.IsDefault ? [] : notes.Gone;
        foreach (var peer in struck.Where(p => p.Ordinal != notes.Ordinal && !gone.Contains(p.NodeUid)))
            notes = notes with
            {
                Gone = gone = gone.Add(peer.NodeUid),
                Peers = notes.Peers.Remove(peer.Ordinal),
                CopyOf = notes.Members.Any(m => m.Ordinal == peer.Ordinal && new RedisPeer(m.Ordinal, m.Host, m.Port).Address == notes.CopyOf) ? "" : notes.CopyOf,
            };
        return notes;
    }

    public static GateRecord? GateSaid(IFileReader files, RedisScope scope) =>
        files.Read(scope.Layout.GateRecord, MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? GateRecord.Parse(file.Bytes.Span) : null;

    /// <summary>Whether a peer does not answer for a minute or more, as this daemon saw it.</summary>
    public bool IsLong(RedisScope scope, int ordinal, bool answers)
    {
        var key = (scope.Layout.Id, ordinal);
        if (answers)
        {
            _away.TryRemove(key, out _);
            return false;
        }
        return clock.GetElapsedTime(_away.GetOrAdd(key, _ => clock.GetTimestamp())) >= Long;
    }

    /// <summary>What lies there, read to its end once for each form that a server ended on.</summary>
    public RedisDisk Scanned(RedisScope scope, RedisDisk disk)
    {
        if (_scanned.TryGetValue(scope.Layout.Id, out var known) && known.Of == disk) return known.Scanned;
        var scanned = disk.Scanned(reader, scope.Layout.DataDir);
        _scanned[scope.Layout.Id] = (disk, scanned);
        return scanned;
    }

    /// <summary>What a server that answers holds.</summary>
    /// <param name="info">What it says.</param>
    /// <param name="disk">Of a member of this host, looked at before the server was asked: whether a file that is made anew is written meanwhile; null = nobody looked, and it counts as not.</param>
    public NotedData DataOf(RedisInfo info, RedisDisk? disk = null)
    {
        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        var (keys, expires) = info.KeyCounts;
        return new()
        {
            Role = info.Role,
            Id = info["master_replid"],
            Offset = info.Offset,
            Id2 = info["master_replid2"] is var second && second.AsSpan().ContainsAnyExcept('0') ? second : "",
            Offset2 = info.Number("second_repl_offset") ?? -1,
            Keys = keys,
            Expires = expires,
            Changes = info.Number("rdb_changes_since_last_save") ?? 0,
            Appending = info["aof_enabled"] == "1" && (!info.Rewriting || (!info.RewriteWaits && disk?.Aof is { GoesOn: true })) && info["aof_last_write_status"] is "ok",
            Appended = info["aof_enabled"] == "1" && !info.Rewriting ? info.Number("aof_current_size") + (info.Number("aof_buffer_length") ?? 0) : null,
            AppendedBase = info.Number("aof_base_size") ?? 0,
            At = now,
            Changed = now,
        };
    }

    /// <summary>
    /// Notes what was seen. It has no effect where the server does not answer, follows a stranger, or has a history that nothing leads to from the noted one: then
    /// the note of before stays, as what the member had.
    /// </summary>
    /// <returns>The notes as they are now.</returns>
    public RedisNotes? See(RedisScope scope, OwnServer own, RedisDisk? disk, IReadOnlyList<PeerServer> peers, RedisNotes? before, RedisInfo? earlier = null, ImmutableArray<StruckPeer> struck = default)
    {
        if (scope.Goal is not { Adopt: "" } goal) return before;
        before ??= new() { Uid = scope.ResourceUid, Ordinal = goal.Ordinal, DataDir = scope.Layout.DataDir, ConfDir = scope.Layout.ConfDir };
        var notes = Forgotten(before, struck) with
        {
            Keeps = Kept.Of(goal.Settings),
            DataDir = scope.Layout.DataDir,
            ConfDir = scope.Layout.ConfDir,
            Members = [.. goal.Members.Select(m => new NotedMember(m.Ordinal, m.Host, m.Port) { Struck = m.Struck })],
        };
        NotedData? self = null;
        if (own.Info is { } info && IsOurs(goal, notes, info))
        {
            var data = self = DataOf(info, disk).Measured(disk);
            notes = notes with
            {
                Own = data with { Changed = data.SameAs(notes.Own) ? notes.Own!.Changed : data.Changed },
                Files = disk is null ? notes.Files : notes.Files.With(disk, From(data, notes.Own, earlier)),
                Strayed = "",
                // A copy of another's data has that one's past.
                Past = info.Role == RedisRole.Primary || info.Link != Link.Up ? notes.Past : [],
                CopyOf = info.Role == RedisRole.Primary ? "" : info.Link == Link.Up ? RedisRole.Followed(info.Role)! : notes.CopyOf,
            };
        }
        foreach (var peer in peers)
            if (peer.Info is { } seen && (seen.Role == RedisRole.Primary || goal.MemberAt(RedisRole.Followed(seen.Role) ?? "") is not null))
            {
                var data = DataOf(seen);
                var noted = notes.Peers.GetValueOrDefault(peer.Ordinal);
                notes = notes with { Peers = notes.Peers.SetItem(peer.Ordinal, data with { Changed = data.SameAs(noted) ? noted!.Changed : data.Changed, Pair = PairOf(self, disk, data) ?? noted?.Pair }) };
            }
        notes = notes with { Peers = notes.Peers.RemoveRange(notes.Peers.Keys.Where(n => goal.Members.All(m => m.Ordinal != n))) };
        if (IsNews(before, notes) || !reader.Look(scope.Layout.Notes).IsSeen || !reader.Look(scope.Layout.Notes).Value.Exists) Write(scope, notes);
        else _known[scope.Layout.Id] = before; // What the programs of the unit wrote is what is compared from here on.
        return notes;
    }

    /// <summary>Between two passes: the own server alone. It is asked once more where it has changed, for files that are looked at first are never newer than what it says.</summary>
    /// <param name="scope">Which.</param>
    /// <param name="own">What it says.</param>
    /// <param name="ask">It, once more.</param>
    /// <param name="askPeer">One that is not measured against this member's file as it is now.</param>
    public async ValueTask SeeAsync(RedisScope scope, OwnServer own, Func<ValueTask<OwnServer>> ask, Func<RedisPeer, ValueTask<PeerServer>> askPeer)
    {
        if (own.Info is null) return;
        var before = _known.GetValueOrDefault(scope.Layout.Id) ?? Read(reader, scope);
        if (before is null || before.Uid != scope.ResourceUid) return; // The first pass notes it.
        if (before.Own is { } noted && DataOf(own.Info).SameAs(noted)) return;
        before = Read(reader, scope) ?? before; // The programs of the unit write too, at each start.
        var disk = RedisDisk.Look(reader, scope.Layout.DataDir);
        var unmeasured = scope.Goal is { } goal && own.Info.Role == RedisRole.Primary && disk.Aof is { } aof
            ? goal.Others.Where(p => !p.Struck && before.Peers.TryGetValue(p.Ordinal, out var peer) && peer.Pair?.Part != aof.Part).ToList() : [];
        var peers = unmeasured.Select(p => askPeer(p).AsTask()).ToList();
        var again = await ask().ConfigureAwait(false);
        See(scope, again, disk, await Task.WhenAll(peers).ConfigureAwait(false), before, own.Info);
    }

    /// <summary>Both files, where both are appended to in one stream; the files are looked at before the servers are asked, so that one that was made anew meanwhile does not fit.</summary>
    private static NotedPair? PairOf(NotedData? own, RedisDisk? disk, NotedData peer) => own is { Role: RedisRole.Primary, Appended: { } mine } && disk?.Aof is { Part.Length: > 0 } aof && peer.Appended is { } theirs && peer.Id == own.Id
        ? new(own.Offset, mine, aof.Part, peer.Offset, theirs, peer.AppendedBase) : null;

    /// <summary>The offset of an earlier look at the same history: the files were looked at after it.</summary>
    private static long From(NotedData now, NotedData? noted, RedisInfo? earlier) =>
        earlier is not null && earlier["master_replid"] == now.Id ? earlier.Offset
        : noted is not null && noted.Id.Length > 0 && (noted.Id == now.Id || noted.Id == now.Id2) ? noted.Offset : -1;

    /// <summary>Of a server that is down: whether its file ends with writes of its own, which the member that it is to follow has not had.</summary>
    public async ValueTask<RedisNotes?> SeeOwnWritesAsync(RedisScope scope, RedisNotes? notes, RedisDisk disk, IReadOnlyList<PeerServer> peers, ImmutableArray<string?> passwords, CancellationToken stop)
    {
        if (notes is null || peers.Where(p => p.Info?.Role == RedisRole.Primary).ToList() is not [{ Info: { } info } leader]) return notes;
        var seen = await OwnWrites.LookAsync(reader, notes, disk, new(leader.Ordinal, leader.State.Address, leader.State.Serving, leader.State.Role, DataOf(info)), passwords, stop).ConfigureAwait(false);
        if (seen.Strayed != notes.Strayed) Write(scope, seen);
        return seen;
    }

    private static bool IsOurs(RedisGoal goal, RedisNotes notes, RedisInfo info)
    {
        if (info.Role != RedisRole.Primary) return RedisRole.Followed(info.Role) is { } address && goal.MemberAt(address) is not null && (notes.Own is null || info.Link == Link.Up || info["master_replid"] == notes.Own.Id);
        return LeadsOwn(notes, info);
    }

    /// <summary>Whether what a primary holds goes on from what was noted, or was loaded from its files.</summary>
    public static bool LeadsOwn(RedisNotes notes, RedisInfo info)
    {
        if (notes.Own is not { Id.Length: > 0 } own) return true;
        // A start from files begins a history of its own with no other before it; a history before it that was never noted came from a stranger.
        var (id, id2) = (info["master_replid"], info["master_replid2"]);
        return id == own.Id || id2 == own.Id || id == own.Id2 || !id2.AsSpan().ContainsAnyExcept('0') || notes.Peers.Values.Any(p => p.Id == id2 || p.Id2 == id2);
    }

    private static bool IsNews(RedisNotes before, RedisNotes now) =>
        !(now.Own is null ? before.Own is null : now.Own.SameAs(before.Own)) || (before.CopyOf, before.Strayed) != (now.CopyOf, now.Strayed) || before.Keeps != now.Keeps || !before.Members.AsSpan().SequenceEqual(now.Members.AsSpan()) || (before.Gone.IsDefault ? 0 : before.Gone.Length) != (now.Gone.IsDefault ? 0 : now.Gone.Length)
        || (before.Files.Part, before.Files.Base, before.Files.DumpMade) != (now.Files.Part, now.Files.Base, now.Files.DumpMade)
        || now.Files.PartSize < before.Files.PartSize || now.Files.PartSize > before.Files.PartSize + GrowthBytes || before.Files.BaseSize != now.Files.BaseSize
        || before.Peers.Count != now.Peers.Count || now.Peers.Any(p => !p.Value.SameAs(before.Peers.GetValueOrDefault(p.Key)) || !IsMeasured(before.Peers[p.Key].Pair, p.Value.Pair));

    /// <summary>The measure of before still fits.</summary>
    private static bool IsMeasured(NotedPair? before, NotedPair? now) => now is null || (before?.Part, before?.PeerBase) == (now.Part, now.PeerBase);

    private void Write(RedisScope scope, RedisNotes notes)
    {
        var dir = Path.GetDirectoryName(scope.Layout.Notes)!;
        foreach (var parent in (string[])[Path.GetDirectoryName(dir)!, dir]) writer.EnsureDirectory(parent, Root(0x1C0)); // 0700
        // A full disk must not keep a server from being looked at; the note is tried again at the next look.
        if (writer.Write(scope.Layout.Notes, notes.Render(), Root(0x180)).IsDone) _known[scope.Layout.Id] = notes; // 0600
    }

    private static FileOwnership Root(uint mode) => new() { Uid = 0, Gid = 0, Mode = mode };
}
