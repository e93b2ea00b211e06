using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>
/// Whether the append-only file of a member that was a copy ends with writes of its own. A hand may make a replica a primary, and it may end
/// before anybody notes that: its file is then all that tells. What a copy wrote last is in the replication stream of its primary, and a
/// primary gives its stream again from an offset that its backlog still has (Redis, "Replication": PSYNC).
/// </summary>
internal static class OwnWrites
{
    private const int MaxTail = 64 * 1024;
    private const int MaxBacklog = 16 * 1024 * 1024;

    /// <summary>So many of its last commands must stand in the stream in this order.</summary>
    private const int Compared = 16;

    /// <summary>The file may name a database where the stream does not.</summary>
    private const long Slack = 64;

    /// <summary>Longer than a probe waits: who is slow here is no reason to drop what the member wrote.</summary>
    private static readonly TimeSpan s_answer = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan s_all = TimeSpan.FromSeconds(8);

    /// <summary>The notes, with what is found of the files as they lie there now.</summary>
    /// <param name="files">Of this host.</param>
    /// <param name="notes">What was noted last.</param>
    /// <param name="disk">What lies there.</param>
    /// <param name="leader">Whom it is to follow: it leads and answers.</param>
    /// <param name="passwords">That it may take.</param>
    /// <param name="stop">Ends it.</param>
    public static async ValueTask<RedisNotes> LookAsync(IFileReader files, RedisNotes notes, RedisDisk disk, GatePeer leader, ImmutableArray<string?> passwords, CancellationToken stop)
    {
        if (notes is not { Own: { Id.Length: > 0 } own, Files.From: >= 0 } || disk.Aof is not { Damage: "", Part.Length: > 0 } aof || notes.CopyOf != leader.Address || leader.Data is not { } data) return notes;
        if (notes.Strayed == RedisNotes.FormOf(aof)) return notes;
        // Another history tells nothing of this one; the gate compares positions.
        if (data.Id != own.Id && data.Id2 != own.Id) return notes;
        var strayed = await AreThereAsync(files, notes, aof, own, leader, passwords, stop).ConfigureAwait(false);
        return strayed == true ? notes with { Strayed = RedisNotes.FormOf(aof) } : notes;
    }

    /// <summary>Null = nothing tells.</summary>
    private static async ValueTask<bool?> AreThereAsync(IFileReader files, RedisNotes notes, AofFacts aof, NotedData own, GatePeer leader, ImmutableArray<string?> passwords, CancellationToken stop)
    {
        var grown = aof.Part == notes.Files.Part ? aof.PartSize - notes.Files.PartSize : aof.PartSize;
        if (grown <= 0) return aof.Part == notes.Files.Part ? false : null;
        // More was written here than the stream has had since.
        var from = notes.Files.From;
        if (aof.Part == notes.Files.Part && grown > leader.Data!.Offset - from + Slack) return true;
        if (files.Tail($"{notes.DataDir}/appendonlydir/{aof.Part}", (int)Math.Min(grown, MaxTail)) is not { IsSeen: true } tail) return null;
        var written = AofCommands.Of(tail.Value.Bytes.Span, whole: grown <= MaxTail);
        if (written is null) return null;
        var last = written.Where(AofCommands.IsData).TakeLast(Compared).ToList();
        if (last.Count == 0) return grown <= MaxTail ? false : null;
        try
        {
            return await StreamHasAsync(leader, own.Id, from, last, passwords, stop).ConfigureAwait(false) is { } has ? !has : null;
        }
        catch (RespException)
        {
            return null;
        }
    }

