using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// "agentmetald redis-gate NOTES", which the unit runs before each start (ExecCondition= of systemd.service(5): 0 = go on, 1 = do not start and do not
/// call it a failure). It needs no daemon, no bus and no coordinator; its peers have half a second to answer.
/// </summary>
internal static class RedisGateProgram
{
    private const int MaxBytes = 256 * 1024;
    private const int MaxEntries = 1000;
    private const long Spare = 1024 * 1024;

    public static async Task<int> RunAsync(string path, IFileReader reader, IFileWriter writer, TimeProvider clock, Action<string> say, CancellationToken stop)
    {
        var now = clock.GetUtcNow().ToUnixTimeSeconds();
        if (reader.Read(path, MaxBytes) is not { IsSeen: true, Value: { State.Exists: true } file } || RedisNotes.Parse(file.Bytes.Span) is not { } notes)
            return Held($"{path}, which says what this member and its peers held, is missing or not understood; agentmetald writes it anew and decides", "notes-missing");
        var putBack = RedisStarts.ArePutBack(reader, path, notes);
        if (putBack) Note(writer, path, notes = RedisStarts.MembersOf(notes));
        var config = Text(reader, notes.ConfDir + "/redis.conf");
        var role = Text(reader, notes.ConfDir + "/role.conf") is { } text ? RedisRender.ParseRole(text) ?? "other" : "other";
        if (config is null) return Held("redis.conf is missing", "config-missing");
        if (IsPassed(reader, writer, path + ".pass", role, now))
        {
            if (notes.Past.Length > 0) Note(writer, path, notes with { Past = [] }); // What it comes up with may be less.
            return LetUp(new(now, "up", role, "a person has signed this start"));
        }
        ImmutableArray<string?> passwords = [.. RedisObserver.PasswordsInFiles(reader, notes.ConfDir), null];
        var book = new RedisNotebook(reader, writer, clock);
        var peers = await Task.WhenAll(notes.Members.Where(m => m.Ordinal != notes.Ordinal).Select(async m =>
        {
            // Whatever answers there is not the member any more.
            if (m.Struck) return new GatePeer(m.Ordinal, new RedisPeer(m.Ordinal, m.Host, m.Port).Address, RedisPeerState.StruckOff, "", null, Struck: true);
            var seen = await RedisProbe.PeerAsync(new(m.Ordinal, m.Host, m.Port), passwords, stop).ConfigureAwait(false);
            return new GatePeer(m.Ordinal, seen.State.Address, seen.State.Serving, seen.State.Role, seen.Info is { } info ? book.DataOf(info) : null);
        })).ConfigureAwait(false);
        var settings = RedisRender.Parse(config);
        var disk = RedisDisk.Look(reader, notes.DataDir);
        if (peers.Where(p => p.Leads).ToList() is [var leader] && await OwnWrites.LookAsync(reader, notes, disk, leader, passwords, stop).ConfigureAwait(false) is var seen && seen.Strayed != notes.Strayed)
        {
            notes = seen;
            Note(writer, path, notes);
        }
        var appendOnly = settings.GetValueOrDefault("appendonly") == "yes";
        var question = new GateQuestion(role, appendOnly, Kept.Of(settings), disk, notes, [.. peers], now)
        {
            End = putBack ? ServerEnd.Unseen : RedisEnd.Of(reader, path, disk, appendOnly),
            Address = notes.Members.FirstOrDefault(m => m.Ordinal == notes.Ordinal) is { } self ? new RedisPeer(self.Ordinal, self.Host, self.Port).Address : "",
        };
        var answer = RedisGate.Judge(question);
        if (answer is { Gate: Gate.Up, Role: RedisRole.Primary } && RedisGate.Past(question) is var past && !past.AsSpan().SequenceEqual(notes.Past.AsSpan())) Note(writer, path, notes with { Past = past });
        switch (answer.Gate)
        {
            case Gate.Hold: return Held(answer.Why, answer.Code, answer.Loss);
            case Gate.Follow when !Rewrite(reader, writer, notes, answer.Role):
                return Held("it is to follow another member, and role.conf cannot be written: " + answer.Why, "role-unwritable");
            default:
                var aside = SetAside(reader, writer, question, answer.Role);
                return LetUp(new(now, answer.Gate == Gate.Follow ? "follow" : "up", answer.Role, answer.Why + (aside is null ? "" : (answer.Why.Length > 0 ? "; " : "") + aside))
                { Gone = answer is { Gate: Gate.Up, Role: RedisRole.Primary } ? RedisGate.Gone(question) : null });
        }

        // From here on the server writes: that the one before it ended says nothing any more.
        int LetUp(GateRecord record)
        {
            if (writer.Delete(RedisEnd.Beside(path)) is { IsDone: false } stays) return Held("that its server ended before cannot be taken back: " + stays.Detail, "notes-unwritable");
            var starts = RedisStarts.Next(reader, path, notes);
            if (Record(reader, writer, path, record with { Starts = starts }, say)) RedisStarts.Count(writer, notes, starts);
            return 0;
        }

        int Held(string why, string code, string loss = "")
        {
            Record(reader, writer, path, new(now, "hold", "", why) { Code = code, Loss = loss }, say);
            return 1;
        }
    }

