using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace AgentMetal.Runtime.Trust;

/// <summary>
/// The bytes that are signed. Every field is its length (4 bytes, big-endian) and then its UTF-8 bytes; a list is its count and then its fields.
/// So no two different field lists have the same bytes, and the first field, the domain, keeps a signature made for one purpose from serving another.
/// </summary>
public sealed class SignedBytes
{
    private readonly ArrayBufferWriter<byte> _bytes = new();

    /// <param name="domain">What the signature means, such as <c>agentmetal/approval/v1</c>.</param>
    public SignedBytes(string domain) => Add(domain);

    public SignedBytes Add(ReadOnlySpan<byte> field)
    {
        Length(field.Length);
        _bytes.Write(field);
        return this;
    }

    public SignedBytes Add(string field) => Add(Encoding.UTF8.GetBytes(field));

    public SignedBytes Add(long number) => Add(number.ToString(CultureInfo.InvariantCulture));

    public SignedBytes Add(IReadOnlyCollection<string> list)
    {
        Length(list.Count);
        foreach (var item in list)
            Add(item);
        return this;
    }

    public byte[] ToArray() => _bytes.WrittenSpan.ToArray();

    private void Length(int value)
    {
        Span<byte> prefix = stackalloc byte[4];
        BinaryPrimitives.WriteInt32BigEndian(prefix, value);
        _bytes.Write(prefix);
    }
}