    private static async ValueTask<bool?> StreamHasAsync(GatePeer leader, string id, long from, List<string> last, ImmutableArray<string?> passwords, CancellationToken stop)
    {
        var colon = leader.Address.LastIndexOf(':');
        var session = await RedisSession.OpenAsync(new(leader.Address[..colon], int.Parse(leader.Address[(colon + 1)..], CultureInfo.InvariantCulture)), passwords, s_answer, stop).ConfigureAwait(false);
        using var client = session.Client;
        if (client is null || session.Loading) return null;
        var info = RedisInfo.Of(await client.CallAsync(RedisInfo.Commands, s_answer, stop).ConfigureAwait(false));
        // A request that cannot be met from the backlog would make the primary prepare a whole copy.
        if (info["repl_backlog_active"] != "1" || info.Number("repl_backlog_first_byte_offset") is not { } first || from + 1 < first
            || (info["master_replid"] != id && (info["master_replid2"] != id || from + 1 > info.Number("second_repl_offset")))) return null;
        var length = info.Offset - from;
        if (length <= 0) return false;
        if (length > MaxBacklog) return null;
        var ask = RespCommand.Of("PSYNC", id, (from + 1).ToString(CultureInfo.InvariantCulture));
        if (await client.CallAsync(ask, s_answer, stop).ConfigureAwait(false) is not { Kind: RespKind.Simple } word || !word.Text.StartsWith("CONTINUE", StringComparison.Ordinal)) return null;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(stop);
        deadline.CancelAfter(s_all);
        var (begin, matched) = (client.Taken, new AofCommands.Run(last));
        while (client.Taken - begin < length)
        {
            if (deadline.IsCancellationRequested) return null;
            var command = (await client.ReceiveAsync([ask], s_answer, stop).ConfigureAwait(false))[0];
            var text = AofCommands.Text(command.Items.Select(i => i.Text));
            if (AofCommands.IsData(text) && matched.Add(text)) return true;
        }
        return false;
    }
}

/// <summary>Commands of an append-only file or of a replication stream, as text to compare.</summary>
internal static class AofCommands
{
    /// <summary>The commands in the end of a file; what is cut off at its very end is left out. Null = it is not understood.</summary>
    /// <param name="bytes">To the end of the file.</param>
    /// <param name="whole">They begin with a command; else with the first that leads to the end.</param>
    public static List<string>? Of(ReadOnlySpan<byte> bytes, bool whole)
    {
        if (whole && Parse(bytes) is { } all) return all;
        for (var at = 0; at < bytes.Length;)
        {
            var next = bytes[at..].IndexOf("\n*"u8);
            if (next < 0) return null;
            at += next + 1;
            if (Parse(bytes[at..]) is { Count: > 0 } rest) return rest;
        }
        return null;
    }

    /// <summary>A stream pings and asks for acknowledgements, and both name databases.</summary>
    public static bool IsData(string command) => command.Length > 0 && command.Split('\0', 2)[0].ToUpperInvariant() is not ("PING" or "SELECT" or "REPLCONF");

    public static string Text(IEnumerable<string> words) => string.Join('\0', words);

    private static List<string>? Parse(ReadOnlySpan<byte> bytes)
    {
        List<string> commands = [];
        var at = 0;
        while (at < bytes.Length)
        {
            if (bytes[at] == '#')
            {
                var line = bytes[at..].IndexOf((byte)'\n');
                if (line < 0) return commands;
                at += line + 1;
                continue;
            }
            if (bytes[at] != '*') return null;
            at++;
            if (Number(bytes, ref at) is not { } count) return at >= bytes.Length ? commands : null;
            var words = new List<string>();
            for (; count > 0; count--)
            {
                if (at >= bytes.Length) return commands;
                if (bytes[at++] != '$') return null;
                if (Number(bytes, ref at) is not { } length) return at >= bytes.Length ? commands : null;
                if (at + length + 2 > bytes.Length) return commands;
                words.Add(Encoding.UTF8.GetString(bytes.Slice(at, (int)length)));
                at += (int)length + 2;
            }
            commands.Add(Text(words));
        }
        return commands;
    }

    /// <summary>Null = no number, or the bytes end within it: then <paramref name="at"/> is their end.</summary>
    private static long? Number(ReadOnlySpan<byte> bytes, ref int at)
    {
        long number = 0;
        for (var digits = 0; at < bytes.Length; at++)
        {
            if (bytes[at] == '\r')
            {
                if (at + 1 >= bytes.Length) { at = bytes.Length; return null; }
                if (digits == 0 || bytes[at + 1] != '\n') return null;
                at += 2;
                return number;
            }
            if (bytes[at] is < (byte)'0' or > (byte)'9' || ++digits > 12) return null;
            number = (number * 10) + bytes[at] - '0';
        }
        return null;
    }

    /// <summary>Finds a list of commands one after another in a longer one.</summary>
    public sealed class Run(IReadOnlyList<string> wanted)
    {
        private readonly Queue<string> _last = new();

        /// <summary>Whether the last commands are the wanted ones.</summary>
        public bool Add(string command)
        {
            _last.Enqueue(command);
            if (_last.Count > wanted.Count) _last.Dequeue();
            return _last.SequenceEqual(wanted);
        }
    }
}
