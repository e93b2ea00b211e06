using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;

namespace AgentMetal.LabTests.Adversary.Machines;

/// <summary>
/// Which of a test's blocks a disk's file holds, read without QEMU: a file that QEMU has open, one of a host that is off, and one that is
/// damaged can all be
/// read. Block n begins at n times 64 KiB, which is a cluster of a qcow2 file, and is 4 KiB of one byte that follows from n and the
/// sequence.
/// </summary>
internal static class DiskBlocks
{
    public const int Distance = 64 << 10, Length = 4 << 10, Most = 250;

    /// <summary>The byte that block n of a sequence is made of; never 0, which is what nobody wrote.</summary>
    public static byte ByteOf(int salt, int n) => (byte)(1 + (((salt * 53) + (n * 29)) % 255));

    /// <param name="path">As this machine sees it.</param>
    /// <param name="salt">Of the sequence.</param>
    /// <param name="snapshots">Also what is held by snapshots inside a qcow2 file.</param>
    /// <returns>Numbers; empty for what is no disk, or cannot be read.</returns>
    public static ImmutableHashSet<int> Read(string path, int salt, bool snapshots)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var head = Bytes(file, 0, 72);
            if (head is null) return [];
            if (!Encoding.Latin1.GetString(head, 0, 4).Equals("QFI\u00fb", StringComparison.Ordinal)) return Blocks(file, salt,
                static n => (long)n * Distance);
            var (bits, l1) = (BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(20)), BinaryPrimitives.ReadInt64BigEndian(head.AsSpan(40)));
            if (1 << bits != Distance) throw new InvalidDataException($"clusters of {1 << bits} bytes");
            var found = Layer(file, salt, l1);
            if (snapshots)
                foreach (var at in Snapshots(file, BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(60)),
                    BinaryPrimitives.ReadInt64BigEndian(head.AsSpan(64)))) found = found.Union(Layer(file, salt, at));
            return found;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException) { return []; }
    }

    /// <summary>Where the tables of its snapshots are (docs/interop/qcow2.txt of QEMU).</summary>
    private static IEnumerable<long> Snapshots(FileStream file, int count, long at)
    {
        for (var i = 0; i < count && Bytes(file, at, 40) is { } entry; i++)
        {
            yield return BinaryPrimitives.ReadInt64BigEndian(entry);
            var size = 40 + BinaryPrimitives.ReadInt32BigEndian(entry.AsSpan(36)) + BinaryPrimitives.ReadUInt16BigEndian(entry.AsSpan(12)) + BinaryPrimitives.ReadUInt16BigEndian(entry.AsSpan(14));
            at += (size + 7) & ~7;
        }
    }

    /// <summary>The disk as one table of the file has it; the test's disks are so small that its first entry is all of it.</summary>
    private static ImmutableHashSet<int> Layer(FileStream file, int salt, long l1)
    {
        const long offset = 0x00FF_FFFF_FFFF_FE00, zero = 1, compressed = 1L << 62;
        if (Bytes(file, l1, 8) is not { } first || (BinaryPrimitives.ReadInt64BigEndian(first) & offset) is not (> 0 and var l2)
            || Bytes(file, l2, Most * 8) is not { } table) return [];
        return Blocks(file, salt, n => BinaryPrimitives.ReadInt64BigEndian(table.AsSpan(n * 8)) is var entry
            && (entry & (zero | compressed)) == 0 ? entry & offset : 0);
    }

    private static ImmutableHashSet<int> Blocks(FileStream file, int salt, Func<int, long> where)
    {
        var found = ImmutableHashSet.CreateBuilder<int>();
        for (var n = 1; n < Most; n++)
            if (where(n) is > 0 and var at && Bytes(file, at, Length) is { } block
                && !block.AsSpan().ContainsAnyExcept(ByteOf(salt, n))) found.Add(n);
        return found.ToImmutable();
    }

    private static byte[]? Bytes(FileStream file, long at, int count)
    {
        if (at < 0 || at + count > file.Length) return null;
        var bytes = new byte[count];
        file.Position = at;
        return file.ReadAtLeast(bytes, count, throwOnEndOfStream: false) == count ? bytes : null;
    }
}
