using System.Collections.Immutable;
using System.Globalization;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>A peer as the gate sees it now.</summary>
/// <param name="Ordinal">Which member.</param>
/// <param name="Address">host:port.</param>
/// <param name="Serving">One of <see cref="Redis.Serving"/>, or unseen.</param>
/// <param name="Role">While it answers.</param>
/// <param name="Data">While it answers.</param>
/// <param name="Struck">An operator signed that its host is gone.</param>
internal sealed record GatePeer(int Ordinal, string Address, string Serving, string Role, NotedData? Data, bool Struck = false)
{
    public bool Answers => Serving == Redis.Serving.Answering;

    public bool Leads => Answers && Role == RedisRole.Primary;

    public bool HasKeys => Answers && Data is { Keys: > 0 };
}

/// <summary>All that a start is judged by.</summary>
/// <param name="Role">What role.conf says, or what is asked for.</param>
/// <param name="AppendOnly">What redis.conf says: the server loads the append-only file, or the dump.</param>
/// <param name="Keeps">One of <see cref="Kept"/>, as declared.</param>
/// <param name="Disk">What lies there.</param>
/// <param name="Notes">What this host knows; null = nothing.</param>
/// <param name="Peers">The other members, now.</param>
/// <param name="Now">Unix seconds.</param>
internal sealed record GateQuestion(string Role, bool AppendOnly, string Keeps, RedisDisk Disk, RedisNotes? Notes, ImmutableArray<GatePeer> Peers, long Now)
{
    /// <summary>How the server ended that left what lies there.</summary>
    public ServerEnd End { get; init; } = ServerEnd.Whole;

    /// <summary>Of this member, host:port, as its peers call it.</summary>
    public string Address { get; init; } = "";

    /// <summary>
    /// The files have all that was acknowledged. That each write was to be on the disk before its answer (appendfsync always) is a setting:
    /// it does not count.
    /// </summary>
    public bool IsWhole => End == ServerEnd.Whole;

    /// <summary>What became of the server, for people; and since when what it took may be missing.</summary>
    public (string Said, string Before) HowItEnded => End == ServerEnd.Broken ? ("the server did not end in order", "it ended") : ("its host went down under the server", "its host went down");
}

/// <summary>How a start is judged.</summary>
internal enum Gate
{
    /// <summary>With its data, in the role that was asked for.</summary>
    Up,

    /// <summary>With its data, as a follower of <see cref="GateAnswer.Role"/>.</summary>
    Follow,

    /// <summary>Not at all, until a person signs or what it waits for is there.</summary>
    Hold,
}

/// <param name="Gate">How.</param>
/// <param name="Role">The role to come up with.</param>
/// <param name="Why">For people.</param>
/// <param name="Code">Of a hold: a word for the risk, stable.</param>
/// <param name="Loss">Of a hold: what would be lost by going on, at most; for people.</param>
/// <param name="Passes">A hold that ends by itself when a peer is seen or started.</param>
internal sealed record GateAnswer(Gate Gate, string Role, string Why, string Code = "", string Loss = "", bool Passes = false);

/// <summary>
/// The start gate: nothing that is empty, or older than what this host knows that the member or its peers had, comes up as primary, and no data of
/// its own is given to a primary that may not have it. Pure: the unit asks it before each start, the agent when it plans one.
/// </summary>
internal static class RedisGate
{
    public static GateAnswer Judge(GateQuestion q)
    {
        if (q.Disk.Unseen.Length > 0) return new(Gate.Hold, q.Role, "the data directory cannot be read: " + q.Disk.Unseen, "data-unseen", "nothing is known of the data", Passes: true);
        if (q.Role != RedisRole.Primary) return Following(q);
        var leaders = q.Peers.Where(p => p.Leads).ToList();
        return leaders.Count switch
        {
            0 => Leading(q),
            1 => Beside(q, leaders[0]),
            _ => new(Gate.Hold, q.Role, "more than one member says it is primary", "two-primaries", OwnData(q), Passes: true),
        };
    }

