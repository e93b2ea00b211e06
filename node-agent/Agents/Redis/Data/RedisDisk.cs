using System.Globalization;
using System.Text;
using AgentMetal.NodeAgent.Host.Files;

namespace AgentMetal.NodeAgent.Agents.Redis.Data;

/// <summary>A dump as its header and its end tell it (rdb.h of the Redis source).</summary>
/// <param name="Size">Bytes.</param>
/// <param name="Made">Unix seconds of the save; 0 = it does not say.</param>
/// <param name="Keys">Keys of its first database; null = it does not say.</param>
/// <param name="Position">Where it stands in a replication history; null = the server had none.</param>
/// <param name="Damage">What is wrong with it; empty = nothing that is seen without reading all of it.</param>
internal sealed record DumpFacts(long Size, long Made, long? Keys, RedisPosition? Position, string Damage)
{
    public bool IsEmpty => Damage.Length == 0 && Keys == 0;
}

/// <summary>An append-only directory as its manifest and its parts tell it (aof.c of the Redis source).</summary>
/// <param name="Number">Of the last incremental part; 0 = none.</param>
/// <param name="Part">Name of the last incremental part; empty = none.</param>
/// <param name="PartSize">Its bytes.</param>
/// <param name="Base">Name of the base; empty = none.</param>
/// <param name="BaseSize">Its bytes.</param>
/// <param name="HasKeys">Some part holds something.</param>
/// <param name="Damage">What would end or empty a server that loads it; empty = nothing that is seen without reading all of it.</param>
internal sealed record AofFacts(int Number, string Part, long PartSize, string Base, long BaseSize, bool HasKeys, string Damage)
{
    /// <summary>Bytes of all its parts, as the server counts them (INFO, aof_current_size).</summary>
    public long Size { get; init; }

    /// <summary>
    /// A rewrite of a file that was being written is under way: the manifest names the part that was written before it and the one that is written since (Redis 7, aof.c,
    /// openNewIncrAofForAppend). A server that has only just been told to append writes to a file that no manifest names, and a crash takes all of it.
    /// </summary>
    public bool GoesOn { get; init; }

    /// <summary>The last part ends within a command: the server cuts that off when it loads it.</summary>
    public bool IsTorn { get; init; }

    /// <summary>Where the damage in the last part begins; null = none is seen there.</summary>
    public long? BadAt { get; init; }
}

/// <summary>What lies in the data directory of a member, from the files themselves.</summary>
/// <param name="Exists">The directory is there.</param>
/// <param name="Dump">Null = none.</param>
/// <param name="Aof">Null = none.</param>
/// <param name="Unseen">Why it could not be read; empty = it could.</param>
internal sealed record RedisDisk(bool Exists, DumpFacts? Dump, AofFacts? Aof, string Unseen = "")
{
    public static RedisDisk Nothing { get; } = new(false, null, null);

    private const int MaxHeader = 4096;
    private const int MaxManifest = 64 * 1024;
    private const int MaxTail = 64 * 1024;
    private const int MaxFiles = 1000;

    /// <summary>Something is there that a server could load.</summary>
    public bool HasKeys(bool appendOnly) => appendOnly ? Aof is { HasKeys: true } : Dump is { IsEmpty: false };

    /// <summary>Why a server that loads it would end, or come up without what is there; null = nothing is seen.</summary>
    public string? DamageFor(bool appendOnly) => appendOnly ? Aof is { Damage.Length: > 0 } aof ? aof.Damage : null : Dump is { Damage.Length: > 0 } dump ? dump.Damage : null;

    /// <summary>The same after all of the last part was read: for a server that ended when it loaded it.</summary>
    public RedisDisk Scanned(IFileReader files, string dir)
    {
        if (Aof is not { Damage: "", Part.Length: > 0 } aof || files.Open($"{dir}/appendonlydir/{aof.Part}") is not { IsSeen: true } open) return this;
        using var stream = open.Value;
        return AofScan.FirstBad(stream) is { } bad
            ? this with { Aof = aof with { BadAt = bad, Damage = string.Create(CultureInfo.InvariantCulture, $"{aof.Part} is damaged at byte {bad} of {aof.PartSize}") } } : this;
    }

    public static RedisDisk Look(IFileReader files, string dir)
    {
        var look = files.Look(dir);
        if (!look.IsSeen) return Nothing with { Unseen = look.WhyUnseen! };
        if (look.Value.Kind != FileKind.Directory) return Nothing;
        var (dump, dumpUnseen) = LookAtDump(files, dir + "/dump.rdb");
        var (aof, aofUnseen) = LookAtAof(files, dir + "/appendonlydir");
        return new(true, dump, aof, dumpUnseen + aofUnseen);
    }

