using System.Buffers.Binary;
using System.Text;

namespace AgentMetal.NodeAgent.Agents.Instance;

/// <summary>
/// The header of a qcow2 file (QEMU, docs/interop/qcow2.txt): the little of it that is needed to know how large it is and whether it draws in any other
/// file. Only files that are declared to be qcow2 are read as such: what is in a raw disk, the guest has written.
/// </summary>
internal static class DiskHeader
{
    /// <summary>Bytes to read: the header, its extensions and the longest name of a backing file (1,023 bytes) lie within the first cluster.</summary>
    public const int Length = 64 * 1024;

    /// <summary>Bytes to read of a disk that we made: its header is short, and it is read at every look.</summary>
    public const int OwnLength = 4096;

    private const uint Magic = 0x514649FB;
    private const int MaxBackingName = 1023;
    private const ulong ExternalData = 1UL << 2;

    /// <param name="Size">Bytes that a guest sees.</param>
    /// <param name="Backing">Name of the file below it, as it is written there; empty = none.</param>
    /// <param name="ExternalData">Its data is in another file.</param>
    internal sealed record Qcow2(long Size, string Backing, bool ExternalData);

    /// <summary>The header, or null when the file is no qcow2 that can be used.</summary>
    public static Qcow2? Read(ReadOnlySpan<byte> head)
    {
        if (head.Length < 72 || BinaryPrimitives.ReadUInt32BigEndian(head) != Magic) return null;
        var version = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
        if (version is not (2 or 3)) return null;
        var at = BinaryPrimitives.ReadUInt64BigEndian(head[8..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(head[16..]);
        var size = BinaryPrimitives.ReadUInt64BigEndian(head[24..]);
        if (size > long.MaxValue || length > MaxBackingName) return null;
        var features = version == 3 && head.Length >= 80 ? BinaryPrimitives.ReadUInt64BigEndian(head[72..]) : 0;
        if (at == 0) return new((long)size, "", (features & ExternalData) != 0);
        if (at + length > (ulong)head.Length) return null;
        return new((long)size, Encoding.UTF8.GetString(head.Slice((int)at, (int)length)), (features & ExternalData) != 0);
    }

    /// <summary>Why an image that people hand in is not used; null = it is.</summary>
    public static string? Refusal(string format, ReadOnlySpan<byte> head)
    {
        if (format != "qcow2") return null;
        if (Read(head) is not { } header) return "it is no qcow2 image, although spec.format says so";
        if (header.Backing.Length > 0) return "it has a backing file: it would show the guest a file of the host. Flatten it: qemu-img convert -O qcow2";
        return header.ExternalData ? "its data is in another file. Flatten it: qemu-img convert -O qcow2" : null;
    }
}