    /// <summary>What is wrong with what a start would load, measured by what was there; null = nothing is missing.</summary>
    public static string? Missing(GateQuestion q)
    {
        if (q.Disk.DamageFor(q.AppendOnly) is { } damage) return damage;
        if (q.Notes is not { Own: { } own, Files: var was } || q.Keeps == Kept.Memory) return null;
        // What a server that ran must have left is gone, however little it held when it was last looked at.
        if (!q.Disk.Exists) return $"the data directory is gone; the server had {Held(own)}";
        if (q.AppendOnly)
        {
            var now = q.Disk.Aof;
            if (was.Part.Length == 0 && was.Base.Length == 0) return null;
            if (now is null) return $"the append-only file is gone; the server had {Held(own)}";
            if (!own.Appending && own.Keys > 0) return $"the server did not write its append-only file when it was last seen, with {Held(own)}: what lies there is older";
            if (!now.HasKeys && own.Keys > 0) return $"the append-only file is empty; the server had {Held(own)}";
            if (q.Disk.Dump is { Damage: "", Position: { } saved } later && saved.Id == own.Id && Reach(q, now) < saved.Offset)
                return $"dump.rdb, of {AtMost.Time(later.Made)}, goes on where the append-only file ends: the server wrote that file no more when it saved";
            if (now.Number < was.Number) return $"the append-only file is an older one: part {now.Number}, and there was part {was.Number}";
            if (now.Number > was.Number) return null; // It was written anew since.
            if (now.Part == was.Part && now.PartSize < was.PartSize)
                return string.Create(CultureInfo.InvariantCulture, $"{now.Part} is shorter than it was: {now.PartSize} bytes, and there were {was.PartSize}");
            return now.Base == was.Base && now.BaseSize != was.BaseSize
                ? string.Create(CultureInfo.InvariantCulture, $"{now.Base} is not what it was: {now.BaseSize} bytes, and there were {was.BaseSize}") : null;
        }
        if (own is { Appending: true, Changes: > 0, Keys: > 0 } && q.Notes.Keeps == Kept.AppendOnly)
            return $"the append-only file is gone, with {Held(own)}; " + (q.Disk.Dump is { } older ? $"dump.rdb, of {AtMost.Time(older.Made)}, is older" : "there is no dump");
        if (was.DumpMade == 0) return null;
        if (q.Disk.Dump is not { } dump) return $"dump.rdb is gone; there was one of {AtMost.Time(was.DumpMade)}";
        // The clock may have been wrong when either was made.
        return q.End != ServerEnd.Whole && dump.Made < was.DumpMade && dump.Position?.Covers(own.Position) != true ? $"dump.rdb is older than it was: of {AtMost.Time(dump.Made)}, and there was one of {AtMost.Time(was.DumpMade)}" : null;
    }

    /// <summary>Where the data that a start would load stands: a dump says it, an append-only file goes on from what was noted. Null = nothing tells.</summary>
    public static RedisPosition? Position(GateQuestion q)
    {
        if (!q.Disk.HasKeys(q.AppendOnly)) return null;
        if (!q.AppendOnly) return q.Disk.Dump!.Position;
        return !Strayed(q) && Missing(q) is null && q.Notes?.Own is { Id.Length: > 0 } own ? own.Position : null;
    }

    /// <summary>What lies there ends with writes that the member took by itself after it was noted: no note speaks for it.</summary>
    public static bool Strayed(GateQuestion q) => q is { AppendOnly: true, Notes: { Strayed.Length: > 0 } notes, Disk.Aof: { } aof } && notes.Strayed == RedisNotes.FormOf(aof);

    /// <summary>What was noted is all that is here: nothing was added to the files by anybody but the primary of then.</summary>
    public static bool IsAsNoted(GateQuestion q) => q.Notes?.Own is not { } noted || (q.AppendOnly ? !Strayed(q) : q.Disk.Dump is not { } dump || dump.Made <= noted.At);

    /// <summary>What is here, for a person who decides: keys, bytes, last write.</summary>
    public static string OwnData(GateQuestion q)
    {
        var size = q.AppendOnly ? (q.Disk.Aof?.BaseSize ?? 0) + (q.Disk.Aof?.PartSize ?? 0) : q.Disk.Dump?.Size ?? 0;
        if (size == 0) return q.Notes?.Own is { Keys: > 0 } own ? $"nothing on disk; last seen with {Held(own)}" : "nothing on disk";
        var keys = q.Notes?.Own?.Keys ?? q.Disk.Dump?.Keys;
        return $"{AtMost.Bytes(size)} on disk" + (keys is { } n ? ", " + AtMost.Keys(n) : "") + (q.Notes?.Own is { Changed: > 0 } noted ? ", last write seen " + AtMost.Time(noted.Changed) : "");
    }

    public static string Held(NotedData data) => $"{AtMost.Keys(data.Keys)} (seen {AtMost.Time(data.At)})";