    private static (DumpFacts? Dump, string Unseen) LookAtDump(IFileReader files, string path)
    {
        var head = files.Head(path, MaxHeader);
        if (!head.IsSeen) return (null, head.WhyUnseen!);
        if (!head.Value.State.Exists) return (null, "");
        var size = head.Value.State.Size;
        if (head.Value.State.Kind != FileKind.File) return (new(0, 0, null, null, "dump.rdb is no file"), "");
        if (size == 0) return (new(0, 0, null, null, "dump.rdb is empty: 0 bytes"), "");
        var facts = RdbHeader.Read(head.Value.Bytes.Span) is { } header ? new DumpFacts(size, header.Made, header.Keys, header.Position, "")
            : new DumpFacts(size, 0, null, null, "dump.rdb does not begin as a dump does");
        // The last nine bytes are the end mark and a checksum.
        if (facts.Damage.Length == 0 && files.Tail(path, 9) is { IsSeen: true } tail && (tail.Value.Bytes.Length < 9 || tail.Value.Bytes.Span[0] != 0xFF))
            facts = facts with { Damage = string.Create(CultureInfo.InvariantCulture, $"dump.rdb does not end as a dump does, at byte {size}") };
        return (facts, "");
    }

    private static (AofFacts? Aof, string Unseen) LookAtAof(IFileReader files, string dir)
    {
        var look = files.Look(dir);
        if (!look.IsSeen) return (null, look.WhyUnseen!);
        if (look.Value.Kind != FileKind.Directory) return (null, "");
        var names = files.List(dir, MaxFiles);
        if (!names.IsSeen) return (null, names.WhyUnseen!);
        var parts = names.Value.Where(n => n.EndsWith(".aof", StringComparison.Ordinal) || n.EndsWith(".rdb", StringComparison.Ordinal)).Where(n => !n.StartsWith("temp-", StringComparison.Ordinal)).ToList();
        var manifest = names.Value.FirstOrDefault(n => n.EndsWith(".manifest", StringComparison.Ordinal) && !n.StartsWith("temp", StringComparison.Ordinal));
        if (manifest is null)
            // A server without a manifest begins anew and empty, whatever parts lie there.
            return parts.Count == 0 ? (null, "") : (new(0, "", 0, "", 0, parts.Any(p => HasContent(files, dir + "/" + p)), "the manifest of the append-only file is gone, and its parts are there"), "");
        var text = files.Read(dir + "/" + manifest, MaxManifest);
        if (!text.IsSeen) return (null, text.WhyUnseen!);
        var facts = OfManifest(files, dir, Encoding.UTF8.GetString(text.Value.Bytes.Span));
        return (facts with { GoesOn = facts.GoesOn && !names.Value.Any(n => n.StartsWith("temp-", StringComparison.Ordinal) && n.EndsWith(".incr", StringComparison.Ordinal)) }, "");
    }

    private static AofFacts OfManifest(IFileReader files, string dir, string manifest)
    {
        var facts = new AofFacts(0, "", 0, "", 0, false, "");
        var lines = manifest.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => l[0] != '#').ToList();
        if (lines.Count == 0) return facts with { Damage = "the manifest of the append-only file is empty" };
        foreach (var line in lines)
        {
            // "file NAME seq NUMBER type b|h|i"
            if (line.Trim().Split(' ') is not ["file", var name, "seq", var seq, "type", var type, ..] || !int.TryParse(seq, NumberStyles.None, CultureInfo.InvariantCulture, out var number) || name.Contains('/', StringComparison.Ordinal))
                return facts with { Damage = "the manifest of the append-only file is not understood" };
            if (type == "h") continue;
            var part = files.Look(dir + "/" + name);
            if (!part.IsSeen || part.Value.Kind != FileKind.File) return facts with { HasKeys = true, Damage = $"{name}, a part of the append-only file, is missing" };
            facts = facts with { Size = facts.Size + part.Value.Size };
            if (type == "b") facts = facts with { Base = name, BaseSize = part.Value.Size };
            else facts = facts with { GoesOn = facts.Part.Length > 0, Number = number, Part = name, PartSize = part.Value.Size };
            if (HasContent(files, dir + "/" + name)) facts = facts with { HasKeys = true };
        }
        if (facts.Base.Length > 0 && facts.BaseSize == 0) return facts with { HasKeys = true, Damage = $"{facts.Base}, the base of the append-only file, is empty" };
        if (facts.Part.Length > 0 && files.Head(dir + "/" + facts.Part, 1) is { IsSeen: true, Value: { State.Size: > 0 } head } && head.Bytes.Span[0] is not ((byte)'*' or (byte)'#'))
            return facts with { Damage = $"{facts.Part} does not begin as an append-only file does" };
        return facts with { IsTorn = facts.PartSize > 0 && files.Tail(dir + "/" + facts.Part, MaxTail) is { IsSeen: true } tail && !AofTail.IsWhole(tail.Value.Bytes.Span, tail.Value.State.Size) };
    }

    private static bool HasContent(IFileReader files, string path)
    {
        var head = files.Head(path, MaxHeader);
        if (!head.IsSeen || head.Value.State.Size == 0) return head is { IsSeen: false };
        return RdbHeader.Read(head.Value.Bytes.Span) is not { Keys: 0 };
    }
}