    /// <summary>
    /// A primary that comes up behind its own replica, because that one has all that is here: from an append-only file it would begin a history of its own, and nobody could tell any
    /// more that it holds nothing that the replica has not. It comes up empty instead, and the replica, which then has all that the others have, leads. The file is kept where there is room for it beside the
    /// copy that comes, until the next time; where there is none it goes, as it would when that copy comes.
    /// </summary>
    /// <returns>What became of the file, for people; null = it is where it was.</returns>
    private static string? SetAside(IFileReader reader, IFileWriter writer, GateQuestion q, string role)
    {
        if (q is not { AppendOnly: true, Disk.Aof: { HasKeys: true } aof, Notes.DataDir: var dir } || q.Peers.FirstOrDefault(p => RedisRole.Follows(p.Address) == role) is not { Answers: true } peer
            || peer.Role != RedisRole.Follows(q.Address) || RedisGate.Judge(q with { Role = RedisRole.Primary }) is not { Gate: Gate.Follow } answer || answer.Role != role) return null;
        const string from = "appendonlydir", to = from + ".behind";
        if (!writer.DeleteTree($"{dir}/{to}", MaxEntries).IsDone) return null;
        if (reader.Space(dir) is { IsSeen: true, Value: var space } && space.AvailableBytes >= 2 * aof.Size + Spare)
            return writer.Rename($"{dir}/{from}", to).IsDone ? $"what is here is kept as {dir}/{to}" : null;
        // In one move: a server that found half of it would end.
        return writer.Rename($"{dir}/{from}", to).IsDone && writer.DeleteTree($"{dir}/{to}", MaxEntries).IsDone ? "what is here is not kept, for its disk has no room for it and the copy that comes" : null;
    }

    /// <summary>A full disk is no reason to keep a server down, and does not make what was found less true.</summary>
    internal static bool Note(IFileWriter writer, string path, RedisNotes notes) => writer.Write(path, notes.Render(), new() { Uid = 0, Gid = 0, Mode = 0x180 }).IsDone; // 0600

    /// <summary>A pass is for one start, of this role, of this boot, for a minute.</summary>
    private static bool IsPassed(IFileReader reader, IFileWriter writer, string path, string role, long now)
    {
        if (reader.Read(path, MaxBytes) is not { IsSeen: true, Value: { State: { Exists: true, Uid: 0 } } file }) return false;
        if (!writer.Delete(path).IsDone) return false;
        try
        {
            return JsonSerializer.Deserialize(file.Bytes.Span, RedisNotesJson.Default.GatePass) is { } pass && pass.Role == role && now <= pass.Until && now >= pass.Until - 120 && pass.Boot == Boot(reader);
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary>Of this boot of this host.</summary>
    public static string Boot(IFileReader reader) => Text(reader, "/proc/sys/kernel/random/boot_id")?.Trim() ?? "";

    private static bool Rewrite(IFileReader reader, IFileWriter writer, RedisNotes notes, string role)
    {
        var user = reader.User(RedisLayout.User);
        return user is { IsSeen: true, Value.Exists: true }
            && writer.Write(notes.ConfDir + "/role.conf", Encoding.UTF8.GetBytes(RedisRender.Role(role)), new() { Uid = 0, Gid = user.Value.Gid, Mode = 0x1A0 }).IsDone; // 0640
    }

    private static bool Record(IFileReader reader, IFileWriter writer, string path, GateRecord record, Action<string> say)
    {
        say(record.Verdict switch
        {
            "hold" => $"<4>not started ({record.Code}): {record.Why}{(record.Loss is { Length: > 0 } loss ? "; a start as it is may lose " + loss : "")}",
            "follow" => $"<5>started as a follower ({RedisRole.Followed(record.Role)}): {record.Why}",
            _ => $"<6>started as {record.Role}{(record.Why.Length > 0 ? ": " + record.Why : "")}{(record.Gone is { } gone ? ", without " + gone : "")}",
        });
        // What is not told later is in the journal; a full disk is no reason to keep a server down.
        var before = reader.Read(path + ".gate", MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? GateRecord.Parse(file.Bytes.Span) : null;
        return writer.Write(path + ".gate", JsonSerializer.SerializeToUtf8Bytes(record.After(before), RedisNotesJson.Default.GateRecord), new() { Uid = 0, Gid = 0, Mode = 0x180 }).IsDone;
    }

    /// <summary>A small file as text; null = it is not there, or cannot be read.</summary>
    internal static string? Text(IFileReader reader, string path) =>
        reader.Read(path, MaxBytes) is { IsSeen: true, Value: { State.Exists: true } file } ? Encoding.UTF8.GetString(file.Bytes.Span) : null;
}