    private static GateAnswer Leading(GateQuestion q)
    {
        var missing = Missing(q);
        var own = missing is null ? Position(q) : null;
        var holders = q.Peers.Where(p => p.HasKeys && !Covered(q, own, p)).ToList();
        if (holders.Count > 0)
        {
            // One of them has all that is here: it goes on, and this member has it again from there.
            var best = holders.FirstOrDefault(p => HasAll(q, missing, own, p) && holders.TrueForAll(o => o == p || p.Data!.Position.Covers(o.Data!.Position) == true));
            if (best is not null) return new(Gate.Follow, RedisRole.Follows(best.Address), $"member {best.Ordinal} has all that is here, and more");
            return new(Gate.Hold, q.Role, $"member {holders[0].Ordinal} holds {Held(holders[0].Data!)}, and nothing tells whether they are here: {OwnData(q)}", "unrelated-data",
                string.Join("; ", holders.Select(p => $"what member {p.Ordinal} holds and this one does not, {AtMost.Keys(p.Data!.Keys)}")));
        }
        if (missing is not null) return new(Gate.Hold, q.Role, missing, "data-missing", Lost(q), Passes: q is { AppendOnly: true, IsWhole: false } && q.Peers.Any(p => !p.Answers && !p.Struck));
        return UnseenHolder(q, own) ?? new(Gate.Up, q.Role, "");
    }

    /// <summary>Peers that cannot be seen now, and may hold what is not here: each of them is named, for who goes on without them gives up what any of them has.</summary>
    private static GateAnswer? UnseenHolder(GateQuestion q, RedisPosition? own)
    {
        var held = q.Peers.Where(p => !p.Answers && !p.Struck).Select(p => Unseen(q, own, p)).OfType<GateAnswer>().ToList();
        return held.Count == 0 ? null : held[0] with { Why = string.Join("; ", held.Select(h => h.Why)), Loss = string.Join("; ", held.Select(h => h.Loss)) };
    }

    private static GateAnswer? Unseen(GateQuestion q, RedisPosition? own, GatePeer peer)
    {
        var noted = q.Notes?.Peers.GetValueOrDefault(peer.Ordinal);
        var last = noted is null ? "" : $", when last seen {AtMost.Keys(noted.Keys)}";
        var away = $"member {peer.Ordinal}, which does not answer ({Serving.Said(peer.Serving)})";
        if (peer.Serving != Serving.Refused && !q.Disk.HasKeys(q.AppendOnly) && (q.Notes?.Own is null || q.Keeps == Kept.Memory))
            return Held($"this member would come up empty, and {away}, may hold the data", $"what only member {peer.Ordinal} holds{last}");
        // Notes that were lost are no sign that there is nothing to know. Members that were just made refuse too, and hold nothing.
        if (q.Notes?.Own is null && (peer.Serving != Serving.Refused || q.Disk.HasKeys(q.AppendOnly)))
            return Held($"nothing is known here of what the server had, and {away}, may hold more than what lies here: {OwnData(q)}", $"what only member {peer.Ordinal} holds{last}");
        // One that is down still has its file, and one that had no key may have had the last ones.
        if (noted is not null && q is { AppendOnly: true, IsWhole: false, Notes.Own: { } had } && (noted.Keys > 0 || had.Keys > 0 || q.Disk.HasKeys(true)))
            return Held($"{q.HowItEnded.Said}: the last writes may be missing in its append-only file, and {away}, may hold them; the server had {RedisGate.Held(had)}",
                $"what only member {peer.Ordinal} holds of what the server took before {q.HowItEnded.Before}, {Had(noted)}");
        // One that is down has its own dump, and may have saved later than this member.
        if (noted is not null && Unsaved(q) is { } unsaved)
            return Held($"the server did not end in order: what it took after its dump is not here, and {away}, may hold it; the server had {RedisGate.Held(unsaved)}",
                $"what the server took after its dump and only member {peer.Ordinal} holds: {unsaved.Changes} changes when it was last seen, and what came since");
        if (noted is not { Keys: > 0 }) return null;
        // One that is down and keeps nothing has lost it.
        if (q.Keeps == Kept.Memory && peer.Serving == Serving.Refused) return null;
        if (own?.Covers(noted.Position) == true || (q.AppendOnly && own is not null && (SameStream(own, noted.Position) || IsOfItsPast(q.Notes, noted.Position)))) return null;
        return Held($"{away}, held {RedisGate.Held(noted)} when it was last seen, and what is here may be less: {OwnData(q)}", $"what only member {peer.Ordinal} holds, {Had(noted)}");

        GateAnswer Held(string why, string loss) => new(Gate.Hold, q.Role, why, "unseen-data", loss, Passes: true);
        static string Had(NotedData data) => $"{AtMost.Keys(data.Keys)} when that was noted, {AtMost.Time(data.At)}, and what it took since";
    }

