using System.Buffers.Binary;
using System.Text;
using AgentMetal.NodeAgent.Agents.Instance;

namespace AgentMetal.NodeAgent.Tests.Agents.Instance;

public sealed class DiskHeaderTests
{
    /// <summary>The first bytes of a qcow2 file, as docs/interop/qcow2.txt of QEMU lays them out.</summary>
    internal static byte[] Qcow2(long size, string backing = "", ulong features = 0, uint version = 3, int backingAt = 512)
    {
        var head = new byte[4096];
        BinaryPrimitives.WriteUInt32BigEndian(head, 0x514649FB);
        BinaryPrimitives.WriteUInt32BigEndian(head.AsSpan(4), version);
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(24), size);
        BinaryPrimitives.WriteUInt64BigEndian(head.AsSpan(72), features);
        if (backing.Length == 0) return head;
        BinaryPrimitives.WriteInt64BigEndian(head.AsSpan(8), backingAt);
        BinaryPrimitives.WriteInt32BigEndian(head.AsSpan(16), backing.Length);
        Encoding.UTF8.GetBytes(backing).CopyTo(head, 512);
        return head;
    }

    [Fact]
    public void Read_OwnDisk_TellsSizeAndBacking() =>
        Assert.Equal(new DiskHeader.Qcow2(1L << 30, "/var/lib/agentmetal/images/a.qcow2", false), DiskHeader.Read(Qcow2(1L << 30, "/var/lib/agentmetal/images/a.qcow2")));

    [Fact]
    public void Refusal_BackingFile_NamesTheDanger() => Assert.Contains("backing file", DiskHeader.Refusal("qcow2", Qcow2(1 << 20, "/etc/shadow")), StringComparison.Ordinal);

    [Fact]
    public void Refusal_DataInAnotherFile_IsRefused() => Assert.Contains("another file", DiskHeader.Refusal("qcow2", Qcow2(1 << 20, features: 4)), StringComparison.Ordinal);

    [Fact]
    public void Refusal_BackingNameBeyondWhatIsRead_IsRefused() => Assert.NotNull(DiskHeader.Refusal("qcow2", Qcow2(1 << 20, "/etc/shadow", backingAt: 1 << 20)));

    [Fact]
    public void Refusal_NotAQcow2_IsRefused() => Assert.NotNull(DiskHeader.Refusal("qcow2", new byte[4096]));

    [Fact]
    public void Refusal_UnknownVersion_IsRefused() => Assert.NotNull(DiskHeader.Refusal("qcow2", Qcow2(1 << 20, version: 9)));

    /// <summary>A raw disk may hold any bytes, those of a qcow2 with a backing file too: it is used as raw, and nothing of it is read.</summary>
    [Fact]
    public void Refusal_RawThatLooksLikeQcow2_IsNot() => Assert.Null(DiskHeader.Refusal("raw", Qcow2(1 << 20, "/etc/shadow")));

    [Fact]
    public void Refusal_GoodImage_IsNot() => Assert.Null(DiskHeader.Refusal("qcow2", Qcow2(1 << 20)));
}
