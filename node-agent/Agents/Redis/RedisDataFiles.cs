using System.Collections.Immutable;
using AgentMetal.NodeAgent.Host.Files;
using AgentMetal.Runtime.Planning;

namespace AgentMetal.NodeAgent.Agents.Redis;

/// <summary>
/// Whether the files of a member hold keys, without reading them: Redis writes a dump, and an append-only base, of an empty data set too,
/// and those are small enough to look into. A file that cannot be understood counts as one with keys.
/// </summary>
internal static class RedisDataFiles
{
    private const int MaxHeader = 4096;
    private const int MaxFiles = 1000;

    /// <summary>none, rdb, aof, or unseen.</summary>
    /// <param name="files">Reader.</param>
    /// <param name="dir">Data directory.</param>
    /// <param name="aofCounts">False when the server last ran without an append-only file, so that what lies there is an older one.</param>
    public static string Look(IFileReader files, string dir, bool aofCounts)
    {
        var dump = HasKeys(files, dir + "/dump.rdb");
        if (dump is null) return FactValue.Unseen("the dump cannot be read");
        var aof = AofHasKeys(files, dir + "/appendonlydir");
        if (aof is null) return FactValue.Unseen("the append-only files cannot be read");
        return aof.Value && (aofCounts || !dump.Value) ? Stored.Aof : dump.Value ? Stored.Rdb : Stored.None;
    }

    private static bool? AofHasKeys(IFileReader files, string dir)
    {
        var look = files.Look(dir);
        if (!look.IsSeen) return null;
        if (look.Value.Kind != FileKind.Directory) return false;
        var names = files.List(dir, MaxFiles);
        if (!names.IsSeen) return null;
        var found = false;
        foreach (var name in names.Value)
        {
            if (name.EndsWith(".manifest", StringComparison.Ordinal) || name.StartsWith("temp-", StringComparison.Ordinal)) continue;
            if (HasKeys(files, dir + "/" + name) is not { } keys) return null;
            found |= keys;
        }
        return found;
    }

    private static bool? HasKeys(IFileReader files, string path)
    {
        var look = files.Look(path);
        if (!look.IsSeen) return null;
        if (look.Value.Kind != FileKind.File || look.Value.Size == 0) return false;
        if (look.Value.Size > MaxHeader) return true;
        var content = files.Read(path, MaxHeader);
        // It grew between the two looks, or went away with a rewrite: something is being written.
        return !content.IsSeen || (content.Value.State.Exists && !IsEmptyDump(content.Value.Bytes.Span));
    }

    /// <summary>
    /// A dump is a magic word, auxiliary fields (0xFA, two strings each), then databases (0xFE) or functions (0xF5), then 0xFF (rdb.h of the
    /// Redis source). One without anything between the fields and the end is empty.
    /// </summary>
    internal static bool IsEmptyDump(ReadOnlySpan<byte> dump)
    {
        if (dump.Length < 10 || !dump.StartsWith("REDIS"u8)) return false;
        var at = 9;
        while (at < dump.Length && dump[at] == 0xFA)
        {
            at++;
            for (var i = 0; i < 2; i++)
            {
                at = SkipString(dump, at);
                if (at < 0) return false;
            }
        }
        return at < dump.Length && dump[at] == 0xFF;
    }

    private static int SkipString(ReadOnlySpan<byte> dump, int at)
    {
        if (at >= dump.Length) return -1;
        var first = dump[at++];
        var end = (first >> 6) switch
        {
            0 => at + (first & 0x3F),
            1 when at < dump.Length => at + 1 + (((first & 0x3F) << 8) | dump[at]),
            3 when (first & 0x3F) is 0 => at + 1,
            3 when (first & 0x3F) is 1 => at + 2,
            3 when (first & 0x3F) is 2 => at + 4,
            _ => -1,
        };
        return end <= dump.Length ? end : -1;
    }
}