    /// <summary>
    /// A server with snapshots that did not save at its end, as it does at an orderly stop: what it took after its dump, whenever that was made, is in no file of its own. Null = it saved, or
    /// nothing is known. One that had no key when it was noted may have been written to since.
    /// </summary>
    private static NotedData? Unsaved(GateQuestion q) => q is { AppendOnly: false, Keeps: Kept.Snapshots, End: not ServerEnd.Whole, Notes.Own: { } own } ? own : null;

    /// <summary>What a start as primary comes up without of what the server had when it was noted last: declared to go with its process, and told all the same. Null = nothing is known to go.</summary>
    public static string? Gone(GateQuestion q) => q switch
    {
        { Keeps: Kept.Memory, Notes.Own: { Keys: > 0 } own } when !q.Disk.HasKeys(q.AppendOnly) => $"{AtMost.Keys(own.Keys)}, which the server had in its memory only",
        { AppendOnly: false, Keeps: Kept.Snapshots, Notes.Own: { Keys: > 0, Changes: > 0 } own } when q.Disk.Dump is not { } dump || dump.Made < own.At =>
            string.Create(CultureInfo.InvariantCulture, $"at most {AtMost.Rounded(own.Changes):N0} changes that the server took after its last good save, and what came since that was noted, {AtMost.Time(own.At)}"),
        _ => null,
    };

    /// <summary>Its replica's last note may be some bytes ahead of the note of its own, and an append-only file holds all that was acknowledged.</summary>
    private static bool SameStream(RedisPosition own, RedisPosition noted) => own.Id == noted.Id;

    /// <summary>
    /// What the other has is here. The append-only file of a server that ended whole has all of its own stream; else it is measured against
    /// the other's. A torn end is the mark of writes that did not reach the disk, and a replica of the same stream has them.
    /// </summary>
    private static bool Covered(GateQuestion q, RedisPosition? own, GatePeer peer)
    {
        if (own is null) return false;
        var other = peer.Data!.Position;
        if (!q.AppendOnly) return own.Covers(other) == true;
        if (IsOfItsPast(q.Notes, other)) return true;
        if (q.IsWhole) return own.Covers(other) == true || (q.Disk.Aof is { IsTorn: false } && SameStream(own, other));
        return Ahead(q, peer) is { } ahead ? ahead <= (q.Disk.Aof!.IsTorn ? -1 : 0) : HasNoted(q) && own.Covers(other) == true;
    }

    /// <summary>How far the file can go at most in the stream of the noted history; null = it was written anew since, and tells nothing.</summary>
    private static long? Reach(GateQuestion q, AofFacts aof)
    {
        const long Slack = 1024;
        if (q.Notes is not { Own: { } own, Files: var was } || was.Part != aof.Part || was.Part.Length == 0) return null;
        var pings = Ping * (Math.Max(0, q.Now - own.At) / 10 + 2);
        return own.Offset + pings + Slack + aof.PartSize - was.PartSize;
    }

    /// <summary>Of a start as primary that the gate lets up: the histories that go on in the one that it begins.</summary>
    public static ImmutableArray<NotedPast> Past(GateQuestion q)
    {
        if (q is not { AppendOnly: true, Disk.Aof: { IsTorn: false } aof, Notes: { Own: { Id.Length: > 0 } own } notes } || Position(q) is null) return [];
        ImmutableArray<NotedPast> ended = [new(own.Id, Reach(q, aof) ?? own.Offset), .. own.Id2.Length > 0 ? [new NotedPast(own.Id2, own.Offset2 - 1)] : ImmutableArray<NotedPast>.Empty];
        return [.. ended.Concat(notes.Past.Where(p => ended.All(e => e.Id != p.Id))).Take(NotedPast.Most)];
    }

    /// <summary>Whether another's data is of a history that went on in this member's.</summary>
    public static bool IsOfItsPast(RedisNotes? notes, RedisPosition other) => notes is not null && notes.Past.Any(p => p.Id == other.Id && other.Offset <= p.UpTo);