/// <summary>The end of an append-only file: commands as arrays of bulk strings (RESP), and time marks (#TS:).</summary>
internal static class AofTail
{
    /// <summary>Whether some command in it is followed by whole commands to the very end; what is longer than what was read counts as whole.</summary>
    /// <param name="tail">The last bytes.</param>
    /// <param name="size">Of the whole file.</param>
    public static bool IsWhole(ReadOnlySpan<byte> tail, long size)
    {
        var begins = 0;
        for (var at = 0; at < tail.Length; at++)
        {
            if (tail[at] is not ((byte)'*' or (byte)'#') || (at > 0 && tail[at - 1] != '\n') || (at == 0 && tail.Length != size)) continue;
            begins++;
            var next = at;
            while (next < tail.Length && After(tail, next) is { } after) next = after;
            if (next == tail.Length) return true;
            // A value may look like a command: some tries are enough to tell a torn end from that.
            if (begins > 64) break;
        }
        return begins == 0 && tail.Length != size;
    }

    /// <summary>Where the next command begins; null when this one is not whole.</summary>
    private static int? After(ReadOnlySpan<byte> text, int at)
    {
        if (text[at] == '#') return text[at..].IndexOf((byte)'\n') is >= 0 and var end ? at + end + 1 : null;
        if (text[at] != '*' || Number(text, at + 1, out var next) is not { } count) return null;
        for (; count > 0; count--)
        {
            if (next >= text.Length || text[next] != '$' || Number(text, next + 1, out next) is not { } length || next + length + 2 > text.Length) return null;
            next += (int)length + 2;
        }
        return next;
    }

    private static long? Number(ReadOnlySpan<byte> text, int at, out int next)
    {
        next = at;
        var end = at < text.Length ? text[at..].IndexOf("\r\n"u8) : -1;
        if (end is < 1 or > 10 || !long.TryParse(text.Slice(at, end), NumberStyles.None, CultureInfo.InvariantCulture, out var number)) return null;
        next = at + end + 2;
        return number;
    }
}

/// <summary>The beginning of a dump.</summary>
/// <param name="Made">Unix seconds; 0 = it does not say.</param>
/// <param name="Keys">Of the first database; null = it does not say within what was read.</param>
/// <param name="Position">Null = it does not say.</param>
internal sealed record RdbHeader(long Made, long? Keys, RedisPosition? Position)
{
    private const byte Aux = 0xFA, SelectDb = 0xFE, ResizeDb = 0xFB, End = 0xFF;

    /// <summary>
    /// A magic word, auxiliary fields (0xFA, two strings each), then a database (0xFE, its number; 0xFB, its size) or 0xFF. Null when it does not begin so.
    /// </summary>
    public static RdbHeader? Read(ReadOnlySpan<byte> dump)
    {
        if (dump.Length < 9 || !dump.StartsWith("REDIS"u8)) return null;
        var at = 9;
        var (made, id, offset) = (0L, "", -1L);
        while (at < dump.Length && dump[at] == Aux)
        {
            at++;
            if (String(dump, ref at) is not { } key || String(dump, ref at) is not { } value) return new(made, null, null);
            if (key == "ctime") _ = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out made);
            else if (key == "repl-id") id = value;
            else if (key == "repl-offset") _ = long.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out offset);
        }
        var position = id.Length > 0 && offset >= 0 ? new RedisPosition(id, offset) : null;
        if (at >= dump.Length) return new(made, null, position);
        if (dump[at] == End) return new(made, 0, position);
        if (dump[at] != SelectDb) return new(made, null, position);
        at++;
        if (Length(dump, ref at) is null || at >= dump.Length || dump[at] != ResizeDb) return new(made, null, position);
        at++;
        return new(made, Length(dump, ref at), position);
    }

    private static long? Length(ReadOnlySpan<byte> dump, ref int at)
    {
        if (at >= dump.Length) return null;
        var first = dump[at++];
        switch (first >> 6)
        {
            case 0: return first & 0x3F;
            case 1 when at < dump.Length: return ((first & 0x3F) << 8) | dump[at++];
            case 2 when first == 0x80 && at + 4 <= dump.Length:
                at += 4;
                return System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(dump[(at - 4)..at]);
            case 2 when first == 0x81 && at + 8 <= dump.Length:
                at += 8;
                return (long)System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(dump[(at - 8)..at]);
            default: return null;
        }
    }

    /// <summary>A string: its length and bytes, or a number in one, two or four bytes.</summary>
    private static string? String(ReadOnlySpan<byte> dump, ref int at)
    {
        if (at >= dump.Length) return null;
        var first = dump[at];
        if (first >> 6 == 3)
        {
            var width = (first & 0x3F) switch { 0 => 1, 1 => 2, 2 => 4, _ => -1 };
            if (width < 0 || at + 1 + width > dump.Length) return null;
            var number = width switch { 1 => (sbyte)dump[at + 1], 2 => BitConverter.ToInt16(dump.Slice(at + 1, 2)), _ => BitConverter.ToInt32(dump.Slice(at + 1, 4)) };
            at += 1 + width;
            return number.ToString(CultureInfo.InvariantCulture);
        }
        if (Length(dump, ref at) is not { } length || length < 0 || at + length > dump.Length) return null;
        at += (int)length;
        return Encoding.UTF8.GetString(dump.Slice(at - (int)length, (int)length));
    }
}