    private static bool HasAll(GateQuestion q, string? missing, RedisPosition? own, GatePeer peer)
    {
        if (!q.Disk.HasKeys(q.AppendOnly) && missing is null) return true;
        if (q is { AppendOnly: true, IsWhole: false, Notes.Own: { } last } && own is not null)
        {
            if (Ahead(q, peer) is { } ahead) return ahead >= 0;
            // Nothing tells which of them has more by a short command, unless nothing was added here since it was noted.
            if (peer.Data!.Id == last.Id && !(q.Notes.Files.Part == q.Disk.Aof!.Part && q.Disk.Aof.Size <= last.Appended)) return false;
        }
        if (IsBeyond(q, peer.Data!)) return false;
        if (missing is null && own is not null && peer.Data!.Position.Covers(own) == true) return true;
        // What is here came before what was noted, and one that has what was noted has it too; also where what is here is damaged, or less than it was.
        return q.Notes?.Own is { } noted && (missing is not null || IsAsNoted(q)) && peer.Data!.Position.Covers(noted.Position) == true;
    }

    /// <summary>
    /// The file grew by more than the other has had of the stream since both were noted: it holds what the other has not, also where its end is torn. One that was made anew since
    /// may hold whatever came after the note.
    /// </summary>
    private static bool IsBeyond(GateQuestion q, NotedData peer)
    {
        const long Slack = 64; // The file may name a database where the stream does not: 23 bytes each.
        if (q is not { AppendOnly: true, Disk.Aof: { } aof, Notes: { Own: { Id.Length: > 0 } own, Files: var was } } || was.Part.Length == 0) return false;
        if (was.Part != aof.Part) return aof.Number > was.Number;
        long? had = peer.Id == own.Id ? peer.Offset : peer.Id2 == own.Id ? Math.Min(peer.Offset, peer.Offset2 - 1) : null;
        return had is { } offset && aof.PartSize - was.PartSize > offset - (was.From >= 0 ? was.From : own.Offset) + Slack;
    }

    /// <summary>After the host went down under it, the file still holds all that the server had when it was noted.</summary>
    private static bool HasNoted(GateQuestion q) => q is { Notes: { Own.Appended: { } appended, Files.Part: { Length: > 0 } part }, Disk.Aof: { IsTorn: false } aof } && part == aof.Part && aof.Size >= appended;

    /// <summary>
    /// By how many bytes of commands the replica's data goes beyond this member's file; below 0 = the file goes beyond. What both files have grown by since both were asked at
    /// once tells it to the byte, also of a replica that was started anew since and then has no history to tell; where they were not, the stream tells what it can: beside the commands it
    /// has a ping each ten seconds. Null = nothing tells.
    /// </summary>
    private static long? Ahead(GateQuestion q, GatePeer peer)
    {
        if (q.Disk.Aof is not { } aof || q.Notes is not { Own: { Id.Length: > 0 } own } notes || peer.Data is not { } data) return null;
        var pair = notes.Peers.GetValueOrDefault(peer.Ordinal)?.Pair is { } noted && noted.Part == aof.Part && data.Appended is not null ? noted : null;
        var grown = pair is null ? 0 : pair.PeerOffset - pair.Offset + data.Appended!.Value - pair.PeerAppended - (aof.Size - pair.Appended);
        if (!aof.IsTorn) grown = Named(grown);
        if (data.Id != own.Id)
            return pair is not null && grown == 0 && !aof.IsTorn && peer.Role == RedisRole.Follows(q.Address) && data is { Id2: "", Offset: <= 1 } ? 0 : null;
        if (pair is not null && pair.PeerBase == data.AppendedBase) return grown;
        if (own.Appended is not { } had || notes.Files.Part != aof.Part) return null;
        var beyond = data.Offset - own.Offset - (aof.Size - had);
        return Between(beyond, pings: (Math.Max(0, q.Now - own.At) + 1) / 10 + 1, aof.IsTorn);
    }

    private const long Ping = 14, Select = 23, Shortest = 17;

    /// <summary>One file may name a database where the other does not, and no command is as short as what is left of it then.</summary>
    private static long Named(long more) => more is > Shortest - Select - 1 and < Select - Shortest + 1 and not 0 ? more - Math.Sign(more) * Select : more;

    /// <summary>What the other has more of commands, where the stream had up to so many pings beside them; null = it may have more or less. No command is as short as a ping.</summary>
    private static long? Between(long beyond, long pings, bool torn)
    {
        long? least = null, most = null;
        for (var n = 0L; n <= pings; n++)
        {
            var more = beyond - n * Ping;
            if (!torn && (more = Named(more)) is > -Shortest and < Shortest and not 0) continue;
            (least, most) = (Math.Min(least ?? more, more), Math.Max(most ?? more, more));
            if (more < -Shortest - Ping) break; // Further pings make no other answer.
        }
        return most <= 0 ? least : least >= 0 ? most : null;
    }

    private static GateAnswer Beside(GateQuestion q, GatePeer leader)
    {
        var follow = Following(q with { Role = RedisRole.Follows(leader.Address) });
        return follow.Gate == Gate.Up ? new(Gate.Follow, RedisRole.Follows(leader.Address), $"member {leader.Ordinal} is primary")
            : follow with { Role = RedisRole.Follows(leader.Address) };
    }

    private static GateAnswer Following(GateQuestion q)
    {
        var address = RedisRole.Followed(q.Role);
        var up = new GateAnswer(Gate.Up, q.Role, "");
        if (address is null) return new(Gate.Hold, q.Role, "role.conf is not one of ours", "role-unknown", OwnData(q), Passes: true);
        var peer = q.Peers.FirstOrDefault(p => p.Address == address);
        if (peer is null) return new(Gate.Hold, q.Role, $"it is to follow {address}, which is no member", "follows-stranger", OwnData(q), Passes: true);
        if (!q.Disk.HasKeys(q.AppendOnly) && q.Disk.DamageFor(q.AppendOnly) is null) return up;
        // It still holds what this member has, and will not for long; a replica of it goes the same way.
        if (peer.Answers && RedisRole.Followed(peer.Role) is { } source && source != q.Address && q.Peers.All(p => p.Address != source))
            return new(Gate.Hold, q.Role, $"member {peer.Ordinal} follows {source}, which is no member: a stranger's data would take the place of what is here: {OwnData(q)}", "follows-stranger", "what is here: " + OwnData(q), Passes: true);
        // A damaged file is measured by what the server had; it is not loaded, and is kept beside.
        var copyOf = q.Notes?.CopyOf == address;
        if (!peer.Answers) return copyOf || peer.Struck || q.Notes?.Own is null ? up
            : new(Gate.Hold, q.Role, $"member {peer.Ordinal} cannot be seen ({Serving.Said(peer.Serving)}), and this member has data of its own: {OwnData(q)}", "unseen-primary", "what is here and not there: " + OwnData(q), Passes: true);
        if (peer.Data is not { Keys: > 0 }) return new(Gate.Hold, q.Role, $"member {peer.Ordinal} holds no key, and this member has data: {OwnData(q)}", "replaces-data", "all that is here: " + OwnData(q));
        var own = Position(q);
        if (own is not null && peer.Data.Position.Covers(own) == true) return up;
        if (Strayed(q))
            return new(Gate.Hold, q.Role, $"this member took writes of its own after it was a copy of member {peer.Ordinal} (a hand made it a primary), and member {peer.Ordinal} has not had them: {OwnData(q)}",
                "own-writes", "what it took by itself since it was last seen to be a copy, out of " + OwnData(q));
        if (q.Notes?.Own is { } noted && (q.Disk.DamageFor(q.AppendOnly) is not null || IsAsNoted(q)) && peer.Data.Position.Covers(noted.Position) == true) return up;
        if (IsAsNoted(q) && IsItsPrimary(q.Notes, address, peer.Leads, peer.Data)) return up;
        if (q.Notes?.Own is null && peer.Leads) return up; // Nothing tells of data that only this member had.
        return new(Gate.Hold, q.Role, $"nothing tells whether member {peer.Ordinal} ({Held(peer.Data)}) has all that is here: {OwnData(q)}", "unrelated-data", "what is here and not there: " + OwnData(q));
    }

    /// <summary>
    /// The primary that this member is a copy of, started anew: from an append-only file a server begins a history with none before it, and its own gate let it up
    /// with all that it had. One that left another history got its data elsewhere, and one with fewer keys than the copy, of those that do not expire, lost some.
    /// </summary>
    public static bool IsItsPrimary(RedisNotes? notes, string address, bool leads, NotedData? leader) => leads && leader is { Id2: "" } && notes is { Own: { } own } && notes.CopyOf == address
        && leader.Keys - leader.Expires >= own.Keys - own.Expires;

    private static string Lost(GateQuestion q) => q.Notes?.Own is { } own ? $"what it had and is not here, {AtMost.Keys(own.Keys)}" : "what is damaged or missing";
}
